//! The nine documented families are there, with the documented types, and tell the truth.

use std::collections::BTreeMap;

use tests::agent::Agent;
use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::issuer::Issuer;
use tests::poll;

const FAMILIES: [(&str, &str); 9] = [
    ("loki_session_status", "gauge"),
    ("loki_iteration_current", "gauge"),
    ("loki_iteration_max", "gauge"),
    ("loki_tasks_total", "gauge"),
    ("loki_agents_active", "gauge"),
    ("loki_agents_total", "gauge"),
    ("loki_cost_usd", "gauge"),
    ("loki_events_total", "counter"),
    ("loki_uptime_seconds", "gauge"),
];

/// The text format 0.0.4, read strictly.
#[derive(Debug, Default)]
struct Exposition {
    types: BTreeMap<String, String>,
    samples: BTreeMap<String, f64>,
}

impl Exposition {
    fn of(client: &Client) -> Self {
        let answer = client.get("/metrics").with_status(200);
        let kind = answer.field("content-type").unwrap_or_default();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        Self::read(answer.text())
    }

    fn read(text: &str) -> Self {
        let mut exposition = Self::default();
        let mut helped = Vec::new();
        assert!(text.ends_with('\n'), "the last line has an end");
        for line in text.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                helped.push(help.split(' ').next().unwrap().to_owned());
            } else if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap();
                assert!(
                    helped.iter().any(|helped| helped == name),
                    "no HELP for {name}"
                );
                let before = exposition.types.insert(name.to_owned(), kind.to_owned());
                assert_eq!(before, None, "{name} twice");
            } else if !line.is_empty() {
                let (series, value) = line.rsplit_once(' ').unwrap();
                let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
                let before = exposition.samples.insert(series.to_owned(), value);
                assert_eq!(before, None, "{series} twice");
            }
        }
        exposition
    }

    fn value(&self, series: &str) -> f64 {
        *self
            .samples
            .get(series)
            .unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }
}

#[test]
fn the_nine_families_have_the_documented_types() {
    let deployment = Deployment::builder().start();
    let exposition = Exposition::of(&deployment.client());
    for (family, kind) in FAMILIES {
        assert_eq!(
            exposition.types.get(family).map(String::as_str),
            Some(kind),
            "{family}"
        );
        let labelled: Vec<_> = exposition
            .samples
            .keys()
            .filter(|series| series.split('{').next() == Some(family))
            .collect();
        assert!(!labelled.is_empty(), "{family} has no sample");
        for series in labelled {
            let allowed = !series.contains('{') || series.starts_with("loki_tasks_total{status=\"");
            assert!(allowed, "{series} has a label that is not documented");
        }
    }
}

#[test]
fn with_tokens_on_metrics_need_read() {
    let deployment = Deployment::builder().with_tokens().start();
    let nobody = deployment.client();
    let _refused = nobody.get("/metrics").with_status(401);
    let token = deployment.token("scraper", &["--scopes", "read"]);
    let _served = nobody
        .with_token(&token.raw)
        .get("/metrics")
        .with_status(200);
}

