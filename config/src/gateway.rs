//! The gateway's settings: read, checked, and defaulted.

pub mod audit;
pub mod oidc;
pub mod rates;
pub mod reload;
pub mod side;
pub mod streams;
pub mod tls;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::address::Host;
use crate::home::Home;
use crate::limit::Limits;
use crate::load::value::{LogFormat, LogLevel};
use crate::load::{self, Effective, Key, Mistakes, Reader, Sources};

/// The default port of the main listener.
pub const PORT: u16 = 57_374;

/// Everything that the gateway is told.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// The data directory.
    pub home: Home,
    /// Who can reach the gateway.
    pub listen: Listen,
    /// The certificate and its key; without them, plain HTTP.
    pub tls: Option<tls::Tls>,
    /// Whether a credential is demanded: opaque tokens are switched on, an issuer is set, or
    /// clients' certificates stand for principals.
    pub tokens_required: bool,
    /// Whether opaque tokens are accepted.
    pub opaque_tokens: bool,
    /// The issuers whose tokens are accepted too; the one of the variables first.
    pub issuers: Vec<oidc::Issuer>,
    /// The audit trail.
    pub audit: audit::AuditSettings,
    /// Listeners beside the main one.
    pub side: side::Side,
    /// The way to the runtime.
    pub runtime: Upstream,
    /// Bounds on everything that a peer can make grow.
    pub limits: Limits,
    /// How often one caller may ask.
    pub rates: rates::Rates,
    /// Bounds on streams.
    pub streams: streams::Streams,
    /// What is logged.
    pub log: Log,
}

/// The main listener.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Address and port; port 0 lets the system choose.
    pub address: SocketAddr,
    /// Names accepted in `Host`; empty means any when tokens are required, else loopback names.
    pub host_names: Vec<String>,
    /// Origins, besides our own, whose pages may call.
    pub origins: Vec<String>,
    /// Proxies whose forwarded addresses are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether the operator spelled out that outsiders may reach an open door.
    pub dangerously_allow_insecure_bind: bool,
}

impl Listen {
    /// Returns whether `address` is a proxy whose forwarded addresses are believed.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.trusted_proxies
            .iter()
            .any(|range| range.contains(&address.to_canonical()))
    }
}

/// The way to the runtime.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The runtime's Unix socket.
    pub socket: PathBuf,
    /// The key of the caller statement, shared with the runtime.
    pub statement_key: PathBuf,
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Longest wait for the next bytes of an answer.
    pub read_timeout: Duration,
    /// How long an unused connection is kept; below the runtime's own bound.
    pub idle_timeout: Duration,
}

/// What is logged, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// How much.
    pub level: LogLevel,
    /// In which shape.
    pub format: LogFormat,
}

/// Settings with their origins and with what the operator should look at.
#[derive(Clone, Debug)]
pub struct Loaded<T> {
    /// The settings.
    pub settings: T,
    /// Each key's effective value and origin.
    pub effective: Vec<Effective>,
    /// What the operator should look at.
    pub warnings: Vec<String>,
}

impl GatewaySettings {
    /// Reads and checks the gateway's settings.
    ///
    /// # Errors
    /// All mistakes at once.
    pub fn load(sources: Sources) -> Result<Loaded<Self>, Mistakes> {
        let mut reader = Reader::new(sources);
        let home = home(&mut reader);
        let opaque_tokens = reader.value(
            &Key::new("auth.tokens").variables(&["LOKI_ENTERPRISE_AUTH"]),
            false,
        );
        let issuers = oidc::read(&mut reader);
        let tls = tls::read(&mut reader);
        let by_certificate = tls.as_ref().is_some_and(tls::Tls::names_principals);
        let tokens_required = opaque_tokens || !issuers.is_empty() || by_certificate;
        let listen = listen(&mut reader, tokens_required, tls.is_some());
        let side = side::Side::read(&mut reader, tls.is_some());
        let settings = Self {
            listen,
            side,
            tls,
            tokens_required,
            opaque_tokens,
            issuers,
            audit: audit::AuditSettings::read(&mut reader),
            runtime: upstream(&mut reader, &home),
            limits: Limits::read(&mut reader),
            rates: rates::Rates::read(&mut reader),
            streams: streams::Streams::read(&mut reader),
            log: log(&mut reader),
            home,
        };
        let (effective, warnings) = reader.finish()?;
        Ok(Loaded {
            settings,
            effective,
            warnings,
        })
    }
}

/// Returns the data directory and whether the audit trail is on, whatever else is wrong with the
/// gateway's settings: a token must be revocable also while they are being mended.
///
/// # Errors
/// The mistakes in these two.
pub fn offline(sources: Sources) -> Result<(Home, bool), Mistakes> {
    let mut reader = Reader::new(sources);
    let home = home(&mut reader);
    let audit_enabled = audit::enabled(&mut reader);
    reader.finish_partly()?;
    Ok((home, audit_enabled))
}

