use std::fs;
use std::path::Path;

use chrono::TimeDelta;
use config::contract::session::{HandOff, HandOffPlace};

use super::*;
use crate::scene::{Scene, git_in, moment};

mod hostile_agent;
mod hostile_project;

/// Prepares, lets the agent run a script, and makes a checkpoint of it.
async fn work(scene: &Scene, script: &str) -> (Workspace, Option<Checkpoint>) {
    let mut workspace = scene.workspace().await;
    scene.agent_does(script).await;
    let checkpoint = workspace.checkpoint("the agent's work").await.unwrap();
    (workspace, checkpoint)
}

/// Asserts that the branch stands in the project, whole, with the agent's tip, and nothing else moved.
#[track_caller]
fn assert_handed_over(scene: &Scene, workspace: &Workspace, before: &Portrait) {
    let tip = scene.git(&["rev-parse", workspace.branch()]);
    assert_eq!(tip, workspace.tip());
    assert_eq!(scene.portrait(), *before);
    assert_sound(&scene.project_path());
    scene.assert_no_trap_sprung();
}

#[track_caller]
fn assert_sound(repository: &Path) {
    let said = git_in(repository, &["fsck", "--full", "--strict", "--no-dangling"]);
    assert_eq!(said, "");
}

type Portrait = std::collections::BTreeMap<&'static str, String>;

#[tokio::test]
async fn a_project_without_a_commit_is_refused() {
    let scene = Scene::new();
    let project = scene.project();
    scene.git(&["checkout", "--quiet", "--orphan", "empty"]);
    let found = Workspace::prepare(&scene.sandbox(), &scene.session(1), &project, moment()).await;
    let said = found.unwrap_err().to_string();
    assert!(said.contains("it has no commit; fix: "), "{said}");
}

#[tokio::test]
async fn a_clone_shares_nothing_with_the_project() {
    let scene = Scene::new();
    scene.git(&["tag", "v1"]);
    scene.git(&["branch", "private"]);
    let workspace = scene.workspace().await;
    let clone = workspace.directory();
    let branch = format!(
        "loki/session-{}-{}",
        moment().timestamp(),
        std::process::id()
    );
    assert_eq!(workspace.branch(), branch);
    assert_eq!(workspace.base(), scene.git(&["rev-parse", "HEAD"]));
    assert_eq!(workspace.notes(), Vec::<String>::new());
    assert_eq!(
        git_in(&clone, &["status", "--porcelain", "--branch"]),
        format!("## {branch}")
    );
    assert_eq!(fs::read_to_string(clone.join("README")).unwrap(), "hello\n");
    let references = git_in(&clone, &["for-each-ref", "--format=%(refname)"]);
    assert_eq!(references, format!("refs/heads/{branch}\nrefs/tags/v1"));
    assert!(!clone.join(".git/objects/info/alternates").exists());
    assert_eq!(git_in(&clone, &["remote"]), "");
    assert_eq!(
        git_in(&clone, &["config", "--local", "user.email"]),
        "agent@loki.invalid"
    );
    let linked = scene.agent("find . -type f -links +1").await;
    assert_eq!(
        (linked.code, linked.stdout),
        (0, Vec::new()),
        "no file has a second name"
    );
    assert_sound(&clone);
}

#[tokio::test]
async fn what_the_clone_leaves_out_is_said() {
    let scene = Scene::new();
    scene.write("README", "changed\n");
    scene.write("new", "new\n");
    let before = scene.portrait();
    let workspace = scene.workspace().await;
    let note = "the project has 2 changed or new files that are not committed: they are left out";
    assert_eq!(workspace.notes(), [note]);
    assert_eq!(
        fs::read_to_string(workspace.directory().join("README")).unwrap(),
        "hello\n"
    );
    assert_eq!(scene.portrait(), before);
}

#[tokio::test]
async fn names_do_not_collide() {
    let scene = Scene::new();
    let name = |later: i64| {
        let second = moment() + TimeDelta::seconds(later);
        format!("loki/session-{}-{}", second.timestamp(), std::process::id())
    };
    scene.git(&["branch", &name(0)]);
    let (sandbox, project) = (scene.sandbox(), scene.project());
    for later in 1..3 {
        let folder = scene.session(u8::try_from(later).unwrap());
        let workspace = Workspace::prepare(&sandbox, &folder, &project, moment()).await;
        assert_eq!(workspace.unwrap().branch(), name(later));
    }
}

