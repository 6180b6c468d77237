//! A real, certified OpenID Provider (npm `oidc-provider`) on loopback, and a client of it.

use std::fs::File;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::client::{Client, Response};
use crate::counterpart;
use crate::installation::free_port;
use crate::poll;
use crate::programs;

/// The audience of its access tokens.
pub const AUDIENCE: &str = "https://gateway.test/";

/// A running provider; it ends when dropped.
#[derive(Debug)]
pub struct Provider {
    port: u16,
    log: std::path::PathBuf,
    child: Option<Child>,
}

impl Provider {
    /// Starts it and waits until it answers; what it says goes to a file below `root`.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    pub fn start(root: &Path) -> Self {
        let mut provider = Self {
            port: free_port(),
            log: root.join("provider.log"),
            child: None,
        };
        provider.begin();
        provider
    }

    /// Starts it again at the same address, with new keys.
    ///
    /// # Panics
    /// When it runs, or does not start.
    pub fn begin(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = File::create(&self.log).expect("a log file");
        let child = Command::new(counterpart::system("node"))
            .arg(programs::project().join("tests/counterparts/oidc-provider.mjs"))
            .args([&self.port.to_string(), AUDIENCE])
            .arg(counterpart::folder("oidc-provider"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("node starts"));
        let client = self.client();
        poll::until("the provider listens", || {
            client.is_answered().then_some(())
        });
    }

    /// Ends it.
    ///
    /// # Panics
    /// When it cannot be ended.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it can be ended");
            child.wait().expect("it can be waited for");
        }
    }

    /// Returns its URL.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Signs with a new key from now on; the old ones stay published.
    ///
    /// # Panics
    /// When it does not answer.
    pub fn rotate(&self) {
        let _rotated = self
            .client()
            .request("POST", "/rotate")
            .send()
            .with_status(200);
    }

    /// Returns an access token of the service `svc` (client credentials).
    ///
    /// # Panics
    /// When it gives none.
    #[must_use]
    pub fn service_token(&self) -> String {
        self.ask(
            "svc",
            "svc-secret",
            "grant_type=client_credentials&scope=api",
        )
    }

    /// Returns an access token of the user alice (authorization code with PKCE, through the
    /// browser's redirects).
    ///
    /// # Panics
    /// When it gives none.
    #[must_use]
    pub fn user_token(&self) -> String {
        let verifier = "a-code-verifier-that-is-long-enough-for-rfc-7636-0123456789";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier));
        let callback = "http%3A%2F%2F127.0.0.1%3A1%2Fcallback";
        let mut target = format!(
            "/auth?client_id=web&response_type=code&redirect_uri={callback}&scope=openid%20api\
             &code_challenge={challenge}&code_challenge_method=S256&state=s"
        );
        let mut cookies: Vec<(String, String)> = Vec::new();
        let code = (0..10).find_map(|_| {
            let shown = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            let shown = shown.collect::<Vec<_>>().join("; ");
            let client = self.client();
            let answer = client
                .request("GET", &target)
                .field("Cookie", &shown)
                .send();
            keep_cookies(&mut cookies, &answer);
            let next = answer
                .field("location")
                .unwrap_or_else(|| panic!("{}", answer.text()));
            if let Some((_, query)) = next.split_once("/callback?") {
                let code = query.split('&').find_map(|pair| pair.strip_prefix("code="));
                return Some(code.unwrap_or_else(|| panic!("{query}")).to_owned());
            }
            target = next.strip_prefix(&self.url()).unwrap_or(next).to_owned();
            None
        });
        let code = code.expect("the provider leads to the callback");
        let form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={callback}&code_verifier={verifier}"
        );
        self.ask("web", "web-secret", &form)
    }

    fn ask(&self, id: &str, secret: &str, form: &str) -> String {
        let client = self.client();
        let basic = STANDARD.encode(format!("{id}:{secret}"));
        let answer = client
            .request("POST", "/token")
            .field("Authorization", &format!("Basic {basic}"))
            .field("Content-Type", "application/x-www-form-urlencoded")
            .body(form.as_bytes())
            .send();
        let given: Value = answer.with_status(200).json();
        given["access_token"]
            .as_str()
            .expect("an access token")
            .to_owned()
    }

    fn client(&self) -> Client {
        Client::plain(SocketAddr::from(([127, 0, 0, 1], self.port)))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.stop();
    }
}

fn keep_cookies(cookies: &mut Vec<(String, String)>, answer: &Response) {
    for (name, value) in &answer.fields {
        if !name.eq_ignore_ascii_case("set-cookie") {
            continue;
        }
        let pair = value.split(';').next().unwrap_or_default();
        if let Some((name, value)) = pair.split_once('=') {
            cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                cookies.push((name.to_owned(), value.to_owned()));
            }
        }
    }
}
