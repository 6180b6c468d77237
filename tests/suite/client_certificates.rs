//! A client's certificate is a credential where the operator says whom it stands for, and nothing that
//! a client writes into a field is one.

use std::path::Path;

use tests::certificate::{Authority, Certificate};
use tests::command::{self, Finished};
use tests::deployment::Deployment;
use tests::http2::{self, Http2};
use tests::poll;

const URI: &str = "spiffe://example.org/ci";

struct Edge {
    deployment: Deployment,
    authority: Authority,
}

fn settings(ca: &Path, required: bool, role: &str) -> String {
    format!(
        "[tls.client]\nca = {ca:?}\nrequired = {required}\n\
         [tls.client.principals.ci-bot]\nmatch = \"uri:{URI}\"\nrole = \"{role}\"\n"
    )
}

impl Edge {
    fn new(required: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder").keep();
        let authority = Authority::new(&folder, "clients");
        let deployment = Deployment::builder()
            .with_tls()
            .with_tokens()
            .with_gateway_settings(&settings(&authority.file(), required, "viewer"))
            .start();
        Self {
            deployment,
            authority,
        }
    }

    fn ask(&self, client: Option<&Certificate>, path: &str, more: &[&str]) -> Finished {
        let url = self.deployment.endpoint().expect("it listens").url;
        let mut curl = self.deployment.foreign_command("curl");
        curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--cacert"])
            .arg(self.deployment.root().join("server-cert.pem"));
        if let Some(pair) = client {
            curl.arg("--cert").arg(&pair.certificate);
            curl.arg("--key").arg(&pair.key);
        }
        curl.args(more)
            .arg(format!("{}{path}", url.replace("127.0.0.1", "localhost")));
        command::run(&mut curl)
    }

    fn status(&self, client: Option<&Certificate>, path: &str, more: &[&str]) -> String {
        self.ask(client, path, more).output()
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        let folder = self.authority.file();
        let folder = folder.parent().expect("it lies in a folder");
        std::fs::remove_dir_all(folder).expect("the folder can be removed");
    }
}

#[test]
fn strangers_and_pretenders_are_refused() {
    let edge = Edge::new(false);
    let folder = edge.authority.file();
    let folder = folder.parent().expect("it lies in a folder");
    let foreign = Authority::new(folder, "foreign").client("foreign", URI);
    let expired = edge.authority.expired_client("expired", URI);
    for pair in [&foreign, &expired] {
        let finished = edge.ask(Some(pair), "/health", &[]);
        assert_ne!(finished.code, 0, "no handshake: {finished}");
    }
    let unknown = edge
        .authority
        .client("unknown", "spiffe://example.org/ci/other");
    assert_eq!(edge.status(Some(&unknown), "/api/status", &[]), "401");
    assert_eq!(edge.status(None, "/api/status", &[]), "401");
    for field in [
        "X-Client-Cert: ci-bot",
        "X-Forwarded-Client-Cert: URI=spiffe://example.org/ci",
        "SSL-Client-Verify: SUCCESS",
        "X-SSL-Client-S-DN: CN=ci-bot",
    ] {
        assert_eq!(
            edge.status(None, "/api/status", &["-H", field]),
            "401",
            "{field}"
        );
    }
    let _told = edge
        .deployment
        .audit()
        .until("the failed handshake", |record| {
            record["action"] == "connection.refused"
                && record["details"]["reason"] == "handshake_failed"
        });
}

#[test]
fn nobody_is_served_without_a_required_certificate() {
    let edge = Edge::new(true);
    let token = edge.deployment.token("viewer", &["--role", "viewer"]);
    let bearer = format!("Authorization: Bearer {}", token.raw);
    let finished = edge.ask(None, "/api/status", &["-H", &bearer]);
    assert_ne!(finished.code, 0, "{finished}");
    let unknown = edge
        .authority
        .client("unknown", "spiffe://example.org/other");
    assert_eq!(edge.status(Some(&unknown), "/api/status", &[]), "401");
    // A certificate that is nobody's is no credential beside the token.
    let with_token = edge.status(Some(&unknown), "/api/status", &["-H", &bearer]);
    assert_eq!(with_token, "200");
}

#[test]
fn a_certificate_stands_for_its_principal_and_no_more() {
    let edge = Edge::new(false);
    let bot = edge.authority.client("bot", URI);
    for version in ["--http1.1", "--http2"] {
        assert_eq!(edge.status(Some(&bot), "/api/status", &[version]), "200");
        let denied = edge.status(Some(&bot), "/api/enterprise/audit", &[version]);
        assert_eq!(denied, "403", "{version}");
    }
    let token = edge.deployment.token("admin", &["--role", "admin"]);
    let bearer = format!("Authorization: Bearer {}", token.raw);
    let both = edge.status(Some(&bot), "/api/status", &["-H", &bearer]);
    assert_eq!(both, "400", "two credentials");
    let record = edge.deployment.audit().until("the request", |record| {
        record["action"] == "status.show" && record["outcome"] == "done"
    });
    assert_eq!(record["user"], "certificate:ci-bot");
    assert_eq!(record["auth_method"], "certificate");
}

