//! What becomes of a request whose record cannot be written: its caller is told what is not known, and the
//! trail says what it lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tests::capture::Capture;
use tests::client::{Client, Response};
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

fn change(client: &Client) -> Response {
    client.request("POST", "/api/control/stop").send()
}

#[test]
fn an_outcome_that_cannot_be_recorded_is_told_to_be_uncertain() {
    let deployment = Deployment::builder().without_runtime().start();
    // While a change is at the runtime, the disk stops to take anything.
    let failing = Arc::new(AtomicU32::new(0));
    let process = Arc::clone(&failing);
    let runtime = Capture::scripted(&deployment.home().runtime_socket(), move |_, peer| {
        let id = process.load(Ordering::SeqCst);
        if id > 0 {
            process::let_write(id, false);
        }
        peer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        )
    });
    let client = deployment.client();
    let _done = change(&client).with_status(200);
    failing.store(deployment.gateway_id(), Ordering::SeqCst);
    let uncertain = change(&client).with_status(503);
    let problem = uncertain.problem();
    assert_eq!(problem.kind, "urn:loki:problem:audit_uncertain");
    assert!(
        uncertain.text().contains("may have been carried out"),
        "{}",
        uncertain.text()
    );
    // Asking again by itself could do it twice.
    assert_eq!(uncertain.field("retry-after"), None);
    let id = problem.request_id.expect("the request is named");
    assert_eq!(uncertain.field("x-request-id"), Some(id.as_str()));
    let reached = runtime.requests_for("POST");
    assert_eq!(reached.len(), 2, "it was carried out");
    assert_eq!(reached[1].values("x-request-id"), [id.as_str()]);
    failing.store(0, Ordering::SeqCst);
    process::let_write(deployment.gateway_id(), true);
    poll::until("changes are accepted again", || {
        (change(&client).status == 200).then_some(())
    });
    let records = deployment.audit().records();
    let of = |phase: &str| {
        records
            .iter()
            .any(|record| record["request_id"] == id.as_str() && record["phase"] == phase)
    };
    assert!(of("decision"), "what was decided is on record");
    assert!(!of("outcome"), "what was not told is not on record");
    let verify = ["enterprise", "audit", "verify"];
    let _valid = deployment.loki(&verify).ended_with(0);
}

#[test]
fn reads_go_on_without_a_disk_and_the_gap_is_a_record() {
    const READS: u64 = 50;
    let deployment = Deployment::builder().without_runtime().start();
    let _runtime = Capture::listen(&deployment.home().runtime_socket(), "{}");
    let client = deployment.client();
    let _read = client.get("/api/status").with_status(200);
    let _recorded = deployment
        .audit()
        .until("the read", |record| record["action"] == "status.show");
    process::let_write(deployment.gateway_id(), false);
    for _ in 0..READS {
        let _read = client.get("/api/status").with_status(200);
    }
    let lost = poll::until("the loss is counted", || {
        let figures = client.get("/metrics").with_status(200);
        let line = figures.text().lines().find_map(|line| {
            line.strip_prefix("loki_gateway_audit_records_lost_total ")
                .and_then(|value| value.parse::<f64>().ok())
        });
        line.filter(|lost| *lost > 0.0)
    });
    process::let_write(deployment.gateway_id(), true);
    poll::until("the gap is on record", || {
        // A record makes the writer look again.
        let _read = client.get("/api/status").with_status(200);
        let gaps = deployment.audit().of_action("audit.gap");
        let told = gaps
            .iter()
            .filter_map(|gap| gap["details"]["lost"].as_u64());
        #[expect(clippy::cast_precision_loss, reason = "a small count")]
        let told = told.sum::<u64>() as f64;
        (told >= lost).then_some(())
    });
    let recorded = deployment.audit().of_action("status.show").len() as u64;
    let gaps = deployment.audit().of_action("audit.gap");
    let told: u64 = gaps
        .iter()
        .filter_map(|gap| gap["details"]["lost"].as_u64())
        .sum();
    assert!(recorded + told > READS, "{recorded} recorded, {told} lost");
    let verify = ["enterprise", "audit", "verify"];
    let _valid = deployment.loki(&verify).ended_with(0);
}
