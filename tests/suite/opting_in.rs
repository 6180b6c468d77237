//! Each control of an enterprise is switched on by itself, changes what it is for and nothing else, and is
//! off again, without a trace, when its variable is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Duration;

use serde::Deserialize;
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::issuer::Issuer;
use tests::poll;
use tests::programs;

/// A control: its name here, its variables, and what it changes of what is seen.
type Control = (
    &'static str,
    Vec<(&'static str, String)>,
    &'static [(&'static str, &'static str)],
);

/// Variables of the feature description that cannot be set alone, or change nothing by themselves, and why.
const NOT_ALONE: [(&str, &str); 1] = [(
    "LOKI_API_HOST",
    "outside loopback nothing starts without tokens and TLS: bind::*",
)];

/// What is seen of a deployment without a single switch.
const DEFAULT: [(&str, &str); 10] = [
    ("a caller without a credential", "200"),
    ("an identity token", "ignored"),
    ("the address", "http"),
    ("the trail", "grows"),
    ("the syslog receiver", "gets nothing"),
    ("the session", "completed"),
    ("main", "moved"),
    ("a file outside src", "handed over"),
    ("forbidden-tool", "allow"),
    ("the network of agents", "unavailable"),
];

fn controls(issuer: &Issuer, receiver: &UdpSocket, files: [String; 2]) -> Vec<Control> {
    let mut every = edge_controls(issuer, receiver, files);
    every.extend(agent_controls());
    every
}

fn one(name: &'static str, value: &str) -> Vec<(&'static str, String)> {
    vec![(name, value.to_owned())]
}

/// What the gateway does.
fn edge_controls(issuer: &Issuer, receiver: &UdpSocket, files: [String; 2]) -> Vec<Control> {
    let [certificate, key] = files;
    let port = receiver.local_addr().unwrap().port().to_string();
    vec![
        (
            "tokens",
            one("LOKI_ENTERPRISE_AUTH", "true"),
            &[
                ("a caller without a credential", "401"),
                ("an identity token", "401"),
            ],
        ),
        (
            "single sign-on",
            vec![
                ("LOKI_OIDC_ISSUER", issuer.url()),
                ("LOKI_OIDC_CLIENT_ID", "client".to_owned()),
                ("LOKI_OIDC_AUDIENCE", "client".to_owned()),
            ],
            &[
                ("a caller without a credential", "401"),
                ("an identity token", "200"),
            ],
        ),
        (
            "TLS",
            vec![("LOKI_TLS_CERT", certificate), ("LOKI_TLS_KEY", key)],
            &[("the address", "https")],
        ),
        (
            "audit, which is on",
            one("LOKI_ENTERPRISE_AUDIT", "true"),
            &[],
        ),
        (
            "audit, off",
            one("LOKI_AUDIT_DISABLED", "true"),
            &[("the trail", "does not grow")],
        ),
        (
            "SIEM",
            vec![
                ("LOKI_AUDIT_SYSLOG_HOST", "127.0.0.1".to_owned()),
                ("LOKI_AUDIT_SYSLOG_PORT", port),
            ],
            &[("the syslog receiver", "gets records")],
        ),
    ]
}

/// What the runtime does.
fn agent_controls() -> Vec<Control> {
    vec![
        (
            "branch protection",
            one("LOKI_BRANCH_PROTECTION", "true"),
            &[("main", "untouched")],
        ),
        (
            "sandbox",
            one("LOKI_SANDBOX_MODE", "true"),
            &[("the network of agents", "kernel")],
        ),
        (
            "staged autonomy",
            one("LOKI_STAGED_AUTONOMY", "true"),
            &WAITS,
        ),
        (
            "checkpoints",
            one("LOKI_AUTONOMY_MODE", "checkpoint"),
            &WAITS,
        ),
        (
            "supervision",
            one("LOKI_AUTONOMY_MODE", "supervised"),
            &WAITS,
        ),
        ("full autonomy", one("LOKI_AUTONOMY_MODE", "perpetual"), &[]),
        (
            "allowed paths",
            one("LOKI_ALLOWED_PATHS", "src"),
            &[("a file outside src", "refused")],
        ),
        (
            "blocked commands",
            one("LOKI_BLOCKED_COMMANDS", "forbidden-tool"),
            &[("forbidden-tool", "deny")],
        ),
    ]
}

const WAITS: [(&str, &str); 3] = [
    ("the session", "waiting_approval"),
    ("main", "untouched"),
    ("a file outside src", "refused"),
];

type Seen = BTreeMap<&'static str, String>;

fn expected(changes: &[(&'static str, &str)]) -> Seen {
    let mut seen: Seen = DEFAULT
        .iter()
        .map(|(what, how)| (*what, (*how).to_owned()))
        .collect();
    for (what, how) in changes {
        assert!(seen.insert(what, (*how).to_owned()).is_some(), "{what}");
    }
    seen
}

/// Looks at everything that a control is for, as people and agents meet it.
fn look(deployment: &Deployment, issuer: &Issuer, receiver: &UdpSocket, project: &str) -> Seen {
    while receiver.recv(&mut [0; 64]).is_ok() {}
    let stranger = deployment.client();
    let open = stranger.get("/api/status").status;
    let identity = issuer.token("alice");
    let by_identity = stranger.with_token(&identity);
    let accepted = || by_identity.get("/api/status").status;
    let features = stranger.get("/api/auth/info").with_status(200).json();
    let identity_token = if features["oidc_enabled"] == true {
        // The issuer's keys are fetched when the gateway starts.
        poll::until("the issuer's keys are known", || {
            (accepted() == 200).then_some(())
        });
        "200".to_owned()
    } else if open == 401 {
        accepted().to_string()
    } else {
        "ignored".to_owned()
    };
    let token = deployment.token(project, &["--role", "admin"]);
    let client = match (open, features["oidc_enabled"] == true) {
        (200, _) => stranger,
        (_, true) => by_identity,
        (_, false) => stranger.with_token(&token.raw),
    };
    let before = deployment.audit().records().len();
    let mut seen = session(deployment, &client, project);
    let judged = client.post(
        "/api/policy/check",
        &serde_json::json!({"command": "forbidden-tool --now"}),
    );
    let verdict = judged.with_status(200).json()["verdict"].clone();
    let grew = deployment.audit().records().len() > before;
    let scheme = deployment.endpoint().unwrap().url;
    let heard = receiver.recv(&mut [0; 64]);
    let silent = heard.is_err_and(|error| {
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        true
    });
    seen.extend([
        ("a caller without a credential", open.to_string()),
        ("an identity token", identity_token),
        ("the address", scheme.split(':').next().unwrap().to_owned()),
        ("the trail", word(grew, "grows", "does not grow")),
        (
            "the syslog receiver",
            word(silent, "gets nothing", "gets records"),
        ),
        ("forbidden-tool", verdict.as_str().unwrap().to_owned()),
    ]);
    seen
}

/// What becomes of a session, and of what its agent did.
fn session(deployment: &Deployment, client: &Client, project: &str) -> Seen {
    let project = deployment.project(project);
    fs::create_dir(project.path().join("src")).unwrap();
    project.write_and_commit("src/begin.txt", "begin\n");
    let main = project.commit("main");
    let id = deployment.start_session(client, project.path());
    let view = deployment.session_in(client, &id, &["completed", "waiting_approval"]);
    let controls = view["effective_enforcement"].as_array().unwrap();
    let network = controls
        .iter()
        .find(|control| control["control"] == "network isolation");
    let branch = view["branch"].as_str().unwrap_or_default();
    let arrived = |file: &str| project.try_file_at(branch, file).is_some();
    let state = view["state"].as_str().unwrap().to_owned();
    // What may be written is there whenever anything is.
    assert_eq!(arrived("src/made.txt"), state == "completed", "{view:#}");
    let moved = project.commit("main") != main;
    let outside = arrived("outside.txt");
    if state == "waiting_approval" {
        let _stopped = client.post(&format!("/api/sessions/{id}/stop"), &serde_json::json!({}));
        let _view = deployment.session_in(client, &id, &["stopped"]);
    }
    BTreeMap::from([
        ("the session", state),
        ("main", word(moved, "moved", "untouched")),
        (
            "a file outside src",
            word(outside, "handed over", "refused"),
        ),
        (
            "the network of agents",
            network.unwrap()["layer"].as_str().unwrap().to_owned(),
        ),
    ])
}

fn word(is: bool, yes: &str, no: &str) -> String {
    if is { yes } else { no }.to_owned()
}

#[test]
fn each_control_is_switched_on_alone_and_off_again() {
    let issuer = Issuer::start();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    receiver
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let agent = Agent::doing("echo x >outside.txt; echo y >src/made.txt; exit 0");
    let mut deployment = Deployment::builder()
        .with_provider("claude", agent)
        .with_variable("LOKI_MAX_ITERATIONS", "1")
        .start();
    let pair = tests::certificate::Certificate::good(deployment.root(), "server");
    let files = [&pair.certificate, &pair.key].map(|path| path.display().to_string());
    let seen = look(&deployment, &issuer, &receiver, "before");
    assert_eq!(seen, expected(&[]), "without a switch");
    let mut covered: BTreeSet<&str> = NOT_ALONE.iter().map(|(name, _)| *name).collect();
    for (number, (name, variables, changes)) in
        controls(&issuer, &receiver, files).into_iter().enumerate()
    {
        let allow = if name == "single sign-on" {
            "[oidc]\nallow_loopback_http = true\n"
        } else {
            ""
        };
        deployment.write_settings("gateway.toml", allow);
        deployment.restart_with(&variables);
        let seen = look(&deployment, &issuer, &receiver, &format!("on-{number}"));
        assert_eq!(seen, expected(changes), "{name}");
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        deployment.write_settings("gateway.toml", "");
        deployment.restart_without(&names);
        covered.extend(names);
    }
    let seen = look(&deployment, &issuer, &receiver, "after");
    assert_eq!(seen, expected(&[]), "without a switch again");
    let forgotten: Vec<String> = promised()
        .into_iter()
        .filter(|name| !covered.contains(name.as_str()))
        .collect();
    assert_eq!(forgotten, Vec::<String>::new());
}

/// The variables that switch on what the feature description promises.
fn promised() -> BTreeSet<String> {
    #[derive(Deserialize)]
    struct Promises {
        promise: Vec<Promise>,
    }
    #[derive(Deserialize)]
    struct Promise {
        switch: String,
    }
    let text = fs::read_to_string(programs::project().join("tests/promises.toml")).unwrap();
    let promises: Promises = toml::from_str(&text).unwrap();
    let switches = promises.promise.iter().flat_map(|it| it.switch.split(','));
    switches
        .map(|switch| switch.split('=').next().unwrap_or_default().trim())
        .filter(|name| name.starts_with("LOKI_"))
        .map(str::to_owned)
        .collect()
}