#[tokio::test]
async fn a_checkpoint_holds_what_changed() {
    let scene = Scene::new();
    scene.write("old", "old\n");
    scene.commit("second");
    let mut workspace = scene.workspace().await;
    assert_eq!(workspace.checkpoint("nothing").await.unwrap(), None);
    scene
        .agent_does("rm old; echo x > new; mkdir d; echo y > d/new; echo z >> README")
        .await;
    let first = workspace
        .checkpoint("Add\n\na thing")
        .await
        .unwrap()
        .unwrap();
    let commit = git_in(&workspace.directory(), &["rev-parse", "HEAD"]);
    let files = [
        ("README", "modified"),
        ("d/new", "added"),
        ("new", "added"),
        ("old", "deleted"),
    ];
    let only = Commit {
        commit: commit.clone(),
        message: "Add".to_owned(),
        files_changed: Some(4),
        files: files
            .map(|(path, change)| FileChange {
                path: path.to_owned(),
                change,
            })
            .into(),
    };
    let expected = Checkpoint {
        commit: commit.clone(),
        files_changed: 4,
        note: None,
    };
    assert_eq!(first, expected);
    let commits = Commits {
        tip: commit.clone(),
        shown: vec![only],
        left_out: 0,
    };
    for from in [None, Some("not a commit"), Some(workspace.base())] {
        let since = workspace.commits_since(from).await.unwrap();
        assert_eq!(since.as_ref(), Some(&commits), "{from:?}");
    }
    assert_eq!(workspace.commits_since(Some(&commit)).await.unwrap(), None);
    assert_eq!(workspace.checkpoint("nothing").await.unwrap(), None);
    let show = |format: &str| {
        let format = format!("--format={format}");
        git_in(&workspace.directory(), &["log", "-1", &format])
    };
    assert_eq!(show("%an <%ae>|%B|%P"), {
        let base = workspace.base();
        format!("Loki Agent <agent@loki.invalid>|Add\n\na thing\n|{base}")
    });
    assert_eq!(
        git_in(&workspace.directory(), &["status", "--porcelain"]),
        ""
    );
    assert_sound(&scene.session(1).repository());
}

#[tokio::test]
async fn the_branch_is_handed_over_and_nothing_else_moves() {
    let scene = Scene::new();
    scene.write("uncommitted", "mine\n");
    let before = scene.portrait();
    let (workspace, _) = work(
        &scene,
        "echo one > one; git add one; git commit -qm own; echo two > two",
    )
    .await;
    let expected = HandOff {
        branch: workspace.branch().to_owned(),
        place: HandOffPlace::Project,
        commit: workspace.tip().to_owned(),
        commits: 2,
        files_changed: 2,
        is_pushed: false,
        pull_request: None,
        note: None,
    };
    assert_eq!(workspace.hand_over(Protection::On).await.unwrap(), expected);
    assert_handed_over(&scene, &workspace, &before);
    assert_eq!(
        workspace.hand_over(Protection::On).await.unwrap(),
        expected,
        "again"
    );
    assert_handed_over(&scene, &workspace, &before);
}

#[tokio::test]
async fn without_work_no_branch_is_made() {
    let scene = Scene::new();
    let before = scene.portrait();
    let (workspace, checkpoint) = work(&scene, "true").await;
    assert_eq!(checkpoint, None);
    let hand_off = workspace.hand_over(Protection::Off).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Runtime, 0)
    );
    assert_eq!(
        hand_off.note.as_deref(),
        Some("the agent changed nothing, so no branch was made")
    );
    assert_eq!(scene.git(&["branch", "--list", "loki/*"]), "");
    assert_eq!(scene.portrait(), before);
}

#[tokio::test]
async fn a_project_that_cannot_be_written_keeps_its_branch_in_the_runtime() {
    let scene = Scene::new();
    let (workspace, _) = work(&scene, "echo x > new").await;
    // A branch of this name leaves no room for any below it, whoever asks.
    scene.git(&["branch", "loki"]);
    let before = scene.portrait();
    let hand_off = workspace.hand_over(Protection::Off).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Runtime, 1)
    );
    let note = hand_off.note.unwrap();
    assert!(
        note.starts_with("cannot make the branch in the project: "),
        "{note}"
    );
    assert!(
        note.contains("; the branch is kept; to take it: `git fetch /"),
        "{note}"
    );
    assert_eq!(scene.portrait(), before);
    let kept = git_in(
        &scene.session(1).repository(),
        &["rev-parse", workspace.branch()],
    );
    assert_eq!(kept, workspace.tip());
}

