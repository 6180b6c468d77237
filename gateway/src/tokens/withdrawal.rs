//! Withdrawing many credentials at once: all of an issuer, a subject or a role, or all that were
//! issued before a moment.
//!
//! Invariant: a credential of which it is not known when it was issued counts as issued before.

use std::fmt;

use chrono::{DateTime, Utc};
use config::contract::scope::{Role, Scopes};
use config::gateway::tls::Name;
use serde::{Deserialize, Serialize};

use super::record::TokenRecord;
use crate::certificate::hex;

/// Stands for the issuer of clients' certificates; no issuer's URL looks like it.
pub const CERTIFICATES: &str = "certificate";

/// Begins a subject that means one certificate by its digest.
const DIGEST: &str = "sha256:";

/// Most withdrawals that are kept.
pub const WITHDRAWALS_MAX: usize = 1_000;

/// Longest issuer or subject in bytes.
const TEXT_BYTES_MAX: usize = 1_024;

/// Which credentials are refused from now on; all conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    /// Those of this issuer; [`CERTIFICATES`] means clients' certificates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Those of this subject of the issuer; of a certificate the name that a rule matches, or its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Those that hold what this role grants, by the role or by scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// Those issued before this moment.
    pub issued_before: DateTime<Utc>,
}

/// Why credentials cannot be withdrawn so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// Nothing was asked for.
    #[error(
        "say which credentials: give an issuer, a role or a time before which they were issued"
    )]
    Nothing,
    /// A subject alone is somebody else at each issuer.
    #[error("subject: a subject needs its issuer")]
    SubjectAlone,
    /// No certificate could have it.
    #[error(
        "subject: of certificates it is dns:NAME, email:ADDRESS, uri:URI or subject:TEXT as the rule \
         has it, or sha256: and 64 hexadecimal digits"
    )]
    NoCertificate,
    /// Longer than is kept.
    #[error("issuer and subject may have {TEXT_BYTES_MAX} bytes each and no control characters")]
    Text,
    /// Would also cover what is issued later.
    #[error("issued_before: must not lie in the future")]
    Future,
}

/// What is known of a credential.
#[derive(Clone, Copy, Debug)]
pub struct Traits<'a> {
    /// Who issued it; none for a token of our own, [`CERTIFICATES`] for a certificate.
    pub issuer: Option<&'a str>,
    /// Whom the issuer calls by it.
    pub subject: Option<&'a str>,
    /// The role that it was given.
    pub role: Option<Role>,
    /// What it may do.
    pub scopes: Scopes,
    /// Its SHA-256, if it is a certificate.
    pub sha256: Option<&'a [u8; 32]>,
    /// When it was issued.
    pub issued_at: Option<DateTime<Utc>>,
}

impl Withdrawal {
    /// Checks what was asked for; without a time it means everything until `now`.
    ///
    /// # Errors
    /// When it is not clear which credentials are meant.
    pub fn new(
        issuer: Option<String>,
        subject: Option<String>,
        role: Option<Role>,
        issued_before: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<Self, Unclear> {
        if issuer.is_none() && role.is_none() && issued_before.is_none() {
            return Err(if subject.is_some() {
                Unclear::SubjectAlone
            } else {
                Unclear::Nothing
            });
        }
        if subject.is_some() && issuer.is_none() {
            return Err(Unclear::SubjectAlone);
        }
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control)
        };
        if ![&issuer, &subject].into_iter().flatten().all(fits) {
            return Err(Unclear::Text);
        }
        if issued_before.is_some_and(|at| at > now) {
            return Err(Unclear::Future);
        }
        let subject = match (&issuer, subject) {
            (Some(issuer), Some(subject)) if issuer == CERTIFICATES => {
                Some(of_certificate(&subject).ok_or(Unclear::NoCertificate)?)
            }
            (_, subject) => subject,
        };
        Ok(Self {
            issuer,
            subject,
            role,
            issued_before: issued_before.unwrap_or(now),
        })
    }

    /// Returns whether a credential is withdrawn by it.
    #[must_use]
    pub fn covers(&self, credential: &Traits<'_>) -> bool {
        let same = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_deref().is_none_or(|wanted| found == Some(wanted))
        };
        let digest = self
            .subject
            .as_deref()
            .and_then(|text| text.strip_prefix(DIGEST));
        let this_certificate = digest
            .is_some_and(|digest| credential.sha256.is_some_and(|found| hex(found) == digest));
        same(&self.issuer, credential.issuer)
            && (this_certificate || same(&self.subject, credential.subject))
            && self.role.is_none_or(|role| {
                credential.role == Some(role) || credential.scopes == role.scopes()
            })
            && credential
                .issued_at
                .is_none_or(|at| at < self.issued_before)
    }

    /// Returns whether the other one withdraws nothing that this one does not.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        (&self.issuer, &self.subject, self.role) == (&other.issuer, &other.subject, other.role)
            && other.issued_before <= self.issued_before
    }
}

