//! The session operations over a worker that runs until it is stopped.

use config::contract::audit::{HEADER as NOTE_HEADER, Note};
use config::contract::figures::Figures;
use config::contract::session::{SessionEvents, SessionList, SessionState, SessionView, Status};
use serde_json::json;

use super::door::{Called, Change};

fn body(called: &Called) -> String {
    json!({
        "prd": { "name": "my-app.md", "text": "Do it." },
        "project": called.project,
        "provider": "scripted",
    })
    .to_string()
}

async fn started(called: &Called) -> SessionView {
    let answer = called.post("/api/sessions", &body(called)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn stop(called: &Called, view: &SessionView) -> SessionView {
    let target = format!("/api/sessions/{}/stop", view.id);
    let answer = called.post(&target, "").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Asks for events until the session is in a state; each answer waits for the store.
async fn reached(called: &Called, view: &SessionView, state: SessionState) -> SessionEvents {
    let target = format!("/api/sessions/{}/events", view.id);
    loop {
        let page: SessionEvents = called.get(&target).await.json();
        if page.state == state {
            return page;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_started_session_is_answered_as_documented() {
    let called = Called::new().await;
    let answer = called.post("/api/sessions", &body(&called)).await;
    let view: SessionView = answer.json();
    assert_eq!(answer.status, 201);
    let location = format!("/api/sessions/{}", view.id);
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let note = answer.header(NOTE_HEADER).expect("an audit note");
    assert_eq!(
        Note::decode(note.as_bytes()),
        Ok(Note::about("session", view.id.as_str())
            .with("prd", "my-app.md")
            .with("provider", "scripted"))
    );
    assert_eq!(view.state, SessionState::Created);
    assert_eq!(view.started_by, "token:ci-bot");
    assert_eq!(view.project, called.project.display().to_string());
    let controls: Vec<&str> = view
        .effective_enforcement
        .iter()
        .map(|row| row.control.as_str())
        .collect();
    assert_eq!(controls.len(), 2, "{controls:?}");
    assert_eq!(controls[1], "blocked commands");
    assert_eq!(view.cost_usd, None);
}

#[tokio::test]
async fn stopping_ends_the_session_and_stopping_again_changes_nothing() {
    let called = Called::new().await;
    let view = started(&called).await;
    reached(&called, &view, SessionState::Running).await;
    let ended = stop(&called, &view).await;
    assert_eq!(ended.state, SessionState::Stopped);
    assert_eq!(ended.reason.as_deref(), Some("stopped by token:ci-bot"));
    assert!(ended.ended_at.is_some());
    assert_eq!(stop(&called, &view).await, ended);
    let shown: SessionView = called
        .get(&format!("/api/sessions/{}", view.id))
        .await
        .json();
    assert_eq!(shown, ended);

    let page = reached(&called, &view, SessionState::Stopped).await;
    let told: Vec<_> = page
        .events
        .iter()
        .map(|event| (event.seq, event.kind.as_str(), event.data["to"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (1, "state", json!("created")),
            (2, "state", json!("preparing")),
            (3, "state", json!("running")),
            (4, "state", json!("stopped")),
        ]
    );
    let target = format!("/api/sessions/{}/events?after=1&limit=2", view.id);
    let page: SessionEvents = called.get(&target).await.json();
    let seqs: Vec<_> = page.events.iter().map(|event| event.seq).collect();
    assert_eq!(seqs, [2, 3]);
}

#[tokio::test]
async fn stopping_without_an_id_needs_exactly_one_live_session() {
    let called = Called::new().await;
    let target = "/api/control/stop";
    let none = called.post(target, "").await.problem();
    assert_eq!(none.kind, "urn:loki:problem:no-live-session");
    assert_eq!(none.status, 409);

    let (first, second) = (started(&called).await, started(&called).await);
    let several = called.post(target, "").await.problem();
    assert_eq!(several.status, 409);
    assert_eq!(
        several.candidates,
        [second.id.to_string(), first.id.to_string()]
    );
    stop(&called, &second).await;
    let stopped: SessionView = called.post(target, "{}").await.json();
    assert_eq!(
        (stopped.id, stopped.state),
        (first.id, SessionState::Stopped)
    );
}

#[tokio::test]
async fn a_session_over_the_cap_waits_and_one_over_the_queue_is_sent_away() {
    let called = Called::with_settings("[sessions]\nlive_max = 1\nqueue_max = 1\n").await;
    let first = started(&called).await;
    let second = started(&called).await;
    let full = called.post("/api/sessions", &body(&called)).await;
    assert_eq!(full.problem().kind, "urn:loki:problem:queue-full");
    assert_eq!((full.status, full.header("retry-after")), (503, Some("5")));

    reached(&called, &first, SessionState::Running).await;
    let status: Status = called.get("/api/status").await.json();
    assert_eq!((status.active_sessions, status.pending_tasks), (2, 1));
    assert_eq!(
        (status.status.as_str(), status.phase.as_str()),
        ("running", "created")
    );
    stop(&called, &first).await;
    reached(&called, &second, SessionState::Running).await;
    let third = started(&called).await;
    let waiting = stop(&called, &third).await;
    assert_eq!(waiting.state, SessionState::Stopped);
    stop(&called, &second).await;
}

#[tokio::test]
async fn a_caller_bound_to_other_projects_sees_nothing_of_it() {
    let called = Called::new().await;
    let view = started(&called).await;
    reached(&called, &view, SessionState::Running).await;
    let elsewhere: Change<'_> =
        &|statement| statement.caller.projects = Some(vec!["/projects/other".to_owned()]);
    let get = async |target: &str| called.changed("GET", target, "", elsewhere).await;
    let post =
        async |target: &str, body: &str| called.changed("POST", target, body, elsewhere).await;
    assert_eq!(post("/api/sessions", &body(&called)).await.status, 403);
    for suffix in ["", "/events"] {
        let target = format!("/api/sessions/{}{suffix}", view.id);
        assert_eq!(get(&target).await.status, 404, "{target}");
    }
    let target = format!("/api/sessions/{}/stop", view.id);
    assert_eq!(post(&target, "").await.status, 404);
    assert_eq!(post("/api/control/stop", "").await.status, 409);
    assert_eq!(
        get("/api/sessions").await.json::<SessionList>().sessions,
        []
    );
    assert_eq!(get("/api/status").await.json::<Status>().active_sessions, 0);

    let own = called.project.display().to_string();
    let here: Change<'_> = &|statement| statement.caller.projects = Some(vec![own.clone()]);
    let listed = called.changed("GET", "/api/sessions", "", here).await;
    assert_eq!(listed.json::<SessionList>().sessions.len(), 1);
    stop(&called, &view).await;
}

#[tokio::test]
async fn figures_follow_the_sessions() {
    let called = Called::new().await;
    let view = started(&called).await;
    reached(&called, &view, SessionState::Running).await;
    let by_gateway: Change<'_> = &|statement| "gateway".clone_into(&mut statement.caller.principal);
    let figures = async || {
        let answer = called
            .changed("GET", "/internal/figures", "", by_gateway)
            .await;
        answer.json::<Figures>()
    };
    let live = figures().await;
    assert_eq!(
        (live.session_status, live.agents_total, live.events_total),
        (1, 1, 3)
    );
    assert_eq!((live.iteration_max, live.tasks.in_progress), (50, 1));
    stop(&called, &view).await;
    let expected = Figures {
        events_total: 4,
        ..Figures::default()
    };
    assert_eq!(figures().await, expected);
}

#[tokio::test]
async fn an_orderly_end_leaves_what_runs_to_the_next_run_and_takes_nothing_more() {
    let called = Called::new().await;
    let view = started(&called).await;
    let left = called
        .sessions
        .shut_down(std::time::Duration::from_secs(30))
        .await;
    assert_eq!(left, []);
    let refused = called.post("/api/sessions", &body(&called)).await.problem();
    assert_eq!(refused.kind, "urn:loki:problem:shutting-down");
    let shown: SessionView = called
        .get(&format!("/api/sessions/{}", view.id))
        .await
        .json();
    // Nothing of it runs any more, and what is stored has not ended.
    assert!(called.sessions.live().is_empty());
    assert!(!shown.state.is_final(), "{shown:?}");
    assert_eq!(shown.reason, None);
    assert!(
        called
            .server
            .drained(std::time::Duration::from_secs(30))
            .await
    );
}
