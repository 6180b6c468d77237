//! Asks the issuer's server for its keys: discovery, then the key set.
//!
//! Invariant: verified TLS, no redirect, no proxy from the environment, bounded time and size, and
//! no address that only this host or its own network can reach, unless the operator allowed it. The
//! only URLs asked are the issuer's own and the one that its own document names.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use config::gateway::oidc::Issuer;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::DATE;
use reqwest::{Certificate, Client, Response, Url, redirect};
use serde_json::Value;

use super::document;
use super::key::{KeySet, KeySetError, SET_BYTES_MAX};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("cannot read the certificate authorities {path}: {source}")]
    Authorities { path: PathBuf, source: io::Error },
    #[error("cannot use the certificate authorities {path}: {source}")]
    BadAuthorities {
        path: PathBuf,
        source: reqwest::Error,
    },
    #[error("cannot build the client for the issuer: {0}")]
    Client(reqwest::Error),
    #[error("cannot read the discovery document: {0}")]
    Discovery(&'static str),
    #[error("cannot ask {url}: its address may not be asked")]
    Forbidden { url: String },
    #[error(transparent)]
    Keys(#[from] KeySetError),
    #[error("cannot ask {url}: {reason}")]
    Request { url: String, reason: String },
    #[error("cannot use the answer of {url}: status {status}")]
    Status { url: String, status: u16 },
    #[error("cannot use the answer of {url}: longer than {SET_BYTES_MAX} bytes")]
    TooLong { url: String },
}

/// Which addresses may be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Guard {
    loopback: bool,
    private: bool,
}

impl Guard {
    /// Takes the issuer's exceptions.
    pub(crate) const fn of(issuer: &Issuer) -> Self {
        Self {
            loopback: issuer.allow_loopback_http,
            private: issuer.allow_private_addresses,
        }
    }

    /// Returns whether an address may be asked.
    pub(crate) fn allows(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        if address.is_loopback() {
            return self.loopback;
        }
        match address {
            IpAddr::V4(address) => self.allows_v4(address),
            IpAddr::V6(address) => self.allows_v6(address),
        }
    }

    fn allows_v4(self, address: Ipv4Addr) -> bool {
        let [a, b, ..] = address.octets();
        if address.is_private() || (a == 100 && (64..128).contains(&b)) {
            return self.private;
        }
        // Nobody's server: this network, link-local with its metadata services, tests, multicast.
        let nobodys = a == 0
            || a >= 224
            || address.is_link_local()
            || address.is_documentation()
            || (a, b) == (198, 18)
            || (a, b) == (198, 19)
            || (a == 192 && b == 0 && address.octets()[2] == 0);
        !nobodys
    }

    fn allows_v6(self, address: Ipv6Addr) -> bool {
        let [a, b, ..] = address.segments();
        if a & 0xfe00 == 0xfc00 {
            return self.private;
        }
        // Global unicast, without tunnels that lead to IPv4 addresses and without documentation.
        a & 0xe000 == 0x2000 && a != 0x2002 && !(a == 0x2001 && (b == 0 || b == 0xdb8))
    }

    /// Returns whether a URL may be asked: its scheme, and its address where it names one.
    fn allows_url(self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        // What is no address is a name, whose addresses are judged when it was looked up.
        let address: Option<IpAddr> = literal.parse().ok();
        let scheme = match url.scheme() {
            "https" => true,
            "http" => {
                self.loopback
                    && (host == "localhost" || address.is_some_and(|address| address.is_loopback()))
            }
            _ => false,
        };
        scheme && address.map_or(!host.is_empty(), |address| self.allows(address))
    }
}

/// Asks one issuer's server.
#[derive(Clone)]
pub(crate) struct Fetcher {
    client: Client,
    guard: Guard,
    issuer: String,
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Fetcher")
    }
}

impl Fetcher {
    /// Builds the client; asks nothing yet.
    ///
    /// # Errors
    /// When the certificate authorities cannot be read or used.
    pub(crate) fn new(issuer: &Issuer) -> Result<Self, FetchError> {
        let guard = Guard::of(issuer);
        let mut builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .dns_resolver(Arc::new(GuardedNames(guard)))
            .user_agent(concat!("loki-gateway/", env!("CARGO_PKG_VERSION")));
        if let Some(path) = &issuer.ca {
            let pem = fs::read(path).map_err(|source| FetchError::Authorities {
                path: path.clone(),
                source,
            })?;
            let authorities = Certificate::from_pem_bundle(&pem).map_err(|source| {
                FetchError::BadAuthorities {
                    path: path.clone(),
                    source,
                }
            })?;
            builder = builder.tls_certs_merge(authorities);
        }
        Ok(Self {
            client: builder.build().map_err(FetchError::Client)?,
            guard,
            issuer: issuer.url.clone(),
        })
    }