/// Returns a certificate's subject in the one form in which it is compared: colons and capitals come from
/// programs that show digests so.
fn of_certificate(subject: &str) -> Option<String> {
    let Some(digest) = subject.strip_prefix(DIGEST) else {
        return subject.parse::<Name>().ok().map(|name| name.to_string());
    };
    let digest = digest.replace(':', "").to_ascii_lowercase();
    let whole = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    whole.then(|| format!("{DIGEST}{digest}"))
}

impl fmt::Display for Withdrawal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(issuer) = &self.issuer {
            write!(formatter, "issuer {issuer}, ")?;
        }
        if let Some(subject) = &self.subject {
            write!(formatter, "subject {subject}, ")?;
        }
        if let Some(role) = self.role {
            write!(formatter, "role {role}, ")?;
        }
        write!(
            formatter,
            "issued before {}",
            self.issued_before.to_rfc3339()
        )
    }
}

impl TokenRecord {
    /// Returns what a withdrawal is compared with.
    #[must_use]
    pub fn traits(&self) -> Traits<'_> {
        let federated = self.federated.as_ref();
        Traits {
            issuer: federated.map(|from| from.issuer.as_str()),
            subject: federated.map(|from| from.subject.as_str()),
            role: self.role,
            scopes: self.scopes,
            sha256: None,
            // An exchange makes nothing younger than what was exchanged.
            issued_at: federated.map_or(Some(self.created_at), |from| from.issued_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use config::contract::scope::{Role, Scopes};

    use super::{Traits, Unclear, Withdrawal};

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time")
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        let check = |issuer: Option<&str>, subject: Option<&str>, expected: Unclear| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let made = Withdrawal::new(text(issuer), text(subject), None, None, now());
            assert_eq!(made, Err(expected), "{issuer:?} {subject:?}");
        };
        check(None, None, Unclear::Nothing);
        check(None, Some("alice"), Unclear::SubjectAlone);
        check(Some(""), None, Unclear::Text);
        check(Some("https://a\n"), None, Unclear::Text);
        let later = Some(now() + TimeDelta::seconds(1));
        let future = Withdrawal::new(None, None, None, later, now());
        assert_eq!(future, Err(Unclear::Future));
    }

    #[test]
    fn every_condition_must_hold_and_an_unknown_time_counts_as_before() {
        let alice = Traits {
            issuer: Some("https://a"),
            subject: Some("alice"),
            role: None,
            scopes: Role::Admin.scopes(),
            sha256: None,
            issued_at: Some(now() - TimeDelta::seconds(1)),
        };
        let made = |issuer: &str, subject: Option<&str>, role: Option<Role>| {
            let subject = subject.map(str::to_owned);
            Withdrawal::new(Some(issuer.to_owned()), subject, role, None, now()).expect("clear")
        };
        assert!(made("https://a", None, None).covers(&alice));
        assert!(made("https://a", Some("alice"), Some(Role::Admin)).covers(&alice));
        assert!(!made("https://b", None, None).covers(&alice));
        assert!(!made("https://a", Some("bob"), None).covers(&alice));
        assert!(!made("https://a", None, Some(Role::Viewer)).covers(&alice));
        let all = made("https://a", None, None);
        assert!(!all.covers(&Traits {
            issued_at: Some(now()),
            ..alice
        }));
        assert!(all.covers(&Traits {
            issued_at: None,
            ..alice
        }));
        let own = Traits {
            issuer: None,
            subject: None,
            scopes: Scopes::NONE,
            ..alice
        };
        assert!(!all.covers(&own));
        let everything = Withdrawal::new(None, None, None, Some(now()), now()).expect("clear");
        assert!(everything.covers(&own) && everything.covers(&alice));
    }

    #[test]
    fn certificates_are_withdrawn_by_name_or_digest() {
        let made = |subject: &str| {
            let issuer = Some(super::CERTIFICATES.to_owned());
            Withdrawal::new(issuer, Some(subject.to_owned()), None, None, now())
        };
        for wrong in [
            "ci-bot",
            "CN=ci-bot",
            "uri:",
            "sha256:",
            "sha256:abcd",
            "sha1:00",
        ] {
            assert_eq!(made(wrong), Err(Unclear::NoCertificate), "{wrong}");
        }
        let digest = [0xab; 32];
        let certificate = Traits {
            issuer: Some(super::CERTIFICATES),
            subject: Some("uri:spiffe://a/ci"),
            role: None,
            scopes: Role::Viewer.scopes(),
            sha256: Some(&digest),
            issued_at: Some(now() - TimeDelta::days(1)),
        };
        let colons = ["AB"; 32].join(":");
        for own in ["uri:spiffe://a/ci".to_owned(), format!("sha256:{colons}")] {
            assert!(made(&own).expect("clear").covers(&certificate), "{own}");
        }
        let other = "cd".repeat(32);
        for other in ["uri:spiffe://a/c".to_owned(), format!("sha256:{other}")] {
            assert!(
                !made(&other).expect("clear").covers(&certificate),
                "{other}"
            );
        }
        // A token of an issuer is no certificate, whatever its subject says.
        let pretender = Traits {
            issuer: Some("https://a"),
            sha256: None,
            ..certificate
        };
        assert!(!made("uri:spiffe://a/ci").expect("clear").covers(&pretender));
    }
}
