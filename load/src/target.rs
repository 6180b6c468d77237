//! Whom the load is sent to, and how it is recognised.

use std::fs;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs;
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

/// A checked target.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where to connect.
    pub(crate) address: SocketAddr,
    /// The `Host` field.
    pub(crate) authority: String,
    /// Path and query.
    pub(crate) path: String,
    /// TLS, if the scheme asks for it.
    pub(crate) tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    /// The `Authorization` field.
    pub(crate) authorization: Option<String>,
}

impl Target {
    /// Reads and checks a target.
    ///
    /// # Errors
    /// When the address is not this machine and nobody said that it is theirs, or a file cannot be
    /// used.
    pub(crate) fn parse(
        url: &str,
        token_file: Option<&Path>,
        ca: Option<&Path>,
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
            Some((client_config(ca)?, server_name(host)?))
        } else {
            None
        };
        Ok(Self {
            address,
            authority: authority.to_string(),
            path: uri
                .path_and_query()
                .map_or("/", |path| path.as_str())
                .to_owned(),
            tls,
            authorization: token_file.map(authorization).transpose()?,
        })
    }
}

fn authorization(path: &Path) -> anyhow::Result<String> {
    let token = fs::read_to_string(path)
        .with_context(|| format!("cannot read token file {}", path.display()))?;
    Ok(format!("Bearer {}", token.trim()))
}

fn server_name(host: &str) -> anyhow::Result<ServerName<'static>> {
    match host.parse::<IpAddr>() {
        Ok(address) => Ok(ServerName::IpAddress(address.into())),
        Err(_) => Ok(ServerName::try_from(host.to_owned())?),
    }
}

fn client_config(ca: &Path) -> anyhow::Result<Arc<ClientConfig>> {
    let pem = fs::read(ca).with_context(|| format!("cannot read {}", ca.display()))?;
    let pinned = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("{} holds no certificate", ca.display()))?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pinned { pinned, provider }))
        .with_no_client_auth();
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
    use super::Target;

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
            assert!(Target::parse(url, None, None, false).is_err(), "{url}");
        }
        assert!(Target::parse("http://127.0.0.1:1/x?y", None, None, false).is_ok());
        assert!(Target::parse("http://192.0.2.1/", None, None, true).is_ok());
    }
}
