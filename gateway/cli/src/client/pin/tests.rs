use std::fs;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, Error, ServerConfig, ServerConnection};
use sha2::{Digest, Sha256};

use super::{to_digest, to_file};

struct Pair {
    certificate: CertificateDer<'static>,
    pem: String,
    key: PrivateKeyDer<'static>,
}

/// Makes a pair as the seed's `openssl` line does: self-signed, an authority, without names.
fn pair() -> Pair {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, "localhost");
    params.distinguished_name = name;
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    Pair {
        pem: certificate.pem(),
        certificate: certificate.der().clone(),
        key: PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).expect("a key"),
    }
}

fn hex(certificate: &CertificateDer<'_>) -> String {
    Sha256::digest(certificate)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Shakes hands in memory with a server that shows `shown` and signs with `key`.
fn shake_hands(
    client: ClientConfig,
    shown: &Pair,
    key: &Pair,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<(), Error> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let signer = provider
        .key_provider
        .load_private_key(key.key.clone_key())
        .expect("a key");
    let certified = CertifiedKey::new(vec![shown.certificate.clone()], signer);
    let server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    let mut server = ServerConnection::new(Arc::new(server)).expect("a server");
    let name = ServerName::try_from("127.0.0.1").expect("a name");
    let mut client = ClientConnection::new(Arc::new(client), name).expect("a client");
    while client.is_handshaking() || server.is_handshaking() {
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).expect("memory");
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            server.read_tls(&mut read).expect("memory");
        }
        server.process_new_packets()?;
        let mut bytes = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut bytes).expect("memory");
        }
        let mut read = bytes.as_slice();
        while !read.is_empty() {
            client.read_tls(&mut read).expect("memory");
        }
        client.process_new_packets()?;
    }
    Ok(())
}

const VERSIONS: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn another_certificate_is_refused() {
    let (ours, other) = (pair(), pair());
    for version in VERSIONS {
        let client = to_digest(&hex(&ours.certificate)).expect("a configuration");
        assert!(matches!(
            shake_hands(client, &other, &other, &[version]),
            Err(Error::InvalidCertificate(_))
        ));
    }
}

#[test]
fn the_certificate_without_its_key_is_refused() {
    let (ours, thief) = (pair(), pair());
    for version in VERSIONS {
        let client = to_digest(&hex(&ours.certificate)).expect("a configuration");
        assert!(
            shake_hands(client, &ours, &thief, &[version]).is_err(),
            "{version:?}"
        );
    }
}

#[test]
fn a_digest_that_is_none_is_refused() {
    for text in ["", "00", &"g".repeat(64), &"ö".repeat(32)] {
        assert!(to_digest(text).is_err(), "{text}");
    }
}

#[test]
fn a_file_without_certificates_is_refused() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("ca.pem");
    assert!(to_file(&path).is_err());
    fs::write(&path, "no certificate").expect("write");
    assert!(to_file(&path).is_err());
}

#[test]
fn the_seeds_own_kind_of_certificate_is_accepted_when_named() {
    let ours = pair();
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join("ca.pem");
    fs::write(&path, &ours.pem).expect("write");
    for version in VERSIONS {
        let by_digest = to_digest(&hex(&ours.certificate)).expect("a configuration");
        assert_eq!(shake_hands(by_digest, &ours, &ours, &[version]), Ok(()));
        let by_file = to_file(&path).expect("a configuration");
        assert_eq!(shake_hands(by_file, &ours, &ours, &[version]), Ok(()));
    }
}
