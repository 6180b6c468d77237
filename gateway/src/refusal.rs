//! Every way in which a request ends without being carried out, and what the caller is told.
//!
//! Invariant: outside text never says which check of a credential failed; the audit record does.

mod facts;

use std::borrow::Cow;

use config::contract::id::TokenId;
use config::contract::problem::Problem;
use config::contract::scope::Scope;

use crate::rates::Exceeded;
use crate::tokens::bounds::Wider;
use facts::{FACTS, Facts};

/// Why a credential was not accepted. For the audit record alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialFault {
    /// A client's certificate that failed this check.
    Certificate(&'static str),
    /// Used from a network that it is not bound to.
    Elsewhere {
        /// Id of the token.
        token_id: TokenId,
    },
    /// Its time is over.
    Expired {
        /// Id of the token.
        token_id: TokenId,
    },
    /// A JSON Web Token that failed this check.
    Jwt(&'static str),
    /// Not of a known shape.
    Malformed,
    /// Taken back.
    Revoked {
        /// Id of the token.
        token_id: TokenId,
    },
    /// Of the right shape, but nobody's.
    Unknown,
}

impl CredentialFault {
    /// Returns the word for records.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Elsewhere { .. } => "elsewhere",
            Self::Expired { .. } => "expired",
            Self::Certificate(check) | Self::Jwt(check) => check,
            Self::Malformed => "malformed",
            Self::Revoked { .. } => "revoked",
            Self::Unknown => "unknown",
        }
    }

    /// Returns the id of the token, where it is known.
    #[must_use]
    pub fn token_id(&self) -> Option<&TokenId> {
        match self {
            Self::Elsewhere { token_id }
            | Self::Expired { token_id }
            | Self::Revoked { token_id } => Some(token_id),
            Self::Certificate(_) | Self::Jwt(_) | Self::Malformed | Self::Unknown => None,
        }
    }
}

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The audit trail is switched off, so there is nothing to query.
    AuditOff,
    /// The decision could not be recorded: nothing was done.
    AuditUnavailable,
    /// The outcome could not be recorded: it may have been done.
    AuditUncertain,
    /// The credential was not accepted.
    BadCredential(CredentialFault),
    /// The body is not what the operation wants.
    BadBody(String),
    /// A parameter of the query is wrong.
    BadParameter(String),
    /// The body is longer than the operation allows.
    BodyTooLong {
        /// The bound in bytes.
        bytes_max: u64,
    },
    /// It cannot be done as things stand.
    Conflict {
        /// What stands in the way.
        detail: String,
        /// Things of which one has to be chosen.
        candidates: Vec<String>,
    },
    /// The body did not come in time.
    BodyTimeout,
    /// The gateway is stopping.
    Draining,
    /// `Host` names somebody else.
    ForeignHost,
    /// A page of another origin asks.
    ForeignOrigin,
    /// The header did not come in time.
    HeaderTimeout,
    /// The header is longer or has more fields than allowed.
    HeaderTooLong,
    /// The gateway itself failed.
    Internal,
    /// The keys of the token's issuer are not known, or were not seen for too long.
    IssuerUnavailable,
    /// The request breaks a rule of HTTP or of the strict front.
    Malformed(&'static str),
    /// No credential, and one is needed.
    NoCredential,
    /// The path is known, but not what it names.
    NotFound(String),
    /// The path is known, but not with this method.
    OtherMethod {
        /// The methods that it has.
        allowed: Vec<&'static str>,
    },
    /// The caller asked too often.
    RateExceeded(Exceeded),
    /// The runtime cannot be reached.
    RuntimeAway,
    /// The runtime's answer makes no sense.
    RuntimeBroken,
    /// The runtime does not answer in time.
    RuntimeSlow,
    /// The settings were read anew and cannot be taken into use, for these reasons.
    SettingsRejected(String),
    /// Path and query are longer than allowed.
    TargetTooLong,
    /// The credential is good, but grants too little.
    TooLittleScope {
        /// The scope that is needed.
        needed: Scope,
    },
    /// Too many credentials from this network were not good.
    TooManyFailures {
        /// How long this goes on, in seconds.
        seconds: u32,
    },
    /// The principal has too many streams open.
    TooManyStreams,
    /// More than one credential.
    TwoCredentials,
    /// No operation has this path.
    UnknownPath,
    /// A token would be wider than the one that makes it.
    Wider(Wider),
}

