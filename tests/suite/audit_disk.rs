//! The trail when its files or its disk do not do their part: the promise holds, the operator is
//! told, and it goes on by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::agent::Agent;
use tests::capture::Capture;
use tests::client::{Client, Response};
use tests::deployment::Deployment;
use tests::image::Image;
use tests::poll;

/// Returns the newest file of the trail.
fn newest(deployment: &Deployment) -> PathBuf {
    deployment.audit().files().pop().unwrap()
}

fn verify(deployment: &Deployment, code: i32) -> Value {
    let verify = ["enterprise", "audit", "verify", "--json"];
    let finished = deployment.loki(&verify).ended_with(code);
    serde_json::from_str(&finished.stdout).unwrap()
}

/// Asks for a change that finds nothing to do: nothing runs.
fn change(client: &Client) -> Response {
    client.request("POST", "/api/control/stop").send()
}

/// The runtime's answer to it, which is there only if its outcome was recorded.
const NOTHING_RUNS: u16 = 409;

/// A small disk of its own over the audit folder; gone with the test.
struct Disk(PathBuf);

impl Disk {
    /// Mounts it, if this machine allows it.
    fn over(path: &Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={size},mode=0700"),
                "tmpfs",
            ])
            .arg(path)
            .output()
            .unwrap();
        if mounted.status.success() {
            return Some(Self(path.to_owned()));
        }
        skipped(&String::from_utf8_lossy(&mounted.stderr));
        None
    }

    fn remount(&self, options: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,{options}")])
            .arg(&self.0)
            .status();
        assert!(status.unwrap().success(), "remount {options}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let status = Command::new("umount").arg("-l").arg(&self.0).status();
        if !std::thread::panicking() {
            assert!(status.unwrap().success(), "umount");
        }
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and why")]
fn skipped(why: &str) {
    eprintln!("skipped: needs root and a mount of tmpfs: {}", why.trim());
}

#[test]
fn a_deleted_swapped_or_truncated_file_is_noticed_within_a_second_or_two() {
    for reason in ["deleted", "replaced", "truncated", "permissions"] {
        let deployment = Deployment::builder().start();
        let _read = deployment.client().get("/api/status").with_status(200);
        let _record = deployment
            .audit()
            .until("the read", |record| record["action"] == "status.show");
        let file = newest(&deployment);
        let text = fs::read_to_string(&file).unwrap();
        match reason {
            "deleted" => fs::remove_file(&file).unwrap(),
            "replaced" => {
                let other = file.with_extension("other");
                fs::write(&other, &text).unwrap();
                fs::rename(&other, &file).unwrap();
            }
            "truncated" => {
                let half = text.lines().next().unwrap().len() + 1;
                fs::write(&file, &text[..half]).unwrap();
            }
            _ => fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap(),
        }
        // Nobody asks for anything meanwhile.
        let record = deployment
            .audit()
            .until(reason, |record| record["action"] == "audit.replaced");
        assert_eq!(record["details"]["reason"], reason, "{record}");
        let mode = fs::metadata(newest(&deployment))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let code = i32::from(matches!(reason, "deleted" | "truncated"));
        let _report = verify(&deployment, code);
        let _done = change(&deployment.client()).with_status(NOTHING_RUNS);
    }
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_refused_and_makes_nobody_wait() {
    let mut deployment = Deployment::builder().start();
    let _code = deployment.stop_gateway();
    for file in deployment.audit().files() {
        fs::remove_file(&file).unwrap();
        let made = Command::new("mkfifo").arg(&file).status().unwrap();
        assert!(made.success());
    }
    let finished = deployment.loki(&["enterprise", "token", "generate", "ci"]);
    assert_ne!(finished.code, 0, "{finished}");
    assert!(finished.stderr.contains("not a regular file"), "{finished}");
}

#[test]
fn a_pipe_put_in_the_place_of_the_open_file_makes_nobody_wait() {
    let mut deployment = Deployment::builder().start();
    let client = deployment.client();
    let _done = change(&client).with_status(NOTHING_RUNS);
    let file = newest(&deployment);
    let aside = deployment.root().join("aside.jsonl");
    fs::rename(&file, &aside).unwrap();
    let made = Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
    let _done = change(&client).with_status(NOTHING_RUNS);
    let next = newest(&deployment);
    assert_ne!(next, file, "the next file takes the records");
    let text = fs::read_to_string(&next).unwrap();
    assert!(text.contains("\"action\":\"audit.replaced\""), "{text}");
    let report = verify(&deployment, 1);
    let named = file.file_name().unwrap().to_str().unwrap();
    let findings = report["findings"].as_array().unwrap();
    let pipe = |finding: &Value| finding["file"] == named && finding["kind"] == "not_a_file";
    assert!(findings.iter().any(pipe), "{report}");
    // With the file in its place again nothing is missing.
    fs::remove_file(&file).unwrap();
    fs::rename(&aside, &file).unwrap();
    assert_eq!(verify(&deployment, 0)["valid"], true);
    assert_eq!(deployment.stop_gateway(), Some(0));
}

#[test]
fn a_clock_that_is_set_back_neither_breaks_nor_reorders_the_trail() {
    let mut deployment = Deployment::builder().start();
    let _code = deployment.stop_gateway();
    let file = newest(&deployment);
    let audit = deployment.home().audit();
    // Written by a clock that stood in the future; now it is right again.
    fs::rename(&file, audit.join("audit-2099-01-01.jsonl")).unwrap();
    deployment.start_gateway();
    let _done = change(&deployment.client()).with_status(NOTHING_RUNS);
    let report = verify(&deployment, 0);
    assert_eq!(report["valid"], true, "{report}");
    assert_eq!(newest(&deployment), audit.join("audit-2099-01-01.jsonl"));
}

#[test]
fn on_a_full_disk_changes_are_refused_and_resume_when_there_is_room() {
    let mut deployment = Deployment::builder().start();
    let _code = deployment.stop_gateway();
    let audit = deployment.home().audit();
    let kept: Vec<(PathBuf, Vec<u8>)> = deployment
        .audit()
        .files()
        .into_iter()
        .map(|file| (file.clone(), fs::read(&file).unwrap()))
        .collect();
    let Some(_disk) = Disk::over(&audit, "512k") else {
        return;
    };
    for (file, bytes) in kept {
        fs::write(file, bytes).unwrap();
    }
    deployment.start_gateway();
    let client = deployment.client();
    let _done = change(&client).with_status(NOTHING_RUNS);
    // Somebody else takes the rest of the disk.
    let ballast = audit.join("ballast");
    let refused = poll::until("a change is refused", || {
        if fs::write(&ballast, vec![0; 512 * 1024]).is_ok() {
            return None;
        }
        let answer = change(&client);
        (answer.status == 503).then_some(answer)
    });
    assert_eq!(refused.problem().kind, "urn:loki:problem:audit_unavailable");
    let _unready = client.get("/health/ready").with_status(503);
    let _alive = client.get("/api/status").with_status(200);
    let last_words = deployment.audit().until("the last words", |record| {
        record["action"] == "audit.disk_full" && record["details"]["reason"].is_string()
    });
    assert_eq!(
        last_words["details"]["stopped"],
        "everything: changes are refused"
    );
    fs::remove_file(&ballast).unwrap();
    let accepted = poll::until("changes are accepted again", || {
        let answer = change(&client);
        (answer.status == NOTHING_RUNS).then_some(answer)
    });
    assert_eq!(accepted.status, NOTHING_RUNS);
    let _ready = client.get("/health/ready").with_status(200);
    let report = verify(&deployment, 0);
    assert_eq!(report["valid"], true, "{report}");
}

#[test]
fn on_a_read_only_disk_changes_are_refused_and_resume() {
    let mut deployment = Deployment::builder().start();
    let _code = deployment.stop_gateway();
    let audit = deployment.home().audit();
    fs::remove_dir_all(&audit).unwrap();
    fs::remove_file(deployment.home().audit_checkpoint()).unwrap();
    let Some(disk) = Disk::over(&audit, "4m") else {
        return;
    };
    deployment.start_gateway();
    let client = deployment.client();
    let _done = change(&client).with_status(NOTHING_RUNS);
    let _code = deployment.stop_gateway();
    disk.remount("ro");
    // An open file would keep the disk busy, so it is read-only from the start here.
    let finished = deployment.loki(&["enterprise", "token", "generate", "ci"]);
    assert_ne!(finished.code, 0, "{finished}");
    assert!(finished.stderr.contains("audit"), "{finished}");
    disk.remount("rw");
    deployment.start_gateway();
    let _done = change(&deployment.client()).with_status(NOTHING_RUNS);
    assert_eq!(verify(&deployment, 0)["valid"], true);
}

#[test]
fn a_disk_that_turns_read_only_under_the_open_file_stops_changes_until_it_is_repaired() {
    let mut deployment = Deployment::builder().without_runtime().start();
    let runtime = Capture::listen(&deployment.home().runtime_socket(), "{}");
    let _code = deployment.stop_gateway();
    let audit = deployment.home().audit();
    fs::remove_dir_all(&audit).unwrap();
    fs::remove_file(deployment.home().audit_checkpoint()).unwrap();
    let image = Image::make(deployment.root());
    let mounted = match image.mount(&audit) {
        Ok(mounted) => mounted,
        Err(why) => return skipped(&why),
    };
    fs::set_permissions(&audit, PermissionsExt::from_mode(0o700)).unwrap();
    deployment.start_gateway();
    let client = deployment.client();
    let mut acknowledged = Vec::new();
    let mut changed = |answer: Response| {
        acknowledged.push(answer.field("x-request-id").unwrap().to_owned());
    };
    changed(change(&client).with_status(200));
    let reached = runtime.requests_for("POST").len();
    if let Err(why) = mounted.turn_read_only() {
        return skipped(&why);
    }
    for _ in 0..3 {
        let refused = change(&client).with_status(503);
        assert_eq!(refused.problem().kind, "urn:loki:problem:audit_unavailable");
    }
    assert_eq!(runtime.requests_for("POST").len(), reached, "forwarded");
    let _unready = client.get("/health/ready").with_status(503);
    let _alive = client.get("/api/status").with_status(200);
    let figures = client.get("/metrics").with_status(200);
    let told = figures.text().contains("loki_gateway_audit_writable 0");
    assert!(told, "{}", figures.text());
    // The operator repairs the disk and puts it back; the gateway goes on by itself.
    let repaired = image.copy();
    repaired.repair();
    mounted.detach();
    let mounted = repaired.mount(&audit).unwrap();
    let accepted = poll::until("changes are accepted again", || {
        let answer = change(&client);
        (answer.status == 200).then_some(answer)
    });
    changed(accepted);
    poll::until("it is ready again", || {
        (client.get("/health/ready").status == 200).then_some(())
    });
    changed(change(&client).with_status(200));
    let outcomes = deployment.audit().records();
    for id in acknowledged {
        let recorded = outcomes
            .iter()
            .any(|record| record["phase"] == "outcome" && record["request_id"] == id.as_str());
        assert!(recorded, "{id} was answered and is not on record");
    }
    let _report = verify(&deployment, 0);
    assert_eq!(deployment.stop_gateway(), Some(0));
    drop(mounted);
}

#[test]
fn a_flood_of_refusals_on_a_small_disk_never_stops_changes() {
    let mut deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci", &["--role", "operator"]);
    let _code = deployment.stop_gateway();
    let audit = deployment.home().audit();
    fs::remove_dir_all(&audit).unwrap();
    fs::remove_file(deployment.home().audit_checkpoint()).unwrap();
    // As much over the reserve on a disk of 64 MiB as is quickly filled.
    let Some(_disk) = Disk::over(&audit, "64m") else {
        return;
    };
    deployment.write_settings(
        "gateway.toml",
        &format!(
            "[audit]\ndisk_reserve_bytes = {}\n",
            (64 << 20) - (256 << 10)
        ),
    );
    deployment.start_gateway();
    let nobody = deployment.client();
    let client = nobody.with_token(&token.raw);
    let mut changes = 0;
    poll::until("the reserve is reached", || {
        for _ in 0..50 {
            let _refused = nobody.get("/api/status").with_status(401);
            let _read = client.get("/api/status").with_status(200);
        }
        let _done = change(&client).with_status(NOTHING_RUNS);
        changes += 1;
        let full = deployment.audit().of_action("audit.disk_full");
        (!full.is_empty()).then_some(())
    });
    for _ in 0..poll::rounds(100, 2_000) {
        let _refused = nobody.get("/api/status").with_status(401);
        let _done = change(&client).with_status(NOTHING_RUNS);
        changes += 1;
    }
    let decided = deployment.audit().of_action("session.stop");
    let of = |phase: &str| {
        decided
            .iter()
            .filter(|record| record["phase"] == phase)
            .count()
    };
    assert_eq!((of("decision"), of("outcome")), (changes, changes));
    assert!(of("end") < changes, "what nobody waits for is left out");
    assert_eq!(verify(&deployment, 0)["valid"], true);
}

#[test]
fn with_deny_no_read_is_answered_without_a_record() {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::repairing())
        .with_gateway_settings("[audit]\non_overflow = \"deny\"\n")
        .start();
    let client = deployment.client();
    let _read = client.get("/api/status").with_status(200);
    let decision = deployment.audit().until("the read", |record| {
        record["action"] == "status.show" && record["phase"] == "decision"
    });
    assert_eq!(decision["outcome"], "allowed");
    tests::process::let_write(deployment.gateway_id(), false);
    poll::until("the failed disk is noticed", || {
        (change(&client).status == 503).then_some(())
    });
    let refused = client.get("/api/status").with_status(503);
    assert_eq!(refused.problem().kind, "urn:loki:problem:audit_unavailable");
    let _alive = client.get("/health/live").with_status(200);
    tests::process::let_write(deployment.gateway_id(), true);
    poll::until("reads are answered again", || {
        (client.get("/api/status").status == 200).then_some(())
    });
}
