use std::sync::Arc;
use std::time::Duration;

use config::contract::caller::AuthMethod;
use config::contract::figures::{Figures, TaskCounts};
use config::contract::operation;

use super::{Metrics, Scrape};
use crate::audit::Audit;
use crate::refusal::Refusal;

fn metrics() -> Metrics {
    Metrics::new(Audit::disabled().tally())
}

fn figures() -> Figures {
    Figures {
        session_status: 1,
        iteration_current: 3,
        iteration_max: 20,
        tasks: TaskCounts {
            pending: 4,
            in_progress: 1,
            completed: 7,
            failed: 2,
        },
        agents_active: 1,
        agents_total: 2,
        cost_usd: 1.25,
        events_total: 9_007,
        uptime_seconds: 61.5,
    }
}

/// Returns the samples of the families whose name begins so.
fn samples<'a>(text: &'a str, start: &str) -> Vec<&'a str> {
    text.lines()
        .filter(|line| line.starts_with(start))
        .collect()
}

#[test]
fn without_the_runtime_its_families_are_left_out() {
    let text = metrics().render(&Scrape::default());
    assert_eq!(
        samples(&text, "loki_up{"),
        [
            r#"loki_up{process="gateway"} 1"#,
            r#"loki_up{process="runtime"} 0"#
        ]
    );
    for family in [
        "loki_session",
        "loki_cost",
        "loki_events",
        "loki_tasks",
        "loki_uptime",
    ] {
        assert_eq!(samples(&text, family), [""; 0], "{family}");
    }
}

#[test]
fn statuses_and_paths_of_a_caller_make_no_new_labels() {
    let metrics = metrics();
    for status in [0, 42, 99, 600, 65_535] {
        metrics.request(None, status, AuthMethod::None, Duration::ZERO);
    }
    assert_eq!(
        samples(
            &metrics.render(&Scrape::default()),
            "loki_gateway_requests_total"
        ),
        [
            "loki_gateway_requests_total{auth_method=\"none\",method=\"other\",\
             operation=\"unknown\",status_class=\"none\"} 5"
        ]
    );
}

#[test]
fn the_nine_documented_families_show_the_figures() {
    let text = metrics().render(&Scrape {
        figures: Some(&figures()),
        ..Scrape::default()
    });
    let documented: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("loki_gateway_") && !line.starts_with("loki_up{"))
        .filter(|line| !line.starts_with("process_") && !line.starts_with('#'))
        .collect();
    assert_eq!(
        documented,
        [
            "loki_agents_active 1",
            "loki_agents_total 2",
            "loki_cost_usd 1.25",
            "loki_events_total 9007",
            "loki_iteration_current 3",
            "loki_iteration_max 20",
            "loki_session_status 1",
            r#"loki_tasks_total{status="completed"} 7"#,
            r#"loki_tasks_total{status="failed"} 2"#,
            r#"loki_tasks_total{status="in_progress"} 1"#,
            r#"loki_tasks_total{status="pending"} 4"#,
            "loki_uptime_seconds 61.5",
        ]
    );
    for (family, kind) in [
        ("loki_session_status", "gauge"),
        ("loki_iteration_current", "gauge"),
        ("loki_iteration_max", "gauge"),
        ("loki_tasks_total", "gauge"),
        ("loki_agents_active", "gauge"),
        ("loki_agents_total", "gauge"),
        ("loki_cost_usd", "gauge"),
        ("loki_events_total", "counter"),
        ("loki_uptime_seconds", "gauge"),
    ] {
        assert!(text.contains(&format!("# HELP {family} ")), "{family}");
        assert!(
            text.contains(&format!("# TYPE {family} {kind}\n")),
            "{family}"
        );
    }
}

#[test]
fn requests_and_refusals_are_counted_by_what_they_were() {
    let metrics = metrics();
    let status = operation::named("status.show");
    metrics.request(status, 200, AuthMethod::Token, Duration::from_millis(3));
    metrics.request(status, 204, AuthMethod::Token, Duration::from_millis(30));
    metrics.request(status, 403, AuthMethod::Token, Duration::ZERO);
    metrics.refused(&Refusal::UnknownPath);
    let text = metrics.render(&Scrape::default());
    assert_eq!(
        samples(&text, "loki_gateway_requests_total"),
        [
            "loki_gateway_requests_total{auth_method=\"token\",method=\"GET\",\
             operation=\"status.show\",status_class=\"2xx\"} 2",
            "loki_gateway_requests_total{auth_method=\"token\",method=\"GET\",\
             operation=\"status.show\",status_class=\"4xx\"} 1",
        ]
    );
    let duration = |sample: &str| {
        let start = format!("loki_gateway_request_duration_seconds_{sample}");
        samples(&text, &start).concat()
    };
    assert!(duration("bucket{operation=\"status.show\",le=\"0.005\"}").ends_with(" 2"));
    assert!(duration("count").ends_with(" 3"));
    let refused: Vec<&str> = samples(&text, "loki_gateway_refusals_total")
        .into_iter()
        .filter(|line| !line.ends_with(" 0"))
        .collect();
    assert_eq!(
        refused,
        [r#"loki_gateway_refusals_total{reason="unknown_path"} 1"#]
    );
}

#[tokio::test]
async fn the_audit_shows_what_it_wrote() {
    use crate::audit::record::{Draft, Outcome, Phase};

    let kept = tempfile::tempdir().expect("a temporary directory");
    let home = config::home::Home::new(kept.path().to_owned());
    let audit = Audit::open(&home, true, 16).expect("opened");
    let metrics = Metrics::new(audit.tally());
    let draft = Draft::new("config.change", Phase::Event, Outcome::Done);
    audit.durable(draft).await.expect("written");
    let text = metrics.render(&Scrape::default());
    assert_eq!(
        samples(&text, "loki_gateway_audit_sync_duration_seconds_count"),
        ["loki_gateway_audit_sync_duration_seconds_count 1"]
    );
    let of_disk = ["_disk_free", "_sync_duration"];
    let shown: Vec<&str> = samples(&text, "loki_gateway_audit")
        .into_iter()
        .filter(|line| !of_disk.iter().any(|part| line.contains(part)))
        .collect();
    assert_eq!(
        shown,
        [
            "loki_gateway_audit_disk_low 0",
            "loki_gateway_audit_last_seq 1",
            "loki_gateway_audit_queue_records 0",
            "loki_gateway_audit_records_lost_total 0",
            "loki_gateway_audit_records_refused_total 0",
            "loki_gateway_audit_records_written_total 1",
            "loki_gateway_audit_writable 1",
        ]
    );
}

#[test]
fn counting_from_many_threads_loses_nothing() {
    let metrics = Arc::new(metrics());
    let threads: Vec<_> = (0..4)
        .map(|_| {
            let metrics = Arc::clone(&metrics);
            std::thread::spawn(move || {
                for _ in 0..10_000 {
                    let status = operation::named("status.show");
                    metrics.request(status, 200, AuthMethod::Local, Duration::ZERO);
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("no panic");
    }
    let text = metrics.render(&Scrape::default());
    assert!(samples(&text, "loki_gateway_requests_total")[0].ends_with(" 40000"));
}
