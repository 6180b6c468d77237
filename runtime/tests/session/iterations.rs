//! A session works until its verify command succeeds, or gives up with the reason.

use config::contract::session::{HandOffPlace, SessionState, Verification};

use crate::deployment::{Deployment, reason, told};

const PROTECTED: &str = "[branch]\nprotection = true\n";

#[test]
fn a_session_that_never_succeeds_fails_after_its_last_iteration() {
    let settings = format!(
        "{PROTECTED}[verify]\ncommand = [\"sh\", \"-c\", \"echo not yet; exit 3\"]\n\
         [sessions]\niterations_max = 2\n"
    );
    let deployment = Deployment::start("echo more >> answer.txt", &settings);
    let view = deployment.ended(&deployment.begin().id);
    assert_eq!(
        reason(&view, SessionState::Failed),
        "not done after 2 iterations: in the last one the verify command ended with 3"
    );
    let failed = Verification::Failed {
        exit_code: 3,
        output: "not yet\n".to_owned(),
    };
    assert_eq!(view.verification, failed);
    // What was done is there to be looked at.
    let hand_off = view.hand_off.expect("handed over");
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 2)
    );
    let text = deployment.git(&["show", &format!("{}:answer.txt", hand_off.branch)]);
    assert_eq!(text, "more\nmore");
}

#[test]
fn a_session_that_changes_nothing_and_fails_alike_is_stuck() {
    let deployment = Deployment::start("echo cannot >&2; exit 7", PROTECTED);
    let view = deployment.ended(&deployment.begin().id);
    assert_eq!(
        reason(&view, SessionState::Failed),
        "stuck: two iterations in a row changed nothing and the agent's program ended with 7"
    );
    assert_eq!(view.iteration, 2);
    let branches = deployment.git(&["branch", "--list", "loki/*"]);
    assert_eq!(branches, "");
}

#[test]
fn an_agent_over_its_bounds_is_ended_and_the_session_says_so() {
    let settings = "[sessions]\niterations_max = 1\niteration_timeout = \"300ms\"\n\
                    stop_grace = \"100ms\"\n";
    let deployment = Deployment::start("sleep 600", settings);
    let view = deployment.ended(&deployment.begin().id);
    let why = reason(&view, SessionState::Failed);
    assert!(
        why.contains("the agent was ended: it ran longer than"),
        "{why}"
    );

    let settings = "[sessions]\niterations_max = 1\noutput_bytes_max = 1000\n";
    let deployment = Deployment::start("while :; do echo flood; done", settings);
    let view = deployment.ended(&deployment.begin().id);
    let why = reason(&view, SessionState::Failed);
    assert!(
        why.contains("the agent was ended: it wrote more than 1000 bytes"),
        "{why}"
    );
}

#[test]
fn a_session_works_until_it_is_verified_and_leaves_main_alone() {
    let deployment = second_time_lucky();
    let main = deployment.git(&["rev-parse", "main"]);
    let begun = deployment.begin();
    let view = deployment.ended(&begun.id);
    assert_eq!(reason(&view, SessionState::Completed), "");
    assert_eq!(
        (view.iteration, &view.verification),
        (2, &Verification::Passed)
    );
    let hand_off = view.hand_off.clone().expect("handed over");
    assert_eq!(hand_off.branch, view.branch);
    assert_eq!(
        (hand_off.place, hand_off.commits),
        (HandOffPlace::Project, 2)
    );

    assert_eq!(deployment.git(&["rev-parse", "main"]), main);
    assert_eq!(
        deployment.git(&["status", "--porcelain", "--", ":!.loki"]),
        ""
    );
    assert_eq!(deployment.git(&["fsck", "--strict"]), "");
    let file = |name: &str| deployment.git(&["show", &format!("{}:{name}", view.branch)]);
    assert_eq!(file("answer.txt"), "fixed");
    let prompt = file("prompt");
    assert!(prompt.contains("iteration 2 of at most 50"), "{prompt}");
    assert!(
        prompt.contains("the verify command ended with 1"),
        "{prompt}"
    );
    assert!(prompt.contains("answer.txt"), "{prompt}");
}

#[test]
fn everything_that_happens_is_told_in_numbered_events() {
    let deployment = second_time_lucky();
    let view = deployment.ended(&deployment.begin().id);
    let page = deployment.events(&view.id);
    assert_eq!(
        told(&page),
        [
            "state created",
            "state preparing",
            "state running",
            "commit",
            "state verifying",
            "verification failed",
            "state running",
            "commit",
            "state verifying",
            "verification passed",
            "hand_off",
            "state completed",
        ]
    );
    let numbers: Vec<u64> = page.events.iter().map(|event| event.seq).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len() as u64));
}

#[test]
fn the_agent_audit_holds_what_the_agent_did() {
    let deployment = second_time_lucky();
    let view = deployment.ended(&deployment.begin().id);
    let records = deployment.audited(&view.id);
    let actions: Vec<_> = records
        .iter()
        .map(|record| record["action"].as_str())
        .collect();
    assert_eq!(
        actions,
        [
            "session_start",
            "provider_invoke",
            "git_commit",
            "verification",
            "provider_invoke",
            "git_commit",
            "verification",
            "hand_over",
            "session_stop",
        ]
        .map(Some)
    );
    assert_eq!(records[2]["agent"], "scripted");
    assert_eq!(records[2]["details"]["message"], "my-app.md: iteration 1");
    assert_eq!(records[2]["details"]["files_changed"], 2);
}

#[test]
fn without_a_verify_command_the_result_is_unverified() {
    let deployment = Deployment::start("echo done > answer.txt", "");
    let view = deployment.ended(&deployment.begin().id);
    assert_eq!(reason(&view, SessionState::Completed), "");
    assert_eq!(view.verification, Verification::Unverified);
    // Branch protection is off: the project's clean branch is moved forward.
    let place = view.hand_off.map(|hand_off| hand_off.place);
    assert_eq!(place, Some(HandOffPlace::ProjectHead));
    assert_eq!(deployment.git(&["show", "main:answer.txt"]), "done");
}

/// Starts a deployment whose agent does the right thing in its second iteration.
fn second_time_lucky() -> Deployment {
    let agent = "if [ -f tried ]; then echo fixed > answer.txt; else touch tried; fi; cat > prompt";
    let settings = format!("{PROTECTED}[verify]\ncommand = [\"sh\", \"-c\", \"cat answer.txt\"]\n");
    Deployment::start(agent, &settings)
}
