use chrono::{DateTime, TimeDelta, Utc};
use config::contract::approval::{ApprovalState, Outcome};
use config::contract::id::ApprovalId;
use config::contract::session::SessionState;
use serde_json::json;

use super::{Decider, NewApproval, StoredApproval};
use crate::approval::state::{Happening, Step};
use crate::session::state::Move;
use crate::store::Store;
use crate::store::tests::{Fixture, new_session, now};

fn asking(byte: u8, digest: &str) -> NewApproval {
    NewApproval {
        id: ApprovalId::from_random([byte; 12]),
        session: new_session(1).view.id,
        gate: "first_run",
        iteration: 0,
        summary: "run it".to_owned(),
        why: "staged".to_owned(),
        digest: digest.to_owned(),
        action: json!({ "prompt": "do it" }),
        deadline: now() + TimeDelta::hours(1),
    }
}

fn somebody(name: &str) -> Decider {
    Decider {
        user: format!("token:{name}"),
        principal: format!("tok-{name}"),
        reason: None,
    }
}

async fn happens(
    store: &Store,
    id: &ApprovalId,
    happening: Happening<'_>,
    now: DateTime<Utc>,
) -> (Step, StoredApproval) {
    let by = somebody("other");
    let changed = store.approval_happens(id, happening, Some(&by), now).await;
    changed.expect("stored").expect("known")
}

