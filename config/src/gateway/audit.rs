//! The `[audit]` table: whether the trail is written, how long it is kept, what happens when there
//! is no room for it, and where it is sent besides.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::load::value::Value;
use crate::load::{Key, Origin, Reader};

/// Smallest size of a file of the trail, so that a day has room in its numbers.
const SEGMENT_BYTES_MIN: u64 = 64 * 1024;

/// What the audit trail is told.
#[derive(Clone, Debug)]
pub struct AuditSettings {
    /// Whether the trail is written.
    pub enabled: bool,
    /// What becomes of a read whose record finds no room.
    pub on_overflow: OnOverflow,
    /// Size in bytes from which on the next file of the day is written.
    pub segment_bytes_max: u64,
    /// How long files are kept; none: for ever.
    pub retention: Option<Duration>,
    /// Most bytes that all files take together; none: no bound.
    pub retention_bytes_max: Option<u64>,
    /// Free bytes of the disk that are left to the records of changes.
    pub disk_reserve_bytes: u64,
    /// Where records are sent besides.
    pub syslog: Option<Syslog>,
}

/// What becomes of a read whose record finds no room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverflow {
    /// It is answered and counted; the gap becomes a record.
    #[default]
    Count,
    /// It is refused: nothing is answered without a record of it.
    Deny,
}

impl fmt::Display for OnOverflow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Count => "count",
            Self::Deny => "deny",
        })
    }
}

impl FromStr for OnOverflow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "count" => Ok(Self::Count),
            "deny" => Ok(Self::Deny),
            _ => Err(format!("{text:?} is neither count nor deny")),
        }
    }
}

/// A receiver of RFC 5424 messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is reached.
    pub protocol: SyslogProtocol,
    /// The certificate authorities that vouch for it (PEM); with TLS alone.
    pub ca: Option<PathBuf>,
}

/// How a receiver of syslog messages is reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SyslogProtocol {
    /// Datagrams, which may be lost.
    #[default]
    Udp,
    /// A stream with counted octets.
    Tcp,
    /// The same inside TLS (RFC 5425).
    Tls,
}

impl SyslogProtocol {
    const fn port(self) -> u16 {
        match self {
            Self::Udp | Self::Tcp => 514,
            Self::Tls => 6514,
        }
    }
}

impl fmt::Display for SyslogProtocol {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Udp => "udp",
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        })
    }
}

impl FromStr for SyslogProtocol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "udp" => Ok(Self::Udp),
            "tcp" => Ok(Self::Tcp),
            "tls" => Ok(Self::Tls),
            _ => Err(format!("{text:?} is not one of udp, tcp, tls")),
        }
    }
}

impl AuditSettings {
    /// Reads the table.
    pub(crate) fn read(reader: &mut Reader) -> Self {
        let segment_bytes_max =
            reader.value(&Key::new("audit.segment_bytes_max"), 64 * 1024 * 1024);
        if segment_bytes_max < SEGMENT_BYTES_MIN {
            let message = format!("must be at least {SEGMENT_BYTES_MIN}");
            reader.mistake("audit.segment_bytes_max", message);
        }
        let retention = reader.value(
            &Key::new("audit.retention"),
            Duration::from_secs(30 * 86_400),
        );
        if !retention.is_zero() && retention < Duration::from_secs(86_400) {
            reader.mistake(
                "audit.retention",
                "must be at least 1d: files are removed by the day; 0s keeps them for ever",
            );
        }
        let retention_bytes_max = reader.value(&Key::new("audit.retention_bytes_max"), 0);
        Self {
            enabled: enabled(reader),
            on_overflow: reader.value(&Key::new("audit.on_overflow"), OnOverflow::default()),
            segment_bytes_max,
            retention: (!retention.is_zero()).then_some(retention),
            retention_bytes_max: (retention_bytes_max > 0).then_some(retention_bytes_max),
            disk_reserve_bytes: reader
                .value(&Key::new("audit.disk_reserve_bytes"), 16 * 1024 * 1024),
            syslog: syslog(reader),
        }
    }
}

/// `LOKI_AUDIT_DISABLED` switches the audit off, `LOKI_ENTERPRISE_AUDIT=true` forces it on.
pub(crate) fn enabled(reader: &mut Reader) -> bool {
    let enabled = reader.value(&Key::new("audit.enabled"), true);
    let disabled = reader.variable::<bool>("LOKI_AUDIT_DISABLED");
    let forced = reader.variable::<bool>("LOKI_ENTERPRISE_AUDIT");
    let (effective, variable) = match (forced, disabled) {
        (Some(true), _) => (true, "LOKI_ENTERPRISE_AUDIT"),
        (_, Some(disabled)) => (!disabled, "LOKI_AUDIT_DISABLED"),
        (_, None) => return enabled,
    };
    reader.overridden(
        "audit.enabled",
        effective.show(),
        Origin::Variable(variable),
    );
    if !effective {
        reader.warning("the audit trail is off: nothing records who did what");
    }
    effective
}

fn syslog(reader: &mut Reader) -> Option<Syslog> {
    let host = reader
        .optional::<String>(&Key::new("audit.syslog.host").variables(&["LOKI_AUDIT_SYSLOG_HOST"]));
    let port = reader
        .optional::<u16>(&Key::new("audit.syslog.port").variables(&["LOKI_AUDIT_SYSLOG_PORT"]));
    let protocol = reader.value(
        &Key::new("audit.syslog.protocol").variables(&["LOKI_AUDIT_SYSLOG_PROTO"]),
        SyslogProtocol::default(),
    );
    let ca = reader
        .optional::<PathBuf>(&Key::new("audit.syslog.ca").variables(&["LOKI_AUDIT_SYSLOG_CA"]));
    let Some(host) = host.filter(|host| !host.is_empty()) else {
        if port.is_some() || ca.is_some() || protocol != SyslogProtocol::default() {
            reader.mistake(
                "audit.syslog.host",
                "names no receiver although other keys of audit.syslog are set: set it, or LOKI_AUDIT_SYSLOG_HOST",
            );
        }
        return None;
    };
    match (protocol, &ca) {
        (SyslogProtocol::Tls, None) => reader.mistake(
            "audit.syslog.ca",
            "the certificate authorities of the receiver are missing: set it, or LOKI_AUDIT_SYSLOG_CA",
        ),
        (SyslogProtocol::Udp | SyslogProtocol::Tcp, Some(_)) => reader.mistake(
            "audit.syslog.ca",
            "is of no use without audit.syslog.protocol = \"tls\"",
        ),
        (SyslogProtocol::Tls, Some(_)) | (SyslogProtocol::Udp | SyslogProtocol::Tcp, None) => {}
    }
    if port == Some(0) {
        reader.mistake("audit.syslog.port", "must not be 0");
    }
    Some(Syslog {
        port: port.unwrap_or(protocol.port()),
        host,
        protocol,
        ca,
    })
}
