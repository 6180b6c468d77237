//! What one line of the audit trail says: the draft that a caller writes, the record that a
//! reader gets back, and the words that both use.
//!
//! Invariant: the first six members of a line are those of the documented format, in its order,
//! always present and always of the same JSON type; what is not known is the empty text or `{}`.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use config::contract::caller::AuthMethod;
use config::contract::id::{RequestId, TokenId};
use config::contract::scope::Scope;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The user of a record when nobody proved who they are.
pub const ANONYMOUS: &str = "anonymous";

/// The user of a record that the audit trail writes about itself.
pub const SYSTEM: &str = "system";

/// Which part of a request's story a record tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// A mutation was judged; written before it is forwarded.
    Decision,
    /// A mutation was carried out or not; written before its answer leaves.
    Outcome,
    /// A request is over. Every recorded request has exactly one.
    End,
    /// Something that was no request: a command, a start, a gap.
    Event,
}

impl Phase {
    /// Returns the name as written in records.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::End => "end",
            Self::Event => "event",
        }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// May go ahead; only decisions say so.
    Allowed,
    /// Refused by the gateway.
    Denied,
    /// Carried out.
    Done,
    /// Not carried out, though it was allowed.
    Failed,
    /// Nobody can tell: the answer never came.
    Unknown,
}

impl Outcome {
    /// Every outcome.
    pub const EVERY: [Self; 5] = [
        Self::Allowed,
        Self::Denied,
        Self::Done,
        Self::Failed,
        Self::Unknown,
    ];

    /// Returns the name as written in records and in query parameters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }

    /// Returns how an allowed request went by the HTTP status of its answer: below 400 it is
    /// done, else it failed.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        if status < 400 {
            Self::Done
        } else {
            Self::Failed
        }
    }

    /// Returns whether a summary counts it as a success.
    #[must_use]
    pub const fn is_success(self) -> bool {
        match self {
            Self::Allowed | Self::Done => true,
            Self::Denied | Self::Failed | Self::Unknown => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a caller knows about what happened. It borrows, so that writing a record allocates
/// nothing; the time is read, and the number given, when the record is taken.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// What was done: the operation's name, or one of the gateway's own such as `auth.failure`.
    pub action: &'a str,
    /// Who did it, for people, for example `token:ci-bot`.
    pub user: &'a str,
    /// What it was done to, as `kind:id`; empty when it is not known.
    pub resource: &'a str,
    /// Further facts.
    pub details: Option<&'a Map<String, Value>>,
    /// Where the caller is; none for commands on this host.
    pub ip: Option<IpAddr>,
    /// The request.
    pub request_id: Option<&'a RequestId>,
    /// Which part of the story this is.
    pub phase: Phase,
    /// How it went.
    pub outcome: Outcome,
    /// The HTTP status of the answer.
    pub status: Option<u16>,
    /// The scope that the operation demands.
    pub scope: Option<Scope>,
    /// How the caller proved who it is.
    pub auth_method: Option<AuthMethod>,
    /// The token that was used or acted on.
    pub token_id: Option<&'a TokenId>,
    /// What the caller's program calls itself; from outside, so never believed.
    pub user_agent: Option<&'a str>,
    /// From the first byte of the request to the last of the answer.
    pub duration: Option<Duration>,
    /// Bytes of the answer's body.
    pub bytes: Option<u64>,
}

impl<'a> Draft<'a> {
    /// Begins a record; the user is [`ANONYMOUS`] and everything else unknown.
    #[must_use]
    pub const fn new(action: &'a str, phase: Phase, outcome: Outcome) -> Self {
        Self {
            action,
            user: ANONYMOUS,
            resource: "",
            details: None,
            ip: None,
            request_id: None,
            phase,
            outcome,
            status: None,
            scope: None,
            auth_method: None,
            token_id: None,
            user_agent: None,
            duration: None,
            bytes: None,
        }
    }
}

/// One record as a reader gets it; serialises with the members in the order of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// When, in UTC, to the second: `2026-02-02T12:00:00Z`.
    pub timestamp: String,
    /// What was done.
    pub action: String,
    /// Who did it.
    pub user: String,
    /// What it was done to, as `kind:id`; may be empty.
    pub resource: String,
    /// Further facts; may be `{}`.
    pub details: Map<String, Value>,
    /// Where the caller was; empty for commands on the host itself.
    pub ip: String,
    /// Number of the record in its directory; rises by one from record to record.
    pub seq: u64,
    /// When, in milliseconds since the Unix epoch.
    pub unix_ms: i64,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Which part of the story this is.
    pub phase: Phase,
    /// How it went.
    pub outcome: Outcome,
    /// The HTTP status of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The scope that the operation demands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// How the caller proved who it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth_method: Option<String>,
    /// The token that was used or acted on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// What the caller's program called itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// How long the request took, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<f64>,
    /// Bytes of the answer's body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Whether a text was cut or a detail left out to keep the record within its bounds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
    /// SHA-256 of the line before, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prev: Option<String>,
    /// Which key signed, if the record is a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// Ed25519 signature of a checkpoint, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
    /// HMAC-SHA-256 of the last record of a commit, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
}
