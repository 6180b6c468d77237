//! A client's certificate: what the handshake proved, and whom it stands for.
//!
//! Invariant: a certificate counts only if the operator's authorities of now vouch for it, its time
//! has come and is not over at this very request, and a rule names something that it says. What a
//! client writes into a header field never counts.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use chrono::{DateTime, Utc};
use config::contract::caller::{AuthMethod, Caller};
use config::gateway::tls::{Name, Principal};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use sha2::{Digest, Sha256};
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::Answer;
use crate::credential::{Credential, Kind, Shown};
use crate::refusal::CredentialFault;

/// What a client's certificate says, as the handshake verified it.
#[derive(Debug)]
pub(crate) struct PeerCertificate {
    names: Vec<Name>,
    not_before: i64,
    not_after: i64,
    sha256: [u8; 32],
    chain: Vec<CertificateDer<'static>>,
    /// The authorities that were last found to vouch for it, named by their first state.
    vouched_by: AtomicU64,
}

impl PeerCertificate {
    /// Reads the chain of a certificate that these authorities vouch for; none if it cannot be
    /// read.
    pub(crate) fn read(chain: &[CertificateDer<'_>], authorities: u64) -> Option<Self> {
        let leaf = chain.first()?;
        let (_, certificate) = parse_x509_certificate(leaf).ok()?;
        let mut names = vec![Name::Subject(certificate.subject().to_string())];
        if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
            names.extend(alternative.value.general_names.iter().filter_map(name_of));
        }
        Some(Self {
            names,
            not_before: certificate.validity().not_before.timestamp(),
            not_after: certificate.validity().not_after.timestamp(),
            sha256: Sha256::digest(leaf).into(),
            chain: chain
                .iter()
                .map(|certificate| certificate.clone().into_owned())
                .collect(),
            vouched_by: AtomicU64::new(authorities),
        })
    }

    /// Returns whether these authorities vouch for it; the chain is followed once for each.
    pub(crate) fn is_of(
        &self,
        verifier: &dyn ClientCertVerifier,
        authorities: u64,
        now: DateTime<Utc>,
    ) -> bool {
        if self.vouched_by.load(Ordering::Relaxed) == authorities {
            return true;
        }
        let Some((leaf, between)) = self.chain.split_first() else {
            return false;
        };
        let seconds = u64::try_from(now.timestamp()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        match verifier.verify_client_cert(leaf, between, now) {
            Ok(_) => {
                self.vouched_by.store(authorities, Ordering::Relaxed);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "a client's certificate is vouched for no longer");
                false
            }
        }
    }

    /// Returns the SHA-256 of the certificate (DER).
    pub(crate) const fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the library has kinds of names that stand for nobody here"
)]
fn name_of(name: &GeneralName<'_>) -> Option<Name> {
    match name {
        GeneralName::DNSName(text) => Some(Name::Dns(text.to_ascii_lowercase())),
        GeneralName::RFC822Name(text) => Some(Name::Email((*text).to_owned())),
        GeneralName::URI(text) => Some(Name::Uri((*text).to_owned())),
        _ => None,
    }
}

/// The certificates of live connections, by digest: a request finds its connection's by the digest
/// that the connection carries.
#[derive(Debug, Default)]
pub(crate) struct PeerCertificates(Mutex<HashMap<[u8; 32], Weak<PeerCertificate>>>);

impl PeerCertificates {
    /// Keeps a certificate as long as the returned handle lives.
    pub(crate) fn keep(&self, certificate: PeerCertificate) -> Arc<PeerCertificate> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|_, weak| weak.strong_count() > 0);
        let entry = kept.entry(certificate.sha256).or_default();
        if let Some(known) = entry.upgrade() {
            return known;
        }
        let certificate = Arc::new(certificate);
        *entry = Arc::downgrade(&certificate);
        certificate
    }

    /// Returns the certificate of a live connection.
    pub(crate) fn find(&self, sha256: &[u8]) -> Option<Arc<PeerCertificate>> {
        let sha256: &[u8; 32] = sha256.try_into().ok()?;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(sha256)?.upgrade()
    }
}

