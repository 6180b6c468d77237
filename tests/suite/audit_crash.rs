//! The trail over crashes of the gateway and of the whole machine: what was acknowledged is on
//! record, nothing is forwarded that is not, and the chain still proves it.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use rustix::process::Signal;
use serde_json::Value;
use tests::capture::Capture;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::image::Image;
use tests::poll;
use tests::process;

/// Small files, so that crashes fall into their change and their packing too.
const SMALL: &str = "[audit]\nsegment_bytes_max = 65536\n";

/// What the stand-in for the runtime answers.
const ANSWER: &str = "{}";

/// Returns every whole record of an audit folder, packed or not.
fn records(audit: &Path) -> Vec<Value> {
    let mut records = Vec::new();
    for entry in fs::read_dir(audit).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().into_string().unwrap();
        if !name.starts_with("audit-") {
            continue;
        }
        let text = if name.ends_with(".jsonl") {
            fs::read(&path).unwrap()
        } else if name.ends_with(".jsonl.gz") && !path.with_extension("").exists() {
            let mut text = Vec::new();
            let file = fs::File::open(&path).unwrap();
            let _length = std::io::copy(&mut GzDecoder::new(file), &mut text).unwrap();
            text
        } else {
            continue;
        };
        let lines = String::from_utf8_lossy(&text).into_owned();
        records.extend(
            lines
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok()),
        );
    }
    records
}

/// Returns the requests that have a record of this phase.
fn requests_with(records: &[Value], phase: &str) -> BTreeSet<String> {
    records
        .iter()
        .filter(|record| record["phase"] == phase)
        .filter_map(|record| record["request_id"].as_str())
        .map(str::to_owned)
        .collect()
}

fn assert_valid(deployment: &Deployment, what: &str) {
    let verify = ["enterprise", "audit", "verify", "--json"];
    let finished = deployment.loki(&verify);
    assert_eq!(finished.code, 0, "{what}: {finished}");
}

/// Changes things from several connections until it is told to stop; returns the names of the
/// requests that were answered.
struct Load<'a> {
    client: Client,
    stop: &'a AtomicBool,
    answered: &'a Mutex<BTreeSet<String>>,
}

impl Load<'_> {
    fn run(&self) {
        while !self.stop.load(Ordering::Relaxed) {
            let Some(answer) = self.client.request("POST", "/api/control/stop").try_send() else {
                continue;
            };
            if answer.status == 200 {
                let id = answer.field("x-request-id").unwrap().to_owned();
                self.answered.lock().unwrap().insert(id);
            }
        }
    }
}

/// Tells the load to stop, also when the test fails: it would go on for ever, and the failure never be told.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How long the load may take on a machine that does other things too.
const LOAD_PATIENCE: Duration = Duration::from_secs(300);

/// A number that differs from round to round, without a random source to depend on.
fn scattered(round: usize, below: u64) -> u64 {
    (round as u64)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(17)
        % below
}

