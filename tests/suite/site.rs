//! Pages of other sites cannot use the caller's browser against the gateway, and names that are not
//! ours are not answered; the documented `curl` works.

use tests::command;
use tests::deployment::Deployment;

#[test]
fn without_tokens_foreign_pages_and_names_are_refused() {
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    for origin in [
        "https://evil.example",
        "http://localhost:1",
        "http://localhost",
        "null",
        "http://localhost.evil.example",
        "",
    ] {
        for (method, target) in [("GET", "/api/status"), ("POST", "/api/control/stop")] {
            let answer = client
                .request(method, target)
                .field("Origin", origin)
                .send();
            assert_eq!(answer.status, 403, "{method} {target} from {origin:?}");
            assert_eq!(answer.field("access-control-allow-origin"), None);
        }
    }
    for host in [
        "evil.example",
        "localhost.evil.example",
        "169.254.169.254",
        "0.0.0.0",
    ] {
        let answer = client.request("GET", "/api/status").host(host).send();
        assert_eq!(answer.status, 403, "Host {host}");
    }
    for site in ["cross-site", "same-site"] {
        let request = client.request("POST", "/api/control/stop");
        let answer = request.field("Sec-Fetch-Site", site).send();
        assert_eq!(answer.status, 403, "Sec-Fetch-Site {site}");
    }
}

#[test]
fn a_listed_origin_may_call_and_no_other() {
    let deployment = Deployment::builder()
        .with_variable("LOKI_DASHBOARD_CORS", "https://console.example.org")
        .start();
    let client = deployment.client();
    let ask = |origin: &str| {
        client
            .request("GET", "/api/status")
            .field("Origin", origin)
            .send()
    };
    let _refused = ask("https://console.example.org.evil.example").with_status(403);
    let _refused = ask("http://console.example.org").with_status(403);
    let _served = ask("https://console.example.org").with_status(200);
}

#[test]
fn the_documented_curl_commands_work() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci-bot", &["--scopes", "*"]);
    let port = deployment
        .endpoint()
        .unwrap()
        .url
        .rsplit(':')
        .next()
        .unwrap()
        .to_owned();
    let curl = |line: &str| {
        let line = line.replace("57374", &port);
        let script = format!("TOKEN={}\n{line}", token.raw);
        command::run(deployment.foreign_command("sh").args(["-c", &script]))
    };
    let refused = curl("curl -sS -o /dev/null -w '%{http_code}' http://localhost:57374/api/status");
    assert_eq!(refused.output(), "401");
    for line in [
        "curl -sSf -H \"Authorization: Bearer $TOKEN\" \\\nhttp://localhost:57374/api/status",
        "curl -sSf -H \"Authorization: Bearer $TOKEN\" \\\n\"http://localhost:57374/api/enterprise/audit?limit=100\"",
        "curl -sSf -H \"Authorization: Bearer $TOKEN\" \\\n\"http://localhost:57374/api/enterprise/audit/summary\"",
    ] {
        let _json = curl(line).json();
    }
}

#[test]
fn without_tokens_metrics_are_open_as_documented() {
    let deployment = Deployment::builder().start();
    let url = format!("{}/metrics", deployment.endpoint().unwrap().url);
    let finished = command::run(deployment.foreign_command("curl").args(["-sSf", &url]));
    assert!(finished.output().contains("loki_session_status 0"));
}

#[test]
fn without_tokens_another_user_of_the_machine_is_refused() {
    if !rustix::process::getuid().is_root() {
        skip("another user can be tried as root alone");
        return;
    }
    let deployment = Deployment::builder().start();
    let url = format!("{}/api/status", deployment.endpoint().unwrap().url);
    let own = command::run(deployment.foreign_command("curl").args(["-sSf", &url]));
    assert_eq!(own.code, 0, "{own}");
    let mut other = deployment.foreign_command("setpriv");
    other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    other.args(["curl", "-sS", &url]).current_dir("/");
    let finished = command::run(&mut other);
    assert!(
        finished.code != 0 || finished.stdout.contains("\"status\":403"),
        "{finished}"
    );
    assert!(!finished.stdout.contains("active_sessions"), "{finished}");
}

#[expect(clippy::print_stderr, reason = "a skipped test says so, and why")]
fn skip(why: &str) {
    eprintln!("skipped: {why}");
}
