//! Slow headers, bodies, readers and ranges are cut within their bounds while others are served, by
//! slowhttptest.

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::counterpart;
use tests::deployment::Deployment;
use tests::process;

/// Longest time that an attack may go on: the bounds below, with room for the scheduler.
const BOUND: Duration = Duration::from_secs(120);

/// Most descriptors that an attack may leave the gateway with; it has a hundred connections.
const LEFT_MAX: u64 = 16;

/// The modes, and whether the attacker is told: whoever reads slowly reads the rest out of the system's
/// own buffers long after the gateway is done. Each goes on for 20 seconds, and the gateway's bounds are 5.
const MODES: [(&str, &str, bool); 4] = [
    ("slow headers", "-H -i 2 -r 50 -c 100 -l 20", true),
    (
        "slow bodies",
        "-B -i 2 -r 50 -c 100 -l 20 -s 8192 -t POST",
        true,
    ),
    (
        "slow reading",
        "-X -r 50 -c 100 -l 20 -w 10 -y 20 -n 5 -z 32 -k 3",
        false,
    ),
    (
        "ranges",
        "-R -r 50 -c 100 -l 20 -a 10 -b 3000 -t HEAD",
        true,
    ),
];

#[test]
fn slow_clients_of_every_kind_are_cut_while_others_are_served() {
    for (mode, flags, told_so) in MODES {
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
            .args(flags.split(' '))
            .args(["-u", &format!("{url}/health")])
            .stdout(Stdio::from(told))
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let client = deployment.client();
        let health = client.request("GET", "/health/live");
        let mut slowest = Duration::ZERO;
        let descriptors = || process::usage(deployment.gateway_id()).descriptors;
        let before = descriptors();
        let mut left = before;
        let began = Instant::now();
        while attack.try_wait().expect("its status").is_none() {
            let asked = Instant::now();
            let _served = client.connect().send(&health).with_status(200);
            slowest = slowest.max(asked.elapsed());
            left = descriptors();
            assert!(began.elapsed() < BOUND, "{mode} does not end");
        }
        assert!(slowest < Duration::from_secs(2), "{mode}: {slowest:?}");
        let told = fs::read(&report).expect("the report");
        let told = String::from_utf8_lossy(&told);
        assert!(
            left <= before + LEFT_MAX,
            "{mode}: {before} descriptors, then {left}"
        );
        let over = told.contains("No open connections left");
        assert!(over || !told_so, "{mode}: {told}");
    }
}
