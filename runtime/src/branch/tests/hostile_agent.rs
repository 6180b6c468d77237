//! Agents that turn their clone against whoever runs git in it, or against the branch.

use super::*;

/// Lets an agent work, hands over, and asserts that the project has the branch and nothing else.
async fn check(script: &str) -> (Scene, Workspace, Checkpoint) {
    let scene = Scene::new();
    let before = scene.portrait();
    let trap = scene.trap();
    let script =
        format!("cat > \"$TMPDIR/trap\" <<'END'\n{trap}END\nchmod +x \"$TMPDIR/trap\"\n{script}");
    let (workspace, checkpoint) = work(&scene, &script).await;
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.note),
        (HandOffPlace::Project, None)
    );
    assert_handed_over(&scene, &workspace, &before);
    let base = scene.git(&["merge-base", "main", workspace.branch()]);
    assert_eq!(base, workspace.base());
    (scene, workspace, checkpoint.unwrap())
}

fn files(scene: &Scene, workspace: &Workspace) -> String {
    scene.git(&["ls-tree", "-r", "--name-only", workspace.branch()])
}

fn subjects(scene: &Scene, workspace: &Workspace) -> String {
    scene.git(&["log", "--format=%s", workspace.branch()])
}

#[tokio::test]
async fn planted_hooks_and_settings_are_not_started() {
    check(
        "echo x > new
        mkdir -p .git/hooks
        for hook in pre-commit post-commit commit-msg reference-transaction post-checkout \\
            post-index-change prepare-commit-msg pre-auto-gc; do
            cp \"$TMPDIR/trap\" .git/hooks/$hook
        done
        git config core.hooksPath \"$PWD/.git/hooks\"",
    )
    .await;
    check(
        "echo x > new
        for name in core.fsmonitor core.editor core.pager core.sshCommand gpg.program alias.add \\
            core.alternateRefsCommand credential.helper diff.external uploadpack.packObjectsHook; do
            git config $name \"$TMPDIR/trap\"
        done
        git config commit.gpgSign true",
    )
    .await;
    check(
        "echo x > new
        echo '* filter=x diff=x' > .gitattributes
        for name in filter.x.clean filter.x.smudge filter.x.process diff.x.textconv; do
            git config $name \"$TMPDIR/trap\"
        done
        git config filter.x.required true
        printf '[include]\\n\\tpath = more\\n' >> .git/config
        printf '[filter \"y\"]\\n\\tclean = %s\\n' \"$TMPDIR/trap\" > .git/more
        echo '* filter=y' > .git/info/attributes || { mkdir .git/info; echo '* filter=y' > .git/info/attributes; }",
    )
    .await;
}

#[tokio::test]
async fn a_nested_repository_is_not_entered() {
    let (scene, workspace, _) = check(
        "echo x > new
        git init -q nested
        cd nested
        git -c user.name=x -c user.email=x commit -q --allow-empty -m nested
        git config core.fsmonitor \"$TMPDIR/trap\"
        mkdir -p .git/hooks
        cp \"$TMPDIR/trap\" .git/hooks/reference-transaction",
    )
    .await;
    assert_eq!(files(&scene, &workspace), "README\nnested\nnew");
}

#[tokio::test]
async fn settings_that_hide_files_do_not() {
    let (scene, workspace, _) = check(
        "echo x > new
        echo x > other
        echo '*' > \"$TMPDIR/ignore\"
        git config core.excludesFile \"$TMPDIR/ignore\"
        git config core.sparseCheckout true
        mkdir -p .git/info
        echo '/README' > .git/info/sparse-checkout
        git config core.worktree /tmp
        git config core.bare true",
    )
    .await;
    assert_eq!(files(&scene, &workspace), "README\nnew\nother");
}

#[tokio::test]
async fn commits_on_the_branch_and_on_one_that_goes_on_from_it_are_kept() {
    let (scene, workspace, checkpoint) = check(
        "echo a > a; git add a; git commit -qm a
        git checkout -qb aside
        echo b > b; git add b; git commit -qm b
        echo c > c",
    )
    .await;
    assert_eq!(
        subjects(&scene, &workspace),
        "the agent's work\nb\na\nfirst"
    );
    assert_eq!(files(&scene, &workspace), "README\na\nb\nc");
    assert!(
        checkpoint
            .note
            .unwrap()
            .contains("its commits there were taken over")
    );
    let head = git_in(&workspace.directory(), &["symbolic-ref", "--short", "HEAD"]);
    assert_eq!(head, workspace.branch());
}

#[tokio::test]
async fn files_are_kept_wherever_the_agent_went() {
    let (scene, workspace, checkpoint) = check(
        "echo a > a; git add a; git commit -qm a
        git checkout -q --detach HEAD~1
        echo b > b; git add b; git commit -qm b",
    )
    .await;
    assert_eq!(subjects(&scene, &workspace), "the agent's work\na\nfirst");
    assert_eq!(files(&scene, &workspace), "README\nb");
    assert!(checkpoint.note.unwrap().contains("are left behind"));
}

