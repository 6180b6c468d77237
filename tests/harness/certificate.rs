//! Certificates for the gateway: good ones, bad ones, and the one of the documented command.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{Datelike, TimeDelta, Utc};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
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

    /// Makes a pair for another host in `directory` under a name of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn for_host(directory: &Path, name: &str, host: &str) -> Self {
        let parameters = CertificateParams::new(vec![host.to_owned()]).expect("a host's name");
        Self::from_params(directory, name, parameters)
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

    /// Makes a pair whose time is over in so many days.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn ending(directory: &Path, name: &str, days: u64) -> Self {
        let mut parameters = parameters();
        parameters.not_after = date_time_ymd(1970, 1, 1) + after_now(days * 86_400);
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
        Self::write(directory, name, &certificate.pem(), &key)
    }

    fn write(directory: &Path, name: &str, pem: &str, key: &KeyPair) -> Self {
        let pair = Self {
            certificate: directory.join(format!("{name}-cert.pem")),
            key: directory.join(format!("{name}-key.pem")),
        };
        fs::write(&pair.certificate, pem).expect("it can be written");
        fs::write(&pair.key, key.serialize_pem()).expect("it can be written");
        set_mode(&pair.key, 0o600);
        pair
    }
}

/// An authority that vouches for clients.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
    name: String,
}

impl Authority {
    /// Makes one, with its certificate in `directory` under a name of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(directory: &Path, name: &str) -> Self {
        Self::make(directory, name, |_| {})
    }

    /// Makes one whose time is over, with its certificate in `directory` under a name of its own.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn expired(directory: &Path, name: &str) -> Self {
        Self::make(directory, name, |parameters| {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    /// Makes one whose time is over in so many days.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn ending(directory: &Path, name: &str, days: u64) -> Self {
        Self::make(directory, name, |parameters| {
            parameters.not_after = date_time_ymd(1970, 1, 1) + after_now(days * 86_400);
        })
    }

    fn make(directory: &Path, name: &str, change: impl Fn(&mut CertificateParams)) -> Self {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        parameters.distinguished_name = common_name(name);
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("an authority");
        let authority = Self {
            issuer,
            directory: directory.to_owned(),
            name: name.to_owned(),
        };
        fs::write(authority.file(), authority.issuer.pem()).expect("it can be written");
        authority
    }

    /// Returns the file with its certificate (PEM).
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.directory.join(format!("{}-ca.pem", self.name))
    }

    /// Vouches for a server on this machine for less than three months, in a way that strict checkers accept.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn server(&self, name: &str) -> Certificate {
        let mut parameters = parameters();
        let loopback = SanType::IpAddress([127, 0, 0, 1].into());
        parameters.subject_alt_names.push(loopback);
        parameters.distinguished_name = common_name("localhost");
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        parameters.use_authority_key_identifier_extension = true;
        let part = |number: u32| u8::try_from(number).expect("a part of a date");
        let day = |days: i64| {
            let time = Utc::now() + TimeDelta::days(days);
            date_time_ymd(time.year(), part(time.month()), part(time.day()))
        };
        parameters.not_before = day(-1);
        parameters.not_after = day(80);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = parameters.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a certificate can be made");
        Certificate::write(&self.directory, name, &certificate.pem(), &key)
    }

    /// Vouches for a client with this common name, whose other name is a URI.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn client(&self, name: &str, uri: &str) -> Certificate {
        self.issue(name, uri, |_| {})
    }

    /// Vouches for a client whose time begins with the next second.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn fresh_client(&self, name: &str, uri: &str) -> Certificate {
        self.issue(name, uri, |parameters| {
            parameters.not_before = date_time_ymd(1970, 1, 1) + after_now(1);
        })
    }

    /// Vouches for a client whose time is over.
    ///
    /// # Panics
    /// When it cannot.
    #[must_use]
    pub fn expired_client(&self, name: &str, uri: &str) -> Certificate {
        self.issue(name, uri, |parameters| {
            parameters.not_before = date_time_ymd(2020, 1, 1);
            parameters.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    fn issue(&self, name: &str, uri: &str, change: fn(&mut CertificateParams)) -> Certificate {
        let mut parameters = CertificateParams::new(Vec::new()).expect("no names");
        parameters.distinguished_name = common_name(name);
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let uri = uri.try_into().expect("a URI is ASCII");
        parameters.subject_alt_names = vec![SanType::URI(uri)];
        change(&mut parameters);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = parameters.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a certificate can be made");
        Certificate::write(&self.directory, name, &certificate.pem(), &key)
    }
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)
    }
}

/// Returns the time from 1970 to so many seconds after now, in whole seconds.
fn after_now(seconds: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    Duration::from_secs(now.expect("a time after 1970").as_secs() + seconds)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
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
