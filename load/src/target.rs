//! Whom the load is sent to, and how it is recognised.

use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use http::Uri;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use serde::{Deserialize, Serialize};

/// A checked target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// The `Host` field.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: Arc<str>,
    /// TLS, if the scheme asks for it.
    pub(crate) tls: Option<Tls>,
    /// The protocol to speak.
    pub(crate) protocol: Protocol,
}

/// How to begin TLS.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// The settings.
    pub(crate) config: Arc<ClientConfig>,
    /// The name to ask for.
    pub(crate) name: ServerName<'static>,
}

/// The protocols that a target is asked in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Protocol {
    /// HTTP/1.1, one request after the other on each connection.
    #[default]
    Http1,
    /// HTTP/2, several streams on each connection.
    Http2,
}

/// Which key exchange the load generator offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KeyExchange {
    /// All that are known, the post-quantum hybrid first.
    #[default]
    Any,
    /// X25519 alone, for comparisons with servers that know no hybrid.
    X25519,
}

impl Target {
    /// Reads and checks a target.
    ///
    /// # Errors
    /// When the address is not this machine and nobody said that it is theirs, or a file cannot be
    /// used.
    pub(crate) fn parse(
        url: &str,
        ca: Option<&Path>,
        protocol: Protocol,
        owned: bool,
    ) -> anyhow::Result<Self> {
        let uri: Uri = url
            .parse()
            .with_context(|| format!("{url:?} is not an address"))?;
        let authority = uri.authority().context("the address names no host")?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            Some(_) | None => bail!("the address must begin with http:// or https://"),
        };
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        let port = authority
            .port_u16()
            .unwrap_or(if secure { 443 } else { 80 });
        let address = (host, port)
            .to_socket_addrs()
            .with_context(|| format!("cannot find {host}"))?
            .next()
            .with_context(|| format!("{host} has no address"))?;
        ensure!(
            address.ip().is_loopback() || owned,
            "{host} is not this machine: load goes elsewhere only with --i-own-this-target"
        );
        let tls = if secure {
            let ca = ca.context("https needs --ca, the certificate that the target must show")?;
            Some(Tls {
                config: client_config(ca, protocol, KeyExchange::Any)?,
                name: server_name(host)?,
            })
        } else {
            None
        };
        Ok(Self {
            address,
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .into(),
            tls,
            protocol,
        })
    }

    /// Offers only this key exchange, and never resumes a session: every handshake is a full one.
    ///
    /// # Errors
    /// When the certificate cannot be read again.
    pub(crate) fn with_full_handshakes(
        mut self,
        ca: &Path,
        exchange: KeyExchange,
    ) -> anyhow::Result<Self> {
        if let Some(tls) = &mut self.tls {
            let mut config = ClientConfig::clone(&*client_config(ca, self.protocol, exchange)?);
            config.resumption = Resumption::disabled();
            tls.config = Arc::new(config);
        }
        Ok(self)
    }
}

fn server_name(host: &str) -> anyhow::Result<ServerName<'static>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => Ok(ServerName::try_from(host.to_owned())?),
    }
}

fn client_config(
    ca: &Path,
    protocol: Protocol,
    exchange: KeyExchange,
) -> anyhow::Result<Arc<ClientConfig>> {
    let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let pinned = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} holds no certificate", ca.display()))?;
    let mut provider = aws_lc_rs::default_provider();
    if exchange == KeyExchange::X25519 {
        provider.kx_groups = vec![aws_lc_rs::kx_group::X25519];
    }
    let provider = Arc::new(provider);
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
        .with_no_client_auth();
    config.alpn_protocols = match protocol {
        Protocol::Http1 => vec![b"http/1.1".to_vec()],
        Protocol::Http2 => vec![b"h2".to_vec()],
    };
    Ok(Arc::new(config))
}

/// Accepts exactly the certificates of the file, whatever names they carry: a self-made
/// certificate often has none. Whoever shows it must hold its key.
#[derive(Debug)]
struct Pinned {
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<rustls::crypto::CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let shown = std::iter::once(end_entity).chain(intermediates);
        if shown
            .take(1)
            .any(|shown| self.pinned.iter().any(|pinned| pinned == shown))
        {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General(
                "the target shows another certificate".to_owned(),
            ))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::{Protocol, Target};

    #[test]
    fn only_this_machine_is_a_target() {
        for url in [
            "http://192.0.2.1/",
            "http://10.0.0.1:57374/",
            "http://[2001:db8::1]/",
            "http://0.0.0.0/",
            "ftp://127.0.0.1/",
            "127.0.0.1",
            "https://127.0.0.1/",
        ] {
            let parsed = Target::parse(url, None, Protocol::Http1, false);
            assert!(parsed.is_err(), "{url}");
        }
        let parse = |url, owned| Target::parse(url, None, Protocol::Http1, owned);
        assert!(parse("http://127.0.0.1:1/x?y", false).is_ok());
        assert!(parse("http://192.0.2.1/", true).is_ok());
    }
}
