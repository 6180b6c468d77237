//! Connections that stay open: WebSockets, opened like any other request.
//!
//! Invariant: the gateway is known, and gets the token, exactly as for other requests.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use reqwest::{Client as Http, StatusCode, Upgraded, redirect};

use super::{ANSWER_TIMEOUT, CONNECT_TIMEOUT, Client, USER_AGENT, answer};
use crate::failure::{Exit, Failure};

impl Client {
    /// Opens a WebSocket.
    pub(crate) async fn websocket(&self, path: &str) -> Result<Upgraded, Failure> {
        let mut builder = Http::builder()
            .user_agent(USER_AGENT)
            .redirect(redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT);
        if let Some(trust) = &self.trust {
            builder = builder.tls_backend_preconfigured(trust.clone());
        }
        if self.direct {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| Failure::failed(format!("cannot prepare the connection: {error}")))?;
        let mut request = http
            .get(format!("{}{path}", self.base))
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", nonce());
        if let Some(credential) = &self.credential {
            request = request.header("authorization", credential.header());
        }
        let answered = tokio::time::timeout(ANSWER_TIMEOUT, request.send()).await;
        let late = |_| Failure::new(Exit::Unreachable, "the gateway does not answer");
        let response = answered
            .map_err(late)?
            .map_err(|error| self.unreachable(&error))?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let status = response.status().as_u16();
            let body = response.bytes().await.unwrap_or_default();
            return Err(answer::failure(status, &body, self.credential.as_ref()));
        }
        let broken = |error| Failure::failed(format!("the connection was not taken over: {error}"));
        response.upgrade().await.map_err(broken)
    }
}

/// Returns four bytes that nobody can guess.
pub(crate) fn random() -> [u8; 4] {
    let number = RandomState::new().build_hasher().finish();
    let [a, b, c, d, ..] = number.to_ne_bytes();
    [a, b, c, d]
}

/// Returns 16 random bytes in base64, as the opening of a WebSocket wants them.
fn nonce() -> String {
    let mut text = String::new();
    while text.len() < 21 {
        text.extend(random().map(|byte| char::from(LETTERS[usize::from(byte % 64)])));
    }
    text.truncate(21);
    // The last letter stands for two bits alone.
    text.push_str("A==");
    text
}

const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::nonce;

    #[test]
    fn a_nonce_is_16_bytes_and_never_the_same() {
        let (one, other) = (nonce(), nonce());
        assert_eq!(one.len(), 24);
        assert!(one.ends_with("A=="), "{one}");
        assert_ne!(one, other);
    }
}