#[test]
fn certificates_are_withdrawn_by_digest_by_name_and_by_time() {
    let mut edge = Edge::new(false);
    let [bot, spare] = ["bot", "spare"].map(|name| edge.authority.client(name, URI));
    let statuses = |edge: &Edge| {
        [&bot, &spare].map(|pair| edge.status(Some(pair), "/api/status", &["--http1.1"]))
    };
    assert_eq!(statuses(&edge), ["200", "200"]);
    let revoke = ["enterprise", "token", "revoke", "--issuer", "certificate"];
    for wrong in ["ci-bot", "sha256:00", "uri:"] {
        let line = [&revoke[..], &["--subject", wrong]].concat();
        assert_eq!(edge.deployment.loki(&line).code, 2, "{wrong}");
    }
    assert_eq!(statuses(&edge), ["200", "200"]);
    let digest: Vec<String> = bot.fingerprint().map(|b| format!("{b:02X}")).into();
    let digest = format!("sha256:{}", digest.join(":"));
    let line = [&revoke[..], &["--subject", &digest]].concat();
    let _one = edge.deployment.loki(&line).ended_with(0);
    assert_eq!(statuses(&edge), ["401", "200"]);
    let record = edge.deployment.audit().until("the refusal", |record| {
        record["details"]["detail"] == "certificate_withdrawn"
    });
    assert_eq!(record["action"], "auth.failure", "{record}");
    // It outlives the gateway, and others go on until all of the name are withdrawn.
    let _code = edge.deployment.stop_gateway();
    edge.deployment.start_gateway();
    assert_eq!(statuses(&edge), ["401", "200"]);
    let name = format!("uri:{URI}");
    let line = [&revoke[..], &["--subject", &name]].concat();
    let _all = edge.deployment.loki(&line).ended_with(0);
    assert_eq!(statuses(&edge), ["401", "401"]);
    // What is issued later is not meant.
    let fresh = edge.authority.fresh_client("fresh", URI);
    poll::until("the new certificate's time has come", || {
        let finished = edge.ask(Some(&fresh), "/api/status", &["--http1.1"]);
        (finished.stdout == "200").then_some(())
    });
    let line = ["enterprise", "token", "revoke", "--role", "viewer"];
    let _role = edge.deployment.loki(&line).ended_with(0);
    assert_eq!(edge.status(Some(&fresh), "/api/status", &[]), "401");
}

#[test]
fn a_rule_that_is_taken_away_ends_the_right_at_once() {
    let edge = Edge::new(false);
    let bot = edge.authority.client("bot", URI);
    assert_eq!(edge.status(Some(&bot), "/api/status", &[]), "200");
    let ca = edge.authority.file();
    let text = settings(&ca, false, "auditor").replace("ci-bot]", "other]");
    let text = text.replace(URI, "spiffe://example.org/other");
    edge.deployment.write_settings("gateway.toml", &text);
    poll::until("the rule is gone", || {
        (edge.status(Some(&bot), "/api/status", &[]) == "401").then_some(())
    });
}

#[test]
fn an_authority_that_is_taken_away_ends_what_it_vouched_for() {
    let edge = Edge::new(false);
    let folder = edge.authority.file();
    let folder = folder.parent().expect("it lies in a folder");
    let next = Authority::new(folder, "next");
    let bundle = folder.join("bundle.pem");
    let read = |path: &Path| std::fs::read_to_string(path).expect("an authority");
    let both = read(&edge.authority.file()) + &read(&next.file());
    std::fs::write(&bundle, both).expect("it can be written");
    let deployment = &edge.deployment;
    deployment.write_settings("gateway.toml", &settings(&bundle, false, "viewer"));
    let admin = deployment.token("admin", &["--role", "admin"]);
    let admin = deployment.client().with_token(&admin.raw);
    let reload = || {
        let answer = admin.request("POST", "/api/config/reload").send();
        let _done = answer.with_status(200);
    };
    reload();
    let client = |authority: &Authority, name: &str| {
        let pair = authority.client(name, URI);
        deployment.client().presenting(&pair)
    };
    let (gone, kept) = (client(&edge.authority, "gone"), client(&next, "kept"));
    let ask = gone.request("GET", "/api/status");
    let (mut ended, mut goes_on) = (gone.connect(), kept.connect());
    let mut quiet = gone.connect();
    let mut shared = Http2::begin(&gone, &[]);
    shared.write(&http2::head(1, true, "GET", "/api/status", &[]));
    shared.until("the answer", |frame| frame.ends_stream());
    let anonymous = deployment.client();
    let mut nobody = anonymous.connect();
    for connection in [&mut ended, &mut goes_on, &mut quiet] {
        let _served = connection.send(&ask).with_status(200);
    }
    let _open = nobody
        .send(&anonymous.request("GET", "/health"))
        .with_status(200);

    // An authority that stays, and connections that it has nothing to do with, are left alone.
    deployment.write_settings("gateway.toml", &settings(&next.file(), false, "viewer"));
    reload();
    assert_eq!(ended.read_to_end(), b"");
    assert_eq!(quiet.read_to_end(), b"");
    while shared.next_frame().is_some() {}
    let _served = goes_on.send(&ask).with_status(200);
    let _open = nobody
        .send(&anonymous.request("GET", "/health"))
        .with_status(200);
    assert!(gone.request("GET", "/api/status").try_send().is_none());
    let metrics = admin.get("/metrics").with_status(200);
    let line = "loki_gateway_connections_dropped_total{reason=\"authority_removed\"} 3";
    assert!(metrics.text().contains(line), "{}", metrics.text());
    let _recorded = deployment.audit().until("an ended connection", |record| {
        record["action"] == "connection.refused"
            && record["details"]["reason"] == "authority_removed"
    });
}
