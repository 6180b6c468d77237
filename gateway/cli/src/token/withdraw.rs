//! `loki enterprise token revoke` and `delete`: takes a token back, or all that fit.
//!
//! Invariant: success is only said once every gateway that runs on this host refuses the token.

use ::config::contract::scope::Role;
use chrono::{DateTime, Utc};
use gateway::audit::record::Outcome;
use gateway::tokens::acknowledge::{self, Awaited};
use gateway::tokens::change::{Change, ChangeError};
use gateway::tokens::record::TokenRecord;
use gateway::tokens::select::Selector;
use gateway::tokens::store::StoreError;
use gateway::tokens::withdrawal::Withdrawal;

use super::record::{About, Recorded};
use crate::context::{Context, Offline};
use crate::failure::Failure;
use crate::{clock, output};

/// Takes a token back, or all credentials that fit; the records stay.
///
/// Returns once every running gateway on this host refuses them. The name is free again. With
/// conditions instead of a name, tokens of other issuers and certificates of clients are refused too.
#[derive(Debug, clap::Args)]
#[command(after_help = REVOKE_EXAMPLES)]
pub(super) struct RevokeArguments {
    /// Its id or its name
    #[arg(value_name = "ID-OR-NAME", required_unless_present_any = ["issuer", "role", "issued_before"])]
    token: Option<Selector>,
    /// All of this issuer; `certificate` means clients' certificates
    #[arg(long, value_name = "URL", conflicts_with = "token")]
    issuer: Option<String>,
    /// All of this subject of the issuer; of certificates the name that the rule has, or sha256:DIGEST
    #[arg(long, requires = "issuer", conflicts_with = "token")]
    subject: Option<String>,
    /// All that hold what this role grants
    #[arg(long, conflicts_with = "token")]
    role: Option<Role>,
    /// All that were issued before this time [default: now]
    #[arg(long, value_name = "TIME", conflicts_with = "token")]
    issued_before: Option<DateTime<Utc>>,
}

const REVOKE_EXAMPLES: &str = "\
Examples:
  loki enterprise token revoke ci-bot
  loki enterprise token revoke tok-4k9x2m7q
  loki enterprise token revoke --role admin
  loki enterprise token revoke --issued-before 2026-02-01T00:00:00Z
  loki enterprise token revoke --issuer https://gitlab.com --subject project_path:a/b:ref:main
  loki enterprise token revoke --issuer certificate --subject uri:spiffe://example.org/ci";

/// Takes a token back and removes its record.
///
/// The audit trail keeps who made, revoked and deleted it.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise token delete tok-4k9x2m7q\n  loki enterprise token delete ci-bot"
)]
pub(super) struct DeleteArguments {
    /// Its id or its name
    #[arg(value_name = "ID-OR-NAME")]
    token: Selector,
}

type Act = fn(&mut Change, &Selector, &str, DateTime<Utc>) -> Result<TokenRecord, ChangeError>;

/// Revokes a token, or all credentials that fit.
pub(super) fn revoke(context: &Context, arguments: &RevokeArguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let now = clock::now();
    let Some(token) = &arguments.token else {
        return revoke_many(&offline, &context.user(), arguments, now);
    };
    let record = withdraw(
        &offline,
        &context.user(),
        ("token.revoke", Change::revoke),
        token,
        now,
    )?;
    let shown = format!("{} ({})", record.name, record.id);
    match record.revoked_at {
        Some(before) if before < now => output::line(&format!(
            "Token was revoked already on {}: {shown}",
            before.date_naive()
        )),
        Some(_) | None => output::line(&format!("Token revoked: {shown}")),
    }
}

fn revoke_many(
    offline: &Offline,
    user: &str,
    arguments: &RevokeArguments,
    now: DateTime<Utc>,
) -> Result<(), Failure> {
    let withdrawal = Withdrawal::new(
        arguments.issuer.clone(),
        arguments.subject.clone(),
        arguments.role,
        arguments.issued_before,
        now,
    )
    .map_err(Failure::usage)?;
    let mut change = Change::begin(&offline.home)?;
    let records = change.withdraw(&withdrawal, user, now)?;
    let about = About::credentials(&withdrawal, records.len());
    let recorded = Recorded::decide(offline, "token.revoke", user, about)?;
    apply(offline, change, &recorded)?;
    output::line(&format!(
        "Withdrawn: {}",
        output::visible(&withdrawal.to_string())
    ))?;
    output::line(&format!("Tokens revoked: {}", records.len()))?;
    for record in records {
        output::line(&format!("  {} ({})", record.name, record.id))?;
    }
    Ok(())
}

/// Deletes a token.
pub(super) fn delete(context: &Context, arguments: &DeleteArguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let record = withdraw(
        &offline,
        &context.user(),
        ("token.delete", Change::delete),
        &arguments.token,
        clock::now(),
    )?;
    output::line(&format!("Token deleted: {} ({})", record.name, record.id))
}

fn withdraw(
    offline: &Offline,
    user: &str,
    (action, act): (&'static str, Act),
    selector: &Selector,
    now: DateTime<Utc>,
) -> Result<TokenRecord, Failure> {
    let mut change = Change::begin(&offline.home)?;
    let record = act(&mut change, selector, user, now)?;
    let recorded = Recorded::decide(offline, action, user, About::token(&record))?;
    apply(offline, change, &recorded)?;
    Ok(record)
}

/// Makes a withdrawal durable, waits for the gateways, and records how it went.
fn apply(offline: &Offline, change: Change, recorded: &Recorded<'_>) -> Result<(), Failure> {
    let applied = change.commit().map(|generation| {
        acknowledge::wait(&offline.home, Awaited::Revocation(generation))
            .map_err(|silent| silent.to_string())
    });
    conclude(recorded, applied)
}

/// Records how it went, and tells the first thing that went wrong.
fn conclude(
    recorded: &Recorded<'_>,
    applied: Result<Result<(), String>, StoreError>,
) -> Result<(), Failure> {
    let (written, failure) = match applied {
        Ok(Ok(())) => (recorded.end(Outcome::Done, None), None),
        Ok(Err(silent)) => {
            let failure = Failure::failed(format!("the token is withdrawn, but {silent}"))
                .fix("end that process: until then it may accept the token");
            (recorded.end(Outcome::Done, Some(silent)), Some(failure))
        }
        Err(error) => (
            recorded.end(Outcome::Failed, Some(error.to_string())),
            Some(Failure::from(error)),
        ),
    };
    match (failure, written) {
        (Some(failure), _) => Err(failure),
        (None, Err(why)) => Err(Failure::failed(format!(
            "the token is withdrawn, but the audit trail could not be completed: {why}"
        ))),
        (None, Ok(())) => Ok(()),
    }
}
