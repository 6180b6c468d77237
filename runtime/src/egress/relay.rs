//! One connection to the proxy: judged, recorded, connected, relayed.
//!
//! Invariant: a decision is recorded before anything is connected; where it cannot be, nothing is.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Outlet;
use super::address::Host;
use super::decision::{Decision, Pending, Verdict};
use super::head::{self, Head, Taken};
use super::route::Route;
use super::rule::{self, Asked};

/// What one sandbox's proxy knows.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) outlet: Outlet,
    pub(super) decisions: mpsc::Sender<Pending>,
}

/// What a request asks for.
enum Wish<'head> {
    Tunnel {
        host: Host,
        port: u16,
    },
    Plain {
        host: Host,
        port: u16,
        authority: &'head str,
        path: String,
    },
    Route {
        route: &'head Route,
        path: String,
    },
}

/// Why a request is refused.
type Refusal = (u16, String);

/// Serves one connection to its end.
pub(super) async fn serve(proxy: &Proxy, mut inside: TcpStream) {
    let taken = match timeout(HEAD_TIME_MAX, head::take(&mut inside)).await {
        Ok(Ok(Some(taken))) => taken,
        Ok(Ok(None)) => {
            let refusal = (400, "the request's head cannot be understood".to_owned());
            return proxy.refuse(&mut inside, "?", "?", refusal).await;
        }
        Ok(Err(_)) | Err(_) => return,
    };
    let Taken { head, rest } = taken;
    let (wish, rule, addresses) = match proxy.judge(&head).await {
        Ok(judged) => judged,
        Err(refusal) => {
            return proxy
                .refuse(&mut inside, &head.method, &head.target, refusal)
                .await;
        }
    };
    let decision = Decision {
        verdict: Verdict::Allowed,
        method: Decision::shown(&head.method),
        target: Decision::shown(&head.target),
        rule: Some(rule),
        reason: None,
    };
    if !proxy.record(decision).await {
        return answer(&mut inside, 503, "the decision cannot be recorded").await;
    }
    let outside = match connect(&addresses).await {
        Ok(outside) => outside,
        Err(error) => {
            let why = format!("cannot connect: {error}");
            return answer(&mut inside, 502, &why).await;
        }
    };
    if let Err(error) = relay(&head, wish, rest, inside, outside).await {
        tracing::debug!(%error, "egress connection ended");
    }
}

impl Proxy {
    /// Judges a request and looks its name up. Returns what to do, the rule, and the addresses that
    /// may be connected to.
    async fn judge<'head>(
        &'head self,
        head: &'head Head,
    ) -> Result<(Wish<'head>, String, Vec<SocketAddr>), Refusal> {
        let wish = self.wish(head)?;
        match &wish {
            Wish::Tunnel { host, port } | Wish::Plain { host, port, .. } => {
                match self.outlet.rules.judge(host, *port) {
                    Asked::Refused => Err((403, "no rule of egress.allow covers it".to_owned())),
                    Asked::Address(rule, address) => Ok((wish, rule.to_string(), vec![address])),
                    Asked::Name(rule) => {
                        let addresses = resolve(host, *port, Trust::Public).await?;
                        Ok((wish, rule.to_string(), addresses))
                    }
                }
            }
            Wish::Route { route, .. } => {
                // The operator named this very endpoint.
                let addresses = resolve(&route.host, route.port, Trust::Named).await?;
                let rule = format!("route {}", route.name);
                Ok((wish, rule, addresses))
            }
        }
    }

    fn wish<'head>(&'head self, head: &'head Head) -> Result<Wish<'head>, Refusal> {
        let wrong = |why: &str| (400, why.to_owned());
        if head.method == "CONNECT" {
            let Some((host, Some(port))) = rule::split_port(&head.target) else {
                return Err(wrong("a tunnel needs host and port"));
            };
            let host = Host::read(host).ok_or_else(|| wrong("the host cannot be understood"))?;
            return Ok(Wish::Tunnel { host, port });
        }
        if let Some(rest) = head.target.strip_prefix("http://") {
            let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            let (host, port) = rule::split_port(authority)
                .ok_or_else(|| wrong("the port cannot be understood"))?;
            let host = Host::read(host).ok_or_else(|| wrong("the host cannot be understood"))?;
            let path = if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            };
            return Ok(Wish::Plain {
                host,
                port: port.unwrap_or(80),
                authority,
                path,
            });
        }
        let below = head
            .target
            .strip_prefix('/')
            .ok_or_else(|| wrong("the target cannot be understood"))?;
        let end = below.find(['/', '?']).unwrap_or(below.len());
        let (name, rest) = below.split_at(end);
        let route = self.outlet.routes.iter().find(|route| route.name == name);
        let route = route.ok_or_else(|| (404, "there is no such route".to_owned()))?;
        if climbs(rest) {
            return Err(wrong("the path climbs, or holds a fragment"));
        }
        let path = format!("{}{rest}", route.path);
        Ok(Wish::Route { route, path })
    }

    /// Has a decision recorded. Tells whether it was.
    async fn record(&self, decision: Decision) -> bool {
        let (recorded, waits) = oneshot::channel();
        let pending = Pending { decision, recorded };
        self.decisions.send(pending).await.is_ok() && waits.await.is_ok()
    }

    async fn refuse(&self, inside: &mut TcpStream, method: &str, target: &str, refusal: Refusal) {
        let (status, reason) = refusal;
        let decision = Decision {
            verdict: Verdict::Refused,
            method: Decision::shown(method),
            target: Decision::shown(target),
            rule: None,
            reason: Some(reason.clone()),
        };
        // A refusal that nobody records is a refusal all the same.
        if !self.record(decision).await {
            tracing::warn!(reason, "refusal of the egress proxy not recorded");
        }
        answer(inside, status, &reason).await;
    }
}

