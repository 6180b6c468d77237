//! `loki enterprise token rotate`: a new token in the place of another, which goes on for a while.

use gateway::audit::record::Outcome;
use gateway::tokens::acknowledge::{self, Awaited};
use gateway::tokens::change::{Change, Rotation};
use gateway::tokens::record::ExpiryDays;
use gateway::tokens::select::Selector;

use super::generate;
use super::record::{About, Recorded};
use crate::context::Context;
use crate::failure::Failure;
use crate::{clock, output};

/// Makes a token with the same name, scopes and bounds, and shows it, this once.
///
/// The old one is accepted until the grace is over, then it has expired. Revoking the new one
/// takes the old one back too.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise token rotate ci-bot\n  loki enterprise token rotate ci-bot --grace 0 --expires 30"
)]
pub(super) struct Arguments {
    /// Its id or its name
    #[arg(value_name = "ID-OR-NAME")]
    token: Selector,
    /// Hours for which the old one is still accepted, 0 to 720 [default: 24]
    #[arg(long, value_name = "HOURS")]
    grace: Option<u32>,
    /// Days until the new one is refused [default: as long a life as the old one had]
    #[arg(short, long, value_name = "DAYS", allow_hyphen_values = true)]
    expires: Option<ExpiryDays>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(super) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let rotation = Rotation::new(arguments.grace, arguments.expires).map_err(Failure::usage)?;
    let offline = context.offline()?;
    let user = context.user();
    let mut change = Change::begin(&offline.home)?;
    let (token, record, old) = change.rotate(&arguments.token, rotation, &user, clock::now())?;
    let about = About::token(&record).with("replaces", old.id.as_str());
    let recorded = Recorded::decide(&offline, "token.rotate", &user, about)?;
    let committed = change.commit();
    let outcome = match &committed {
        Ok(_) => recorded.end(Outcome::Done, None),
        Err(error) => recorded.end(Outcome::Failed, Some(error.to_string())),
    };
    let generation = committed?;
    if let Err(why) = outcome {
        return Err(Failure::failed(format!(
            "the token is not shown, because the audit trail cannot be written: {why}"
        ))
        .fix(format!("loki enterprise token rotate {}", record.id)));
    }
    let awaited = [
        Awaited::Revocation(generation),
        Awaited::Addition(generation),
    ];
    let awaited = &awaited[usize::from(old.revoked_at.is_none())..];
    for awaited in awaited {
        if let Err(silent) = acknowledge::wait(&offline.home, *awaited) {
            output::warn(&format!(
                "{silent}: it may not have applied the rotation yet"
            ));
        }
    }
    if arguments.json {
        return generate::show_json(&token, &record);
    }
    output::raw(&generate::announcement(
        "rotated",
        &record,
        token.raw().expose(),
    ))?;
    match old.expires_at.filter(|_| old.revoked_at.is_none()) {
        Some(end) => output::line(&format!(
            "The old one ({}) is accepted until {}.",
            old.id,
            end.format("%Y-%m-%d %H:%M UTC")
        )),
        None => output::line(&format!("The old one ({}) is refused from now on.", old.id)),
    }
}
