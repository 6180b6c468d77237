//! Certificates: the gateway's own, and those of the authorities that it believes; which are over, and
//! which end soon.

use std::path::{Path, PathBuf};

use ::config::gateway::GatewaySettings;
use ::config::gateway::tls::Pair;
use chrono::{DateTime, TimeDelta, Utc};
use gateway::certificate::{self, Life};

use super::Finding;
use crate::clock;
use crate::context::Context;

/// Time before its end at which a certificate should be renewed.
const ENDS_SOON: TimeDelta = TimeDelta::days(14);

/// Checks every certificate that the settings name.
pub(super) fn check(context: &Context) -> Vec<Finding> {
    let Ok(loaded) = context.gateway_settings(context.sources()) else {
        return Vec::new();
    };
    let now = clock::now();
    let settings = loaded.settings;
    // A relative path in the environment means the folder that the person is in.
    let place = |path: &Path| context.directory().join(path);
    let pairs = settings.tls.iter().flat_map(|tls| tls.pairs());
    let mut findings: Vec<Finding> = pairs
        .map(|one| Pair {
            certificate: place(&one.certificate),
            key: place(&one.key),
        })
        .map(|one| pair(&one, now))
        .collect();
    for (check, path) in authorities(&settings) {
        findings.push(authority(check, &place(&path), now));
    }
    findings
}

/// Returns the files of authorities, each with what it is for.
fn authorities(settings: &GatewaySettings) -> Vec<(String, PathBuf)> {
    let clients = settings.tls.iter().filter_map(|tls| tls.client.as_ref());
    let clients = clients.map(|client| ("authorities of clients".to_owned(), client.ca.clone()));
    let issuers = settings.issuers.iter().filter_map(|issuer| {
        let path = issuer.ca.clone()?;
        Some((format!("authorities of issuer {}", issuer.name), path))
    });
    let receiver = settings.audit.syslog.iter().filter_map(|receiver| {
        let path = receiver.ca.clone()?;
        Some(("authorities of the syslog receiver".to_owned(), path))
    });
    clients.chain(issuers).chain(receiver).collect()
}

fn pair(pair: &Pair, now: DateTime<Utc>) -> Finding {
    let check = "certificate";
    let shown = pair.certificate.display();
    let judged = certificate::load(pair, now)
        .and_then(|_| certificate::lives(&pair.certificate))
        .map(|lives| lives.into_iter().next());
    match judged {
        Ok(Some(leaf)) if ends_soon(&leaf, now) => Finding::warning(
            check,
            format!("{shown} ends {}", day(&leaf)),
            "renew it in place: a running gateway takes the new one into use by itself",
        ),
        Ok(Some(_) | None) => Finding::ok(check, format!("{shown} fits its key and is valid")),
        Err(error) => Finding::failed(
            check,
            error.to_string(),
            "set LOKI_TLS_CERT and LOKI_TLS_KEY to a valid pair that only you can read",
        ),
    }
}

fn authority(check: String, path: &Path, now: DateTime<Utc>) -> Finding {
    let shown = path.display();
    let lives = match certificate::lives(path) {
        Ok(lives) => lives,
        Err(error) => {
            return Finding::failed(check, error.to_string(), "put the authorities there (PEM)");
        }
    };
    let named = |found: &[&Life]| {
        let found: Vec<String> = found
            .iter()
            .map(|life| format!("{} ({})", life.subject, day(life)))
            .collect();
        found.join(", ")
    };
    let over: Vec<&Life> = lives.iter().filter(|life| life.until < now).collect();
    let soon: Vec<&Life> = lives.iter().filter(|life| ends_soon(life, now)).collect();
    if !over.is_empty() {
        return Finding::failed(
            check,
            format!("{shown}: over is {}", named(&over)),
            "put the authority's new certificate there; take one out that nothing needs",
        );
    }
    if !soon.is_empty() {
        return Finding::warning(
            check,
            format!("{shown}: soon ends {}", named(&soon)),
            "get the authority's new certificate and put it beside the old one",
        );
    }
    Finding::ok(check, format!("{} in {shown}, all valid", lives.len()))
}

fn ends_soon(life: &Life, now: DateTime<Utc>) -> bool {
    life.until - now < ENDS_SOON
}

fn day(life: &Life) -> String {
    life.until.format("%Y-%m-%d").to_string()
}
