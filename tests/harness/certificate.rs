//! Certificates for the gateway: good ones, bad ones, and the one of the documented command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};

use crate::command;

/// A certificate and its key, as files.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// The certificate (PEM).
    pub certificate: PathBuf,
    /// The private key (PEM).
    pub key: PathBuf,
}

impl Certificate {
    /// Makes a pair for `localhost` in `directory` under a name of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn good(directory: &Path, name: &str) -> Self {
        Self::from_params(directory, name, parameters())
    }

    /// Makes a pair whose time is over.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn expired(directory: &Path, name: &str) -> Self {
        let mut parameters = parameters();
        parameters.not_before = date_time_ymd(2020, 1, 1);
        parameters.not_after = date_time_ymd(2020, 2, 1);
        Self::from_params(directory, name, parameters)
    }

    /// Makes a pair whose time has not come.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn premature(directory: &Path, name: &str) -> Self {
        let mut parameters = parameters();
        parameters.not_before = date_time_ymd(2120, 1, 1);
        parameters.not_after = date_time_ymd(2121, 1, 1);
        Self::from_params(directory, name, parameters)
    }

    /// Makes a pair by the documented `openssl` command, which gives a certificate without names
    /// that calls itself an authority.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn by_openssl(directory: &Path) -> Self {
        let finished = command::run(
            Command::new("openssl")
                .args(["req", "-x509", "-newkey", "rsa:4096", "-keyout", "key.pem"])
                .args(["-out", "cert.pem", "-days", "365", "-nodes"])
                .args(["-subj", "/CN=localhost"])
                .current_dir(directory),
        );
        let _written = finished.ended_with(0);
        Self {
            certificate: directory.join("cert.pem"),
            key: directory.join("key.pem"),
        }
    }

    /// Returns the SHA-256 of the certificate itself.
    ///
    /// # Panics
    /// When the file holds none.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        let leaf = CertificateDer::from_pem_file(&self.certificate)
            .unwrap_or_else(|error| panic!("{}: {error}", self.certificate.display()));
        Sha256::digest(&leaf).into()
    }

    fn from_params(directory: &Path, name: &str, parameters: CertificateParams) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = parameters
            .self_signed(&key)
            .expect("a certificate can be made");
        let pair = Self {
            certificate: directory.join(format!("{name}-cert.pem")),
            key: directory.join(format!("{name}-key.pem")),
        };
        fs::write(&pair.certificate, certificate.pem()).expect("it can be written");
        fs::write(&pair.key, key.serialize_pem()).expect("it can be written");
        set_mode(&pair.key, 0o600);
        pair
    }
}

/// Sets the permission bits of a file.
///
/// # Panics
/// When the system refuses.
pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn parameters() -> CertificateParams {
    CertificateParams::new(vec!["localhost".to_owned()]).expect("localhost is a name")
}
