//! The caller statement: how the gateway tells the runtime who is calling, and how the runtime
//! checks it.
//!
//! `base64url(JSON) "." base64url(HMAC-SHA-256)` in the header `X-Loki-Caller`, made anew for each
//! attempt. It covers method, path and query, but not the body. The runtime refuses a missing,
//! altered, stale (± 30 s) or replayed one (a sliding window of 4,096 counters per gateway run).

use std::collections::HashMap;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::contract::id::{InstanceId, RequestId};
use crate::contract::scope::Scopes;
use crate::secret::Secret;

/// The request header that carries the statement, in lower case.
pub const HEADER: &str = "x-loki-caller";

/// Version of the statement's shape.
pub const VERSION: u8 = 1;

/// How far the issue time may lie from the runtime's clock, in milliseconds.
pub const SKEW_MS_MAX: i64 = 30_000;

/// Number of counters per gateway run whose replay is noticed; older ones are refused.
pub const WINDOW: u64 = 4_096;

/// Most gateway runs that are told apart at once.
pub const INSTANCES_MAX: usize = 64;

const STATEMENT_BYTES_MAX: usize = 16 * 1024;

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuthMethod {
    /// The certificate of a TLS client.
    Certificate,
    /// Not asked: authentication is off and the peer is the same user.
    Local,
    /// Nobody: a public operation without a credential.
    None,
    /// A token of an OpenID Connect issuer.
    Oidc,
    /// An opaque bearer token.
    Token,
}

impl AuthMethod {
    /// Returns the name as written in records and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Local => "local",
            Self::None => "none",
            Self::Oidc => "oidc",
            Self::Token => "token",
        }
    }
}

/// Who is calling: identity, means and permissions, as the gateway found them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// The principal for people to read, for example `token:ci-bot`.
    pub user: String,
    /// The identity for decisions: a token id, `<issuer>#<subject>`, `certificate:<name>`,
    /// or `local`; never a name for people.
    pub principal: String,
    /// How the caller proved it.
    pub auth_method: AuthMethod,
    /// What the caller may do.
    pub scopes: Scopes,
    /// The projects that the caller is bound to; none means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub projects: Option<Vec<String>>,
}

/// Everything that the gateway states about one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`VERSION`].
    pub version: u8,
    /// The gateway run that states it.
    pub instance: InstanceId,
    /// Rises by one with each statement of the run.
    pub counter: u64,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: i64,
    /// The request in both audit trails.
    pub request_id: RequestId,
    /// The HTTP method.
    pub method: String,
    /// Path and query, byte for byte as forwarded.
    pub target: String,
    /// Who is calling.
    pub caller: Caller,
    /// Whether nobody else could approve what the caller starts; said of the start of a session alone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sole_approver: bool,
}

/// A [`Statement`] borrowed from where its parts stand: signing one copies none of them.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct StatementParts<'a> {
    /// [`VERSION`].
    pub version: u8,
    /// The gateway run that states it.
    pub instance: &'a InstanceId,
    /// Rises by one with each statement of the run.
    pub counter: u64,
    /// Milliseconds since the Unix epoch.
    pub issued_at_ms: i64,
    /// The request in both audit trails.
    pub request_id: &'a RequestId,
    /// The HTTP method.
    pub method: &'a str,
    /// Path and query, byte for byte as forwarded.
    pub target: &'a str,
    /// Who is calling.
    pub caller: &'a Caller,
    /// Whether nobody else could approve what the caller starts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub sole_approver: bool,
}

impl<'a> From<&'a Statement> for StatementParts<'a> {
    fn from(statement: &'a Statement) -> Self {
        Self {
            version: statement.version,
            instance: &statement.instance,
            counter: statement.counter,
            issued_at_ms: statement.issued_at_ms,
            request_id: &statement.request_id,
            method: &statement.method,
            target: &statement.target,
            caller: &statement.caller,
            sole_approver: statement.sole_approver,
        }
    }
}

/// Room for the JSON of a usual statement.
const USUAL_JSON_BYTES: usize = 512;

/// Room for the tag of a statement and the point before it, as written.
const TAG_BYTES: usize = 44;

/// A key of the statement; prints nothing.
#[derive(Debug, Clone)]
pub struct StatementKey(hmac::Key);

impl StatementKey {
    /// Builds the key from the bytes of the shared key file.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose()))
    }

    /// Returns the header value for a statement.
    ///
    /// # Errors
    /// When the statement cannot be put into JSON.
    pub fn sign<'a>(
        &self,
        statement: impl Into<StatementParts<'a>>,
    ) -> Result<String, StatementError> {
        let mut json = Vec::with_capacity(USUAL_JSON_BYTES);
        serde_json::to_writer(&mut json, &statement.into())
            .map_err(|_| StatementError::Malformed)?;
        let mut text = String::with_capacity(json.len().div_ceil(3) * 4 + TAG_BYTES);
        URL_SAFE_NO_PAD.encode_string(&json, &mut text);
        let tag = hmac::sign(&self.0, text.as_bytes());
        text.push('.');
        URL_SAFE_NO_PAD.encode_string(tag.as_ref(), &mut text);
        Ok(text)
    }
}

