//! Who may come in: tokens that end, rest or reach too far, issuers whose keys are not seen, and clocks
//! that differ.

use std::collections::BTreeMap;

use ::config::contract::id::TokenId;
use ::config::contract::scope::Scope;
use ::config::gateway::oidc::Issuer;
use ::config::home::Home;
use chrono::{DateTime, TimeDelta, Utc};
use gateway::federation;
use gateway::issuer_clock;
use gateway::tokens::record::{Standing, TokenRecord};
use gateway::tokens::{store, usage};

use super::Finding;
use crate::client;
use crate::clock;
use crate::context::Context;

/// Time before its end at which a token should be rotated.
const ENDS_SOON: TimeDelta = TimeDelta::days(7);

/// Time without a use after which a token is probably not needed.
const RESTS: TimeDelta = TimeDelta::days(90);

/// Most names in one finding.
const NAMES_MAX: usize = 10;

/// Checks tokens and issuers.
pub(super) fn check(context: &Context, home: &Home) -> Vec<Finding> {
    let now = clock::now();
    let mut findings = tokens(home, now);
    if let Ok(loaded) = context.gateway_settings(context.sources()) {
        for one in &loaded.settings.issuers {
            findings.push(issuer(home, one, now));
            findings.push(server_clock(context, one));
        }
    }
    findings
}

fn tokens(home: &Home, now: DateTime<Utc>) -> Vec<Finding> {
    // That the file cannot be read is another check's finding.
    let Ok(stored) = store::load(home) else {
        return Vec::new();
    };
    let active: Vec<&TokenRecord> = stored
        .records
        .iter()
        .filter(|record| record.standing(now) == Standing::Active && record.federated.is_none())
        .collect();
    let last_used = match usage::load(home) {
        Ok(last_used) => last_used,
        Err(error) => {
            let fix = "remove the file: only the times in it are lost";
            return vec![Finding::failed("token usage", error.to_string(), fix)];
        }
    };
    let select = |fits: &dyn Fn(&TokenRecord) -> bool| -> Vec<&TokenRecord> {
        active
            .iter()
            .copied()
            .filter(|record| fits(record))
            .collect()
    };
    let ends_soon = |record: &TokenRecord| {
        record.superseded_by.is_none() && record.expires_at.is_some_and(|end| end - now < ENDS_SOON)
    };
    let reaches_far =
        |record: &TokenRecord| record.expires_at.is_none() && record.scopes.allow(Scope::All);
    let mut findings = Vec::new();
    findings.extend(told(
        "tokens that end soon",
        &select(&ends_soon),
        "loki enterprise token rotate NAME",
    ));
    findings.extend(told(
        "tokens with full access for ever",
        &select(&reaches_far),
        "loki enterprise token rotate NAME --expires 90, or make one with less",
    ));
    findings.extend(told(
        "tokens not used for 90 days",
        &select(&|record| rests(record, &last_used, now)),
        "loki enterprise token revoke NAME",
    ));
    findings
}

fn rests(
    record: &TokenRecord,
    last_used: &BTreeMap<TokenId, DateTime<Utc>>,
    now: DateTime<Utc>,
) -> bool {
    let since = last_used
        .get(&record.id)
        .copied()
        .unwrap_or(record.created_at);
    now - since > RESTS
}

fn told(check: &str, found: &[&TokenRecord], fix: &str) -> Option<Finding> {
    if found.is_empty() {
        return None;
    }
    let names: Vec<String> = found
        .iter()
        .take(NAMES_MAX)
        .map(|record| format!("{} ({})", record.name, record.id))
        .collect();
    let more = found.len().saturating_sub(NAMES_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    Some(Finding::warning(
        check,
        format!("{}{more}", names.join(", ")),
        fix,
    ))
}

/// Looks at the keys that a gateway keeps of the issuer; asks nobody.
fn issuer(home: &Home, issuer: &Issuer, now: DateTime<Utc>) -> Finding {
    let check = format!("issuer {}", issuer.name);
    let way = format!(
        "see why in the gateway's log; {} must be reachable from it",
        issuer.url
    );
    match federation::keys_seen_at(home, &issuer.url, now) {
        Err(error) => Finding::failed(
            check,
            format!("its kept keys cannot be used: {error}"),
            "set the clock if it went back; else remove the file, a running gateway asks anew",
        ),
        Ok(None) => Finding::warning(check, "its keys were never seen", way),
        Ok(Some(seen)) => {
            let age = (now - seen).to_std().unwrap_or_default();
            let found = format!("its keys were seen {} minutes ago", age.as_secs() / 60);
            if age > issuer.stale_keys_max {
                Finding::failed(check, format!("{found}: its tokens are answered 503"), way)
            } else if age > issuer.stale_keys_max / 2 {
                Finding::warning(check, found, way)
            } else {
                Finding::ok(check, found)
            }
        }
    }
}

/// Asks the issuer's server for its time: tokens are judged by this host's clock.
fn server_clock(context: &Context, issuer: &Issuer) -> Finding {
    let check = format!("clock of issuer {}", issuer.name);
    let fix = "set this host's clock (NTP); if it is right, tell the issuer's operator";
    // A relative path in the environment means the folder that the person is in.
    let issuer = Issuer {
        ca: issuer
            .ca
            .as_ref()
            .map(|path| context.directory().join(path)),
        ..issuer.clone()
    };
    client::install_crypto();
    let ahead = match issuer_clock::ahead(&issuer) {
        Ok(Some(ahead)) => ahead,
        Ok(None) => return Finding::ok(check, "its server tells no time"),
        Err(error) => {
            let way = format!("{} must be reachable from here", issuer.url);
            return Finding::warning(check, error.to_string(), way);
        }
    };
    let seconds = ahead.abs().num_seconds();
    let leeway = issuer.leeway.as_secs();
    let side = if ahead < TimeDelta::zero() {
        "behind"
    } else {
        "before"
    };
    let found = format!("{seconds} s {side} ours; up to {leeway} s are forgiven");
    let beyond = ahead.abs().to_std().unwrap_or_default();
    if beyond > issuer.leeway {
        Finding::failed(
            check,
            format!("{found}: its tokens are refused, or accepted after their end"),
            fix,
        )
    } else if beyond > issuer.leeway / 2 {
        Finding::warning(check, found, fix)
    } else {
        Finding::ok(check, found)
    }
}