#[tokio::test]
async fn what_is_asked_again_counts_only_if_it_is_the_same() {
    let fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let store = &fixture.store;
    let first = store
        .ask_approval(&asking(1, "a"), now())
        .await
        .expect("asked");
    let again = store
        .ask_approval(&asking(2, "a"), now())
        .await
        .expect("asked");
    assert_eq!(first.view.id, again.view.id);
    let other = store
        .ask_approval(&asking(3, "b"), now())
        .await
        .expect("asked");
    assert_ne!(first.view.id, other.view.id);
    let old = store
        .approval(&first.view.id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(old.view.state, ApprovalState::Superseded);
    let nobody = NewApproval {
        session: new_session(9).view.id,
        ..asking(4, "a")
    };
    assert!(store.ask_approval(&nobody, now()).await.is_err());
}

#[tokio::test]
async fn a_crash_at_any_step_loses_no_decision_and_repeats_none() {
    let mut fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let id = asking(1, "a").id;
    fixture
        .store
        .ask_approval(&asking(1, "a"), now())
        .await
        .expect("asked");
    fixture = fixture.reopened().await;
    let (step, _) = happens(&fixture.store, &id, Happening::Consume("a"), now()).await;
    assert_eq!(step, Step::Refused, "nothing is used before a yes");
    let (step, _) = happens(&fixture.store, &id, Happening::Approve, now()).await;
    assert_eq!(step, Step::To(ApprovalState::Approved));
    fixture = fixture.reopened().await;
    let counts = fixture
        .store
        .ask_approval(&asking(2, "a"), now())
        .await
        .expect("asked");
    assert_eq!(
        counts.view.id, id,
        "the decision outlives the connection to the store"
    );
    assert_eq!(counts.view.decided_by.as_deref(), Some("token:other"));
    let (step, _) = happens(&fixture.store, &id, Happening::Consume("a"), now()).await;
    assert_eq!(step, Step::To(ApprovalState::Consumed));
    fixture = fixture.reopened().await;
    let (step, _) = happens(&fixture.store, &id, Happening::Consume("a"), now()).await;
    assert_eq!(step, Step::Refused, "it is used once");
    assert_eq!(fixture.store.mark_indeterminate().await.expect("marked"), 1);
    let left = fixture
        .store
        .approval(&id)
        .await
        .expect("read")
        .expect("kept");
    assert_eq!(left.view.outcome, Some(Outcome::Indeterminate));
    let fresh = fixture
        .store
        .ask_approval(&asking(3, "a"), now())
        .await
        .expect("asked");
    assert_ne!(fresh.view.id, id, "a person is asked again");
    assert_eq!(fresh.view.state, ApprovalState::Requested);
}

#[tokio::test]
async fn what_was_approved_and_not_used_is_asked_anew_after_a_restart() {
    let mut fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let asked = fixture.store.ask_approval(&asking(1, "a"), now()).await;
    let id = asked.expect("asked").view.id;
    let (step, _) = happens(&fixture.store, &id, Happening::Approve, now()).await;
    assert_eq!(step, Step::To(ApprovalState::Approved));
    fixture = fixture.reopened().await;
    assert_eq!(fixture.store.mark_indeterminate().await.expect("marked"), 0);
    let (step, left) = happens(&fixture.store, &id, Happening::Consume("a"), now()).await;
    assert_eq!(
        (step, left.view.state),
        (Step::Refused, ApprovalState::Lapsed)
    );
    let fresh = fixture.store.ask_approval(&asking(2, "a"), now()).await;
    let fresh = fresh.expect("asked").view;
    assert_ne!(fresh.id, id, "a person is asked again");
    assert_eq!(fresh.state, ApprovalState::Requested);
}

#[tokio::test]
async fn a_deadline_holds_after_a_restart_and_when_the_clock_jumps() {
    let mut fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let id = asking(1, "a").id;
    fixture
        .store
        .ask_approval(&asking(1, "a"), now())
        .await
        .expect("asked");
    fixture = fixture.reopened().await;
    let late = now() + TimeDelta::hours(1);
    let (step, _) = happens(&fixture.store, &id, Happening::Approve, late).await;
    assert_eq!(step, Step::To(ApprovalState::Expired));
    let (step, _) = happens(&fixture.store, &id, Happening::Approve, now()).await;
    assert_eq!(
        step,
        Step::Refused,
        "setting the clock back revives nothing"
    );
}

#[tokio::test]
async fn many_decide_at_once_and_one_kind_wins() {
    let fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let id = asking(1, "a").id;
    fixture
        .store
        .ask_approval(&asking(1, "a"), now())
        .await
        .expect("asked");
    let mut deciders = tokio::task::JoinSet::new();
    for number in 0..20 {
        let (store, id) = (fixture.store.clone(), id.clone());
        deciders.spawn(async move {
            let word = if number % 2 == 0 {
                Happening::Approve
            } else {
                Happening::Reject
            };
            let by = somebody(&number.to_string());
            let changed = store.approval_happens(&id, word, Some(&by), now()).await;
            changed.expect("stored").expect("known").0
        });
    }
    let mut moved = Vec::new();
    while let Some(step) = deciders.join_next().await {
        if let Step::To(state) = step.expect("decided") {
            moved.push(state);
        }
    }
    assert_eq!(moved.len(), 1, "{moved:?}");
    let uses = uses_of(&fixture.store, &id, 10).await;
    let used = usize::from(moved[0] == ApprovalState::Approved);
    assert_eq!(uses, used);
}

/// Uses an approval many times at once and returns how often that was let through.
async fn uses_of(store: &Store, id: &ApprovalId, times: usize) -> usize {
    let mut users = tokio::task::JoinSet::new();
    for _ in 0..times {
        let (store, id) = (store.clone(), id.clone());
        users.spawn(async move {
            let changed = store
                .approval_happens(&id, Happening::Consume("a"), None, now())
                .await;
            changed.expect("stored").expect("known").0
        });
    }
    let mut used = 0;
    while let Some(step) = users.join_next().await {
        used += usize::from(step.expect("used") == Step::To(ApprovalState::Consumed));
    }
    used
}

#[tokio::test]
async fn what_an_ended_session_waited_for_ends_with_it() {
    let fixture = Fixture::new().await;
    let session = new_session(1);
    fixture.create(&session).await;
    let id = asking(1, "a").id;
    fixture
        .store
        .ask_approval(&asking(1, "a"), now())
        .await
        .expect("asked");
    assert_eq!(
        fixture.store.end_approvals(None).await.expect("ended"),
        0,
        "it lives"
    );
    let step = Move::new(SessionState::Created, SessionState::Stopped).expect("legal");
    let mut view = session.view;
    view.state = SessionState::Stopped;
    fixture
        .store
        .record(step, &view, Vec::new(), now())
        .await
        .expect("stopped");
    assert_eq!(fixture.store.end_approvals(None).await.expect("ended"), 1);
    let (step, left) = happens(&fixture.store, &id, Happening::Approve, now()).await;
    assert_eq!(
        (step, left.view.state),
        (Step::Refused, ApprovalState::Cancelled)
    );
}

#[tokio::test]
async fn a_rejection_that_the_session_did_not_hear_of_counts_when_it_asks_again() {
    let mut fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let asked = fixture.store.ask_approval(&asking(1, "a"), now()).await;
    let id = asked.expect("asked").view.id;
    let (step, _) = happens(&fixture.store, &id, Happening::Reject, now()).await;
    assert_eq!(step, Step::To(ApprovalState::Rejected));
    fixture = fixture.reopened().await;
    assert_eq!(fixture.store.mark_indeterminate().await.expect("marked"), 0);
    let again = fixture.store.ask_approval(&asking(2, "a"), now()).await;
    let again = again.expect("asked").view;
    assert_eq!((again.id, again.state), (id, ApprovalState::Rejected));
    let other = fixture.store.ask_approval(&asking(3, "b"), now()).await;
    let other = other.expect("asked").view;
    assert_eq!(
        other.state,
        ApprovalState::Requested,
        "it is something else"
    );
    let later = fixture.store.ask_approval(&asking(4, "a"), now()).await;
    let later = later.expect("asked").view;
    assert_eq!(
        later.state,
        ApprovalState::Requested,
        "it was not the last word"
    );
}

#[tokio::test]
async fn what_a_program_asked_that_has_ended_with_the_runtime_cannot_be_decided() {
    let fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let operation = NewApproval {
        gate: "operation",
        ..asking(1, "a")
    };
    let asked = fixture.store.ask_approval(&operation, now()).await;
    let id = asked.expect("asked").view.id;
    assert_eq!(fixture.store.mark_indeterminate().await.expect("marked"), 0);
    let (step, left) = happens(&fixture.store, &id, Happening::Approve, now()).await;
    assert_eq!(
        (step, left.view.state),
        (Step::Refused, ApprovalState::Cancelled)
    );
}