/// Returns whether some server could read a path below a route as one that leaves it. A fragment is
/// no part of a request, so it is refused, too.
fn climbs(rest: &str) -> bool {
    if rest.contains('#') {
        return true;
    }
    let path = rest.split('?').next().unwrap_or_default();
    let path = path.to_ascii_lowercase();
    let path = path
        .replace("%2e", ".")
        .replace("%2f", "/")
        .replace("%5c", "\\")
        .replace("%3b", ";");
    path.split(['/', '\\'])
        .map(|segment| segment.split(';').next().unwrap_or_default())
        .any(|segment| segment == "." || segment == "..")
}

/// Tells how far the addresses of a name are trusted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// None may be of a place that no name may lead to.
    Public,
    /// The operator named the endpoint: it may be on the machine itself.
    Named,
}

/// Looks a name up, once: what is returned is what is connected to.
async fn resolve(host: &Host, port: u16, trust: Trust) -> Result<Vec<SocketAddr>, Refusal> {
    let found: Vec<SocketAddr> = match host {
        Host::Address(address) => vec![SocketAddr::new(*address, port)],
        Host::Name(name) => {
            let looked_up = timeout(
                CONNECT_TIME_MAX,
                tokio::net::lookup_host((name.as_str(), port)),
            );
            match looked_up.await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(_)) | Err(_) => return Err((502, "the name cannot be resolved".to_owned())),
            }
        }
    };
    pinned(found, trust)
}

/// Judges all that a name leads to, and returns it as what is connected to: one private address among
/// public ones is enough to refuse, for nobody can tell which of them would be tried.
fn pinned(found: Vec<SocketAddr>, trust: Trust) -> Result<Vec<SocketAddr>, Refusal> {
    if trust == Trust::Public
        && let Some(place) = found
            .iter()
            .find_map(|address| rule::leads_astray(address.ip()))
    {
        return Err((403, format!("the name leads to {place}")));
    }
    if found.is_empty() {
        return Err((502, "the name has no address".to_owned()));
    }
    Ok(found)
}

