//! A finished session's branch goes to the project's remote and becomes a pull request; nothing else
//! does, and what machines would run needs a look first.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tests::agent::Agent;
use tests::command;
use tests::deployment::{Builder, Deployment};
use tests::repository::Repository;

const TOKEN: &str = "ghp_0123456789abcdefghijklmnopqrstuvwxyz";

/// Keeps its arguments, one a line, and what it was given as a token; answers as told.
fn gh(listed: &str) -> String {
    format!(
        "#!/bin/sh\nprintf '%s\\n' \"$@\" END >>gh-arguments\n\
         printf '%s' \"${{GH_TOKEN-}}\" >gh-token\n\
         case \"$2\" in\nlist) echo '{listed}';;\n\
         *) echo https://forge.example/me/app/pull/7;;\nesac\n"
    )
}

fn changing(lines: &str) -> Builder {
    Deployment::builder()
        .with_provider("claude", Agent::doing(lines))
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("GH_TOKEN", TOKEN)
}

fn install_gh(deployment: &Deployment, text: &str) {
    let folder = deployment.agents().join("bin");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("gh");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Makes a project whose `origin` is a bare repository beside it.
fn project_with_remote(deployment: &Deployment) -> (Repository, PathBuf) {
    let project = deployment.project("app");
    let remote = deployment.user_home().join("remote.git");
    let text = remote.display().to_string();
    let _said = project.git(&["init", "--quiet", "--bare", &text]);
    let _said = project.git(&["remote", "add", "origin", &format!("file://{text}")]);
    let _said = project.git(&["push", "--quiet", "origin", "main"]);
    (project, remote)
}

fn branches(project: &Repository, remote: &Path) -> Vec<String> {
    let remote = remote.display().to_string();
    let listed = project.git(&["ls-remote", "--heads", &remote]);
    listed
        .lines()
        .filter_map(|line| line.split_once("refs/heads/"))
        .map(|(_, name)| name.to_owned())
        .collect()
}

fn folder(deployment: &Deployment, id: &str) -> PathBuf {
    deployment.home().runtime().join("sessions").join(id)
}

#[test]
fn what_machines_would_run_needs_a_look_before_it_reaches_the_project() {
    let check = |lines: &str, approve: bool| {
        let deployment = changing(lines).start();
        let client = deployment.client();
        let (project, remote) = project_with_remote(&deployment);
        let id = deployment.start_session(&client, project.path());
        let waiting = deployment.session_in(&client, &id, &["waiting_approval"]);
        assert!(waiting["reason"].is_string(), "{waiting:#}");
        assert_eq!(project.branches(), ["main"], "{lines}");
        assert_eq!(branches(&project, &remote), ["main"], "{lines}");
        if approve {
            let _resumed = deployment.loki(&["resume"]).ended_with(0);
            let _done = deployment.session_in(&client, &id, &["completed"]);
            assert_eq!(project.branches().len(), 2, "{lines}");
        } else {
            let _stopped = deployment.loki(&["stop"]).ended_with(0);
            let view = deployment.session_in(&client, &id, &["stopped"]);
            assert_eq!(view["hand_off"]["place"], "runtime", "{view:#}");
            assert_eq!(project.branches(), ["main"], "{lines}");
        }
    };
    check(
        "mkdir -p .github/workflows\necho 'on: push' >.github/workflows/x.yml",
        false,
    );
    check("echo '* filter=evil' >.gitattributes", false);
    check(&format!("echo 'key={TOKEN}' >settings.txt"), false);
    check("echo 'stages: []' >.gitlab-ci.yml", true);
}

#[test]
fn a_stopped_session_hands_its_branch_over_locally_and_publishes_nothing() {
    let deployment = changing("echo begun >begun.txt\nwhile :; do sleep 1; done").start();
    install_gh(&deployment, &gh(""));
    let client = deployment.client();
    let (project, remote) = project_with_remote(&deployment);
    let id = deployment.start_session(&client, project.path());
    let begun = folder(&deployment, &id).join("workspace/begun.txt");
    tests::poll::until("the agent has begun", || begun.exists().then_some(()));
    let _stopped = deployment.loki(&["stop"]).ended_with(0);
    assert_eq!(project.branches().len(), 2, "handed over");
    assert_eq!(branches(&project, &remote), ["main"]);
}

#[test]
fn a_finished_session_is_pushed_and_becomes_a_pull_request() {
    let deployment = changing("env >env.txt\necho done >done.txt").start();
    install_gh(&deployment, &gh(""));
    let client = deployment.client();
    let (project, remote) = project_with_remote(&deployment);
    let main = project.commit("main");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let hand_off = &view["hand_off"];
    assert_eq!(hand_off["is_pushed"], true, "{view:#}");
    assert_eq!(
        hand_off["pull_request"], "https://forge.example/me/app/pull/7",
        "{view:#}"
    );
    let branch = hand_off["branch"].as_str().unwrap();
    assert_eq!(branches(&project, &remote), [branch, "main"]);
    let remote_text = remote.display().to_string();
    let pushed = project.git(&["ls-remote", &remote_text, &format!("refs/heads/{branch}")]);
    assert!(
        pushed.starts_with(hand_off["commit"].as_str().unwrap()),
        "{pushed}"
    );
    assert_eq!(project.commit("main"), main);

    let place = folder(&deployment, &id).join("bundle");
    let arguments = fs::read_to_string(place.join("gh-arguments")).unwrap();
    let body = place.canonicalize().unwrap().join("pull-request.md");
    let expected = [
        "pr",
        "list",
        "--state",
        "open",
        "--head",
        branch,
        "--json",
        "url",
        "--jq",
        ".[0].url",
        "END",
        "pr",
        "create",
        "--base",
        "main",
        "--head",
        branch,
        "--title",
        &format!("my-app: {id}"),
        "--body-file",
        &body.display().to_string(),
        "END",
    ];
    assert_eq!(arguments.lines().collect::<Vec<_>>(), expected);
    let text = fs::read_to_string(body).unwrap();
    assert!(
        text.contains(&id) && text.contains("verification"),
        "{text}"
    );
    assert_eq!(fs::read_to_string(place.join("gh-token")).unwrap(), TOKEN);
    let seen = project.file_at(branch, "env.txt");
    assert!(!seen.contains("GH_TOKEN"), "the agent has no token: {seen}");
}

#[test]
fn an_open_pull_request_of_the_branch_is_brought_up_to_date() {
    let deployment = changing("echo done >done.txt").start();
    install_gh(&deployment, &gh("https://forge.example/me/app/pull/3"));
    let client = deployment.client();
    let (project, _) = project_with_remote(&deployment);
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    assert_eq!(
        view["hand_off"]["pull_request"], "https://forge.example/me/app/pull/3",
        "{view:#}"
    );
    let place = folder(&deployment, &id).join("bundle/gh-arguments");
    let arguments = fs::read_to_string(place).unwrap();
    assert!(
        arguments.contains("pr\nedit\nhttps://forge.example/me/app/pull/3\n"),
        "{arguments}"
    );
    assert!(!arguments.contains("create"), "{arguments}");
}

#[test]
fn without_gh_the_result_says_exactly_what_to_run() {
    let deployment = changing("echo done >done.txt").start();
    let client = deployment.client();
    let (project, remote) = project_with_remote(&deployment);
    let id = deployment.start_session(&client, project.path());
    let view: Value = deployment.session_in(&client, &id, &["completed"]);
    let hand_off = &view["hand_off"];
    assert_eq!(hand_off["is_pushed"], true, "{view:#}");
    assert_eq!(branches(&project, &remote).len(), 2);
    let branch = hand_off["branch"].as_str().unwrap();
    let note = hand_off["note"].as_str().unwrap_or_default();
    let wanted = format!("gh pr create --base main --head {branch}");
    assert!(note.contains(&wanted), "{note}");

    // A remote that only a person's key opens is not touched, and that is said, too.
    let _said = project.git(&[
        "remote",
        "set-url",
        "origin",
        "git@forge.example:me/app.git",
    ]);
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let note = view["hand_off"]["note"].as_str().unwrap_or_default();
    assert_eq!(view["hand_off"]["is_pushed"], false, "{view:#}");
    assert!(note.contains("git push -u origin loki/session-"), "{note}");
    let finished = command::run(
        deployment
            .command("loki")
            .args(["sessions", "show", &id])
            .current_dir(project.path()),
    );
    assert_eq!(finished.code, 0, "{finished}");
}
