use std::os::unix::fs::PermissionsExt;

use chrono::{DateTime, Utc};
use config::contract::id::{RequestId, SessionId};
use config::contract::session::{
    AutonomyMode, HandOff, HandOffPlace, SessionState, SessionView, Usage, Verification,
};
use serde_json::json;

use super::{NewEvent, NewSession, Process, Store, StoreError, Unfinished};
use crate::session::state::Move;

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp_millis(1_770_033_600_000).expect("a time")
}

pub(super) fn new_session(byte: u8) -> NewSession {
    NewSession {
        view: SessionView {
            id: SessionId::from_random([byte; 12]),
            state: SessionState::Created,
            reason: None,
            project: format!("/projects/{byte}"),
            prd: "my-app.md".to_owned(),
            provider: "claude".to_owned(),
            started_by: "token:ci-bot".to_owned(),
            iteration: 0,
            iterations_max: 5,
            branch: format!("loki/session-{byte}"),
            verification: Verification::Pending,
            hand_off: None,
            autonomy_mode: AutonomyMode::Perpetual,
            staged_autonomy: false,
            effective_enforcement: Vec::new(),
            cost_usd: None,
            usage: Usage::default(),
            budget_usd: None,
            model: None,
            created_at: "2026-02-02T12:00:00.000Z".to_owned(),
            ended_at: None,
        },
        prd_text: "Do it.".to_owned(),
        principal: "tok-00000000".to_owned(),
        request_id: RequestId::from_random([byte; 20]),
        branch_protection: true,
        blocked_commands: Vec::new(),
        sandbox: false,
        allowed_paths: None,
        readable: None,
        start_key: None,
    }
}

fn note(text: &str) -> NewEvent {
    NewEvent::new("note", json!({ "text": text }))
}

pub(super) struct Fixture {
    directory: tempfile::TempDir,
    pub(super) store: Store,
}

impl Fixture {
    pub(super) async fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(&directory.path().join("runtime/runtime.db"))
            .await
            .expect("store");
        Self { directory, store }
    }

    pub(super) async fn reopened(self) -> Self {
        self.store.close().await;
        let path = self.directory.path().join("runtime/runtime.db");
        let store = Store::open(&path).await.expect("store again");
        Self { store, ..self }
    }

    pub(super) async fn create(&self, session: &NewSession) {
        self.store
            .create(session, note("created"), now())
            .await
            .expect("created");
    }
}

#[tokio::test]
async fn a_move_from_another_state_is_refused_and_changes_nothing() {
    let fixture = Fixture::new().await;
    let session = new_session(1);
    fixture.create(&session).await;
    let step = Move::new(SessionState::Preparing, SessionState::Running).expect("legal");
    let mut view = session.view.clone();
    view.state = SessionState::Running;
    let refused = fixture
        .store
        .record(step, &view, vec![note("x")], now())
        .await;
    assert!(matches!(refused, Err(StoreError::NotInState(_))));
    let stored = fixture.store.session(&view.id).await.expect("read");
    assert_eq!(stored, Some(session.view.clone()));
    let events = fixture.store.events(&view.id, 0, 10).await.expect("read");
    assert_eq!(events.map(|page| page.events.len()), Some(1));
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_left_alone() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("runtime.db");
    std::fs::write(&path, b"not a database, but somebody's file").expect("write");
    assert!(Store::open(&path).await.is_err());
    assert_eq!(
        std::fs::read(&path).expect("read"),
        b"not a database, but somebody's file"
    );
}