#[tokio::test]
async fn a_deleted_branch_is_made_again() {
    let (scene, workspace, checkpoint) = check(
        "branch=$(git symbolic-ref --short HEAD)
        echo a > a; git add a; git commit -qm a
        git checkout -q --detach
        git branch -qD \"$branch\"",
    )
    .await;
    assert_eq!(subjects(&scene, &workspace), "the agent's work\nfirst");
    assert_eq!(files(&scene, &workspace), "README\na");
    assert!(
        checkpoint
            .note
            .unwrap()
            .contains("had deleted the session's branch")
    );
}

#[tokio::test]
async fn a_base_that_was_rewritten_comes_back() {
    let (scene, workspace, checkpoint) =
        check("echo a > a; git add a; git commit -q --amend -m rewritten").await;
    assert_eq!(subjects(&scene, &workspace), "the agent's work\nfirst");
    assert!(
        checkpoint
            .note
            .unwrap()
            .contains("rewritten the session's branch")
    );
    let replaced = "
        echo a > a; git add a; git commit -qm a
        git replace --graft HEAD
        git replace -f main HEAD 2>/dev/null || true";
    let (scene, workspace, _) = check(replaced).await;
    assert_eq!(subjects(&scene, &workspace), "a\nfirst");
}

#[tokio::test]
async fn stale_locks_and_unfinished_merges_do_not_stop_a_checkpoint() {
    let (scene, workspace, _) = check(
        "git checkout -qb side; echo side > README; git commit -qam side
        git checkout -q -; echo main > README; git commit -qam main
        git merge side >/dev/null || true
        touch .git/index.lock .git/HEAD.lock \".git/$(git symbolic-ref HEAD).lock\" .git/config.lock",
    )
    .await;
    assert_eq!(
        subjects(&scene, &workspace),
        "the agent's work\nmain\nfirst"
    );
}

#[tokio::test]
async fn a_clone_that_leads_elsewhere_gives_nothing_away() {
    let scene = Scene::new();
    let before = scene.portrait();
    let (mut workspace, _) = work(&scene, "echo kept > kept").await;
    let secret = scene.home.directory().join("dashboard");
    git_in(
        &scene.root(),
        &["clone", "--quiet", "demo", secret.to_str().unwrap()],
    );
    for target in [secret.join(".git"), scene.project_path().join(".git")] {
        let target = target.display();
        for script in [
            format!("rm -rf .git; ln -s '{target}' .git"),
            format!("rm -rf .git; echo 'gitdir: {target}' > .git"),
        ] {
            scene.agent_does(&script).await;
            let said = workspace
                .checkpoint("stolen")
                .await
                .unwrap_err()
                .to_string();
            assert!(said.contains("not a git repository"), "{said}");
        }
    }
    scene
        .agent_does("rm -rf .git; git init -q .; mkdir -p .git/objects/info")
        .await;
    let objects = secret.join(".git/objects");
    let script = format!(
        "echo '{}' > .git/objects/info/alternates",
        objects.display()
    );
    scene.agent_does(&script).await;
    workspace.checkpoint("borrowed").await.unwrap_err();
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 1)
    );
    assert_handed_over(&scene, &workspace, &before);
}

#[tokio::test]
async fn unsound_objects_do_not_leave_the_workspace() {
    let scene = Scene::new();
    let before = scene.portrait();
    let (mut workspace, _) = work(&scene, "echo kept > kept").await;
    // A tree that would put a file into `.git` of whoever checks it out.
    let script = "
        blob=$(echo x | git hash-object -w --stdin)
        evil=$(printf '100644 config\\0%b' \"$(echo $blob | sed 's/../\\\\x&/g')\" | git hash-object -t tree -w --stdin --literally)
        tree=$(printf '40000 .git\\0%b' \"$(echo $evil | sed 's/../\\\\x&/g')\" | git hash-object -t tree -w --stdin --literally)
        commit=$(git commit-tree -p HEAD -m evil $tree)
        git update-ref $(git symbolic-ref HEAD) $commit";
    let script = script.replace('\n', " \n");
    scene
        .agent_does(&format!("bash -ec '{}'", script.replace('\'', "'\\''")))
        .await;
    let said = workspace.checkpoint("evil").await.unwrap_err().to_string();
    assert!(
        said.starts_with("cannot take in the agent's objects: "),
        "{said}"
    );
    assert!(said.contains("hasDotgit"), "{said}");
    let hand_off = workspace.hand_over(Protection::On).await.unwrap();
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 1)
    );
    assert_handed_over(&scene, &workspace, &before);
}

