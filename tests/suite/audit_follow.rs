//! Who follows the trail sees each record once and in order, also over changes of the file.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::Signal;
use serde_json::Value;
use tests::deployment::Deployment;
use tests::poll;
use tests::process;

/// A running `loki enterprise audit tail -f`; ended when dropped.
struct Follower {
    child: Child,
    records: Receiver<Value>,
}

impl Follower {
    fn start(deployment: &Deployment) -> Self {
        let mut child = deployment
            .command("loki")
            .args(["enterprise", "audit", "tail", "-f", "-n", "1", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let (sender, records) = mpsc::channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let record = serde_json::from_str(&line).expect("a JSON object on each line");
                if sender.send(record).is_err() {
                    return;
                }
            }
        });
        Self { child, records }
    }

    /// Returns the numbers of the records that are shown, until one with this number.
    fn until(&self, last: u64) -> Vec<u64> {
        let mut shown = Vec::new();
        loop {
            let record = self.records.recv_timeout(poll::PATIENCE);
            let record = record.unwrap_or_else(|_| panic!("{last} is not shown: {shown:?}"));
            let seq = record["seq"].as_u64().expect("a number");
            shown.push(seq);
            if seq >= last {
                return shown;
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        process::signal(self.child.id(), Signal::TERM);
        drop(self.child.wait());
    }
}

#[test]
fn a_follower_shows_each_record_once_over_changes_of_the_file() {
    let mut deployment = Deployment::builder()
        .with_gateway_settings("[audit]\nsegment_bytes_max = 65536\n")
        .start();
    let client = deployment.client();
    let _read = client.get("/api/status").with_status(200);
    let first = deployment
        .audit()
        .until("the read", |record| record["action"] == "status.show");
    let follower = Follower::start(&deployment);
    let begun = follower.until(first["seq"].as_u64().unwrap());
    assert_eq!(begun.len(), 1, "one line was asked for");
    // Several files, the older ones packed meanwhile; then another gateway goes on.
    poll::until("a file is packed", || {
        for _ in 0..100 {
            let _read = client.get("/api/status");
        }
        let entries = std::fs::read_dir(deployment.home().audit()).unwrap();
        let packed = entries
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().ends_with(".jsonl.gz"));
        packed.then_some(())
    });
    assert_eq!(deployment.stop_gateway(), Some(0));
    deployment.start_gateway();
    let _token = deployment.token("ci-bot", &[]);
    let last = deployment
        .audit()
        .of_action("token.generate")
        .pop()
        .and_then(|record| record["seq"].as_u64())
        .unwrap();
    let shown = follower.until(last);
    let expected: Vec<u64> = (begun[0] + 1..=last).collect();
    assert_eq!(shown, expected);
}
