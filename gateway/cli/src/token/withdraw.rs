//! `loki enterprise token revoke` and `delete`: takes a token back.
//!
//! Invariant: success is only said once every gateway that runs on this host refuses the token.

use chrono::{DateTime, Utc};
use gateway::audit::record::Outcome;
use gateway::tokens::acknowledge::{self, Awaited};
use gateway::tokens::change::{Change, ChangeError};
use gateway::tokens::record::TokenRecord;
use gateway::tokens::select::Selector;
use gateway::tokens::store::StoreError;

use super::record::Recorded;
use crate::context::{Context, Offline};
use crate::failure::Failure;
use crate::{clock, output};

/// Takes a token back; its record stays.
///
/// Returns once every running gateway on this host refuses it. The name is free again.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise token revoke ci-bot\n  loki enterprise token revoke tok-4k9x2m7q"
)]
pub(super) struct RevokeArguments {
    /// Its id or its name
    #[arg(value_name = "ID-OR-NAME")]
    token: Selector,
}

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

/// Revokes a token.
pub(super) fn revoke(context: &Context, arguments: &RevokeArguments) -> Result<(), Failure> {
    let offline = context.offline()?;
    let now = clock::now();
    let record = withdraw(
        &offline,
        &context.user(),
        ("token.revoke", Change::revoke),
        &arguments.token,
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
    let recorded = Recorded::decide(offline, action, user, &record)?;
    let applied = change.commit().map(|generation| {
        acknowledge::wait(&offline.home, Awaited::Revocation(generation))
            .map_err(|silent| silent.to_string())
    });
    conclude(&recorded, applied)?;
    Ok(record)
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
