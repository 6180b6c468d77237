//! Certificates and keys: read, checked, and made into a TLS configuration.

mod clients;
mod names;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::gateway::tls::{Pair, Tls, TlsVersion};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, ProducesTickets, ServerConfig};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, SupportedProtocolVersion};
use sha2::{Digest, Sha256};
use x509_parser::parse_x509_certificate;

/// Why a pair cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {what} {path}: {source}")]
    Unreadable {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file does not hold what it should.
    #[error("{path} holds no {what} in PEM format")]
    NotPem {
        /// `certificate` or `private key`.
        what: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// Others may read the key.
    #[error("private key {path} has mode {mode:o}, others can read it: run chmod 600 on it")]
    KeyTooOpen {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate's time is over.
    #[error("certificate {path} expired at {at}: renew it")]
    Expired {
        /// The certificate file.
        path: PathBuf,
        /// The end of its validity.
        at: String,
    },
    /// The certificate's time has not begun.
    #[error("certificate {path} is valid only from {at}: check the clock")]
    NotYetValid {
        /// The certificate file.
        path: PathBuf,
        /// The start of its validity.
        at: String,
    },
    /// The key belongs to another certificate.
    #[error("certificate {certificate} and private key {key} do not belong together")]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// TLS cannot be set up with them.
    #[error("cannot use certificate {path} for TLS: {source}")]
    Unusable {
        /// The certificate file.
        path: PathBuf,
        /// What the TLS library said.
        source: rustls::Error,
    },
}

/// A usable pair and the digest by which the command line pins it.
#[derive(Clone, Debug)]
pub struct ServerCertificate {
    key: Arc<CertifiedKey>,
    /// The DNS names that it is for, in small letters.
    names: Vec<String>,
    /// SHA-256 of the leaf (DER), as hex.
    pub leaf_sha256: String,
}

/// Reads and checks the pair.
///
/// # Errors
/// See [`CertificateError`]; each says which file, and what to do.
pub fn load(pair: &Pair, now: DateTime<Utc>) -> Result<ServerCertificate, CertificateError> {
    let chain = read_chain(&pair.certificate)?;
    let leaf = chain.first().ok_or_else(|| CertificateError::NotPem {
        what: "certificate",
        path: pair.certificate.clone(),
    })?;
    check_validity(&pair.certificate, leaf, now)?;
    let leaf_sha256 = hex(&Sha256::digest(leaf));
    let names = names::of(leaf);
    let key = read_key(&pair.key)?;
    let provider = aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|source| {
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            CertificateError::Mismatch {
                certificate: pair.certificate.clone(),
                key: pair.key.clone(),
            }
        } else {
            CertificateError::Unusable {
                path: pair.certificate.clone(),
                source,
            }
        }
    })?;
    Ok(ServerCertificate {
        key: Arc::new(key),
        names,
        leaf_sha256,
    })
}

/// How long a certificate lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Whose it is.
    pub subject: String,
    /// The last second in which it is valid.
    pub until: DateTime<Utc>,
}

/// Returns how long each certificate of a file lives, in its order.
///
/// # Errors
/// When the file cannot be read, or holds something else or nothing.
pub fn lives(path: &Path) -> Result<Vec<Life>, CertificateError> {
    let not_pem = || CertificateError::NotPem {
        what: "certificate",
        path: path.to_owned(),
    };
    let chain = read_chain(path)?;
    if chain.is_empty() {
        return Err(not_pem());
    }
    chain
        .iter()
        .map(|one| {
            let (_, parsed) = parse_x509_certificate(one).map_err(|_| not_pem())?;
            let until = parsed.validity().not_after.timestamp();
            Ok(Life {
                subject: parsed.subject().to_string(),
                until: DateTime::from_timestamp(until, 0).unwrap_or(DateTime::<Utc>::MAX_UTC),
            })
        })
        .collect()
}

/// Makes the keys of session tickets, which the library rotates. They outlive a reload, so that a
/// client resumes its session after one.
///
/// # Errors
/// When the crypto library refuses.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    aws_lc_rs::Ticketer::new()
}

