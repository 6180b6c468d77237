//! The project registry and its tasks, asked through the door.

use std::fs;
use std::os::unix::fs::symlink;

use config::contract::audit::{HEADER as NOTE_HEADER, Note};
use config::contract::registry::{
    DiscoveredList, Health, HealthList, ProjectHealth, ProjectList, ProjectStatus, ProjectView,
    SyncReport, TaskList, TaskStatus,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::json;

use super::door::{Called, Change};

async fn registered(called: &Called, name: &str) -> ProjectView {
    let path = called.project.with_file_name(name);
    fs::create_dir_all(path.join(".git")).expect("folder");
    let body = json!({ "path": path }).to_string();
    let answer = called.post("/api/registry/projects", &body).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()
}

async fn session(called: &Called) {
    let body = json!({
        "prd": { "name": "my-app.md", "text": "Do it." },
        "project": called.project,
    });
    let answer = called.post("/api/sessions", &body.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
}

#[tokio::test]
async fn paths_that_are_no_allowed_folder_are_refused() {
    let called = Called::new().await;
    let root = called.project.parent().expect("root").to_owned();
    symlink("/etc", root.join("link")).expect("link");
    mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).expect("pipe");
    fs::write(root.join("file"), "x").expect("file");
    let check = async |path: &str, expected: u16, said: &str| {
        let body = json!({ "path": path }).to_string();
        let problem = called.post("/api/registry/projects", &body).await.problem();
        assert_eq!(problem.status, expected, "{path}");
        let detail = problem.detail.expect("a detail");
        assert!(detail.contains(said), "{path}: {detail}");
    };
    check("/etc", 422, "outside the allowed folders").await;
    check("/", 422, "outside the allowed folders").await;
    check("relative", 422, "not absolute").await;
    check("", 422, "not absolute").await;
    check("/no\0pe", 422, "cannot open project").await;
    let below = |name: &str| root.join(name).display().to_string();
    check(&below("link"), 422, "outside the allowed folders").await;
    check(&below("pipe"), 422, "not a folder").await;
    check(&below("file"), 422, "not a folder").await;
    check(&below("gone"), 422, "cannot open project").await;
    check(
        &below("my-app/../../.."),
        422,
        "outside the allowed folders",
    )
    .await;
}

#[tokio::test]
async fn names_that_would_mislead_are_refused() {
    let called = Called::new().await;
    registered(&called, "first").await;
    let check = async |name: &str, alias: Option<&str>, expected: u16| {
        let body = json!({ "path": called.project, "name": name, "alias": alias }).to_string();
        let problem = called.post("/api/registry/projects", &body).await.problem();
        assert_eq!(problem.status, expected, "{name:?} {alias:?}");
    };
    check("", None, 422).await;
    check("a\u{1b}[2J", None, 422).await;
    check(&"x".repeat(101), None, 422).await;
    check("a", Some("proj-000000000000"), 422).await;
    check("a", Some("/etc"), 422).await;
    check("a", Some(".."), 422).await;
    check("a", Some("a b"), 422).await;
    let body = json!({ "path": called.project.with_file_name("first"), "alias": "one" });
    let answer = called
        .post("/api/registry/projects", &body.to_string())
        .await;
    assert_eq!(answer.status, 200);
    check("a", Some("one"), 409).await;
}

#[tokio::test]
async fn unknown_parameters_and_values_are_named() {
    let called = Called::new().await;
    let check = async |target: &str, expected: u16, said: &str| {
        let problem = called.get(target).await.problem();
        assert_eq!(problem.status, expected, "{target}");
        let detail = problem.detail.expect("a detail");
        assert!(detail.contains(said), "{target}: {detail}");
    };
    let tasks = "/api/registry/tasks";
    check(&format!("{tasks}?state=in_progress"), 400, "state").await;
    check(&format!("{tasks}?status=running"), 400, "running").await;
    check(&format!("{tasks}?limit=0"), 400, "limit is 0").await;
    check(&format!("{tasks}?limit=1001"), 400, "limit is 1001").await;
    check(&format!("{tasks}?offset=-1"), 400, "offset").await;
    check(&format!("{tasks}?project=nope"), 404, "nope").await;
    check("/api/registry/projects?inactive=1", 400, "inactive").await;
    check("/api/registry/projects/nope", 404, "nope").await;
    check("/api/registry/projects/nope/health", 404, "nope").await;
    check(
        "/api/registry/discover?max_depth=11",
        400,
        "max_depth is 11",
    )
    .await;
}

#[tokio::test]
async fn a_bound_caller_sees_nothing_of_other_projects() {
    let called = Called::new().await;
    let other = registered(&called, "other").await;
    session(&called).await;
    let bound = called.project.display().to_string();
    let change: Change<'_> = &|statement| statement.caller.projects = Some(vec![bound.clone()]);
    let get = async |target: &str| called.changed("GET", target, "", change).await;

    let list: ProjectList = get("/api/registry/projects").await.json();
    let paths: Vec<_> = list.projects.iter().map(|view| &view.path).collect();
    assert_eq!((paths, list.total), (vec![&bound], 1));
    let tasks: TaskList = get("/api/registry/tasks").await.json();
    assert_eq!((tasks.tasks.len(), tasks.total), (1, 1));
    let health: HealthList = get("/api/registry/health").await.json();
    assert_eq!(health.projects.len(), 1);
    let found: DiscoveredList = get("/api/registry/discover").await.json();
    assert_eq!(found.projects.len(), 1);
    for target in [
        format!("/api/registry/projects/{}", other.id),
        format!("/api/registry/projects/{}/health", other.id),
        format!("/api/registry/projects?path={}", other.path),
        format!("/api/registry/tasks?project={}", other.id),
    ] {
        assert_eq!(get(&target).await.problem().status, 404, "{target}");
    }
    let target = format!("/api/registry/projects/{}", other.id);
    let removed = called.changed("DELETE", &target, "", change).await;
    assert_eq!(removed.problem().status, 404);
    let body = json!({ "path": other.path }).to_string();
    let register = called.changed("POST", "/api/registry/projects", &body, change);
    assert_eq!(register.await.problem().status, 403);
    let none: Change<'_> = &|statement| statement.caller.projects = Some(Vec::new());
    let list = called
        .changed("GET", "/api/registry/projects", "", none)
        .await;
    assert_eq!(list.json::<ProjectList>().total, 0);
    let tasks = called.changed("GET", "/api/registry/tasks", "", none).await;
    assert_eq!(tasks.json::<TaskList>().total, 0);
}

#[tokio::test]
async fn a_project_is_registered_once_found_by_every_name_and_removed() {
    let called = Called::new().await;
    let body = json!({ "path": called.project, "name": "My app", "alias": "app" }).to_string();
    let answer = called.post("/api/registry/projects", &body).await;
    assert_eq!(answer.status, 201);
    let view: ProjectView = answer.json();
    let location = format!("/api/registry/projects/{}", view.id);
    assert_eq!(answer.header("location"), Some(location.as_str()));
    let note = answer.header(NOTE_HEADER).expect("an audit note");
    let expected = Note::about("project", view.id.as_str())
        .with("path", view.path.as_str())
        .with("name", "My app")
        .with("new", true);
    assert_eq!(Note::decode(note.as_bytes()), Ok(expected));

    let dotted = called.project.join("../my-app/.");
    let again = json!({ "path": dotted }).to_string();
    let answer = called.post("/api/registry/projects", &again).await;
    assert_eq!((answer.status, answer.json()), (200, view.clone()));
    for target in [location.clone(), "/api/registry/projects/app".to_owned()] {
        assert_eq!(called.get(&target).await.json::<ProjectView>(), view);
    }
    let health: ProjectHealth = called.get(&format!("{location}/health")).await.json();
    assert_eq!(health.status, Health::Uninitialized);
    assert!(health.checks.path_exists && health.checks.git_exists);

    let removed = called.changed("DELETE", &location, "", &|_| ()).await;
    assert_eq!(removed.status, 204);
    assert_eq!(called.get(&location).await.status, 404);
    assert!(called.project.exists());
}

#[tokio::test]
async fn sync_takes_over_what_it_may_and_says_the_rest() {
    let called = Called::new().await;
    let vanishing = registered(&called, "vanishing").await;
    let swapped = registered(&called, "swapped").await;
    let root = called.project.parent().expect("root").to_owned();
    fs::create_dir_all(root.join("found/.loki")).expect("folder");
    let dashboard = root.with_file_name("loki").join("dashboard");
    fs::create_dir_all(&dashboard).expect("folder");
    let upstream = json!({ "version": "1.0", "projects": {
        "aaa": { "path": called.project, "alias": "app" },
        "bbb": { "path": "/etc" },
    }});
    fs::write(dashboard.join("projects.json"), upstream.to_string()).expect("file");
    fs::remove_dir_all(&vanishing.path).expect("removed");
    fs::remove_dir_all(&swapped.path).expect("removed");
    symlink("/etc", &swapped.path).expect("link");

    let report: SyncReport = called.post("/api/registry/sync", "").await.json();
    assert_eq!(
        (report.added, report.updated, report.missing, report.total),
        (2, 2, 2, 4)
    );
    assert_eq!(report.refused.len(), 1);
    assert!(report.refused[0].contains("/etc"), "{report:?}");
    let again: SyncReport = called.post("/api/registry/sync", "").await.json();
    assert_eq!(
        (again.added, again.updated, again.missing, again.total),
        (0, 0, 2, 4)
    );
    let app: ProjectView = called.get("/api/registry/projects/app").await.json();
    assert_eq!(app.path, called.project.display().to_string());
    let health: HealthList = called.get("/api/registry/health").await.json();
    let missing: Vec<_> = health
        .projects
        .iter()
        .filter(|project| project.status == Health::Missing && project.reason.is_some())
        .map(|project| &project.id)
        .collect();
    assert_eq!(missing, [&swapped.id, &vanishing.id]);

    fs::create_dir_all(&vanishing.path).expect("folder");
    let back: SyncReport = called.post("/api/registry/sync", "").await.json();
    assert_eq!((back.updated, back.missing), (1, 1));
    let target = format!("/api/registry/projects/{}", vanishing.id);
    let view: ProjectView = called.get(&target).await.json();
    assert_eq!(view.status, ProjectStatus::Active);
}

#[tokio::test]
async fn sessions_and_queue_files_are_tasks() {
    let called = Called::new().await;
    let other = registered(&called, "other").await;
    session(&called).await;
    session(&called).await;
    let queue = called.project.with_file_name("other").join(".loki/queue");
    fs::create_dir_all(&queue).expect("folder");
    let tasks = json!([{ "id": "t1", "title": "First" }, { "id": "t2", "title": "Second" }]);
    fs::write(queue.join("in-progress.json"), tasks.to_string()).expect("file");
    fs::write(queue.join("failed.json"), "{").expect("file");
    mknodat(
        CWD,
        queue.join("pending.json"),
        FileType::Fifo,
        Mode::RWXU,
        0,
    )
    .expect("pipe");

    let all: TaskList = called.get("/api/registry/tasks").await.json();
    assert_eq!((all.tasks.len(), all.total), (4, 4));
    assert_eq!(all.left_out.len(), 2, "{all:?}");
    let target = "/api/registry/tasks?status=in_progress&project=";
    let some: TaskList = called.get(&format!("{target}{}", other.id)).await.json();
    let ids: Vec<_> = some.tasks.iter().map(|task| task.id.clone()).collect();
    assert_eq!(
        ids,
        [format!("{}:t1", other.id), format!("{}:t2", other.id)]
    );
    assert!(
        some.tasks
            .iter()
            .all(|task| task.status == TaskStatus::InProgress)
    );
    let mut paged = Vec::new();
    for offset in 0..5 {
        let target = format!("/api/registry/tasks?limit=1&offset={offset}");
        let page: TaskList = called.get(&target).await.json();
        assert_eq!(page.total, 4);
        paged.extend(page.tasks.into_iter().map(|task| task.id));
    }
    let whole: Vec<_> = all.tasks.into_iter().map(|task| task.id).collect();
    assert_eq!(paged, whole);
}
