//! What agents in the sandbox reach through the egress proxy: what the operator listed, and nothing else.
//!
//! Each attack is a shell line of the agent. What it reaches is judged by the bytes that arrive outside.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde::Deserialize;
use serde_json::Value;
use tests::agent::Agent;
use tests::deployment::Deployment;

/// A web server of the machine; keeps the head of each request.
#[derive(Clone, Debug)]
struct Server {
    port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            port: listener.local_addr().unwrap().port(),
            heads: Arc::default(),
        };
        let heads = Arc::clone(&server.heads);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let heads = Arc::clone(&heads);
                thread::spawn(move || serve(stream, &heads));
            }
        });
        server
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).unwrap_or(0) == 0 {
            return;
        }
    }
    heads.lock().unwrap().push(head);
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello";
    stream.write_all(answer).unwrap_or_default();
}

/// The attacks as data.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attacks {
    attack: Vec<Attack>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attack {
    name: String,
    why: String,
    r#try: String,
}

/// How the agent asks: by curl, and by a head as it stands, which bash can send.
const WAYS: &str = r#"set -u
cat >/dev/null
proxy() { curl -sSf -m 20 --noproxy '' -x http://127.0.0.1:3128 "$@"; }
raw() { bash -c 'exec 3<>/dev/tcp/127.0.0.1/3128 && printf "$0\r\n\r\n" >&3 && head -1 <&3 | grep -q " 200 "' "$1"; }
"#;

/// Runs one session of these lines in the sandbox; returns name and result of each, and the session.
fn attack(settings: &str, lines: &[(&str, String)]) -> (Vec<String>, Value, Vec<Value>, String) {
    let deployment = Deployment::builder()
        .with_provider("claude", Agent::failing())
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_SANDBOX_MODE", "true")
        .with_variable("MODEL_KEY", "real-secret")
        .with_runtime_settings(settings)
        .start();
    let mut script = WAYS.to_owned();
    for (name, line) in lines {
        script.push_str(&format!(
            "if ( {line} ) >/tmp/out 2>&1; then echo '{name} reached' >>report.txt; else echo '{name} refused' >>report.txt; fi\n"
        ));
    }
    fs::write(deployment.agents().join("claude.sh"), script).unwrap();
    let client = deployment.client();
    let project = deployment.project("app");
    let id = deployment.start_session(&client, project.path());
    let view = deployment.session_in(&client, &id, &["completed"]);
    let report = project.file_at(view["branch"].as_str().unwrap(), "report.txt");
    let events = client
        .get(&format!("/api/sessions/{id}/events?limit=1000"))
        .with_status(200)
        .json();
    let events = events["events"].as_array().unwrap().iter();
    let egress = events
        .filter(|event| event["type"] == "egress")
        .cloned()
        .collect();
    let audit = fs::read_to_string(project.path().join(".loki/logs/agent-audit.jsonl")).unwrap();
    (
        report.lines().map(str::to_owned).collect(),
        view,
        egress,
        audit,
    )
}

#[track_caller]
fn all(report: &[String], lines: &[(&str, String)], expected: &str) {
    let wanted: Vec<String> = lines
        .iter()
        .map(|(name, _)| format!("{name} {expected}"))
        .collect();
    assert_eq!(report, wanted);
}

#[test]
fn an_empty_list_reaches_nothing_and_has_no_proxy() {
    let server = Server::start();
    let url = format!("http://127.0.0.1:{}/", server.port);
    let lines = [
        ("directly", format!("curl -sSf -m 5 --noproxy '*' '{url}'")),
        ("by the proxy", format!("proxy '{url}'")),
        ("have a proxy", "env | grep -qi _proxy".to_owned()),
    ];
    let (report, _, events, _) = attack("", &lines);
    all(&report, &lines, "refused");
    assert_eq!((server.heads(), events), (Vec::<String>::new(), Vec::new()));
}

#[test]
fn what_is_not_listed_is_refused_in_every_spelling_and_recorded() {
    let (listed, other) = (Server::start(), Server::start());
    let settings = format!(
        "egress.allow = [\"127.0.0.1:{}\", \"localhost:{}\", \"*.example.com\"]\n",
        listed.port, other.port
    );
    let file = tests::programs::project().join("tests/attacks/egress.toml");
    let attacks: Attacks = toml::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let (other_port, listed_port) = (other.port.to_string(), listed.port.to_string());
    let aimed = |line: &str| {
        line.replace("OTHER", &other_port)
            .replace("LISTED", &listed_port)
    };
    let lines: Vec<(&str, String)> = attacks
        .attack
        .iter()
        .map(|attack| (attack.name.as_str(), aimed(&attack.r#try)))
        .collect();
    assert!(attacks.attack.iter().all(|attack| !attack.why.is_empty()));
    let (report, view, events, audit) = attack(&settings, &lines);
    all(&report, &lines, "refused");
    assert_eq!(other.heads(), Vec::<String>::new());
    let controls = view["effective_enforcement"].as_array().unwrap();
    assert!(
        controls.iter().any(
            |control| control["control"] == "network isolation" && control["layer"] == "kernel"
        )
    );
    let refused = events
        .iter()
        .filter(|event| event["data"]["verdict"] == "refused");
    let reasons: Vec<&str> = refused
        .map(|event| event["data"]["reason"].as_str().unwrap())
        .collect();
    assert!(reasons.len() >= 18, "{events:#?}");
    for reason in [
        "no rule of egress.allow covers it",
        "the name leads to the machine itself",
    ] {
        assert!(reasons.contains(&reason), "{reason}: {reasons:?}");
    }
    let recorded = audit
        .lines()
        .filter(|line| line.contains("egress_request"))
        .count();
    assert_eq!(recorded, events.len());
}

#[test]
fn what_is_listed_is_reached() {
    let server = Server::start();
    let settings = format!("egress.allow = [\"127.0.0.1:{}\"]\n", server.port);
    let url = format!("http://127.0.0.1:{}/there", server.port);
    let lines = [
        ("plainly", format!("proxy '{url}' | grep -q hello")),
        ("tunnelled", format!("proxy -p '{url}' | grep -q hello")),
        (
            "by a head as it stands",
            format!("raw \"CONNECT 127.0.0.1:{} HTTP/1.1\"", server.port),
        ),
        (
            "in another spelling",
            format!(
                "proxy 'http://0x7f.1:{}/there' | grep -q hello",
                server.port
            ),
        ),
    ];
    let (report, view, events, audit) = attack(&settings, &lines);
    all(&report, &lines, "reached");
    let controls = view["effective_enforcement"].as_array().unwrap();
    let proxied = controls.iter().find(|control| control["layer"] == "proxy");
    assert_eq!(
        proxied.unwrap()["control"],
        "connections but to allowed hosts"
    );
    let heads = server.heads();
    assert_eq!(heads.len(), 3);
    for head in &heads {
        assert!(head.starts_with("GET /there HTTP/1.1\r\n"), "{head}");
        assert!(
            !head.to_ascii_lowercase().contains("proxy-connection"),
            "{head}"
        );
    }
    let allowed = events
        .iter()
        .filter(|event| event["data"]["verdict"] == "allowed");
    assert_eq!(allowed.count(), 4, "{events:#?}");
    assert!(
        audit.contains(&format!("\"rule\":\"127.0.0.1:{}\"", server.port)),
        "{audit}"
    );
}

#[test]
fn a_redirect_leads_no_further_than_the_list() {
    let (listed, other) = (TcpListener::bind("127.0.0.1:0").unwrap(), Server::start());
    let port = listed.local_addr().unwrap().port();
    let target = format!("http://127.0.0.1:{}/", other.port);
    thread::spawn(move || {
        for mut stream in listed.incoming().flatten() {
            let mut line = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut line).unwrap_or(0) > 2 {}
            let answer = format!(
                "HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap_or_default();
        }
    });
    let settings = format!("egress.allow = [\"127.0.0.1:{port}\"]\n");
    let url = format!("http://127.0.0.1:{port}/");
    let lines = [
        ("followed", format!("! proxy -L '{url}'")),
        (
            "not followed",
            format!("proxy -o /dev/null -w '%{{http_code}}' '{url}' | grep -qx 302"),
        ),
    ];
    let (report, _, events, _) = attack(&settings, &lines);
    all(&report, &lines, "reached");
    assert_eq!(other.heads(), Vec::<String>::new());
    let refused = events
        .iter()
        .filter(|event| event["data"]["verdict"] == "refused");
    assert_eq!(refused.count(), 1, "{events:#?}");
}

#[test]
fn a_route_carries_a_key_that_never_comes_inside() {
    let server = Server::start();
    let settings = format!(
        "egress.routes.model.upstream = \"http://127.0.0.1:{}/base\"\n\
         egress.routes.model.prefix = \"Bearer \"\n\
         egress.routes.model.key_variable = \"MODEL_KEY\"\n\
         egress.routes.model.base_url_variable = \"MODEL_BASE_URL\"\n",
        server.port
    );
    let lines = [
        ("ask the model", "curl -sSf -m 20 -H 'Authorization: Bearer mine' -d question \"$MODEL_BASE_URL/v1/x?y=z\" | grep -q hello".to_owned()),
        ("have no key", "! env | grep -q real-secret && ! cat /proc/*/environ | grep -q real-secret".to_owned()),
        ("not climb", "! curl -sSf -m 20 --path-as-is \"$MODEL_BASE_URL/../admin\"".to_owned()),
        ("not use it as a proxy", format!("! proxy 'http://127.0.0.1:{}/'", server.port)),
    ];
    let (report, _, events, audit) = attack(&settings, &lines);
    all(&report, &lines, "reached");
    let heads = server.heads();
    assert_eq!(heads.len(), 1, "{heads:?}");
    assert!(
        heads[0].starts_with("POST /base/v1/x?y=z HTTP/1.1\r\n"),
        "{}",
        heads[0]
    );
    assert!(
        heads[0].contains("authorization: Bearer real-secret\r\n"),
        "{}",
        heads[0]
    );
    assert!(!heads[0].contains("mine"), "{}", heads[0]);
    let told = format!("{events:?}{audit}");
    assert!(
        told.contains("route model") && !told.contains("real-secret"),
        "{told}"
    );
}
