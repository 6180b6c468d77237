//! Idle TLS connections stay within their memory, and no descriptor stays behind.

use std::fs;

use tests::deployment::Deployment;
use tests::poll;

/// Connections at once; each needs two descriptors on this side.
const CONNECTIONS: usize = 1_000;

/// Resident bytes that one idle TLS connection may cost in an unoptimised build, as the suite runs it.
const BYTES_MAX: u64 = 48 * 1024;

fn resident_bytes(process: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let kibibytes: u64 = text
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .expect("a resident size");
    kibibytes * 1024
}

fn descriptors(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd"))
        .expect("it runs")
        .count()
}

#[test]
fn an_idle_connection_stays_within_its_memory() {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings(
            "[limits]\nconnections_per_address_max = 10000\nidle_timeout = \"10m\"\n",
        )
        .start();
    let client = deployment.client();
    let gateway = deployment.gateway_id();
    let ask = client.request("GET", "/health/live");
    // What the first connections allocate is the process's, not theirs.
    for _ in 0..200 {
        let _served = client.connect().send(&ask).with_status(200);
    }
    let (before, open_before) = (resident_bytes(gateway), descriptors(gateway));
    let mut held = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut connection = client.connect();
        let _served = connection.send(&ask).with_status(200);
        held.push(connection);
    }
    let each = resident_bytes(gateway).saturating_sub(before) / CONNECTIONS as u64;
    assert!(each <= BYTES_MAX, "{each} bytes each");
    drop(held);
    poll::until("every descriptor is given back", || {
        (descriptors(gateway) <= open_before + 16).then_some(())
    });
}
