//! Stopping ends the whole process tree and hands over what was done.

use config::contract::session::{HandOffPlace, SessionState};

use crate::deployment::{Deployment, processes_of, reason};

/// Leaves work, then two processes, one of them detached and deaf, and waits.
const BUSY: &str = "echo begun > answer.txt; \
    setsid sh -c 'trap \"\" TERM HUP; echo deaf; while :; do sleep 600; done' & \
    while :; do sleep 600; done";

const QUICK: &str = "[sessions]\nstop_grace = \"100ms\"\n";

#[test]
fn stopping_ends_every_process_and_hands_the_work_over() {
    let deployment = Deployment::start(BUSY, QUICK);
    let id = deployment.begin().id;
    deployment.written(&id, "deaf");
    assert!(processes_of(&id).len() >= 2);
    let view = deployment.stop(&id);
    assert_eq!(processes_of(&id), Vec::<std::path::PathBuf>::new());
    assert_eq!(
        reason(&view, SessionState::Stopped),
        "stopped by token:ci-bot"
    );
    let hand_off = view.hand_off.clone().expect("handed over");
    // What was not finished never moves the project's own branch.
    assert_eq!(hand_off.place, HandOffPlace::Project);
    let text = deployment.git(&["show", &format!("{}:answer.txt", view.branch)]);
    assert_eq!(text, "begun");
    assert_eq!(deployment.stop(&id), view);

    let records = deployment.audited(&id);
    let last = records.last().expect("a record");
    assert_eq!(last["action"], "session_stop");
    assert_eq!(last["details"]["user"], "token:ci-bot");
    assert!(
        last["request_id"]
            .as_str()
            .is_some_and(|id| id.starts_with("req-"))
    );
}

#[test]
fn an_orderly_end_of_the_runtime_leaves_its_sessions_to_the_next() {
    let mut deployment = Deployment::start(BUSY, QUICK);
    let id = deployment.begin().id;
    deployment.written(&id, "deaf");
    assert_eq!(deployment.end_runtime(), Some(0));
    assert_eq!(processes_of(&id), Vec::<std::path::PathBuf>::new());
    assert!(!deployment.home.runtime_socket().exists());
    deployment.start_runtime();
    let view = deployment.show(&id);
    assert!(!view.state.is_final(), "{view:?}");
    let view = deployment.stop(&id);
    assert_eq!(view.state, SessionState::Stopped);
    assert!(view.hand_off.is_some_and(|hand_off| hand_off.commits >= 1));
}
