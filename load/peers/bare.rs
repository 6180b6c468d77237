//! A bare Pingora proxy: TLS and forwarding, without authentication, audit or metrics.
//!
//! It is built with the gateway's own profile, allocator and crypto library, so that the ratio of
//! the two is what the gateway itself costs.

use std::path::PathBuf;

use async_trait::async_trait;
use clap::Parser;
use pingora::listeners::tls::TlsSettings;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A bare Pingora proxy, to measure against.
#[derive(Debug, Parser)]
#[command(name = "loki-bare", version)]
struct Arguments {
    /// Address to listen on
    #[arg(long)]
    listen: String,
    /// Certificate chain in PEM format
    #[arg(long, value_name = "FILE")]
    certificate: String,
    /// Private key in PEM format
    #[arg(long, value_name = "FILE")]
    key: String,
    /// Unix socket of the origin
    #[arg(long, value_name = "FILE")]
    origin: PathBuf,
}

struct Bare {
    origin: String,
}

#[async_trait]
impl ProxyHttp for Bare {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(
        &self,
        _session: &mut Session,
        _context: &mut (),
    ) -> pingora::Result<Box<HttpPeer>> {
        let peer = HttpPeer::new_uds(&self.origin, false, String::new())?;
        Ok(Box::new(peer))
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .is_err()
    {
        anyhow::bail!("another crypto library was installed before");
    }
    let conf = ServerConf {
        threads: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let bare = Bare {
        origin: arguments.origin.display().to_string(),
    };
    let mut service = http_proxy_service(&server.configuration, bare);
    let mut tls = TlsSettings::intermediate(&arguments.certificate, &arguments.key)?;
    tls.enable_h2();
    service.add_tls_with_settings(&arguments.listen, None, tls);
    server.add_service(service);
    server.run_forever();
}
