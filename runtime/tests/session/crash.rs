//! After `kill -9` of the runtime nothing runs on, and the next run carries its sessions on.

use std::path::PathBuf;

use config::contract::session::{HandOffPlace, SessionState, Status};

use crate::deployment::{Deployment, processes_of, reason, until};

#[test]
fn a_killed_runtime_leaves_no_orphan_and_the_next_one_carries_on() {
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
    until("nothing of it runs", || {
        processes_of(&id).is_empty().then_some(())
    });

    deployment.start_runtime();
    until("its agent works again", || {
        (processes_of(&id).len() >= 2).then_some(())
    });
    let view = deployment.show(&id);
    assert_eq!((view.state, view.iteration), (SessionState::Running, 2));
    // Nothing that was acknowledged is lost.
    let after = deployment.events(&id).events;
    assert!(after.starts_with(&before.events));
    let view = deployment.stop(&id);
    assert_eq!(processes_of(&id), Vec::<PathBuf>::new());
    assert_eq!(
        reason(&view, SessionState::Stopped),
        "stopped by token:ci-bot"
    );
    let hand_off = view.hand_off.clone().expect("handed over");
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 1)
    );
    let text = deployment.git(&["show", &format!("{}:answer.txt", view.branch)]);
    assert_eq!(text, "kept");
    assert_eq!(deployment.git(&["fsck", "--strict"]), "");
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
