//! Projects and agents that plant what git would run: nothing of it runs on the host, and the project's
//! own branch never moves.
//!
//! A planted program leaves a mark in a folder that no program in the jail can write; what is planted is
//! shown to work by git itself first, so that no test passes because of a spelling mistake.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use tests::agent::Agent;
use tests::deployment::Deployment;
use tests::repository::Repository;

/// Writes a program that leaves a mark and does no more.
fn trap(folder: &Path, name: &str) -> PathBuf {
    let path = folder.join(name);
    let mark = folder.join("marks");
    fs::create_dir_all(&mark).unwrap();
    let text = format!(
        "#!/bin/sh\ntouch {}/{name}-$$\ncat 2>/dev/null\nexit 0\n",
        mark.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn marks(folder: &Path) -> Vec<String> {
    fs::read_dir(folder.join("marks"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

/// The hooks that a clone, a fetch, a commit or a push could start.
const HOOKS: [&str; 8] = [
    "post-checkout",
    "pre-commit",
    "post-commit",
    "post-merge",
    "pre-push",
    "post-update",
    "update",
    "reference-transaction",
];

/// Settings that name a program, each with what it is a setting of.
const SETTINGS: [&str; 9] = [
    "core.fsmonitor",
    "core.sshCommand",
    "core.pager",
    "core.editor",
    "diff.external",
    "filter.trap.clean",
    "filter.trap.smudge",
    "diff.trap.textconv",
    "uploadpack.packObjectsHook",
];

fn plant(project: &Repository, trap: &Path) {
    let git = project.path().join(".git");
    for hook in HOOKS {
        symlink(trap, git.join("hooks").join(hook)).unwrap();
    }
    let program = trap.display().to_string();
    for setting in SETTINGS {
        let _set = project.git(&["config", setting, &program]);
    }
    let _set = project.git(&["config", "alias.status", &format!("!{program}")]);
    let _set = project.git(&["config", "filter.trap.required", "true"]);
    fs::write(git.join("info/attributes"), "* filter=trap diff=trap\n").unwrap();
}

#[test]
fn what_a_project_plants_does_not_run_on_the_host() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::doing("echo work >>work.txt"))
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let folder = deployment.root().join("traps");
    fs::create_dir(&folder).unwrap();
    plant(&project, &trap(&folder, "planted"));
    let _shown = project.try_git(&["status"]);
    assert!(!marks(&folder).is_empty(), "the traps work");
    fs::remove_dir_all(folder.join("marks")).unwrap();
    fs::create_dir(folder.join("marks")).unwrap();

    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let _diff = client
        .get(&format!("/api/sessions/{id}/diff"))
        .with_status(200);
    assert_eq!(marks(&folder), Vec::<String>::new(), "{view:#}");
    let refs = fs::read_to_string(project.path().join(".git/refs/heads/main")).unwrap();
    assert_eq!(refs.trim(), main, "main moved");
    let branch = view["branch"].as_str().unwrap();
    assert!(
        project.path().join(".git/refs/heads").join(branch).exists(),
        "{view:#}"
    );
}

#[test]
fn what_an_agent_plants_does_not_run_on_the_host() {
    let builder = Deployment::builder().with_variable("LOKI_BRANCH_PROTECTION", "true");
    let folder = builder.root().join("traps");
    fs::create_dir(&folder).unwrap();
    let program = trap(&folder, "planted").display().to_string();
    let mut lines = String::from("echo work >>work.txt\nmkdir -p .git/hooks .git/info\n");
    for hook in HOOKS {
        lines.push_str(&format!("ln -sf {program} .git/hooks/{hook} || :\n"));
    }
    for setting in SETTINGS {
        lines.push_str(&format!("git config {setting} {program} || :\n"));
    }
    lines.push_str(&format!(
        "git config core.hooksPath {hooks} || :\n\
         git config include.path {hooks}/more || :\n\
         git config alias.bundle '!{program}' || :\n\
         echo '* filter=trap diff=trap merge=trap' >.gitattributes\n\
         echo '* filter=trap diff=trap' >.git/info/attributes\n\
         mkdir -p nested && git -C nested init -q && cp -r .git/hooks nested/.git/ || :\n\
         mkdir -p .GIT/hooks && ln -sf {program} .GIT/hooks/post-checkout || :\n\
         git branch -f -- '--upload-pack={program}' 2>/dev/null || :\n\
         git update-ref 'refs/heads/-oProxyCommand={program}' HEAD 2>/dev/null || :\n\
         exit 0",
        hooks = folder.display()
    ));
    let deployment = builder
        .with_provider("claude", Agent::doing(&lines))
        .start();
    let client = deployment.client();
    let project = deployment.project("app");
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    // The changes of attributes wait for a person; whoever looks at them runs nothing either.
    let view = deployment.session_in(&client, &id, &["waiting_approval", "completed", "failed"]);
    let _diff = client.get(&format!("/api/sessions/{id}/diff"));
    let _shown = deployment.loki(&["status"]);
    if view["state"] == "waiting_approval" {
        let _resumed = deployment.loki(&["resume", &id]).ended_with(0);
        let _over = deployment.session_in(&client, &id, &["completed", "failed"]);
    }
    assert_eq!(marks(&folder), Vec::<String>::new());
    assert_eq!(project.commit("main"), main, "main moved");
    assert_eq!(project.git(&["status", "--porcelain"]), "");
    project.assert_sound();
}