#[test]
fn the_values_are_true_over_three_sessions() {
    let deployment = Deployment::builder()
        .with_provider("repairs", Agent::repairing())
        .with_provider("fails", Agent::failing())
        .with_provider("stays", Agent::never_ending())
        .with_variable("LOKI_MAX_ITERATIONS", "3")
        .start();
    let client = deployment.client();
    let before = Exposition::of(&client);
    for family in [
        "loki_session_status",
        "loki_iteration_current",
        "loki_agents_active",
        "loki_uptime_seconds",
    ] {
        assert_eq!(before.value(family), 0.0, "{family} without a session");
    }
    let start = |name: &str, provider: &str| {
        let project = deployment.project(name);
        let mut body = tests::deployment::session_request(project.path());
        body["provider"] = provider.into();
        let answer = client.post("/api/sessions", &body);
        answer.json()["id"]
            .as_str()
            .map(str::to_owned)
            .unwrap_or_else(|| panic!("{}", answer.text()))
    };
    let done = start("one", "repairs");
    let _view = deployment.session_in(&client, &done, &["completed"]);
    let broken = start("two", "fails");
    let _view = deployment.session_in(&client, &broken, &["failed"]);
    let live = start("three", "stays");
    let _view = deployment.session_in(&client, &live, &["running"]);
    let during = poll::until("the live session is counted", || {
        let exposition = Exposition::of(&client);
        (exposition.value("loki_agents_active") == 1.0).then_some(exposition)
    });
    assert_eq!(during.value("loki_session_status"), 1.0);
    assert_eq!(during.value("loki_iteration_current"), 1.0);
    assert_eq!(during.value("loki_iteration_max"), 3.0);
    assert_eq!(during.value("loki_agents_total"), 1.0);
    assert_eq!(during.value("loki_cost_usd"), 0.0);
    assert!(during.value("loki_uptime_seconds") > 0.0);
    let events = during.value("loki_events_total");
    assert!(events > before.value("loki_events_total"));
    let stop = format!("/api/sessions/{live}/stop");
    let _stopped = client.request("POST", &stop).send();
    let _view = deployment.session_in(&client, &live, &["stopped"]);
    let after = Exposition::of(&client);
    for family in [
        "loki_session_status",
        "loki_iteration_current",
        "loki_iteration_max",
        "loki_agents_active",
        "loki_uptime_seconds",
    ] {
        assert_eq!(after.value(family), 0.0, "{family} after the last session");
    }
    assert!(after.value("loki_events_total") > events);
}

/// Pending, in progress, completed and failed tasks.
fn tasks(client: &Client) -> [f64; 4] {
    let exposition = Exposition::of(client);
    ["pending", "in_progress", "completed", "failed"]
        .map(|status| exposition.value(&format!("loki_tasks_total{{status=\"{status}\"}}")))
}

#[test]
fn tasks_are_counted_by_status_as_they_are_made_moved_ended_and_over_a_restart() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::never_ending())
        .with_runtime_settings("sessions.live_max = 1\n")
        .start();
    let client = deployment.client();
    assert_eq!(tasks(&client), [0.0; 4]);
    let made: Vec<String> = (0..5)
        .map(|number| {
            let task = serde_json::json!({"title": format!("Task {number}.")});
            let answer = client.post("/api/tasks", &task).with_status(201);
            let path = format!("/api/tasks/{}", answer.json()["id"].as_str().unwrap());
            assert_eq!(tasks(&client), [f64::from(number + 1), 0.0, 0.0, 0.0]);
            path
        })
        .collect();
    let to = |task: usize, status: &str| {
        let body = serde_json::json!({ "status": status });
        let path = format!("{}/move", made[task]);
        let _moved = client.post(&path, &body).with_status(200);
        tasks(&client)
    };
    assert_eq!(to(0, "in_progress"), [4.0, 1.0, 0.0, 0.0]);
    assert_eq!(to(1, "in_progress"), [3.0, 2.0, 0.0, 0.0]);
    assert_eq!(to(0, "completed"), [3.0, 1.0, 1.0, 0.0]);
    assert_eq!(to(1, "failed"), [3.0, 0.0, 1.0, 1.0]);
    assert_eq!(to(1, "pending"), [4.0, 0.0, 1.0, 0.0]);
    assert_eq!(to(1, "failed"), [3.0, 0.0, 1.0, 1.0]);
    let _gone = client.request("DELETE", &made[4]).send().with_status(204);
    assert_eq!(tasks(&client), [2.0, 0.0, 1.0, 1.0]);

    // A live session's PRD is a task, too: one works, the next one waits for its place.
    let works = deployment.start_session(&client, deployment.project("one").path());
    let _view = deployment.session_in(&client, &works, &["running"]);
    let waits = deployment.start_session(&client, deployment.project("two").path());
    assert_eq!(tasks(&client), [3.0, 1.0, 1.0, 1.0]);
    for kills in [true, false] {
        if kills {
            deployment.kill_runtime();
        } else {
            assert_eq!(deployment.stop_runtime(), Some(0));
        }
        deployment.start_runtime();
        let _view = deployment.session_in(&client, &works, &["running"]);
        assert_eq!(tasks(&client), [3.0, 1.0, 1.0, 1.0]);
    }
    for id in [&works, &waits] {
        let stop = format!("/api/sessions/{id}/stop");
        let _stopped = client.request("POST", &stop).send();
        let _view = deployment.session_in(&client, id, &["stopped"]);
    }
    assert_eq!(tasks(&client), [2.0, 0.0, 1.0, 1.0]);
}