impl Refusal {
    /// Returns the reason as one word: the metric's label and the problem's kind.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AuditOff => "audit_off",
            Self::AuditUnavailable => "audit_unavailable",
            Self::AuditUncertain => "audit_uncertain",
            Self::BadCredential(_) => "bad_credential",
            Self::BadBody(_) => "bad_body",
            Self::BadParameter(_) => "bad_parameter",
            Self::BodyTooLong { .. } => "body_too_long",
            Self::Conflict { .. } => "conflict",
            Self::Draining => "draining",
            Self::ForeignHost => "foreign_host",
            Self::ForeignOrigin => "foreign_origin",
            Self::BodyTimeout => "body_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::HeaderTooLong => "header_too_long",
            Self::Internal => "internal",
            Self::IssuerUnavailable => "issuer_unavailable",
            Self::Malformed(_) => "malformed",
            Self::NoCredential => "no_credential",
            Self::NotFound(_) => "not_found",
            Self::OtherMethod { .. } => "other_method",
            Self::RateExceeded(_) => "rate_exceeded",
            Self::RuntimeAway => "runtime_away",
            Self::RuntimeBroken => "runtime_broken",
            Self::RuntimeSlow => "runtime_slow",
            Self::SettingsRejected(_) => "settings_rejected",
            Self::TargetTooLong => "target_too_long",
            Self::TooLittleScope { .. } => "too_little_scope",
            Self::TooManyFailures { .. } => "too_many_failures",
            Self::TooManyStreams => "too_many_streams",
            Self::TwoCredentials => "two_credentials",
            Self::UnknownPath => "unknown_path",
            Self::Wider(_) => "wider",
        }
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.facts().status
    }

    /// Returns the audit action of a request that was refused before an operation began.
    #[must_use]
    pub fn action(&self) -> &'static str {
        self.facts().action
    }

    /// Returns the seconds after which it makes sense to ask again, where it does.
    #[must_use]
    pub fn retry_after_seconds(&self) -> Option<u32> {
        if let Self::TooManyFailures { seconds } = self {
            return Some(*seconds);
        }
        if let Self::RateExceeded(exceeded) = self {
            return Some(exceeded.seconds);
        }
        self.facts().retry_after_seconds
    }

    /// Returns what the audit record says besides the reason.
    #[must_use]
    pub fn inside_detail(&self) -> Option<&str> {
        if let Self::BadCredential(fault) = self {
            return Some(fault.name());
        }
        if let Self::BadParameter(text)
        | Self::BadBody(text)
        | Self::NotFound(text)
        | Self::SettingsRejected(text) = self
        {
            return Some(text);
        }
        if let Self::Conflict { detail, .. } = self {
            return Some(detail);
        }
        if let Self::Malformed(what) = self {
            return Some(what);
        }
        if let Self::TooLittleScope { needed } = self {
            return Some(needed.name());
        }
        None
    }

    /// Returns the `WWW-Authenticate` challenge (RFC 6750, section 3), where one is due.
    #[must_use]
    pub fn challenge(&self) -> Option<String> {
        let error = match self.reason() {
            "no_credential" => String::new(),
            "bad_credential" => ", error=\"invalid_token\"".to_owned(),
            "two_credentials" => ", error=\"invalid_request\"".to_owned(),
            _ => {
                let Self::TooLittleScope { needed } = self else {
                    return None;
                };
                format!(", error=\"insufficient_scope\", scope=\"{needed}\"")
            }
        };
        Some(format!("Bearer realm=\"loki\"{error}"))
    }

    /// Returns the problem body.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let facts = self.facts();
        let mut problem =
            Problem::new(facts.reason, facts.title, facts.status).detail(self.detail());
        if !facts.fix.is_empty() {
            problem = problem.fix(facts.fix);
        }
        if let Self::TooLittleScope { needed } = self {
            problem.scope = Some(needed.name().to_owned());
        }
        if let Self::Conflict { candidates, .. } = self {
            problem.candidates.clone_from(candidates);
        }
        problem
    }

    /// Says what could not be done and why: the table's words, or this request's own.
    fn detail(&self) -> Cow<'static, str> {
        if let Self::BadParameter(text)
        | Self::BadBody(text)
        | Self::NotFound(text)
        | Self::SettingsRejected(text) = self
        {
            return Cow::Owned(text.clone());
        }
        if let Self::Conflict { detail, .. } = self {
            return Cow::Owned(detail.clone());
        }
        if let Self::Wider(wider) = self {
            return Cow::Owned(wider.to_string());
        }
        if let Self::BodyTooLong { bytes_max } = self
            && *bytes_max > 0
        {
            return Cow::Owned(format!(
                "the body of this operation may have {bytes_max} bytes"
            ));
        }
        if let Self::Malformed(what) = self {
            return Cow::Borrowed(what);
        }
        if let Self::OtherMethod { allowed } = self {
            return Cow::Owned(format!("this path answers {}", allowed.join(", ")));
        }
        if let Self::TooLittleScope { needed } = self {
            return Cow::Owned(format!("this operation needs the scope {needed}"));
        }
        Cow::Borrowed(self.facts().detail)
    }

    /// Returns the position of the reason in [`reasons`].
    #[must_use]
    pub fn position(&self) -> usize {
        let reason = self.reason();
        // A test proves that every reason has its row.
        FACTS
            .iter()
            .position(|facts| facts.reason == reason)
            .unwrap_or(0)
    }

    fn facts(&self) -> &'static Facts {
        &FACTS[self.position()]
    }
}

