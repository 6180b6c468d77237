//! The server's certificate and key: read, checked, and made into a TLS configuration.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use config::gateway::Tls;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ProducesTickets, ResolvesServerCert};
use rustls::sign::CertifiedKey;
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
    /// SHA-256 of the leaf (DER), as hex.
    pub leaf_sha256: String,
}

/// Reads and checks the pair.
///
/// # Errors
/// See [`CertificateError`]; each says which file, and what to do.
pub fn load(tls: &Tls, now: DateTime<Utc>) -> Result<ServerCertificate, CertificateError> {
    let chain = read_chain(&tls.certificate)?;
    let leaf = chain.first().ok_or_else(|| CertificateError::NotPem {
        what: "certificate",
        path: tls.certificate.clone(),
    })?;
    check_validity(&tls.certificate, leaf, now)?;
    let leaf_sha256 = hex(&Sha256::digest(leaf));
    let key = read_key(&tls.key)?;
    let provider = aws_lc_rs::default_provider();
    let key = CertifiedKey::from_der(chain, key, &provider).map_err(|source| {
        if matches!(source, rustls::Error::InconsistentKeys(_)) {
            CertificateError::Mismatch {
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            }
        } else {
            CertificateError::Unusable {
                path: tls.certificate.clone(),
                source,
            }
        }
    })?;
    Ok(ServerCertificate {
        key: Arc::new(key),
        leaf_sha256,
    })
}

/// Gives the same pair to every client.
#[derive(Debug)]
struct OnePair(Arc<CertifiedKey>);

impl ResolvesServerCert for OnePair {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Makes the keys of session tickets, which the library rotates. They outlive a reload, so that a
/// client resumes its session after one.
///
/// # Errors
/// When the crypto library refuses.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, rustls::Error> {
    aws_lc_rs::Ticketer::new()
}

/// Builds the TLS configuration: TLS 1.3 and 1.2, our order of cipher suites, no early data,
/// stateless tickets.
///
/// # Errors
/// When the crypto library refuses.
pub fn server_config(
    certificate: &ServerCertificate,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(OnePair(Arc::clone(&certificate.key))));
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = tickets;
    Ok(Arc::new(config))
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