/// Judges a connection's certificate by the operator's rules; one that is nobody's is no credential.
pub(crate) fn authenticate(
    certificate: Option<&PeerCertificate>,
    principals: &[Principal],
    now: DateTime<Utc>,
) -> Answer {
    let Some(certificate) = certificate else {
        return Answer::NotRequested;
    };
    let found = principals
        .iter()
        .find(|principal| certificate.names.contains(&principal.matches));
    let Some(principal) = found else {
        return Answer::NotRequested;
    };
    // The handshake may be long ago, or have resumed an older one.
    let now = now.timestamp();
    if now < certificate.not_before || now > certificate.not_after {
        return Answer::Failed(CredentialFault::Certificate("certificate_expired"));
    }
    let name = principal.matches.to_string();
    let caller = Arc::new(Caller {
        user: format!("certificate:{}", principal.name),
        principal: format!("certificate:{name}"),
        auth_method: AuthMethod::Certificate,
        scopes: principal.scopes,
        projects: None,
    });
    Answer::Authenticated(Arc::new(Credential {
        caller,
        kind: Kind::Certificate(Shown {
            name,
            sha256: certificate.sha256,
            valid_from: DateTime::from_timestamp(certificate.not_before, 0),
        }),
        // Its last second counts still.
        expires_at: DateTime::from_timestamp(certificate.not_after + 1, 0),
        rate: None,
    }))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use config::contract::scope::Role;
    use config::gateway::tls::{Name, Principal};
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::{Answer, CredentialFault, PeerCertificate, PeerCertificates, authenticate};

    fn certificate() -> PeerCertificate {
        let mut params = CertificateParams::new(vec!["Bot.example.org".to_owned()]).expect("names");
        let uri = "spiffe://example.org/ci".try_into().expect("uri");
        params.subject_alt_names.push(SanType::URI(uri));
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "ci-bot");
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 12, 31);
        let key = KeyPair::generate().expect("key");
        let leaf = params.self_signed(&key).expect("certificate");
        PeerCertificate::read(&[leaf.der().clone()], 1).expect("readable")
    }

    fn principal(matches: Name) -> Principal {
        Principal {
            name: "bot".to_owned(),
            matches,
            scopes: Role::Viewer.scopes(),
        }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("time")
    }

    #[test]
    fn only_what_the_certificate_says_in_its_time_counts() {
        let certificate = certificate();
        let now = at("2026-06-01T00:00:00Z");
        for stranger in [
            Name::Dns("example.org".to_owned()),
            Name::Uri("spiffe://example.org/ci/other".to_owned()),
            Name::Email("bot.example.org".to_owned()),
            Name::Subject("ci-bot".to_owned()),
            Name::Dns("spiffe://example.org/ci".to_owned()),
        ] {
            let answer = authenticate(Some(&certificate), &[principal(stranger.clone())], now);
            assert!(matches!(answer, Answer::NotRequested), "{stranger}");
        }
        for own in [
            Name::Dns("bot.example.org".to_owned()),
            Name::Uri("spiffe://example.org/ci".to_owned()),
            Name::Subject("CN=ci-bot".to_owned()),
        ] {
            let principals = [principal(own.clone())];
            let answer = authenticate(Some(&certificate), &principals, now);
            let Answer::Authenticated(credential) = answer else {
                panic!("{own}");
            };
            assert_eq!(credential.caller.principal, format!("certificate:{own}"));
            for late in ["2025-12-31T23:00:00Z", "2027-01-01T12:00:00Z"] {
                let answer = authenticate(Some(&certificate), &principals, at(late));
                assert!(
                    matches!(answer, Answer::Failed(CredentialFault::Certificate(_))),
                    "{own} at {late}"
                );
            }
        }
        let nobody = authenticate(None, &[], now);
        assert!(matches!(nobody, Answer::NotRequested));
    }

    #[test]
    fn a_certificate_is_found_while_its_connection_lives() {
        let kept = PeerCertificates::default();
        let certificate = certificate();
        let sha256 = *certificate.sha256();
        let handle = kept.keep(certificate);
        assert!(kept.find(&sha256).is_some());
        assert!(kept.find(&[0; 32]).is_none());
        assert!(kept.find(&[]).is_none());
        drop(handle);
        assert!(kept.find(&sha256).is_none());
    }
}