#[test]
fn the_event_counter_survives_the_runtime() {
    let mut deployment = Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let _view = deployment.session_in(&client, &id, &["completed"]);
    let before = Exposition::of(&client).value("loki_events_total");
    assert!(before > 0.0);
    deployment.stop_runtime();
    deployment.start_runtime();
    let after = poll::until("the runtime is asked again", || {
        let exposition = Exposition::of(&client);
        (exposition.value("loki_up{process=\"runtime\"}") == 1.0).then_some(exposition)
    });
    assert!(after.value("loki_events_total") >= before);
}

#[test]
fn labels_stay_bounded_under_random_paths() {
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    let _served = client.get("/api/status");
    let _missing = client.get("/api/nothing-at-all");
    let _counts_itself = Exposition::of(&client);
    let before = Exposition::of(&client).samples.len();
    for number in 0..poll::rounds(100, 10_000) {
        let _missing = client.get(&format!("/api/nothing-{number}"));
    }
    let after = Exposition::of(&client).samples.len();
    assert!(after <= before, "{before} series became {after}");
}

#[test]
fn labels_stay_bounded_under_random_users() {
    let issuer = Issuer::start();
    let deployment = Deployment::builder()
        .with_variable("LOKI_OIDC_ISSUER", &issuer.url())
        .with_variable("LOKI_OIDC_CLIENT_ID", "client")
        .with_gateway_settings("[oidc]\nallow_loopback_http = true\n[rates]\nread = \"off\"\n")
        .start();
    let client = |user: &str| deployment.client().with_token(&issuer.token(user));
    poll::until("the issuer's keys are known", || {
        (client("first").get("/metrics").status == 200).then_some(())
    });
    let ask = |number: usize| {
        let client = client(&format!("user-{number}"));
        let _served = client.get("/api/status").with_status(200);
        let _missing = client
            .get(&format!("/api/nothing-{number}"))
            .with_status(404);
    };
    ask(0);
    let reader = client("reader");
    let _counts_itself = Exposition::of(&reader);
    let before = Exposition::of(&reader);
    for number in 1..poll::rounds(100, 10_000) {
        ask(number);
    }
    let after = Exposition::of(&reader);
    assert_eq!(
        before.samples.keys().collect::<Vec<_>>(),
        after.samples.keys().collect::<Vec<_>>(),
    );
    let served = "loki_gateway_requests_total{auth_method=\"oidc\",method=\"GET\",operation=\"status.show\",status_class=\"2xx\"}";
    let rounds = f64::from(u32::try_from(poll::rounds(100, 10_000)).unwrap());
    assert_eq!(after.value(served), rounds);
}

#[test]
fn a_trace_context_reaches_the_runtime_as_it_is() {
    let deployment = Deployment::builder().without_runtime().start();
    let runtime = Capture::listen(&deployment.home().runtime_socket(), "{}");
    let context = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let client = deployment.client();
    let request = client.request("GET", "/api/status");
    let _served = request
        .field("traceparent", context)
        .send()
        .with_status(200);
    let reached = runtime.requests_for("GET /api/status");
    assert_eq!(reached[0].values("traceparent"), [context]);
}

#[test]
fn loki_metrics_prints_the_same_and_can_be_searched() {
    let deployment = Deployment::builder().start();
    let printed = Exposition::read(&deployment.loki(&["metrics"]).output());
    for (family, kind) in FAMILIES {
        assert_eq!(
            printed.types.get(family).map(String::as_str),
            Some(kind),
            "{family}"
        );
    }
    let line = "loki metrics | grep loki_cost_usd";
    let finished = tests::command::run(deployment.foreign_command("sh").args(["-c", line]));
    assert!(finished.output().contains("loki_cost_usd 0"));
}
