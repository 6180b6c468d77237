//! What is turned away: callers without a valid statement, too little scope, bad requests.

use config::contract::caller::HEADER;
use config::contract::figures::Figures;
use config::contract::operation::{Access, OPERATIONS, Owner};
use config::contract::scope::Scope;
use serde_json::{Value, json};

use super::door::{Called, Change, key, signed};

#[tokio::test]
async fn whoever_has_no_valid_statement_learns_nothing() {
    let called = Called::new().await;
    let good = || called.statement("GET", "/api/status", "*");
    let header = |text: &str| format!("{HEADER}: {text}\r\n");
    let stale = {
        let mut statement = good();
        statement.issued_at_ms -= 31_000;
        signed(&statement)
    };
    let early = {
        let mut statement = good();
        statement.issued_at_ms += 31_000;
        signed(&statement)
    };
    let foreign = key([9; 32]).sign(&good()).expect("signed");
    let altered = {
        let narrow = signed(&called.statement("GET", "/api/status", "audit"));
        let wide = signed(&good());
        let (payload, _) = wide.split_once('.').expect("two parts");
        let (_, tag) = narrow.split_once('.').expect("two parts");
        format!("{payload}.{tag}")
    };
    let twice = header(&signed(&good())) + &header(&signed(&good()));
    for (why, headers) in [
        ("missing", String::new()),
        ("empty", header("")),
        ("nonsense", header("nonsense")),
        ("foreign key", header(&foreign)),
        ("altered", header(&altered)),
        ("stale", header(&stale)),
        ("too early", header(&early)),
        ("two of them", twice),
    ] {
        for target in ["/api/status", "/nothing", "/internal/figures"] {
            let answer = called.raw("GET", target, &headers, "").await;
            let problem = answer.problem();
            assert_eq!(answer.status, 403, "{why} {target}");
            assert_eq!(problem.title, "Only the gateway may call", "{why}");
            assert_eq!((problem.detail, problem.request_id), (None, None), "{why}");
        }
    }
}

#[tokio::test]
async fn a_statement_is_good_for_one_request_alone() {
    let called = Called::new().await;
    let header = format!(
        "{HEADER}: {}\r\n",
        signed(&called.statement("GET", "/api/status", "*"))
    );
    for (method, target) in [
        ("POST", "/api/status"),
        ("GET", "/api/sessions"),
        ("GET", "/api/status?"),
        ("GET", "/api/status?x=1"),
        ("GET", "http://runtime/api/status"),
    ] {
        let answer = called.raw(method, target, &header, "").await;
        assert_eq!(answer.status, 403, "{method} {target}");
    }
    let status = async || called.raw("GET", "/api/status", &header, "").await.status;
    assert_eq!(status().await, 200);
    assert_eq!(status().await, 403, "replayed");
}

