//! `loki config reload` and `loki config status`: the settings of the gateway that runs.

use ::config::contract::reload::SettingsStatus;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Has the running gateway take the settings file and the certificate into use.
///
/// A state that cannot be used is refused as a whole, and the old one stays.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki config check && loki config reload")]
pub(crate) struct ReloadArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Tells which settings the running gateway uses, and how the last reload went.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki config status")]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `loki config reload`.
pub(super) fn reload(context: &Context, arguments: &ReloadArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let status: SettingsStatus = client.post("/api/config/reload", None::<&()>)?;
    show(&status, arguments.json)
}

/// Runs `loki config status`.
pub(super) fn status(context: &Context, arguments: &StatusArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let status: SettingsStatus = client.get("/api/config/status")?;
    show(&status, arguments.json)
}

fn show(status: &SettingsStatus, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(status);
    }
    output::line(&format!(
        "In use:   state {} since {}",
        status.generation,
        output::visible(&status.loaded_at)
    ))?;
    output::line(&format!("File:     {}", output::visible(&status.file)))?;
    let Some(attempt) = &status.last_attempt else {
        return output::line("Reloads:  none since the start");
    };
    let result = if attempt.done { "done" } else { "rejected" };
    output::line(&format!(
        "Reload:   {result} at {} ({})",
        output::visible(&attempt.at),
        output::visible(&attempt.cause)
    ))?;
    if !attempt.changed.is_empty() {
        let changed = attempt.changed.join(", ");
        output::line(&format!("Changed:  {}", output::visible(&changed)))?;
    }
    for failure in &attempt.failures {
        output::line(&format!("Because:  {}", output::visible(failure)))?;
    }
    Ok(())
}
