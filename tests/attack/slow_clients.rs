//! Slow headers and bodies are cut within their bounds while others are served, by slowhttptest.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::counterpart;
use tests::deployment::Deployment;

/// Longest time that a slow connection may live: the header's time, with room for the scheduler.
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn slow_headers_and_bodies_are_cut_while_others_are_served() {
    for mode in [
        ["-H", "-i", "2", "-r", "50", "-c", "100", "-l", "20"].as_slice(),
        &[
            "-B", "-i", "2", "-r", "50", "-c", "100", "-l", "20", "-s", "8192", "-t", "POST",
        ],
    ] {
        let deployment = Deployment::builder()
            .with_tls()
            .with_tokens()
            .with_gateway_settings(
                "[limits]\nheader_timeout = \"5s\"\nwrite_timeout = \"5s\"\nidle_timeout = \"5s\"\n",
            )
            .start();
        let url = deployment.endpoint().expect("it listens").url;
        let report = deployment.root().join("slowhttptest");
        let told = File::create(&report).expect("a report");
        let mut attack = Command::new(counterpart::system("slowhttptest"))
            .args(mode)
            .args(["-u", &format!("{url}/health")])
            .stdout(Stdio::from(told))
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let client = deployment.client();
        let mut other = client.connect();
        let mut slowest = Duration::ZERO;
        let began = Instant::now();
        while attack.try_wait().expect("its status").is_none() {
            let asked = Instant::now();
            let _served = other
                .send(&client.request("GET", "/health/live"))
                .with_status(200);
            slowest = slowest.max(asked.elapsed());
            assert!(began.elapsed() < 4 * BOUND, "{mode:?} does not end");
        }
        assert!(slowest < Duration::from_secs(2), "{mode:?}: {slowest:?}");
        let told = fs::read(&report).expect("the report");
        let told = String::from_utf8_lossy(&told);
        assert!(
            told.contains("No open connections left"),
            "{mode:?}: {told}"
        );
    }
}