/// Builds a commit of a thousand million files out of nine trees, and goes back behind it.
const BOMB: &str = "
    blob=$(echo x | git hash-object -w --stdin)
    tree=$(for n in 0 1 2 3 4 5 6 7 8 9; do printf '100644 blob %s\\tf%s\\n' $blob $n; done | git mktree)
    for level in 1 2 3 4 5 6 7 8; do
        tree=$(for n in 0 1 2 3 4 5 6 7 8 9; do printf '040000 tree %s\\td%s\\n' $tree $n; done | git mktree)
    done
    bomb=$(git commit-tree -p HEAD -m bomb $tree)
    git update-ref HEAD $(git commit-tree -p $bomb -m back HEAD^{tree})
    echo x > new";

#[tokio::test]
async fn a_commit_of_countless_files_takes_no_more_memory_than_git_may_have() {
    let scene = Scene::new();
    let before = scene.portrait();
    let sandbox = scene.sandbox_with(|jail| jail.git_memory_bytes_max = 256 * 1024 * 1024);
    let folder = scene.session(1);
    let workspace = Workspace::prepare(&sandbox, &folder, &scene.project(), moment()).await;
    let mut workspace = workspace.unwrap();
    scene.agent_does(BOMB).await;
    let _checkpoint = workspace.checkpoint("work").await.unwrap().unwrap();
    let commits = workspace.commits_since(None).await.unwrap().unwrap();
    let told: Vec<_> = commits
        .shown
        .iter()
        .map(|commit| (commit.message.as_str(), commit.files_changed))
        .collect();
    // Too many to list, and so nothing is said of how many.
    assert_eq!(told, [("bomb", None), ("back", None), ("work", None)]);
    // Nobody can look through it, so it is not handed over unseen.
    let said = workspace.findings().await.unwrap_err().to_string();
    assert!(
        said.starts_with("cannot look through the agent's work: "),
        "{said}"
    );
    assert_eq!(scene.portrait(), before);
}

/// What an agent can write as a commit, and what git's check calls it.
#[tokio::test]
async fn names_that_some_file_system_takes_for_others_do_not_leave_the_workspace() {
    for (mode, name, called) in [
        ("40000", ".GIT", "hasDotgit"),
        ("40000", "git~1", "hasDotgit"),
        ("40000", ".g\u{200c}it", "hasDotgit"),
        ("40000", "..", "hasDotdot"),
        ("40000", "", "empty filename"),
        ("100644", "a/b", "fullPathname"),
        ("120000", ".gitmodules", "gitmodulesSymlink"),
    ] {
        let scene = Scene::new();
        let before = scene.portrait();
        let mut workspace = scene.workspace().await;
        let octal: String = name.bytes().map(|byte| format!("\\{byte:03o}")).collect();
        let script = format!(
            "blob=$(echo x | git hash-object -w --stdin)
            inner=$(printf '100644 blob %s\\tconfig\\n' $blob | git mktree)
            case {mode} in 40000) id=$inner;; *) id=$blob;; esac
            tree=$({{ printf '{mode} {octal}\\000'; echo $id | sed 's/../\\\\x&/g' | xargs -0 printf '%b' | head -c 20; }} \
                | git hash-object -t tree -w --stdin --literally)
            git update-ref HEAD $(git commit-tree -p HEAD -m evil $tree)"
        );
        let script = script.replace('\'', "'\\''");
        scene.agent_does(&format!("bash -ec '{script}'")).await;
        let said = workspace.checkpoint("evil").await.unwrap_err().to_string();
        assert!(said.contains(called), "{name:?}: {said}");
        let hand_off = workspace.hand_over(Protection::On).await.unwrap();
        assert_eq!(hand_off.commits, 0, "{name:?}");
        assert_eq!(scene.portrait(), before);
    }
}

#[tokio::test]
async fn settings_of_agents_that_appear_are_refused_wherever_and_however() {
    let (scene, mut workspace, _) = check(
        "echo x > new
        mkdir -p .claude/hooks deep/.Codex
        echo x > .claude/settings.json; echo x > .claude/hooks/a; echo x > deep/.Codex/config.toml
        ln -s /etc/passwd .mcp.json
        mkdir .gemini; echo x > .gemini/x; git add .gemini; git commit -qm settings",
    )
    .await;
    assert_eq!(files(&scene, &workspace), "README\nnew");
    let mut refused = workspace.take_refused();
    refused.sort();
    assert_eq!(
        refused,
        [
            ".claude/hooks/a",
            ".claude/settings.json",
            ".gemini/x",
            ".mcp.json",
            "deep/.Codex/config.toml"
        ]
    );
    for name in [".claude", ".gemini", ".mcp.json", "deep"] {
        let left = workspace.directory().join(name);
        assert!(left.symlink_metadata().is_err(), "{name}");
    }
    assert!(workspace.take_refused().is_empty());
}