/// Reads the data directory; both processes do.
pub(crate) fn home(reader: &mut Reader) -> Home {
    let default = load::default_data_directory(reader.environment());
    let key = Key::new("data_directory")
        .variables(&["LOKI_DATA_DIR"])
        .flag("--data-dir");
    let directory = reader.value(&key, default);
    if !directory.is_absolute() {
        reader.mistake("data_directory", "must be an absolute path");
    }
    Home::new(directory)
}

/// Reads what is logged; both processes do.
pub(crate) fn log(reader: &mut Reader) -> Log {
    Log {
        level: reader.value(
            &Key::new("log.level").variables(&["LOKI_LOG"]),
            LogLevel::default(),
        ),
        format: reader.value(
            &Key::new("log.format").variables(&["LOKI_LOG_FORMAT"]),
            LogFormat::default(),
        ),
    }
}

fn listen(reader: &mut Reader, tokens_required: bool, tls: bool) -> Listen {
    let host = reader.value(
        &Key::new("listen.host")
            .variables(&["LOKI_DASHBOARD_HOST", "LOKI_API_HOST"])
            .flag("--host")
            .must_agree(),
        Host::LOOPBACK,
    );
    let port = reader.value(
        &Key::new("listen.port")
            .variables(&["LOKI_DASHBOARD_PORT"])
            .flag("--port"),
        PORT,
    );
    let dangerously_allow_insecure_bind = reader.value(
        &Key::new("listen.dangerously_allow_insecure_bind")
            .flag("--dangerously-allow-insecure-bind"),
        false,
    );
    let listen = Listen {
        address: host.with_port(port),
        host_names: reader.value(&Key::new("listen.host_names"), Vec::new()),
        origins: origins(reader),
        trusted_proxies: trusted_proxies(reader),
        dangerously_allow_insecure_bind,
    };
    refuse_open_door(reader, host, &listen, tokens_required, tls);
    listen
}

/// An open door is never accidental.
fn refuse_open_door(
    reader: &mut Reader,
    host: Host,
    listen: &Listen,
    tokens_required: bool,
    tls: bool,
) {
    if host.is_loopback() {
        return;
    }
    if listen.dangerously_allow_insecure_bind {
        if listen.trusted_proxies.is_empty() {
            reader.mistake(
                "listen.dangerously_allow_insecure_bind",
                "needs listen.trusted_proxies: the balancer in front that terminates TLS",
            );
        }
        return;
    }
    let mut missing = Vec::new();
    if !tokens_required {
        missing.push("authentication (LOKI_ENTERPRISE_AUTH=true or LOKI_OIDC_ISSUER)");
    }
    if !tls {
        missing.push("TLS (LOKI_TLS_CERT and LOKI_TLS_KEY)");
    }
    if !missing.is_empty() {
        let message = format!(
            "others could reach {host} without protection: configure {}, or listen on 127.0.0.1; \
             behind a balancer that terminates TLS, use --dangerously-allow-insecure-bind",
            missing.join(" and ")
        );
        reader.mistake("listen.host", message);
    }
}

fn origins(reader: &mut Reader) -> Vec<String> {
    let key = Key::new("listen.origins").variables(&["LOKI_DASHBOARD_CORS"]);
    let origins = reader.value(&key, Vec::<String>::new());
    for origin in &origins {
        let host = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        let plain = host.is_some_and(|host| {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte))
        });
        if !plain {
            let message = format!(
                "{origin:?} is not an origin such as https://console.example.org; wildcards are not supported"
            );
            reader.mistake("listen.origins", message);
        }
    }
    origins
}

fn trusted_proxies(reader: &mut Reader) -> Vec<IpNet> {
    let key = Key::new("listen.trusted_proxies").variables(&["LOKI_TRUSTED_PROXIES"]);
    let mut ranges = Vec::new();
    for text in reader.value(&key, Vec::<String>::new()) {
        let range = text
            .parse::<IpNet>()
            .ok()
            .or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        match range {
            Some(range) => ranges.push(range),
            None => reader.mistake(
                "listen.trusted_proxies",
                format!("{text:?} is not an address range such as 10.0.0.0/8"),
            ),
        }
    }
    ranges
}

fn upstream(reader: &mut Reader, home: &Home) -> Upstream {
    Upstream {
        socket: reader.value(
            &Key::new("runtime.socket").variables(&["LOKI_RUNTIME_SOCKET"]),
            home.runtime_socket(),
        ),
        statement_key: reader.value(
            &Key::new("runtime.statement_key").variables(&["LOKI_STATEMENT_KEY"]),
            home.statement_key(),
        ),
        connect_timeout: reader.value(&Key::new("runtime.connect_timeout"), Duration::from_secs(1)),
        read_timeout: reader.value(&Key::new("runtime.read_timeout"), Duration::from_secs(90)),
        idle_timeout: reader.value(&Key::new("runtime.idle_timeout"), Duration::from_secs(20)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