async fn connect(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    timeout(CONNECT_TIME_MAX, TcpStream::connect(addresses))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn relay(
    head: &Head,
    wish: Wish<'_>,
    rest: Vec<u8>,
    mut inside: TcpStream,
    mut outside: TcpStream,
) -> io::Result<()> {
    match wish {
        Wish::Tunnel { .. } => {
            inside
                .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                .await?;
            pass(rest, &mut inside, &mut outside).await
        }
        Wish::Plain {
            authority, path, ..
        } => {
            let mut first = head.written(&path, authority, &[], None).into_bytes();
            first.extend(rest);
            pass(first, &mut inside, &mut outside).await
        }
        Wish::Route { route, path } => {
            let (name, value) = route.field();
            let dropped = ["authorization", "x-api-key", name];
            let host = if (route.tls, route.port) == (true, 443)
                || (route.tls, route.port) == (false, 80)
            {
                route.host_name.clone()
            } else {
                format!("{}:{}", route.host_name, route.port)
            };
            let path = if path.starts_with('/') {
                path
            } else {
                format!("/{path}")
            };
            let mut first = head
                .written(&path, &host, &dropped, Some((name, value)))
                .into_bytes();
            first.extend(rest);
            if route.tls {
                let mut secure = secured(outside, &route.host_name).await?;
                pass(first, &mut inside, &mut secure).await
            } else {
                pass(first, &mut inside, &mut outside).await
            }
        }
    }
}

/// Passes bytes both ways until both ends have ended.
async fn pass(
    first: Vec<u8>,
    inside: &mut TcpStream,
    outside: &mut (impl AsyncRead + AsyncWrite + Unpin),
) -> io::Result<()> {
    outside.write_all(&first).await?;
    outside.flush().await?;
    copy_bidirectional(inside, outside).await.map(|_| ())
}

/// Speaks TLS with a server whose name the system's authorities vouch for.
pub(crate) async fn secured(
    outside: TcpStream,
    host: &str,
) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        return Err(io::Error::other(
            "this host has no trusted certificates; install ca-certificates",
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config));
    timeout(CONNECT_TIME_MAX, connector.connect(name, outside))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// Answers and ends the connection. A client that has gone needs no answer.
async fn answer(inside: &mut TcpStream, status: u16, why: &str) {
    let text = format!("loki egress: {why}\n");
    let head = format!(
        "HTTP/1.1 {status} {}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         X-Loki-Egress: {}\r\nConnection: close\r\n\r\n{text}",
        if status < 500 {
            "Refused"
        } else {
            "Unreachable"
        },
        text.len(),
        if status < 500 { "refused" } else { "failed" },
    );
    if let Err(error) = inside.write_all(head.as_bytes()).await {
        tracing::debug!(%error, "egress client is gone");
    }
}

const HEAD_TIME_MAX: Duration = Duration::from_secs(30);

const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::{Trust, climbs, pinned};

    /// What a resolver that an attacker runs may answer, at once or one after the other.
    #[test]
    fn a_name_that_also_leads_to_a_private_place_leads_nowhere() {
        let found = |addresses: &[&str]| -> Vec<SocketAddr> {
            let parsed = addresses.iter().map(|address| address.parse());
            parsed.collect::<Result<_, _>>().expect("addresses")
        };
        let public = found(&["93.184.215.14:443", "[2606:2800:21f:cb07::1]:443"]);
        for private in [
            "127.0.0.1:443",
            "10.1.2.3:443",
            "169.254.169.254:443",
            "[::1]:443",
            "[::ffff:127.0.0.1]:443",
            "[fd00:ec2::254]:443",
            "0.0.0.0:443",
        ] {
            for place in 0..=public.len() {
                let mut mixed = public.clone();
                mixed.insert(place, found(&[private])[0]);
                assert!(
                    pinned(mixed, Trust::Public).is_err(),
                    "{private} at {place}"
                );
            }
            assert!(pinned(found(&[private]), Trust::Named).is_ok(), "{private}");
        }
        assert!(pinned(Vec::new(), Trust::Public).is_err());
        assert_eq!(pinned(public.clone(), Trust::Public).ok(), Some(public));
    }

    #[test]
    fn no_path_of_a_route_climbs() {
        for rest in [
            "/..",
            "/../x",
            "/a/..",
            "/.",
            "/./a",
            "/.%2e/a",
            "/%2e./a",
            "/%2E%2e/a",
            "/..;x/a",
            "/..%3Bx/a",
            "/..\\a",
            "/a%5c..%5Cb",
            "/a/..%2fb",
            "/a%2F..",
            "/a#b",
            "/a?b#c",
            "/..?x",
        ] {
            assert!(climbs(rest), "{rest}");
        }
        for rest in [
            "",
            "/",
            "/v1/messages?x=../y",
            "/a..b/...",
            "/a;b/c",
            "/%2ehidden",
            "//a",
        ] {
            assert!(!climbs(rest), "{rest}");
        }
    }
}
