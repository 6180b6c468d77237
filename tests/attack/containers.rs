//! The images and the compose file, on a real engine: they build, come up, run a jailed session,
//! keep the runtime out of reach, and recover.

use std::process::Command;

use serde_json::json;
use tests::command;
use tests::composed::{Composed, Plan};
use tests::deployment::session_request;
use tests::engine::Engine;
use tests::poll;
use tests::programs;

#[test]
fn the_compose_file_runs_a_jailed_session_behind_the_gateway_and_recovers() {
    let Some(composed) = Composed::start(Plan::default()) else {
        return;
    };
    hardened(&composed);
    unreachable(&composed);
    let session = worked(&composed);
    recovered(&composed, &session);
    let _down = composed.compose(&["down", "-v"]);
}

fn hardened(composed: &Composed) {
    for service in ["gateway", "runtime"] {
        let found = composed.inspect(service);
        let host = &found["HostConfig"];
        assert_eq!(found["Config"]["User"], "appuser", "{service}");
        assert_eq!(host["ReadonlyRootfs"], true, "{service}");
        assert_eq!(host["Privileged"], false, "{service}");
        assert_eq!(host["CapDrop"], json!(["ALL"]), "{service}");
        assert!(host["Memory"].as_u64() > Some(0), "{service}");
        assert!(host["PidsLimit"].as_u64() > Some(0), "{service}");
        composed.until_healthy(service);
        let outside = composed.exec(service, &["touch", "/usr/local/bin/more"]);
        assert_ne!(outside.code, 0, "{service} can write its root");
        // The doctor knows which of both it looks at, and misses nothing of the other.
        let found = composed.exec(service, &["loki", "doctor"]);
        assert_eq!(found.code, 0, "{service}: {found}");
    }
}

fn unreachable(composed: &Composed) {
    for token in ["", "loki_0000000000000000000000000000000000000000"] {
        assert_eq!(composed.status("/api/status", token), "401", "{token:?}");
    }
    let runtime = composed.inspect("runtime");
    assert_eq!(runtime["NetworkSettings"]["Ports"], json!({}));
    // Nothing in it listens but the engine's own names server, on its own loopback address.
    let listening = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\" && $2 !~ /^0B00007F/'";
    let container = composed.container("runtime");
    let found = composed
        .engine
        .docker(&["exec", &container, "sh", "-c", listening]);
    assert_eq!(found, "");
    // Its door has the gateway's user and no other.
    let stranger = composed.engine.try_docker(&[
        "exec",
        "--user",
        "1002:1002",
        &composed.container("gateway"),
        "ls",
        "/run/loki",
    ]);
    assert_ne!(stranger.code, 0, "{stranger}");
    // The runtime sees neither tokens nor audit nor the keys that sign it.
    let kept = composed.engine.docker(&[
        "exec",
        &container,
        "sh",
        "-c",
        "ls /home/appuser/.loki /home/appuser/.loki/keys 2>/dev/null; ls /run/secrets 2>/dev/null; true",
    ]);
    for secret in ["dashboard", "audit", "tls_key"] {
        assert!(!kept.contains(secret), "{secret} is there:\n{kept}");
    }
}

fn worked(composed: &Composed) -> String {
    let request = session_request("/projects/app".as_ref());
    let view = composed.json("POST", "/api/sessions", Some(&request));
    let id = view["id"].as_str().unwrap().to_owned();
    let view = composed.ended(&id);
    assert_eq!(view["state"], "completed", "{view:#}");
    assert_eq!(view["verification"]["result"], "passed", "{view:#}");
    let layers = view["effective_enforcement"].as_array().unwrap();
    let by_kernel = layers.iter().filter(|it| it["layer"] == "kernel").count();
    assert!(by_kernel >= 4, "the kernel enforces too little: {view:#}");
    let branch = view["branch"].as_str().unwrap();
    let listed = command::run(
        Command::new("git")
            .args(["-c", "safe.directory=*", "branch", "--list", branch])
            .current_dir(composed.repository.path()),
    );
    assert!(listed.output().contains(branch), "{view:#}");
    id
}

fn recovered(composed: &Composed, session: &str) {
    let target = format!("/api/sessions/{session}");
    // Killed by the engine's user: it stays away until it is asked for again; the gateway says so.
    let _killed = composed
        .engine
        .docker(&["kill", &composed.container("runtime")]);
    composed.until_status(&target, "503");
    assert_eq!(composed.status("/health/live", ""), "200");
    let _up = composed.compose(&["up", "-d", "--no-build"]);
    composed.until_status(&target, "200");
    let _killed = composed
        .engine
        .docker(&["kill", &composed.container("gateway")]);
    let _up = composed.compose(&["up", "-d", "--no-build"]);
    composed.until_status(&target, "200");
    // Killed by accident: the engine starts it again by itself.
    for service in ["runtime", "gateway"] {
        let first = composed.inspect(service)["State"]["Pid"].as_u64().unwrap();
        let _killed = command::run(Command::new("kill").args(["-9", &first.to_string()]));
        poll::within(4 * poll::PATIENCE, service, || {
            let state = composed.inspect(service)["State"].clone();
            (state["Running"] == true && state["Pid"].as_u64() != Some(first)).then_some(())
        });
        composed.until_status(&target, "200");
    }
}

#[test]
fn the_image_of_both_processes_becomes_healthy_and_ends_in_order() {
    let Some(engine) = Engine::start() else {
        return;
    };
    engine.import_programs();
    engine.build("deploy/all-in-one.Dockerfile", "loki");
    let profile = programs::project().join("deploy/runtime-seccomp.json");
    let profile = format!("seccomp={}", profile.canonicalize().unwrap().display());
    let container = engine.docker(&[
        "run",
        "--detach",
        "--read-only",
        "--tmpfs=/tmp",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--security-opt",
        &profile,
        "--health-interval=1s",
        "loki",
    ]);
    poll::within(4 * poll::PATIENCE, "the container is healthy", || {
        let format = "{{.State.Health.Status}} {{.State.Status}}";
        let state = engine.docker(&["inspect", "--format", format, &container]);
        assert!(state.ends_with("running"), "{state}: {}", engine.log());
        state.starts_with("healthy").then_some(())
    });
    let found = engine.try_docker(&["exec", &container, "loki", "doctor"]);
    assert_eq!(found.code, 0, "{found}");
    let _stopped = engine.docker(&["stop", "--time=20", &container]);
    let format = "{{.State.ExitCode}}";
    let code = engine.docker(&["inspect", "--format", format, &container]);
    assert_eq!(code, "0");
}