#[test]
fn nothing_acknowledged_or_forwarded_is_lost_when_the_gateway_is_killed() {
    let mut deployment = Deployment::builder()
        .without_runtime()
        .with_gateway_settings(SMALL)
        .start();
    let runtime = Capture::listen(&deployment.home().runtime_socket(), ANSWER);
    let answered = Mutex::new(BTreeSet::new());
    for round in 0..poll::rounds(20, 200) {
        let stop = AtomicBool::new(false);
        let before = answered.lock().unwrap().len();
        thread::scope(|scope| {
            for _ in 0..4 {
                let load = Load {
                    client: deployment.client(),
                    stop: &stop,
                    answered: &answered,
                };
                scope.spawn(move || load.run());
            }
            let stopping = Stopping(&stop);
            let enough = before + 1 + usize::try_from(scattered(round, 60)).unwrap();
            poll::within(LOAD_PATIENCE, "changes are answered", || {
                (answered.lock().unwrap().len() >= enough).then_some(())
            });
            deployment.kill_gateway();
            drop(stopping);
        });
        let records = records(&deployment.home().audit());
        let decided = requests_with(&records, "decision");
        let ended = requests_with(&records, "outcome");
        let reached: BTreeSet<String> = runtime
            .requests_for("POST /api/control/stop")
            .iter()
            .map(|request| request.values("x-request-id")[0].to_owned())
            .collect();
        let undecided: Vec<_> = reached.difference(&decided).collect();
        assert!(undecided.is_empty(), "round {round}: {undecided:?}");
        let answered = answered.lock().unwrap();
        let unrecorded: Vec<_> = answered.difference(&ended).collect();
        assert!(unrecorded.is_empty(), "round {round}: {unrecorded:?}");
        drop(answered);
        assert_valid(&deployment, &format!("killed, round {round}"));
        deployment.start_gateway();
    }
    assert_valid(&deployment, "at the end");
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and why")]
fn skipped(why: &str) {
    eprintln!("skipped: needs root and a loop device: {}", why.trim());
}

#[test]
fn nothing_acknowledged_is_lost_when_the_machine_dies() {
    for round in 0..poll::rounds(3, 40) {
        let mut deployment = Deployment::builder()
            .without_runtime()
            .with_gateway_settings(SMALL)
            .start();
        let _runtime = Capture::listen(&deployment.home().runtime_socket(), ANSWER);
        let _code = deployment.stop_gateway();
        let audit = deployment.home().audit();
        fs::remove_dir_all(&audit).unwrap();
        fs::remove_file(deployment.home().audit_checkpoint()).unwrap();
        let image = Image::make(deployment.root());
        let mounted = match image.mount(&audit) {
            Ok(mounted) => mounted,
            Err(why) => return skipped(&why),
        };
        deployment.start_gateway();
        let answered = Mutex::new(BTreeSet::new());
        let stop = AtomicBool::new(false);
        let kept = thread::scope(|scope| {
            for _ in 0..4 {
                let load = Load {
                    client: deployment.client(),
                    stop: &stop,
                    answered: &answered,
                };
                scope.spawn(move || load.run());
            }
            let stopping = Stopping(&stop);
            // Far enough for files to be changed and packed at some of the cuts.
            let least = 200 + usize::try_from(scattered(round, 400)).unwrap();
            let packing = Instant::now() + Duration::from_millis(scattered(round, 5_000));
            poll::within(LOAD_PATIENCE, "changes are answered", || {
                let enough = answered.lock().unwrap().len() >= least;
                (enough && Instant::now() >= packing).then_some(())
            });
            process::signal(deployment.gateway_id(), Signal::STOP);
            let kept = answered.lock().unwrap().clone();
            let copy = image.copy();
            drop(stopping);
            deployment.kill_gateway();
            (kept, copy)
        });
        let (kept, copy) = kept;
        drop(mounted);
        let mounted = copy.mount(&audit).unwrap();
        let records = records(&audit);
        let ended = requests_with(&records, "outcome");
        let lost: Vec<_> = kept.difference(&ended).collect();
        assert!(
            lost.is_empty(),
            "round {round}: {} lost: {lost:?}",
            lost.len()
        );
        // The newest checkpoint beside the keys lies on another disk, which did not die.
        deployment.start_gateway();
        assert_valid(
            &deployment,
            &format!("after the machine died, round {round}"),
        );
        let _code = deployment.stop_gateway();
        drop(mounted);
    }
}

/// Makes calls of a running gateway fail until it is dropped. Its words are kept open: it tells of
/// every new thread, and would end if nobody could hear it.
struct Fault {
    child: Child,
    _words: BufReader<ChildStderr>,
}

impl Fault {
    /// Begins, if this machine lets one process look into another.
    fn begin(id: u32, inject: &str) -> Option<Self> {
        Self::begin_on(id, inject, &[])
    }

    /// The same for calls on these files alone.
    fn begin_on(id: u32, inject: &str, files: &[&Path]) -> Option<Self> {
        let (calls, _) = inject.split_once(':').unwrap();
        let mut command = Command::new(tests::counterpart::system("strace"));
        command
            .args(["-f", "-o", "/dev/null"])
            .args(["-e", &format!("trace={calls}")])
            .args(["-e", &format!("inject={inject}")])
            .args(["-p", &id.to_string()])
            .stderr(Stdio::piped());
        for file in files {
            command.arg("-P").arg(file);
        }
        let mut child = command.spawn().unwrap();
        let mut told = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        while stderr.read_line(&mut told).unwrap() > 0 {
            if told.contains("attached") {
                return Some(Self {
                    child,
                    _words: stderr,
                });
            }
        }
        let _status = child.wait().unwrap();
        skipped_fault(&told);
        None
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and why")]
fn skipped_fault(why: &str) {
    eprintln!("skipped: strace may not attach: {}", why.trim());
}

impl Drop for Fault {
    fn drop(&mut self) {
        process::signal(self.child.id(), Signal::TERM);
        if let Err(error) = self.child.wait() {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

#[test]
fn a_synchronisation_that_fails_is_never_believed() {
    let deployment = Deployment::builder().without_runtime().start();
    let runtime = Capture::listen(&deployment.home().runtime_socket(), ANSWER);
    let client = deployment.client();
    let change = || client.request("POST", "/api/control/stop").send();
    let _done = change().with_status(200);
    // Once: the next file takes the records, and says what is in doubt.
    let Some(fault) = Fault::begin(deployment.gateway_id(), "fdatasync:error=EIO:when=1") else {
        return;
    };
    let _done = change().with_status(200);
    drop(fault);
    let failed = deployment
        .audit()
        .until("the failure", |record| record["action"] == "audit.failed");
    assert!(failed["details"]["in_doubt_from"].is_u64(), "{failed}");
    assert_valid(&deployment, "one failed synchronisation");
    // Always: nothing is forwarded, and it goes on when the cause is gone.
    let reached = runtime.requests_for("POST").len();
    let fault = Fault::begin(deployment.gateway_id(), "fdatasync,fsync:error=EIO:when=1+");
    let refused = change().with_status(503);
    assert_eq!(refused.problem().kind, "urn:loki:problem:audit_unavailable");
    assert_eq!(
        runtime.requests_for("POST").len(),
        reached,
        "refused, and yet forwarded"
    );
    let _unready = client.get("/health/ready").with_status(503);
    drop(fault);
    poll::until("changes are accepted again", || {
        (change().status == 200).then_some(())
    });
    poll::until("it is ready again", || {
        (client.get("/health/ready").status == 200).then_some(())
    });
    assert_valid(&deployment, "many failed synchronisations");
}

#[test]
fn a_file_whose_writes_fail_is_left_for_the_next_one() {
    let deployment = Deployment::builder().without_runtime().start();
    let runtime = Capture::listen(&deployment.home().runtime_socket(), ANSWER);
    let client = deployment.client();
    let change = || client.request("POST", "/api/control/stop").send();
    let _done = change().with_status(200);
    let file = deployment.audit().files().pop().unwrap();
    let Some(fault) = Fault::begin_on(deployment.gateway_id(), "write:error=EIO:when=1+", &[&file])
    else {
        return;
    };
    for _ in 0..5 {
        let _done = change().with_status(200);
    }
    drop(fault);
    let failed = deployment
        .audit()
        .until("the failure", |record| record["action"] == "audit.failed");
    assert_eq!(
        failed["details"]["file"],
        file.file_name().unwrap().to_str().unwrap()
    );
    let ended = requests_with(&records(&deployment.home().audit()), "outcome");
    assert_eq!(ended.len(), 6);
    assert_eq!(runtime.requests_for("POST").len(), 6);
    assert_valid(&deployment, "a file that takes nothing");
}
