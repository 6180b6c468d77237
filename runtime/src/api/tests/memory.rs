//! Looking back on the memory, asked through the door.

use config::contract::learning::{LearningList, LearningView};
use config::contract::memory::{EpisodeList, MemorySummary, Timeline, TimelineKind};
use config::contract::registry::ProjectView;
use config::contract::session::SessionView;
use serde_json::{Value, json};

use super::door::{Called, Change};

async fn project(called: &Called, name: &str) -> ProjectView {
    let path = called.project.with_file_name(name);
    std::fs::create_dir_all(&path).expect("folder");
    let body = json!({ "path": path }).to_string();
    called.post("/api/registry/projects", &body).await.json()
}

async fn pattern(called: &Called, text: &str, project: Option<&ProjectView>) -> LearningView {
    let mut body = json!({ "text": text, "type": "pattern" });
    if let Some(project) = project {
        body["project"] = Value::String(project.id.to_string());
    }
    let answer = called
        .post("/api/registry/learnings", &body.to_string())
        .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

/// A session that has ended: it is stopped while it waits.
async fn ended(called: &Called) -> SessionView {
    let body = json!({
        "prd": { "name": "my-app.md", "text": "Do it." },
        "project": called.project,
    });
    let answer = called.post("/api/sessions", &body.to_string()).await;
    let view: SessionView = answer.json();
    let stopped = called
        .post(&format!("/api/sessions/{}/stop", view.id), "")
        .await;
    assert_eq!(stopped.status, 200, "{stopped:?}");
    stopped.json()
}

#[tokio::test]
async fn what_does_not_exist_is_refused_by_name() {
    let called = Called::new().await;
    let note = json!({ "text": "no pattern" }).to_string();
    let note: LearningView = called.post("/api/registry/learnings", &note).await.json();
    let check = async |target: &str, expected: u16| {
        let problem = called.get(target).await.problem();
        assert_eq!(problem.status, expected, "{target}");
        assert!(problem.detail.is_some(), "{target}");
    };
    check("/api/memory/summary?since=1", 400).await;
    check("/api/memory/summary?project=nope", 404).await;
    check("/api/memory/episodes?limit=0", 400).await;
    check("/api/memory/episodes/nope", 404).await;
    check("/api/memory/episodes/sess-000000000000", 404).await;
    check("/api/memory/patterns/nope", 404).await;
    check(&format!("/api/memory/patterns/{}", note.id), 404).await;
    check("/api/memory/timeline?limit=1001", 400).await;
    let access = called.post("/api/registry/projects/nope/access", "").await;
    assert_eq!(access.problem().status, 404);
}

#[tokio::test]
async fn a_bound_caller_looks_back_on_its_projects_alone() {
    let called = Called::new().await;
    let (mine, other) = (
        project(&called, "mine").await,
        project(&called, "other").await,
    );
    let session = ended(&called).await;
    let known = pattern(&called, "use tabs", Some(&mine)).await;
    let hidden = pattern(&called, "use spaces", Some(&other)).await;
    pattern(&called, "use both", None).await;
    let path = mine.path.clone();
    let change: Change<'_> = &|statement| statement.caller.projects = Some(vec![path.clone()]);
    let get = async |target: &str| called.changed("GET", target, "", change).await;

    let summary: MemorySummary = get("/api/memory/summary").await.json();
    assert_eq!((summary.episodes, summary.learnings.total), (0, 1));
    let episodes: EpisodeList = get("/api/memory/episodes").await.json();
    assert_eq!((episodes.episodes, episodes.total), (Vec::new(), 0));
    let patterns: LearningList = get("/api/memory/patterns").await.json();
    assert_eq!(patterns.learnings, [known]);
    let timeline: Timeline = get("/api/memory/timeline").await.json();
    assert_eq!(timeline.entries.len(), 1);
    for target in [
        format!("/api/memory/episodes/{}", session.id),
        format!("/api/memory/patterns/{}", hidden.id),
        format!("/api/memory/timeline?project={}", other.id),
        format!("/api/memory/summary?project={}", other.id),
        format!("/api/registry/tasks?project_ids={},{}", mine.id, other.id),
    ] {
        assert_eq!(get(&target).await.problem().status, 404, "{target}");
    }
    let target = format!("/api/registry/projects/{}/access", other.id);
    let access = called.changed("POST", &target, "", change).await;
    assert_eq!(access.problem().status, 404);
}

#[tokio::test]
async fn ended_sessions_and_learnings_are_told_in_their_order() {
    let called = Called::new().await;
    let session = ended(&called).await;
    let learned = pattern(&called, "run the tests first\nalways", None).await;

    let summary: MemorySummary = called.get("/api/memory/summary").await.json();
    assert_eq!((summary.episodes, summary.learnings.total), (1, 1));
    assert_eq!(summary.latest_episode, session.ended_at);
    let episode: SessionView = called
        .get(&format!("/api/memory/episodes/{}", session.id))
        .await
        .json();
    assert_eq!(episode.id, session.id);
    let found: LearningView = called
        .get(&format!("/api/memory/patterns/{}", learned.id))
        .await
        .json();
    assert_eq!(found, learned);
    let timeline: Timeline = called.get("/api/memory/timeline?limit=2").await.json();
    let told: Vec<_> = timeline
        .entries
        .iter()
        .map(|entry| (entry.kind, entry.id.as_str(), entry.text.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            (
                TimelineKind::Learning,
                learned.id.as_str(),
                "run the tests first"
            ),
            (TimelineKind::Episode, session.id.as_str(), "my-app.md"),
        ]
    );

    let target = format!("/api/registry/projects?path={}", session.project);
    let list: Value = called.get(&target).await.json();
    let id = list["projects"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let before = list["projects"][0]["last_accessed"].clone();
    assert!(before.is_string(), "{list:#}");
    let opened: ProjectView = called
        .post(&format!("/api/registry/projects/{id}/access"), "")
        .await
        .json();
    assert!(opened.last_accessed.expect("a time").as_str() >= before.as_str().expect("a time"));
}