#[tokio::test]
async fn too_little_scope_is_refused_here_too() {
    let called = Called::new().await;
    for row in OPERATIONS.iter().filter(|row| row.owner == Owner::Runtime) {
        let Access::Scoped(needed) = row.access else {
            panic!("{row} is public");
        };
        let target = row.path.replace("{id}", "sess-000000000000");
        for held in Scope::EVERY
            .into_iter()
            .filter(|held| !held.includes(needed))
        {
            let narrow: Change<'_> =
                &|statement| statement.caller.scopes = [held].into_iter().collect();
            let answer = called.changed(row.method.name(), &target, "", narrow).await;
            let problem = answer.problem();
            assert_eq!(answer.status, 403, "{row} with {held}");
            assert_eq!(problem.scope.as_deref(), Some(needed.name()), "{row}");
            assert_eq!(
                problem.request_id,
                Some("req-".to_owned() + &"2".repeat(20))
            );
        }
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_refused() {
    let called = Called::new().await;
    let check = async |method: &str, target: &str, status: u16| {
        let answer = called.changed(method, target, "", &|_| ()).await;
        assert_eq!(answer.problem().status, status, "{method} {target}");
    };
    check("GET", "/", 404).await;
    check("GET", "/metrics", 404).await;
    check("GET", "/api/enterprise/audit", 404).await;
    check("GET", "/internal/figures", 404).await;
    check("GET", "/api/sessions/", 404).await;
    check("POST", "/api/status", 405).await;
    check("PUT", "/api/sessions/sess-000000000000", 405).await;
    for id in [
        "sess-000000000000",
        "nonsense",
        "..%2f..",
        "sess-ABCDEFGHIJKL",
    ] {
        check("GET", &format!("/api/sessions/{id}"), 404).await;
        check("GET", &format!("/api/sessions/{id}/events"), 404).await;
        check("POST", &format!("/api/sessions/{id}/stop"), 404).await;
    }
}

#[tokio::test]
async fn only_the_gateway_itself_gets_the_figures() {
    let called = Called::new().await;
    let by_gateway: Change<'_> = &|statement| "gateway".clone_into(&mut statement.caller.principal);
    let answer = called
        .changed("GET", "/internal/figures", "", by_gateway)
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json::<Figures>(), Figures::default());
}

#[tokio::test]
async fn a_body_that_is_not_the_documented_one_is_refused() {
    let called = Called::new().await;
    let good = json!({
        "prd": { "name": "my-app.md", "text": "Do it." },
        "project": called.project,
    });
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body.to_string()
    };
    let cases: [(u16, &str, String); 12] = [
        (400, "empty", String::new()),
        (400, "no object", "[]".to_owned()),
        (
            400,
            "list for object",
            r#"[{"name":"a","text":"b"},"/p"]"#.to_owned(),
        ),
        (400, "cut", good.to_string()[..20].to_owned()),
        (
            400,
            "unknown member",
            with(&|body| body["verify"] = json!(["true"])),
        ),
        (
            400,
            "unknown member below",
            with(&|body| body["prd"]["path"] = json!("/etc")),
        ),
        (
            400,
            "unknown tightening",
            with(&|body| body["tighten"] = json!({ "loosen": true })),
        ),
        (
            400,
            "number",
            with(&|body| body["iterations_max"] = json!(-1)),
        ),
        (
            422,
            "empty prd",
            with(&|body| body["prd"]["text"] = json!(" ")),
        ),
        (
            422,
            "relative",
            with(&|body| body["project"] = json!("my-app")),
        ),
        (
            422,
            "not there",
            with(&|body| body["project"] = json!("/projects/none")),
        ),
        (
            422,
            "paths outside",
            with(&|body| body["tighten"] = json!({ "allowed_paths": ["/etc"] })),
        ),
    ];
    for (status, why, body) in cases {
        let answer = called.post("/api/sessions", &body).await;
        let problem = answer.problem();
        assert_eq!(answer.status, status, "{why}: {problem:?}");
        assert!(problem.detail.is_some(), "{why}: {problem:?}");
    }
    // The shortest of the bounds, so that the body fits into the socket before it is refused.
    let long = "x".repeat(64 * 1024 + 1);
    assert_eq!(called.post("/api/control/stop", &long).await.status, 413);
    assert_eq!(called.store.sessions(None, 10).await.expect("list"), []);
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_refused() {
    let called = Called::new().await;
    let statement = signed(&called.statement("POST", "/api/sessions", "*"));
    let headers = format!("{HEADER}: {statement}\r\ncontent-type: text/plain\r\n");
    // The first content-type counts; a second one makes no difference to a form of a foreign page.
    let answer = called.raw("POST", "/api/sessions", &headers, "").await;
    assert_eq!(answer.status, 400);
}

#[tokio::test]
async fn an_unknown_provider_is_refused_with_the_fix() {
    let called = Called::new().await;
    let body = json!({
        "prd": { "name": "my-app.md", "text": "Do it." },
        "project": called.project,
        "provider": "nobody",
    });
    let problem = called
        .post("/api/sessions", &body.to_string())
        .await
        .problem();
    assert_eq!(problem.status, 422);
    let fix = problem.fix.expect("a fix");
    assert!(
        fix.contains("[providers.nobody]") && fix.contains("runtime.toml"),
        "{fix}"
    );
}

#[tokio::test]
async fn strange_pages_of_events_are_refused() {
    let called = Called::new().await;
    for query in [
        "limit=0",
        "limit=1001",
        "limit=x",
        "after=-1",
        "before=1",
        "limit=1&limit=2",
    ] {
        let target = format!("/api/sessions/sess-000000000000/events?{query}");
        assert_eq!(called.get(&target).await.problem().status, 400, "{query}");
    }
}