/// Reads and checks the authorities of clients' certificates.
///
/// # Errors
/// When the file cannot be read or holds none that can be used.
pub fn load_authorities(path: &Path) -> Result<Authorities, CertificateError> {
    let chain = read_chain(path)?;
    let mut digest = Sha256::new();
    let mut roots = RootCertStore::empty();
    for authority in chain {
        digest.update(&authority);
        roots
            .add(authority)
            .map_err(|source| CertificateError::Unusable {
                path: path.to_owned(),
                source,
            })?;
    }
    if roots.is_empty() {
        return Err(CertificateError::NotPem {
            what: "certificate",
            path: path.to_owned(),
        });
    }
    Ok(Authorities {
        roots: Arc::new(roots),
        sha256: hex(&digest.finalize()),
    })
}

/// The authorities of clients' certificates.
#[derive(Clone, Debug)]
pub struct Authorities {
    roots: Arc<RootCertStore>,
    /// SHA-256 of all of them (DER), as hex.
    pub sha256: String,
}

impl Authorities {
    /// Returns what judges certificates long after their handshakes.
    ///
    /// # Errors
    /// When the crypto library refuses.
    pub fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, rustls::Error> {
        clients::verifier(self, true, &Arc::new(aws_lc_rs::default_provider()))
    }
}

/// Builds the TLS configuration: the pair by the name that the client gives, our order of cipher
/// suites, no early data, stateless tickets. `pairs` begins with the main one.
///
/// # Errors
/// When the crypto library refuses.
pub fn server_config(
    settings: &Tls,
    pairs: &[ServerCertificate],
    authorities: Option<&Authorities>,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let required = settings
        .client
        .as_ref()
        .is_some_and(|client| client.required);
    let verifier = match authorities {
        Some(authorities) => clients::verifier(authorities, required, &provider)?,
        None => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions(settings.version_min))?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(names::ByName::new(pairs)));
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = tickets;
    Ok(Arc::new(config))
}

fn versions(version_min: TlsVersion) -> Vec<&'static SupportedProtocolVersion> {
    match version_min {
        TlsVersion::V12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V13 => vec![&rustls::version::TLS13],
    }
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let pem = fs::read(path).map_err(|source| CertificateError::Unreadable {
        what: "certificate",
        path: path.to_owned(),
        source,
    })?;
    CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| CertificateError::NotPem {
            what: "certificate",
            path: path.to_owned(),
        })
}

fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let unreadable = |source| CertificateError::Unreadable {
        what: "private key",
        path: path.to_owned(),
        source,
    };
    let metadata = fs::metadata(path).map_err(unreadable)?;
    let mode = metadata.mode() & 0o777;
    let group_is_ours = in_our_groups(metadata.gid());
    // Group-readable is how certificate managers share a key with one service.
    let allowed = if group_is_ours { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        return Err(CertificateError::KeyTooOpen {
            path: path.to_owned(),
            mode,
        });
    }
    let pem = fs::read(path).map_err(unreadable)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|_| CertificateError::NotPem {
        what: "private key",
        path: path.to_owned(),
    })
}

fn in_our_groups(group: u32) -> bool {
    rustix::process::getegid().as_raw() == group
        || rustix::process::getgroups()
            .is_ok_and(|groups| groups.iter().any(|ours| ours.as_raw() == group))
}

fn check_validity(
    path: &Path,
    leaf: &CertificateDer<'_>,
    now: DateTime<Utc>,
) -> Result<(), CertificateError> {
    let (_, parsed) = parse_x509_certificate(leaf).map_err(|_| CertificateError::NotPem {
        what: "certificate",
        path: path.to_owned(),
    })?;
    let validity = parsed.validity();
    let now = now.timestamp();
    if now > validity.not_after.timestamp() {
        return Err(CertificateError::Expired {
            path: path.to_owned(),
            at: validity.not_after.to_string(),
        });
    }
    if now < validity.not_before.timestamp() {
        return Err(CertificateError::NotYetValid {
            path: path.to_owned(),
            at: validity.not_before.to_string(),
        });
    }
    Ok(())
}

/// Writes bytes as lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            // Writing into a String cannot fail.
            write!(text, "{byte:02x}").unwrap_or_default();
            text
        })
}

#[cfg(test)]
mod tests;
