//! The token that a command sends.

use std::fmt;
use std::path::Path;

use gateway::tokens::format::{PREFIX, RawToken};
use reqwest::header::HeaderValue;

use crate::context::Context;
use crate::failure::Failure;
use crate::private_file;

/// A token as a header; prints nothing of it.
pub(crate) struct Credential {
    header: HeaderValue,
    origin: String,
}

impl Credential {
    /// Returns the token of the flag, of `LOKI_TOKEN`, or of the credentials file.
    pub(super) fn find(context: &Context, flag: Option<&Path>) -> Result<Option<Self>, Failure> {
        if let Some(path) = flag {
            let text = private_file::read(path)?.ok_or_else(|| {
                Failure::usage(format!("--token-file: there is no {}", path.display()))
            })?;
            return Self::parse(&text, path.display().to_string()).map(Some);
        }
        if let Some(text) = context.variable("LOKI_TOKEN") {
            return Self::parse(text, "LOKI_TOKEN".to_owned()).map(Some);
        }
        let path = context.offline()?.home.credentials();
        private_file::read(&path)?
            .map(|text| Self::parse(&text, path.display().to_string()))
            .transpose()
    }

    /// Reads a token; what is no token is refused without being shown.
    pub(super) fn parse(text: &str, origin: String) -> Result<Self, Failure> {
        let text = text.trim();
        let visible = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !visible || (text.starts_with(PREFIX) && RawToken::parse(text).is_err()) {
            return Err(Failure::usage(format!("{origin} holds no token"))
                .fix("copy it whole: loki_ and 46 letters or digits"));
        }
        let mut header = HeaderValue::from_str(&format!("Bearer {text}"))
            .map_err(|_| Failure::usage(format!("{origin} holds no token")))?;
        header.set_sensitive(true);
        Ok(Self { header, origin })
    }

    /// Returns the value of the `Authorization` header.
    pub(super) fn header(&self) -> HeaderValue {
        self.header.clone()
    }

    /// Returns where the token was found.
    pub(super) fn origin(&self) -> &str {
        &self.origin
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "[token from {}]", self.origin)
    }
}
