//! Idle TLS connections stay within their memory, and no descriptor stays behind.

use tests::client::{Client, Connection};
use tests::deployment::Deployment;
use tests::http2::{self, Http2};
use tests::poll;
use tests::process;

/// Resident bytes that one idle TLS connection may cost.
const BYTES_MAX: u64 = 24 * 1024;

/// The same for HTTP/2, whose library holds its buffers and tables while a connection is open.
const HTTP2_BYTES_MAX: u64 = 48 * 1024;

/// Opens connections, lets them become idle, and judges what each costs.
#[expect(clippy::print_stderr, reason = "the figure is what people want to see")]
fn judge<T>(what: &str, count: usize, bytes_max: u64, open: impl Fn(&Client) -> T) {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings(
            "[limits]\nconnections_max = 12000\nconnections_per_address_max = 12000\n\
             idle_timeout = \"10m\"\n",
        )
        .start();
    let client = deployment.client();
    let gateway = deployment.gateway_id();
    // What the first connections allocate is the process's, not theirs.
    let first: Vec<_> = (0..200).map(|_| open(&client)).collect();
    drop(first);
    let open_alone = poll::until("the first are gone", || {
        let open = process::usage(gateway).descriptors;
        (open < 150).then_some(open)
    });
    let before = process::usage(gateway).resident;
    let held: Vec<_> = (0..count).map(|_| open(&client)).collect();
    let resident = process::usage(gateway).resident;
    let each = resident.saturating_sub(before) / count as u64;
    eprintln!("{what}: {count} connections, {each} bytes each, {resident} resident");
    assert!(each <= bytes_max, "{what}: {each} bytes each");
    drop(held);
    poll::until("every descriptor is given back", || {
        (process::usage(gateway).descriptors <= open_alone + 16).then_some(())
    });
}

fn served_by_http1(client: &Client) -> Connection {
    let mut connection = client.connect();
    let ask = client.request("GET", "/health/live");
    let _served = connection.send(&ask).with_status(200);
    connection
}

#[test]
fn ten_thousand_idle_connections_stay_within_their_memory() {
    judge("idle after a request", 10_000, BYTES_MAX, served_by_http1);
}

#[test]
fn connections_that_never_asked_stay_within_their_memory() {
    judge("silent after the handshake", 1_000, BYTES_MAX, |client| {
        let mut connection = client.connect();
        // Nothing is sent before the handshake is driven; an empty write does that.
        connection.write(b"");
        connection
    });
}

#[test]
fn idle_connections_of_http2_stay_within_their_memory() {
    let what = "idle after a request of HTTP/2";
    judge(what, 1_000, HTTP2_BYTES_MAX, |client| {
        let mut connection = Http2::begin(client, &[]);
        connection.write(&http2::head(1, true, "GET", "/health/live", &[]));
        connection.until("the answer", |frame| frame.ends_stream());
        connection
    });
}
