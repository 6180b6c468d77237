//! A real syslog receiver gets the whole trail, also over its own death.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use serde_json::Value;
use tests::certificate::Certificate;
use tests::deployment::Deployment;
use tests::poll;
use tests::rsyslog::Rsyslog;

/// Returns the lines of the trail by number.
fn trail(deployment: &Deployment) -> BTreeMap<u64, String> {
    let mut lines = BTreeMap::new();
    for file in deployment.audit().files() {
        let text = fs::read_to_string(file).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        for line in whole.lines() {
            let record: Value = serde_json::from_str(line).unwrap();
            lines.insert(record["seq"].as_u64().unwrap(), line.to_owned());
        }
    }
    lines
}

fn seq_of(message: &Value) -> u64 {
    let data = message["sd"].as_str().unwrap();
    let number = data
        .strip_prefix("[loki@32473 seq=\"")
        .and_then(|rest| rest.strip_suffix("\"]"));
    number.unwrap_or_else(|| panic!("{data}")).parse().unwrap()
}

/// Returns the messages without doubles, in the order in which they came first.
fn first_ones(receiver: &Rsyslog) -> Vec<(u64, Value)> {
    let mut seen = std::collections::BTreeSet::new();
    let messages = receiver.messages().into_iter();
    messages
        .map(|message| (seq_of(&message), message))
        .filter(|(seq, _)| seen.insert(*seq))
        .collect()
}

/// Waits until the receiver has every record of the trail, and compares every field.
fn assert_complete(deployment: &Deployment, receiver: &Rsyslog) {
    let expected = trail(deployment);
    let received = poll::until("the receiver has everything", || {
        let received = first_ones(receiver);
        let has: std::collections::BTreeSet<u64> = received.iter().map(|(seq, _)| *seq).collect();
        expected
            .keys()
            .all(|seq| has.contains(seq))
            .then_some(received)
    });
    let order: Vec<u64> = received.iter().map(|(seq, _)| *seq).collect();
    assert!(order.is_sorted(), "{order:?}");
    for (seq, message) in received {
        let Some(line) = expected.get(&seq) else {
            continue;
        };
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(message["msg"].as_str().unwrap().trim_start(), line);
        let time = DateTime::from_timestamp_millis(record["unix_ms"].as_i64().unwrap()).unwrap();
        let told: DateTime<chrono::Utc> = message["ts"].as_str().unwrap().parse().unwrap();
        assert_eq!(
            told.to_rfc3339_opts(SecondsFormat::Millis, true),
            time.to_rfc3339_opts(SecondsFormat::Millis, true)
        );
        let success = matches!(record["outcome"].as_str(), Some("allowed" | "done"));
        assert_eq!(
            message["pri"],
            if success { "134" } else { "132" },
            "{record}"
        );
        assert_eq!(message["ver"], "1");
        assert_eq!(message["msgid"], record["action"]);
        assert_eq!(message["procid"], deployment.gateway_id().to_string());
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        assert_eq!(message["host"], host.trim());
    }
}

fn ask(deployment: &Deployment, times: usize) {
    let client = deployment.client();
    for _ in 0..times {
        let _read = client.get("/api/status").with_status(200);
    }
    poll::until("the reads are recorded", || {
        (deployment.audit().of_action("status.show").len() >= times).then_some(())
    });
}

fn killed_and_restarted(tls: bool) {
    let place = tempfile::tempdir().unwrap();
    let pair = tls.then(|| Certificate::good(place.path(), "siem"));
    let mut receiver = Rsyslog::start(place.path(), pair.as_ref());
    let mut builder = Deployment::builder()
        .with_variable("LOKI_AUDIT_SYSLOG_HOST", "localhost")
        .with_variable("LOKI_AUDIT_SYSLOG_PORT", &receiver.port().to_string())
        .with_variable("LOKI_AUDIT_SYSLOG_PROTO", if tls { "tls" } else { "tcp" });
    if let Some(pair) = &pair {
        let ca = pair.certificate.display().to_string();
        builder = builder.with_variable("LOKI_AUDIT_SYSLOG_CA", &ca);
    }
    let deployment = builder.start();
    ask(&deployment, 200);
    assert_complete(&deployment, &receiver);
    receiver.kill();
    let dead = Instant::now();
    let long = Duration::from_secs(poll::rounds(0, 30) as u64);
    poll::within(
        long + poll::PATIENCE,
        "changes while the receiver is away",
        || {
            let changed = deployment
                .client()
                .request("POST", "/api/control/stop")
                .send();
            assert_eq!(changed.status, 409, "nobody waits for the receiver");
            (dead.elapsed() >= long).then_some(())
        },
    );
    ask(&deployment, 400);
    receiver.start_again();
    assert_complete(&deployment, &receiver);
    let figures = deployment.client().get("/metrics").with_status(200);
    assert!(
        figures.text().contains("loki_gateway_syslog_connected 1"),
        "{}",
        figures.text()
    );
}