/// Why a statement was refused. For the inside; the peer is told none of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// There is none.
    #[error("caller statement is missing")]
    Missing,
    /// Not of the known shape, or of another version.
    #[error("caller statement is malformed")]
    Malformed,
    /// No accepted key made the tag.
    #[error("caller statement was not made with an accepted key")]
    BadTag,
    /// It speaks of another method or path.
    #[error("caller statement belongs to another request")]
    OtherRequest,
    /// Issued too long ago, too far ahead, or before this runtime started.
    #[error("caller statement is stale")]
    Stale,
    /// Seen before, or too old to tell.
    #[error("caller statement was used before")]
    Replayed,
    /// More gateway runs than can be told apart.
    #[error("too many gateway runs at once")]
    TooManyInstances,
}

/// Checks statements and remembers which were used.
#[derive(Debug)]
pub struct Verifier {
    keys: Vec<StatementKey>,
    started_at_ms: i64,
    windows: HashMap<InstanceId, Window>,
}

impl Verifier {
    /// Builds a verifier that accepts any of `keys` and nothing issued before `started_at_ms`,
    /// because the windows of an earlier run are gone.
    #[must_use]
    pub fn new(keys: Vec<StatementKey>, started_at_ms: i64) -> Self {
        Self {
            keys,
            started_at_ms,
            windows: HashMap::new(),
        }
    }

    /// Returns the statement if it is genuine, fresh, unused, and about this request.
    ///
    /// # Errors
    /// See [`StatementError`].
    pub fn verify(
        &mut self,
        header: Option<&[u8]>,
        method: &str,
        target: &str,
        now_ms: i64,
    ) -> Result<Statement, StatementError> {
        let header = header.ok_or(StatementError::Missing)?;
        let statement = self.authenticate(header)?;
        if statement.version != VERSION {
            return Err(StatementError::Malformed);
        }
        if statement.method != method || statement.target != target {
            return Err(StatementError::OtherRequest);
        }
        let age = now_ms.saturating_sub(statement.issued_at_ms);
        if age.abs() > SKEW_MS_MAX || statement.issued_at_ms < self.started_at_ms {
            return Err(StatementError::Stale);
        }
        self.window(&statement.instance, now_ms)?
            .take(statement.counter, now_ms)?;
        Ok(statement)
    }

    fn authenticate(&self, header: &[u8]) -> Result<Statement, StatementError> {
        if header.len() > STATEMENT_BYTES_MAX {
            return Err(StatementError::Malformed);
        }
        let dot = header
            .iter()
            .position(|byte| *byte == b'.')
            .ok_or(StatementError::Malformed)?;
        let (text, tag) = (&header[..dot], &header[dot + 1..]);
        let tag = URL_SAFE_NO_PAD
            .decode(tag)
            .map_err(|_| StatementError::Malformed)?;
        if !self
            .keys
            .iter()
            .any(|key| hmac::verify(&key.0, text, &tag).is_ok())
        {
            return Err(StatementError::BadTag);
        }
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| StatementError::Malformed)?;
        serde_json::from_slice(&json).map_err(|_| StatementError::Malformed)
    }

    fn window(
        &mut self,
        instance: &InstanceId,
        now_ms: i64,
    ) -> Result<&mut Window, StatementError> {
        if !self.windows.contains_key(instance) {
            // A run whose last statement is older than the skew can no longer be replayed.
            self.windows
                .retain(|_, window| now_ms - window.used_at_ms <= 2 * SKEW_MS_MAX);
            if self.windows.len() >= INSTANCES_MAX {
                return Err(StatementError::TooManyInstances);
            }
        }
        Ok(self
            .windows
            .entry(instance.clone())
            .or_insert_with(|| Window::new(now_ms)))
    }
}

/// Which of the last [`WINDOW`] counters of one gateway run were used: a ring of bits.
#[derive(Debug)]
struct Window {
    highest: Option<u64>,
    used: Box<[u64]>,
    used_at_ms: i64,
}

impl Window {
    fn new(now_ms: i64) -> Self {
        Self {
            highest: None,
            used: vec![0; usize_of(WINDOW / 64)].into_boxed_slice(),
            used_at_ms: now_ms,
        }
    }

    fn take(&mut self, counter: u64, now_ms: i64) -> Result<(), StatementError> {
        match self.highest {
            None => self.highest = Some(counter),
            Some(highest) if counter > highest => {
                if counter - highest >= WINDOW {
                    self.used.fill(0);
                } else {
                    for passed in highest + 1..=counter {
                        self.clear(passed);
                    }
                }
                self.highest = Some(counter);
            }
            Some(highest) if highest - counter >= WINDOW || self.is_used(counter) => {
                return Err(StatementError::Replayed);
            }
            Some(_) => {}
        }
        self.mark(counter);
        self.used_at_ms = now_ms;
        Ok(())
    }

    fn is_used(&self, counter: u64) -> bool {
        let (word, bit) = place(counter);
        self.used[word] & bit != 0
    }

    fn mark(&mut self, counter: u64) {
        let (word, bit) = place(counter);
        self.used[word] |= bit;
    }

    fn clear(&mut self, counter: u64) {
        let (word, bit) = place(counter);
        self.used[word] &= !bit;
    }
}

fn place(counter: u64) -> (usize, u64) {
    let slot = counter % WINDOW;
    (usize_of(slot / 64), 1 << (slot % 64))
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the argument is below the window's 4,096"
)]
const fn usize_of(small: u64) -> usize {
    small as usize
}

#[cfg(test)]
mod tests;
