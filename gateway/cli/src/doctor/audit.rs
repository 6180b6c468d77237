//! The audit trail: room on its disk, and the receiver that it is sent to.

use std::path::Path;

use ::config::gateway::audit::{Syslog, SyslogProtocol};
use ::config::home::Home;
use gateway::audit::syslog;

use super::Finding;
use crate::client;
use crate::context::Context;

/// Checks where records go.
pub(super) fn check(context: &Context, home: &Home) -> Vec<Finding> {
    let Ok(loaded) = context.gateway_settings(context.sources()) else {
        return Vec::new();
    };
    let audit = loaded.settings.audit;
    if !audit.enabled {
        // That it is off is a warning of the settings already.
        return Vec::new();
    }
    let mut findings = vec![reserve(&home.audit(), audit.disk_reserve_bytes)];
    findings.extend(audit.syslog.iter().map(|one| receiver(context, one)));
    findings
}

/// Compares the free bytes with those that are left to the records of changes.
fn reserve(directory: &Path, reserve: u64) -> Finding {
    const MIB: u64 = 1024 * 1024;
    let check = "audit disk";
    let existing = directory.ancestors().find(|folder| folder.exists());
    let existing = existing.unwrap_or_else(|| Path::new("/"));
    let figures = match rustix::fs::statvfs(existing) {
        Ok(figures) => figures,
        Err(error) => {
            return Finding::failed(check, error.to_string(), "look at the file system");
        }
    };
    let free = figures.f_bavail.saturating_mul(figures.f_frsize);
    let detail = format!(
        "{} MiB free at {}; {} MiB are left to changes (audit.disk_reserve_bytes)",
        free / MIB,
        existing.display(),
        reserve / MIB
    );
    let fix = "free some space, or shorten audit.retention and audit.retention_bytes_max";
    if free < reserve {
        Finding::failed(
            check,
            format!("{detail}: reads and refusals are not recorded any more"),
            fix,
        )
    } else if free < reserve.saturating_mul(2) {
        Finding::warning(check, detail, fix)
    } else {
        Finding::ok(check, detail)
    }
}

fn receiver(context: &Context, receiver: &Syslog) -> Finding {
    let check = "syslog receiver";
    let shown = format!(
        "{}://{}:{}",
        receiver.protocol, receiver.host, receiver.port
    );
    // A relative path in the environment means the folder that the person is in.
    let receiver = Syslog {
        ca: receiver
            .ca
            .as_ref()
            .map(|path| context.directory().join(path)),
        ..receiver.clone()
    };
    client::install_crypto();
    match syslog::reach(&receiver) {
        Ok(()) if receiver.protocol == SyslogProtocol::Udp => Finding::ok(
            check,
            format!("{shown} has an address; nobody can tell whether datagrams arrive"),
        ),
        Ok(()) => Finding::ok(check, format!("{shown} accepts connections")),
        Err(error) => Finding::failed(
            check,
            format!("{shown}: {error}"),
            "start it, or correct LOKI_AUDIT_SYSLOG_HOST, _PORT, _PROTO, _CA; records wait in the \
             trail meanwhile",
        ),
    }
}
