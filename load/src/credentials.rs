//! The credentials that scenarios use, from files or made for the lab.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::opaque;

/// Well-formed tokens that nobody has, in turn.
const UNKNOWN: usize = 64;

/// What is at hand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Credentials {
    /// Opaque tokens that are accepted.
    pub(crate) opaque: Vec<String>,
    /// JSON Web Tokens that are accepted.
    pub(crate) jwts: Vec<String>,
    /// An opaque token whose time is over.
    pub(crate) expired: Option<String>,
    /// An opaque token that may only read.
    pub(crate) narrow: Option<String>,
}

impl Credentials {
    /// Returns the first opaque token.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn opaque(&self) -> anyhow::Result<&str> {
        let first = self.opaque.first();
        Ok(first.context("this scenario needs --token-file")?)
    }

    /// Returns the first JSON Web Token.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn jwt(&self) -> anyhow::Result<&str> {
        let first = self.jwts.first();
        Ok(first.context("this scenario needs --jwt-file")?)
    }

    /// Returns a token whose time is over.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn expired(&self) -> anyhow::Result<&str> {
        let expired = self.expired.as_deref();
        expired.context("this scenario needs --expired-token-file")
    }

    /// Returns a token that may only read.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn narrow(&self) -> anyhow::Result<&str> {
        let narrow = self.narrow.as_deref();
        narrow.context("this scenario needs --narrow-token-file")
    }

    /// Returns well-formed tokens that nobody has.
    ///
    /// # Errors
    /// When there is no randomness.
    pub(crate) fn unknown(&self) -> anyhow::Result<Vec<String>> {
        (0..UNKNOWN).map(|_| opaque::generate()).collect()
    }
}

/// Reads a file with one credential on each line.
///
/// # Errors
/// When it cannot be read or holds none.
pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Vec<String>> {
    let Some(path) = path else {
        return Ok(Vec::new());
    };
    let text =
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let found: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect();
    ensure!(!found.is_empty(), "{} holds no credential", path.display());
    Ok(found)
}
