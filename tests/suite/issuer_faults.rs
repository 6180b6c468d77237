//! What an issuer's server answers can be wrong in many ways: no token is judged by such an answer, no
//! other server is asked because of it, and keys that were seen before stay in use.

use std::fs;
use std::io::ErrorKind;
use std::net::TcpListener;

use serde_json::{Value, json};
use tests::deployment::Deployment;
use tests::issuer::Issuer;

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// An answer that cannot be used, and why.
struct Fault {
    why: &'static str,
    target: &'static str,
    answer: String,
}

fn answer(status: &str, more: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n{more}content-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

fn ok(body: &str) -> String {
    answer("200 OK", "", body)
}

/// A key that nobody here signs with.
const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"first","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

fn faults(issuer: &Issuer, elsewhere: &str) -> Vec<Fault> {
    let url = issuer.url();
    let keys = key_sets().into_iter().map(|(why, body)| Fault {
        why,
        target: "/keys",
        answer: ok(&body),
    });
    let documents = documents(&url).into_iter().map(|(why, body)| Fault {
        why,
        target: DISCOVERY,
        answer: ok(&body.to_string()),
    });
    broken(elsewhere)
        .into_iter()
        .chain(keys)
        .chain(documents)
        .collect()
}

/// Answers that are none.
fn broken(elsewhere: &str) -> Vec<Fault> {
    let fault = |why, target, answer| Fault {
        why,
        target,
        answer,
    };
    let moved = format!("location: {elsewhere}/keys\r\n");
    let set = format!(r#"{{"keys":[{KEY}]}}"#);
    let cut = ok(&set).replace("content-length: ", "content-length: 9");
    let internal = answer("500 Internal Server Error", "", &set);
    vec![
        fault("an error", "/keys", internal),
        fault("moved", "/keys", answer("302 Found", &moved, "")),
        fault("moved", DISCOVERY, answer("301 Moved", &moved, "")),
        fault("nothing at all", "/keys", String::new()),
        fault("cut off", "/keys", cut),
    ]
}

fn key_sets() -> Vec<(&'static str, String)> {
    let of = |keys: &str| format!(r#"{{"keys":{keys}}}"#);
    let with = |member: &str| {
        of(&format!(
            "[{}]",
            KEY.replace("\"x\"", &format!("{member},\"x\""))
        ))
    };
    let many = vec![KEY; 101].join(",");
    let long = "x".repeat(256 * 1024);
    vec![
        ("a page for people", "<html></html>".to_owned()),
        ("no keys", of("[]")),
        ("keys that are no list", of(KEY)),
        (
            "two lists of keys",
            format!(r#"{{"keys":[{KEY}],"keys":[{KEY}]}}"#),
        ),
        ("a shared secret", of(r#"[{"kty":"oct","k":"AAAA"}]"#)),
        ("a private key", with(r#""d":"AAAA""#)),
        ("a key for something else", with(r#""use":"enc""#)),
        ("more than 100 keys", of(&format!("[{many}]"))),
        (
            "more than 256 KiB",
            format!(r#"{{"keys":[{KEY}],"x":"{long}"}}"#),
        ),
    ]
}

/// Discovery documents; those that name an address name one that must not be asked.
fn documents(url: &str) -> Vec<(&'static str, Value)> {
    let own = format!("{url}/keys");
    let named = |keys: &str| json!({"issuer": url, "jwks_uri": keys});
    vec![
        (
            "another issuer's",
            json!({"issuer": "https://evil.test", "jwks_uri": own}),
        ),
        (
            "an issuer with a slash more",
            json!({"issuer": format!("{url}/"), "jwks_uri": own}),
        ),
        ("no key set named", json!({"issuer": url})),
        ("a file named", named("file:///etc/passwd")),
        ("metadata named", named("http://169.254.169.254/keys")),
        ("a private address named", named("https://10.0.0.1/keys")),
    ]
}

struct Target {
    deployment: Deployment,
    issuer: Issuer,
}

impl Target {
    fn new() -> Self {
        let issuer = Issuer::start();
        let deployment = Deployment::builder()
            .without_runtime()
            .with_variable("LOKI_OIDC_ISSUER", &issuer.url())
            .with_variable("LOKI_OIDC_CLIENT_ID", "client")
            .with_gateway_settings("[oidc]\nallow_loopback_http = true\n")
            .start();
        Self { deployment, issuer }
    }

    /// Starts the gateway anew, which looks at the keys first of all.
    fn restart(&mut self) {
        assert_eq!(self.deployment.stop_gateway(), Some(0));
        self.deployment.start_gateway();
    }

    fn status(&self) -> (u16, String) {
        let client = self.deployment.client();
        let answer = client
            .with_token(&self.issuer.token("alice"))
            .get("/metrics");
        (answer.status, answer.text().to_owned())
    }

    fn forget_keys(&self) {
        let kept = self.deployment.home().issuers();
        match fs::remove_dir_all(&kept) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{kept:?}: {error}"),
            Ok(()) | Err(_) => {}
        }
    }
}

#[test]
fn an_answer_that_cannot_be_used_is_as_good_as_none() {
    let mut target = Target::new();
    let elsewhere = TcpListener::bind("127.0.0.1:0").expect("a free port");
    elsewhere.set_nonblocking(true).expect("a plain socket");
    let url = format!("http://{}", elsewhere.local_addr().expect("an address"));
    let faults = faults(&target.issuer, &url);
    for fault in &faults {
        target.issuer.repent();
        target.issuer.lie(fault.target, &fault.answer);
        assert_eq!(target.deployment.stop_gateway(), Some(0));
        target.forget_keys();
        target.deployment.start_gateway();
        let (status, text) = target.status();
        assert_eq!(status, 503, "{}: {text}", fault.why);
        assert!(text.contains("issuer_unavailable"), "{}: {text}", fault.why);
    }
    target.issuer.repent();
    target.restart();
    tests::poll::until("the keys are seen", || {
        (target.status().0 == 200).then_some(())
    });
    for fault in &faults {
        target.issuer.repent();
        target.issuer.lie(fault.target, &fault.answer);
        target.restart();
        let (status, text) = target.status();
        assert_eq!(status, 200, "{}: {text}", fault.why);
    }
    let nobody = elsewhere.accept().map_err(|error| error.kind());
    assert!(matches!(nobody, Err(ErrorKind::WouldBlock)), "{nobody:?}");
}
