//! The runtime's socket refuses whoever is not the gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use config::contract::caller::{HEADER, Statement};
use config::contract::figures;
use config::contract::operation::{OPERATIONS, Owner};
use tests::client::{Client, Response};
use tests::deployment::Deployment;
use tests::statement;

fn ask(client: &Client, method: &str, target: &str, header: &str) -> Response {
    client.request(method, target).field(HEADER, header).send()
}

#[test]
fn every_path_refuses_a_request_without_a_statement() {
    let deployment = Deployment::builder().start();
    let socket = Client::unix(deployment.home().runtime_socket());
    let forwarded = OPERATIONS.iter().filter(|row| row.owner == Owner::Runtime);
    let mut targets: Vec<(&str, String)> = forwarded
        .map(|row| {
            (
                row.method.name(),
                row.path.replace("{id}", "sess-000000000000"),
            )
        })
        .collect();
    targets.push(("GET", figures::PATH.to_owned()));
    targets.push(("GET", "/nothing".to_owned()));
    for (method, target) in targets {
        let answer = socket.request(method, &target).send();
        assert!(
            matches!(answer.status, 401 | 403),
            "{method} {target}: {}",
            answer.status
        );
        for header in ["", "x", "a.b", "e30.e30"] {
            let answer = ask(&socket, method, &target, header);
            assert!(
                matches!(answer.status, 401 | 403),
                "{method} {target} {header:?}"
            );
        }
    }
}

#[test]
fn altered_stale_replayed_and_foreign_statements_are_refused() {
    let deployment = Deployment::builder().start();
    let socket = Client::unix(deployment.home().runtime_socket());
    let key = statement::shared_key(&deployment.home());
    let target = "/api/status";
    let made = |counter: u64, change: fn(&mut Statement)| {
        let mut statement = statement::good(1, counter, "GET", target);
        change(&mut statement);
        key.sign(&statement).unwrap()
    };
    let good = made(1, |_| {});
    let check = |what: &str, header: &str| {
        let answer = ask(&socket, "GET", target, header);
        assert!(
            matches!(answer.status, 401 | 403),
            "{what}: {}",
            answer.status
        );
        assert!(
            !answer.text().contains("tag"),
            "the peer learns no reason: {}",
            answer.text()
        );
    };
    let foreign = statement::foreign_key();
    check(
        "another key",
        &foreign.sign(&statement::good(1, 2, "GET", target)).unwrap(),
    );
    check(
        "altered",
        &good.replacen(|letter: char| letter.is_ascii_lowercase(), "A", 1),
    );
    check("cut", &good[..good.len() - 2]);
    check(
        "another path",
        &made(3, |s| s.target = "/api/sessions".to_owned()),
    );
    check(
        "another query",
        &made(4, |s| s.target = "/api/status?all=1".to_owned()),
    );
    check("another method", &made(5, |s| s.method = "POST".to_owned()));
    check("stale", &made(6, |s| s.issued_at_ms -= 31_000));
    check("of the future", &made(7, |s| s.issued_at_ms += 31_000));
    check("another version", &made(8, |s| s.version = 2));
    let served = ask(&socket, "GET", target, &good);
    assert_eq!(served.status, 200, "{}", served.text());
    check("replayed", &good);
}

#[test]
fn two_statements_are_refused() {
    let deployment = Deployment::builder().start();
    let socket = Client::unix(deployment.home().runtime_socket());
    let key = statement::shared_key(&deployment.home());
    let sign = |counter| {
        key.sign(&statement::good(2, counter, "GET", "/api/status"))
            .unwrap()
    };
    let answer = socket
        .request("GET", "/api/status")
        .field(HEADER, &sign(1))
        .field(HEADER, &sign(2))
        .send();
    assert!(matches!(answer.status, 400..=403), "{}", answer.status);
}

#[test]
fn a_statement_does_not_survive_the_runtime_s_restart() {
    let mut deployment = Deployment::builder().start();
    let key = statement::shared_key(&deployment.home());
    let header = key
        .sign(&statement::good(3, 1, "GET", "/api/status"))
        .unwrap();
    deployment.stop_runtime();
    deployment.start_runtime();
    let socket = Client::unix(deployment.home().runtime_socket());
    let answer = ask(&socket, "GET", "/api/status", &header);
    assert!(matches!(answer.status, 401 | 403), "{}", answer.status);
}

#[test]
fn scopes_in_the_statement_bind_the_runtime_too() {
    let deployment = Deployment::builder().start();
    let socket = Client::unix(deployment.home().runtime_socket());
    let key = statement::shared_key(&deployment.home());
    let mut weak = statement::good(4, 1, "POST", "/api/control/stop");
    weak.caller.scopes = "read".parse().unwrap();
    let answer = ask(
        &socket,
        "POST",
        "/api/control/stop",
        &key.sign(&weak).unwrap(),
    );
    assert_eq!(answer.status, 403, "{}", answer.text());
}

#[test]
fn socket_and_key_are_closed_to_others() {
    let deployment = Deployment::builder().start();
    let home = deployment.home();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&home.run()), 0o700);
    assert_eq!(mode(&home.runtime_socket()) & 0o077, 0);
    assert_eq!(mode(&home.statement_key()), 0o600);
    assert_eq!(mode(home.statement_key().parent().unwrap()), 0o700);
    assert_eq!(mode(&home.endpoint()), 0o600);
}
