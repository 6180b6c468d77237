//! What a load consists of.

use std::sync::Arc;

use anyhow::{Context, ensure};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::credentials::Credentials;
use crate::fanout::{Framing, Stream};
use crate::request::Request;

const OK: &[u16] = &[200];
const REFUSED: &[u16] = &[401, 429];
const FORBIDDEN: &[u16] = &[403];
/// A mutation that a real runtime carries out may also answer that there is nothing to do.
const CHANGED: &[u16] = &[200, 202, 204, 404, 409];

/// A named load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Scenario {
    /// No credential at all, as for a public operation or a proxy that asks for none
    Open,
    /// One opaque token
    Opaque,
    /// All tokens of the file in turn
    ManyTokens,
    /// One JSON Web Token, verified once and then remembered
    CachedJwt,
    /// A JSON Web Token that was not seen lately, each time
    FreshJwt,
    /// Refused: text that is no token
    Malformed,
    /// Refused: well-formed tokens that nobody has
    Unknown,
    /// Refused: a token whose time is over
    Expired,
    /// Refused: a good token with too little scope
    TooLittleScope,
    /// Of ten: five opaque, three JWT, one unknown, one malformed
    Mix,
    /// Changes, each durable in the audit trail twice; sends POST
    Mutations,
    /// Readers of server-sent events
    Sse,
    /// Readers of WebSocket messages
    WebSocket,
    /// Full TLS handshakes
    Handshakes,
    /// Connections that are kept open and ask nothing
    Idle,
    /// JSON Web Tokens whose issuer changes its key in the middle; in the lab only
    Rotation,
}

impl Scenario {
    /// Returns the name as typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Opaque => "opaque",
            Self::ManyTokens => "many-tokens",
            Self::CachedJwt => "cached-jwt",
            Self::FreshJwt => "fresh-jwt",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::TooLittleScope => "too-little-scope",
            Self::Mix => "mix",
            Self::Mutations => "mutations",
            Self::Sse => "sse",
            Self::WebSocket => "web-socket",
            Self::Handshakes => "handshakes",
            Self::Idle => "idle",
            Self::Rotation => "rotation",
        }
    }
}

/// A load, ready to run.
pub(crate) struct Load {
    /// The scenario's name.
    pub(crate) name: &'static str,
    /// What is done.
    pub(crate) work: Work,
}

/// What is done.
pub(crate) enum Work {
    /// Requests, in turn.
    Requests {
        /// From the beginning on.
        first: Vec<Request>,
        /// From the middle on.
        later: Option<Later>,
    },
    /// Full handshakes.
    Handshakes,
    /// Nothing at all.
    Idle,
    /// Readers of streams.
    Fanout(Stream),
}

/// What changes in the middle of a run.
pub(crate) struct Later {
    /// Called first.
    pub(crate) before: Box<dyn FnOnce() + Send>,
    /// Asked from then on.
    pub(crate) requests: Vec<Request>,
}

/// Builds the load of a scenario.
///
/// # Errors
/// When a credential that it needs was not given.
pub(crate) fn load(
    scenario: Scenario,
    path: &Arc<str>,
    credentials: &Credentials,
) -> anyhow::Result<Load> {
    let read = |credential: &str, statuses| Request::read(path, Some(credential), statuses);
    let each = |all: &[String], statuses| {
        all.iter()
            .map(|credential| read(credential, statuses))
            .collect::<Vec<_>>()
    };
    let requests = match scenario {
        Scenario::Open => vec![Request::read(path, None, OK)],
        Scenario::Opaque => vec![read(credentials.opaque()?, OK)],
        Scenario::ManyTokens => {
            ensure!(
                credentials.opaque.len() > 1,
                "many-tokens needs more than one token in --token-file, one on each line"
            );
            each(&credentials.opaque, OK)
        }
        Scenario::CachedJwt => vec![read(credentials.jwt()?, OK)],
        Scenario::FreshJwt => {
            credentials.jwt()?;
            each(&credentials.jwts, OK)
        }
        Scenario::Malformed => vec![read(&format!("loki_{:046}", 0), REFUSED)],
        Scenario::Unknown => each(&credentials.unknown()?, REFUSED),
        Scenario::Expired => vec![read(credentials.expired()?, REFUSED)],
        Scenario::TooLittleScope => vec![Request {
            method: "POST",
            body: Some("{}"),
            ..read(credentials.narrow()?, FORBIDDEN)
        }],
        Scenario::Mix => mix(path, credentials)?,
        Scenario::Mutations => vec![Request {
            method: "POST",
            body: Some("{}"),
            ..read(credentials.opaque()?, CHANGED)
        }],
        Scenario::Handshakes => {
            return Ok(Load {
                name: scenario.name(),
                work: Work::Handshakes,
            });
        }
        Scenario::Idle => {
            return Ok(Load {
                name: scenario.name(),
                work: Work::Idle,
            });
        }
        Scenario::Sse => return Ok(fanout(scenario, Framing::Sse, path, credentials)),
        Scenario::WebSocket => {
            return Ok(fanout(scenario, Framing::WebSocket, path, credentials));
        }
        Scenario::Rotation => {
            anyhow::bail!("rotation needs an issuer that changes its key: use loki-load lab")
        }
    };
    Ok(Load {
        name: scenario.name(),
        work: Work::Requests {
            first: requests,
            later: None,
        },
    })
}

fn fanout(
    scenario: Scenario,
    framing: Framing,
    path: &Arc<str>,
    credentials: &Credentials,
) -> Load {
    Load {
        name: scenario.name(),
        work: Work::Fanout(Stream {
            framing,
            path: Arc::clone(path),
            credential: credentials.opaque.first().cloned(),
        }),
    }
}

fn mix(path: &Arc<str>, credentials: &Credentials) -> anyhow::Result<Vec<Request>> {
    let read = |credential: &str, statuses| Request::read(path, Some(credential), statuses);
    let unknown = credentials.unknown()?;
    let unknown = unknown.first().context("no unknown token")?;
    let malformed = format!("loki_{:046}", 0);
    let (opaque, jwt) = (credentials.opaque()?, credentials.jwt()?);
    Ok([
        (opaque, OK),
        (jwt, OK),
        (opaque, OK),
        (unknown, REFUSED),
        (opaque, OK),
        (jwt, OK),
        (opaque, OK),
        (&malformed, REFUSED),
        (opaque, OK),
        (jwt, OK),
    ]
    .into_iter()
    .map(|(credential, statuses)| read(credential, statuses))
    .collect())
}
