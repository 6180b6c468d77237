//! Problem details: the body of every refusal and failure (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of a problem body (RFC 9457, section 3).
pub const MEDIA_TYPE: &str = "application/problem+json";

/// What a caller is told when a request was not carried out. Never holds inside text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the kind of problem; stable, for programs.
    #[serde(rename = "type")]
    pub kind: String,
    /// Says in a few words what happened; the same for every problem of this kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// Says what could not be done, to what, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Says what to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The scope that was missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// Names the request in the audit trail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Things of which one has to be chosen, for example session ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
}

impl Problem {
    /// Builds a problem from its stable kind, title and status.
    #[must_use]
    pub fn new(kind: &str, title: &str, status: u16) -> Self {
        Self {
            kind: format!("urn:loki:problem:{kind}"),
            title: title.to_owned(),
            status,
            detail: None,
            fix: None,
            scope: None,
            request_id: None,
            candidates: Vec::new(),
        }
    }

    /// Adds what could not be done, to what, and why.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds what to do next.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}