    /// Returns the key set and its bytes.
    ///
    /// # Errors
    /// When the server cannot be asked, or its answers cannot be used.
    pub(crate) async fn keys(&self) -> Result<(KeySet, Vec<u8>), FetchError> {
        let discovery = self.ask(&self.discovery_url()).await?;
        let document =
            document::read(&discovery).map_err(|_| FetchError::Discovery("not a JSON object"))?;
        // Byte for byte (OpenID Connect Discovery, section 4.3).
        if document.get("issuer").and_then(Value::as_str) != Some(self.issuer.as_str()) {
            return Err(FetchError::Discovery("it is another issuer's"));
        }
        let Some(Value::String(url)) = document.get("jwks_uri") else {
            return Err(FetchError::Discovery("it names no key set"));
        };
        let bytes = self.ask(url).await?;
        Ok((KeySet::read(&bytes)?, bytes))
    }

    /// Returns what the server takes for the time, to the second; none if it does not say.
    ///
    /// # Errors
    /// When the server cannot be asked.
    pub(crate) async fn server_time(&self) -> Result<Option<DateTime<Utc>>, FetchError> {
        let answer = self.send(&self.discovery_url()).await?;
        let date = answer.headers().get(DATE);
        let date = date.and_then(|value| DateTime::parse_from_rfc2822(value.to_str().ok()?).ok());
        Ok(date.map(|date| date.to_utc()))
    }

    fn discovery_url(&self) -> String {
        let base = self.issuer.trim_end_matches('/');
        format!("{base}/.well-known/openid-configuration")
    }

    async fn send(&self, text: &str) -> Result<Response, FetchError> {
        let url = text.to_owned();
        let parsed = Url::parse(text).map_err(|_| FetchError::Forbidden { url: url.clone() })?;
        if !self.guard.allows_url(&parsed) {
            return Err(FetchError::Forbidden { url });
        }
        let answer = self.client.get(parsed).send().await;
        let answer = answer.map_err(|error| failed(text, &error))?;
        if answer.status() != 200 {
            let status = answer.status().as_u16();
            return Err(FetchError::Status { url, status });
        }
        Ok(answer)
    }

    async fn ask(&self, text: &str) -> Result<Vec<u8>, FetchError> {
        let mut answer = self.send(text).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failed(text, &error))? {
            if bytes.len() + chunk.len() > SET_BYTES_MAX {
                return Err(FetchError::TooLong {
                    url: text.to_owned(),
                });
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

fn failed(url: &str, error: &reqwest::Error) -> FetchError {
    FetchError::Request {
        url: url.to_owned(),
        reason: causes(error),
    }
}

/// An error with what caused it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

/// Looks names up and keeps the addresses that may be asked; the connection is made to these very
/// addresses, so a name that changes meanwhile changes nothing.
struct GuardedNames(Guard);

impl Resolve for GuardedNames {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let allowed: Vec<SocketAddr> =
                found.filter(|address| guard.allows(address.ip())).collect();
            if allowed.is_empty() {
                return Err("the name has no address that may be asked".into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use reqwest::Url;

    use super::Guard;

    const STRICT: Guard = Guard {
        loopback: false,
        private: false,
    };

    #[test]
    fn addresses_of_this_host_and_its_network_are_not_asked() {
        for address in [
            "127.0.0.1",
            "::1",
            "::ffff:127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "192.0.0.8",
            "::",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "2002:a00:1::1",
            "2001:db8::1",
            "2001::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(
                !STRICT.allows(address.parse().expect("address")),
                "{address}"
            );
        }
        for address in ["1.1.1.1", "2606:4700::1111", "142.250.0.1"] {
            assert!(
                STRICT.allows(address.parse().expect("address")),
                "{address}"
            );
        }
    }

    #[test]
    fn exceptions_open_what_they_name_and_nothing_else() {
        let loopback = Guard {
            loopback: true,
            ..STRICT
        };
        let private = Guard {
            private: true,
            ..STRICT
        };
        let allows = |guard: Guard, text: &str| guard.allows_url(&Url::parse(text).expect("URL"));
        for url in [
            "http://127.0.0.1:1/",
            "http://[::1]:1/",
            "http://localhost:1/",
        ] {
            assert!(
                allows(loopback, url) && !allows(private, url) && !allows(STRICT, url),
                "{url}"
            );
        }
        for url in [
            "http://10.0.0.1/",
            "http://a.example/",
            "file:///etc/passwd",
            "ftp://a/",
        ] {
            assert!(!allows(loopback, url) && !allows(private, url), "{url}");
        }
        assert!(allows(private, "https://10.0.0.1/") && !allows(loopback, "https://10.0.0.1/"));
        assert!(!allows(private, "https://169.254.169.254/"));
        assert!(allows(STRICT, "https://a.example/"));
    }
}
