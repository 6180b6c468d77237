//! After `kill -9` of the runtime nothing runs on, and every session says what became of it.

use std::path::PathBuf;

use config::contract::session::{HandOffPlace, SessionState, Status};

use crate::deployment::{Deployment, processes_of, reason, until};

#[test]
fn a_killed_runtime_leaves_no_orphan_and_hands_over_the_last_checkpoint() {
    // The first iteration leaves work, the second never ends, not even when asked to.
    let agent = "if [ -f answer.txt ]; then \
        setsid sh -c 'trap \"\" TERM HUP; echo deaf; while :; do sleep 600; done' & \
        while :; do sleep 600; done; \
        fi; echo kept > answer.txt";
    let settings = "[branch]\nprotection = true\n[verify]\ncommand = [\"false\"]\n";
    let mut deployment = Deployment::start(agent, settings);
    let id = deployment.begin().id;
    deployment.written(&id, "deaf");
    let before = deployment.events(&id);
    deployment.kill_runtime();

    deployment.start_runtime();
    assert_eq!(processes_of(&id), Vec::<PathBuf>::new());
    let view = deployment.show(&id);
    assert_eq!(
        reason(&view, SessionState::Failed),
        "the runtime ended while the session was running"
    );
    let hand_off = view.hand_off.clone().expect("handed over");
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 1)
    );
    let text = deployment.git(&["show", &format!("{}:answer.txt", view.branch)]);
    assert_eq!(text, "kept");
    assert_eq!(deployment.git(&["fsck", "--strict"]), "");
    // Nothing that was acknowledged is lost.
    let after = deployment.events(&id).events;
    assert!(after.starts_with(&before.events));
    let status: Status = deployment.call(200, "GET", "/api/status", "");
    assert_eq!(
        (status.status.as_str(), status.active_sessions),
        ("stopped", 0)
    );
    assert_eq!(deployment.stop(&id), view);

    // The deployment is as good as new.
    let next = deployment.begin().id;
    until("the next session", || {
        (deployment.show(&next).iteration > 0).then_some(())
    });
    deployment.stop(&next);
}
