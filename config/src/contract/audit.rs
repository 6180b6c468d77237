//! What the runtime tells the gateway's audit about a request: the `X-Loki-Audit` response header.
//!
//! Base64url (no padding) of a JSON object. The gateway validates, bounds and strips it; a caller
//! never sees it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The response header that carries the note, in lower case.
pub const HEADER: &str = "x-loki-audit";

/// Longest accepted header value in bytes, as encoded.
pub const ENCODED_BYTES_MAX: usize = 2048;

/// Most members that `details` may have.
pub const DETAILS_MEMBERS_MAX: usize = 16;

/// Longest text in `resource` and in each detail, in bytes.
pub const TEXT_BYTES_MAX: usize = 512;

/// What a request touched, in the words of whoever carried it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// The thing that was acted on, as `kind:id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Further facts; scalars only.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
}

/// Why a note was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Longer than [`ENCODED_BYTES_MAX`].
    #[error("audit note is longer than {ENCODED_BYTES_MAX} bytes")]
    TooLong,
    /// Not base64url, not JSON, or not of the known shape.
    #[error("audit note is not base64url of the known JSON shape")]
    Malformed,
    /// A nested value, too many members, or a text over its bound.
    #[error("audit note member {0:?} is over its bound or not a scalar")]
    OutOfBounds(String),
}

impl Note {
    /// Names the thing that was acted on.
    #[must_use]
    pub fn about(kind: &str, id: &str) -> Self {
        Self {
            resource: Some(format!("{kind}:{id}")),
            details: Map::new(),
        }
    }

    /// Adds a fact; texts are cut at [`TEXT_BYTES_MAX`].
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = match value.into() {
            Value::String(text) => Value::String(cut(&text)),
            other @ (Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_)) => other,
        };
        self.details.insert(name.to_owned(), value);
        self
    }

    /// Encodes the note for the header.
    ///
    /// # Errors
    /// When a member is out of bounds or the whole is too long.
    pub fn encode(&self) -> Result<String, NoteError> {
        self.check()?;
        let json = serde_json::to_vec(self).map_err(|_| NoteError::Malformed)?;
        let text = URL_SAFE_NO_PAD.encode(json);
        if text.len() > ENCODED_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        Ok(text)
    }

    /// Decodes and checks a header value.
    ///
    /// # Errors
    /// When it is too long, malformed, or out of bounds.
    pub fn decode(text: &[u8]) -> Result<Self, NoteError> {
        if text.len() > ENCODED_BYTES_MAX {
            return Err(NoteError::TooLong);
        }
        let json = URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|_| NoteError::Malformed)?;
        // Serde reads a struct from a list as well; the header holds an object.
        if json.first() != Some(&b'{') {
            return Err(NoteError::Malformed);
        }
        let note: Self = serde_json::from_slice(&json).map_err(|_| NoteError::Malformed)?;
        note.check()?;
        Ok(note)
    }

    fn check(&self) -> Result<(), NoteError> {
        if self.details.len() > DETAILS_MEMBERS_MAX {
            return Err(NoteError::OutOfBounds("details".to_owned()));
        }
        if let Some(resource) = &self.resource
            && resource.len() > TEXT_BYTES_MAX
        {
            return Err(NoteError::OutOfBounds("resource".to_owned()));
        }
        for (name, value) in &self.details {
            let fits = match value {
                Value::Null | Value::Bool(_) | Value::Number(_) => true,
                Value::String(text) => text.len() <= TEXT_BYTES_MAX,
                Value::Array(_) | Value::Object(_) => false,
            };
            if !fits || name.len() > 64 {
                return Err(NoteError::OutOfBounds(cut(name)));
            }
        }
        Ok(())
    }
}

fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text[..end].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::{ENCODED_BYTES_MAX, Note, NoteError};

    #[test]
    fn malformed_notes_are_refused() {
        let check = |json: &str, expected: NoteError| {
            let text = URL_SAFE_NO_PAD.encode(json);
            assert_eq!(Note::decode(text.as_bytes()), Err(expected), "{json}");
        };
        check("", NoteError::Malformed);
        check("[]", NoteError::Malformed);
        check(r#"{"user":"token:forged"}"#, NoteError::Malformed);
        check(
            r#"{"details":{"a":{"b":1}}}"#,
            NoteError::OutOfBounds("a".to_owned()),
        );
        check(
            &format!(r#"{{"resource":"{}"}}"#, "x".repeat(600)),
            NoteError::OutOfBounds("resource".to_owned()),
        );
        assert_eq!(Note::decode(b"not base64!"), Err(NoteError::Malformed));
        assert_eq!(
            Note::decode(&[b'A'; ENCODED_BYTES_MAX + 1]),
            Err(NoteError::TooLong)
        );
    }

    #[test]
    fn encoding_and_decoding_is_identity() {
        let note = Note::about("session", "sess-123")
            .with("prd", "my-app.md")
            .with("provider", "claude");
        let text = note.encode();
        assert_eq!(text.and_then(|t| Note::decode(t.as_bytes())), Ok(note));
    }
}