#[tokio::test]
async fn a_read_only_project_keeps_its_branch_in_the_runtime() {
    use std::os::unix::fs::PermissionsExt;
    let scene = Scene::new();
    let (workspace, _) = work(&scene, "echo x > new").await;
    let before = scene.portrait();
    let git = scene.project_path().join(".git");
    let set = |mode| {
        for name in ["objects", "objects/pack", "refs", "refs/heads"] {
            fs::set_permissions(git.join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set(0o555);
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    set(0o755);
    assert_eq!(hand_off.place, HandOffPlace::Runtime);
    assert_eq!(scene.portrait(), before);
}

#[tokio::test]
async fn a_shallow_project_and_packed_references_work() {
    let scene = Scene::new();
    scene.write("README", "second\n");
    scene.commit("second");
    scene.git(&["tag", "-a", "v2", "-m", "second"]);
    let deep = scene.root().join("deep");
    fs::rename(scene.project_path(), &deep).unwrap();
    let url = format!("file://{}", deep.display());
    git_in(
        &scene.root(),
        &["clone", "--quiet", "--depth=1", &url, "demo"],
    );
    scene.git(&["pack-refs", "--all"]);
    let before = scene.portrait();
    let (workspace, _) = work(&scene, "echo x > new").await;
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.note),
        (HandOffPlace::Project, None)
    );
    assert_handed_over(&scene, &workspace, &before);
}

#[tokio::test]
async fn a_project_with_sha256_objects_works() {
    let scene = Scene::empty();
    fs::create_dir(scene.project_path()).unwrap();
    scene.git(&["init", "--quiet", "--object-format=sha256"]);
    scene.write("README", "hello\n");
    scene.commit("first");
    let before = scene.portrait();
    let (workspace, _) = work(&scene, "echo x > new").await;
    assert_eq!(workspace.tip().len(), 64);
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.note),
        (HandOffPlace::Project, None)
    );
    assert_handed_over(&scene, &workspace, &before);
}

/// Hands over without protection after the owner did something. The project must stay as it then is.
async fn check_stays(owner: impl FnOnce(&Scene), expected: &str) {
    let scene = Scene::new();
    let (workspace, _) = work(&scene, "echo x > new; echo x >> README").await;
    owner(&scene);
    let before = scene.portrait();
    let hand_off = workspace.hand_over(Protection::Off).await.unwrap();
    assert_eq!(hand_off.place, HandOffPlace::Project);
    let note = hand_off.note.unwrap();
    let start = format!("the project's current branch was not moved forward: {expected}");
    assert!(note.starts_with(&start), "{note}");
    assert!(
        note.ends_with(&format!("; fix: git merge {}", workspace.branch())),
        "{note}"
    );
    assert_handed_over(&scene, &workspace, &before);
}

#[tokio::test]
async fn without_protection_an_unsafe_project_stays_where_it_is() {
    check_stays(
        |scene| scene.write("README", "mine\n"),
        "it has 1 uncommitted files",
    )
    .await;
    check_stays(
        |scene| scene.write("new", "mine\n"),
        "it has 1 uncommitted files",
    )
    .await;
    let commit = |scene: &Scene| {
        scene.write("mine", "mine\n");
        scene.commit("mine");
    };
    check_stays(commit, "it has moved since the session began").await;
    let switch = |scene: &Scene| {
        scene.git(&["checkout", "--quiet", "-b", "other"]);
    };
    check_stays(switch, "another branch is checked out by now").await;
    let filter = |scene: &Scene| scene.write(".git/info/attributes", "* filter=x\n");
    check_stays(filter, "the project uses content filters").await;
}

#[tokio::test]
async fn without_protection_a_clean_project_moves_forward() {
    let scene = Scene::new();
    scene.write_trap(".git/hooks/post-merge");
    scene.write_trap(".git/hooks/reference-transaction");
    scene.write_trap(".git/hooks/post-checkout");
    let (workspace, _) = work(&scene, "echo x > new; echo x >> README").await;
    let hand_off = workspace.hand_over(Protection::Off).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.note),
        (HandOffPlace::ProjectHead, None)
    );
    assert_eq!(scene.git(&["rev-parse", "main"]), workspace.tip());
    assert_eq!(scene.git(&["status", "--porcelain", "--branch"]), "## main");
    assert_eq!(
        fs::read_to_string(scene.project_path().join("new")).unwrap(),
        "x\n"
    );
    assert_sound(&scene.project_path());
    scene.assert_no_trap_sprung();
}