/// Returns every reason, in the order of their positions.
pub fn reasons() -> impl Iterator<Item = &'static str> {
    FACTS.iter().map(|facts| facts.reason)
}

#[cfg(test)]
mod tests {
    use config::contract::id::TokenId;
    use config::contract::scope::Scope;

    use super::{CredentialFault, FACTS, Refusal};
    use crate::rates::{Exceeded, Standing};
    use crate::tokens::bounds::Wider;

    #[test]
    fn outside_text_does_not_say_which_check_failed() {
        let problems: Vec<_> = [
            CredentialFault::Elsewhere {
                token_id: TokenId::from_random([0; 8]),
            },
            CredentialFault::Expired {
                token_id: TokenId::from_random([0; 8]),
            },
            CredentialFault::Jwt("jwt_signature"),
            CredentialFault::Malformed,
            CredentialFault::Revoked {
                token_id: TokenId::from_random([0; 8]),
            },
            CredentialFault::Unknown,
        ]
        .map(|fault| Refusal::BadCredential(fault).problem())
        .into();
        assert!(problems.windows(2).all(|pair| pair[0] == pair[1]));
    }

    #[test]
    fn every_reason_has_its_own_row() {
        let some = [
            Refusal::AuditOff,
            Refusal::AuditUnavailable,
            Refusal::AuditUncertain,
            Refusal::BadCredential(CredentialFault::Unknown),
            Refusal::BadBody(String::new()),
            Refusal::BadParameter(String::new()),
            Refusal::BodyTooLong { bytes_max: 0 },
            Refusal::Conflict {
                detail: String::new(),
                candidates: Vec::new(),
            },
            Refusal::Draining,
            Refusal::ForeignHost,
            Refusal::ForeignOrigin,
            Refusal::BodyTimeout,
            Refusal::HeaderTimeout,
            Refusal::HeaderTooLong,
            Refusal::Internal,
            Refusal::IssuerUnavailable,
            Refusal::Malformed(""),
            Refusal::NoCredential,
            Refusal::NotFound(String::new()),
            Refusal::OtherMethod {
                allowed: Vec::new(),
            },
            Refusal::RateExceeded(Exceeded {
                seconds: 1,
                standing: Standing::default(),
            }),
            Refusal::RuntimeAway,
            Refusal::RuntimeBroken,
            Refusal::RuntimeSlow,
            Refusal::SettingsRejected(String::new()),
            Refusal::TargetTooLong,
            Refusal::TooLittleScope {
                needed: Scope::Read,
            },
            Refusal::TooManyFailures { seconds: 1 },
            Refusal::TooManyStreams,
            Refusal::TwoCredentials,
            Refusal::UnknownPath,
            Refusal::Wider(Wider::Life),
        ];
        let reasons: Vec<_> = some.iter().map(Refusal::reason).collect();
        let rows: Vec<_> = FACTS.iter().map(|facts| facts.reason).collect();
        assert_eq!(reasons, rows);
        assert!(
            some.iter()
                .all(|refusal| refusal.facts().reason == refusal.reason())
        );
    }
}
