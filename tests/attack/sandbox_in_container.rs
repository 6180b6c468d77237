//! The native sandbox inside the runtime's own container: with what `compose.sandbox.yaml` adds it holds, and
//! without it nothing that asks for it begins.

use std::fs;

use serde_json::{Value, json};
use tests::composed::{Composed, Plan};
use tests::deployment::session_request;
use tests::programs;

/// The limits of the whole container stand in for those of each sandbox: a container may make no control group.
const PLAN: Plan = Plan {
    profiles: &[],
    variables: &[],
    images: &[],
    settings: "\n[sandbox]\nmay_lack = [\"cpu\", \"memory\", \"processes\"]\n",
    prepare: None,
};

/// Starts the runtime anew, as the compose file does and with more options: Compose 1.29 knows no `systempaths`.
fn start_runtime(composed: &Composed, more: &[&str]) -> String {
    let _removed = composed.compose(&["rm", "--stop", "--force", "runtime"]);
    let profile = programs::project().join("deploy/runtime-seccomp.json");
    let seccomp = format!("seccomp={}", profile.canonicalize().unwrap().display());
    let place =
        |name: &str, inside: &str| format!("{}:{inside}", composed.engine.folder(name).display());
    let projects = place("projects", "/projects");
    let settings = place("runtime.toml", "/etc/loki/runtime.toml:ro");
    let mut arguments = vec![
        "run",
        "--detach",
        "--init",
        "--read-only",
        "--cap-drop=ALL",
        "--security-opt=no-new-privileges:true",
        "--security-opt",
        &seccomp,
        "--memory=2g",
        "--pids-limit=4096",
        "--tmpfs=/tmp:mode=1777,size=512m",
        "--network=none",
        "--env=LOKI_RUNTIME_CONFIG=/etc/loki/runtime.toml",
        "--env=LOKI_BRANCH_PROTECTION=true",
        "--env=LOKI_SANDBOX_MODE=true",
        "--volume=loki_runtime-data:/home/appuser/.loki",
        "--volume=loki_door:/run/loki",
        "--volume",
        &projects,
        "--volume",
        &settings,
    ];
    arguments.extend(more);
    arguments.push("loki-runtime");
    let container = composed.engine.docker(&arguments);
    composed.until_status("/api/sessions", "200");
    container
}

#[test]
fn the_sandbox_holds_in_our_container_and_is_refused_where_a_layer_is_missing() {
    let Some(composed) = Composed::start(PLAN) else {
        return;
    };
    composed.until_healthy("gateway");
    let overlay = fs::read_to_string(programs::project().join("deploy/compose.sandbox.yaml"));
    assert!(overlay.unwrap().contains("- systempaths=unconfined\n"));
    let request = session_request("/projects/app".as_ref());

    // The engine's masks over /proc are in the way: refused, with the reason, before anything starts.
    let masked = start_runtime(&composed, &[]);
    let answer = composed.ask("POST", "/api/sessions", &composed.token, Some(&request));
    let told = answer.stdout;
    assert!(!told.trim_end().ends_with("201"), "{told}");
    assert!(told.contains("sandbox"), "{told}");
    assert!(told.contains("proc"), "it does not say why: {told}");
    let doctor = composed
        .engine
        .try_docker(&["exec", &masked, "loki", "sandbox", "doctor"]);
    assert!(doctor.text().contains("systempaths=unconfined"), "{doctor}");
    let _removed = composed.engine.docker(&["rm", "--force", &masked]);

    let open = start_runtime(&composed, &["--security-opt=systempaths=unconfined"]);
    let doctor = composed
        .engine
        .try_docker(&["exec", &open, "loki", "sandbox", "doctor"]);
    assert_eq!(doctor.code, 0, "{doctor}");
    let view = composed.json("POST", "/api/sessions", Some(&request));
    let view = composed.ended(view["id"].as_str().unwrap());
    assert_eq!(view["state"], "completed", "{view:#}");
    assert_eq!(view["verification"]["result"], "passed", "{view:#}");
    let layers = view["effective_enforcement"].as_array().unwrap();
    for control in [
        "network isolation",
        "seccomp",
        "protected git metadata",
        "read-only root, own user and processes",
    ] {
        let row = layers.iter().find(|it| it["control"] == control).unwrap();
        assert_eq!(row["layer"], json!("kernel"), "{view:#}");
    }
    let tried = ["exec", &open, "loki", "sandbox", "test", "--json"];
    let tried = composed.engine.try_docker(&tried);
    let lines: Vec<Value> = serde_json::from_str(&tried.stdout).unwrap();
    let of = |outcome: &str| -> Vec<&str> {
        let lines = lines.iter().filter(|it| it["outcome"] == outcome);
        lines.map(|it| it["name"].as_str().unwrap()).collect()
    };
    assert_eq!(of("reached"), Vec::<&str>::new());
    // What a container keeps from working beside the sandbox as well proves nothing of it.
    assert!(of("refused").len() >= 55, "{:#?}", of("unproven"));
    let _removed = composed.engine.docker(&["rm", "--force", &open]);
    let _down = composed.compose(&["down", "-v"]);
}