#[tokio::test]
async fn only_the_owner_can_read_the_store() {
    let fixture = Fixture::new().await;
    fixture.create(&new_session(1)).await;
    let folder = fixture.directory.path().join("runtime");
    let mode = |path: &std::path::Path| {
        std::fs::metadata(path)
            .expect("metadata")
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!(mode(&folder), 0o700);
    for name in ["runtime.db", "runtime.db-wal", "runtime.db-shm"] {
        assert_eq!(mode(&folder.join(name)), 0o600, "{name}");
    }
}

#[tokio::test]
async fn what_was_recorded_is_there_after_a_restart() {
    let fixture = Fixture::new().await;
    let (first, second) = (new_session(1), new_session(2));
    fixture.create(&first).await;
    fixture.create(&second).await;
    let mut view = first.view.clone();
    view.state = SessionState::Failed;
    view.reason = Some("why".to_owned());
    view.iteration = 3;
    view.verification = Verification::Failed {
        exit_code: 1,
        output: "no".to_owned(),
    };
    view.hand_off = Some(HandOff {
        branch: "loki/session-1".to_owned(),
        place: HandOffPlace::Project,
        commit: "abc".to_owned(),
        commits: 1,
        files_changed: 2,
        is_pushed: false,
        pull_request: None,
        note: None,
    });
    view.ended_at = Some("2026-02-02T12:00:01.000Z".to_owned());
    let step = Move::new(SessionState::Created, SessionState::Failed).expect("legal");
    fixture
        .store
        .record(step, &view, vec![note("a"), note("b")], now())
        .await
        .expect("recorded");

    let fixture = fixture.reopened().await;
    let store = &fixture.store;
    assert_eq!(
        store.session(&view.id).await.expect("read"),
        Some(view.clone())
    );
    assert_eq!(
        store.sessions(None, 10).await.expect("list"),
        [second.view.clone(), view.clone()]
    );
    assert_eq!(
        store
            .sessions(Some(&["/projects/1".to_owned()]), 10)
            .await
            .expect("list"),
        [view]
    );
    assert_eq!(store.sessions(Some(&[]), 10).await.expect("list"), []);
    assert_eq!(
        store.unfinished().await.expect("list"),
        [Unfinished {
            session: second,
            stop: None,
        }]
    );
    assert_eq!(store.events_total(), 4);
}

#[tokio::test]
async fn events_are_numbered_from_1_without_a_gap() {
    let fixture = Fixture::new().await;
    let session = new_session(1);
    fixture.create(&session).await;
    let id = &session.view.id;
    for texts in [vec!["a", "b"], vec![], vec!["c"]] {
        let events = texts.into_iter().map(note).collect();
        fixture
            .store
            .append(id, events, now())
            .await
            .expect("appended");
    }
    let page = |after, limit| fixture.store.events(id, after, limit);
    let seqs = |page: Option<config::contract::session::SessionEvents>| {
        page.map(|page| {
            page.events
                .iter()
                .map(|event| event.seq)
                .collect::<Vec<_>>()
        })
    };
    assert_eq!(
        seqs(page(0, 10).await.expect("page")),
        Some(vec![1, 2, 3, 4])
    );
    assert_eq!(seqs(page(1, 2).await.expect("page")), Some(vec![2, 3]));
    assert_eq!(seqs(page(4, 2).await.expect("page")), Some(vec![]));
    let unknown = SessionId::from_random([9; 12]);
    assert_eq!(
        fixture.store.events(&unknown, 0, 1).await.expect("page"),
        None
    );
    assert_eq!(fixture.store.events_total(), 4);
}

#[tokio::test]
async fn processes_are_remembered_until_they_are_gone() {
    let fixture = Fixture::new().await;
    let session = new_session(1);
    fixture.create(&session).await;
    let process = Process {
        pid: 4_194_304,
        started: 77,
    };
    for _ in 0..2 {
        fixture
            .store
            .remember_process(&session.view.id, process)
            .await
            .expect("remembered");
    }
    let fixture = fixture.reopened().await;
    assert_eq!(fixture.store.processes().await.expect("list"), [process]);
    fixture
        .store
        .forget_processes(&session.view.id)
        .await
        .expect("forgotten");
    assert_eq!(fixture.store.processes().await.expect("list"), []);
}

#[tokio::test]
async fn an_older_run_of_the_runtime_writes_no_more() {
    let fixture = Fixture::new().await;
    let session = new_session(1);
    fixture.create(&session).await;
    let path = fixture.directory.path().join("runtime/runtime.db");
    let newer = Store::open(&path).await.expect("store again");
    let id = &session.view.id;
    let older = &fixture.store;
    let appended = older.append(id, vec![note("late")], now()).await;
    assert!(matches!(appended, Err(StoreError::Superseded)));
    let step = Move::new(SessionState::Created, SessionState::Preparing).expect("a move");
    let mut view = session.view.clone();
    view.state = SessionState::Preparing;
    let recorded = older.record(step, &view, Vec::new(), now()).await;
    assert!(matches!(recorded, Err(StoreError::Superseded)));
    newer
        .append(id, vec![note("in time")], now())
        .await
        .expect("the newest run writes");
}

#[tokio::test]
async fn costs_are_summed_and_the_newest_of_projects_are_found() {
    let fixture = Fixture::new().await;
    let costs = [Some(0.1), Some(-1e300), Some(0.2), Some(1e300), Some(0.3)];
    for (byte, cost) in (1..).zip(costs) {
        let mut session = new_session(byte);
        session.view.cost_usd = cost;
        session.view.state = SessionState::Completed;
        session.view.project = ["even", "odd"][usize::from(byte % 2)].to_owned();
        fixture.create(&session).await;
    }
    let total = fixture.store.cost_usd().await.ok();
    assert_eq!(total, Some(1_000_000.6), "one cannot spoil the sum");
    let found = async |projects: &[&str], limit| {
        let projects: Vec<String> = projects.iter().map(|name| (*name).to_owned()).collect();
        let views = fixture.store.sessions(Some(&projects), limit).await;
        let views = views.expect("listed");
        views.into_iter().map(|view| view.id).collect::<Vec<_>>()
    };
    let ids = |bytes: &[u8]| -> Vec<_> {
        let id = |byte: &u8| new_session(*byte).view.id;
        bytes.iter().map(id).collect()
    };
    assert_eq!(found(&["odd"], 9).await, ids(&[5, 3, 1]));
    assert_eq!(found(&["odd"], 2).await, ids(&[5, 3]));
    assert_eq!(found(&["odd", "odd", "even"], 4).await, ids(&[5, 4, 3, 2]));
    assert_eq!(found(&[], 9).await, ids(&[]));
    assert_eq!(found(&["other"], 9).await, ids(&[]));
    let spoiled = new_session(4).view.id;
    fixture.store.remove_session(&spoiled).await.expect("gone");
    assert_eq!(fixture.store.cost_usd().await.ok(), Some(0.6));
}