#[test]
fn nothing_is_missing_over_tcp_when_the_receiver_is_killed() {
    killed_and_restarted(false);
}

#[test]
fn nothing_is_missing_over_tls_when_the_receiver_is_killed() {
    killed_and_restarted(true);
}

#[test]
fn a_receiver_with_another_certificate_gets_nothing_and_stops_nothing() {
    let place = tempfile::tempdir().unwrap();
    let pair = Certificate::good(place.path(), "siem");
    let other = Certificate::good(place.path(), "other");
    let receiver = Rsyslog::start(place.path(), Some(&pair));
    let deployment = Deployment::builder()
        .with_variable("LOKI_AUDIT_SYSLOG_HOST", "localhost")
        .with_variable("LOKI_AUDIT_SYSLOG_PORT", &receiver.port().to_string())
        .with_variable("LOKI_AUDIT_SYSLOG_PROTO", "tls")
        .with_variable(
            "LOKI_AUDIT_SYSLOG_CA",
            &other.certificate.display().to_string(),
        )
        .start();
    ask(&deployment, 1);
    poll::until("the operator is told", || {
        deployment
            .log("loki-gateway")
            .contains("cannot be sent to the syslog receiver")
            .then_some(())
    });
    assert_eq!(receiver.messages(), Vec::<Value>::new());
    let figures = deployment.client().get("/metrics").with_status(200);
    assert!(figures.text().contains("loki_gateway_syslog_connected 0"));
}

#[test]
fn signed_checkpoints_leave_the_host_with_the_stream() {
    let place = tempfile::tempdir().unwrap();
    let receiver = Rsyslog::start(place.path(), None);
    let mut deployment = Deployment::builder()
        .with_variable("LOKI_AUDIT_SYSLOG_HOST", "127.0.0.1")
        .with_variable("LOKI_AUDIT_SYSLOG_PORT", &receiver.port().to_string())
        .with_variable("LOKI_AUDIT_SYSLOG_PROTO", "tcp")
        .start();
    ask(&deployment, 3);
    let _code = deployment.stop_gateway();
    let checkpoint = poll::until("the last checkpoint has left", || {
        let messages = receiver.messages();
        messages
            .into_iter()
            .rev()
            .find(|message| message["msgid"] == "audit.checkpoint")
    });
    let kept = place.path().join("kept.json");
    fs::write(&kept, checkpoint["msg"].as_str().unwrap().trim_start()).unwrap();
    let check = [
        "enterprise",
        "audit",
        "verify",
        "--checkpoint",
        kept.to_str().unwrap(),
    ];
    let proven = deployment.loki(&check).ended_with(0);
    assert!(proven.stdout.contains("against everyone"), "{proven}");
    // Whoever has the keys begins anew: the copy that left tells.
    fs::remove_dir_all(deployment.home().audit()).unwrap();
    fs::remove_file(deployment.home().audit_checkpoint()).unwrap();
    deployment.start_gateway();
    ask(&deployment, 30);
    let _code = deployment.stop_gateway();
    let found = deployment.loki(&check).ended_with(1);
    assert!(found.text().contains("kept elsewhere"), "{found}");
    let beginnings = receiver.messages();
    let beginnings = beginnings.iter().filter(|message| seq_of(message) == 1);
    assert_eq!(beginnings.count(), 2, "the new trail has left too");
}

#[test]
fn datagrams_are_sent_and_stop_nothing() {
    let socket = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
    socket.set_read_timeout(Some(poll::PATIENCE)).unwrap();
    let port = socket.local_addr().unwrap().port();
    let deployment = Deployment::builder()
        .with_variable("LOKI_AUDIT_SYSLOG_HOST", "127.0.0.1")
        .with_variable("LOKI_AUDIT_SYSLOG_PORT", &port.to_string())
        .start();
    let mut bytes = vec![0; 16 * 1024];
    let length = socket.recv(&mut bytes).unwrap();
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    assert!(text.starts_with("<134>1 "), "{text}");
    assert!(
        text.contains("[loki@32473 seq=\"1\"] {\"timestamp\":"),
        "{text}"
    );
    drop(socket);
    ask(&deployment, 3);
}
