//! `loki enterprise`: tokens and the audit trail, offline on the data directory.

use clap::Subcommand;
use serde::Serialize;

use crate::context::Context;
use crate::failure::Failure;
use crate::{audit, output, token};

const EXAMPLES: &str = "\
Examples:
  loki enterprise                       which of the features are on
  loki enterprise token generate ci-bot --scopes \"read,write\" --expires 30
  loki enterprise token list --all
  loki enterprise audit summary";

/// Administers tokens and reads the audit trail; works without a running gateway.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Status(StatusArguments),
    Token(token::Arguments),
    Audit(audit::Arguments),
}

/// Tells which of the features are on (the default).
#[derive(Debug, Default, clap::Args)]
#[command(after_help = "Example:\n  loki enterprise status --json")]
struct StatusArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        None => status(context, &StatusArguments::default()),
        Some(Command::Status(arguments)) => status(context, &arguments),
        Some(Command::Token(arguments)) => token::run(context, arguments),
        Some(Command::Audit(arguments)) => audit::run(context, arguments),
    }
}

#[derive(Serialize)]
struct Status {
    auth_enabled: bool,
    oidc_enabled: bool,
    oidc_issuers: Vec<Shown>,
    tls_enabled: bool,
    audit_enabled: bool,
    data_directory: String,
}

/// An issuer by name and URL.
#[derive(Serialize)]
struct Shown {
    name: String,
    url: String,
}

fn status(context: &Context, arguments: &StatusArguments) -> Result<(), Failure> {
    let settings = context.gateway_settings(context.sources())?.settings;
    let status = Status {
        auth_enabled: settings.opaque_tokens,
        oidc_enabled: !settings.issuers.is_empty(),
        oidc_issuers: settings
            .issuers
            .iter()
            .map(|issuer| Shown {
                name: issuer.name.clone(),
                url: issuer.url.clone(),
            })
            .collect(),
        tls_enabled: settings.tls.is_some(),
        audit_enabled: settings.audit.enabled,
        data_directory: settings.home.directory().display().to_string(),
    };
    if arguments.json {
        return output::json(&status);
    }
    let switch = |on: bool| if on { "on" } else { "off" };
    output::line(&format!("Token auth: {}", switch(status.auth_enabled)))?;
    output::line(&format!("OIDC/SSO:   {}", switch(status.oidc_enabled)))?;
    for issuer in &status.oidc_issuers {
        output::line(&format!("            {} ({})", issuer.name, issuer.url))?;
    }
    output::line(&format!("TLS:        {}", switch(status.tls_enabled)))?;
    output::line(&format!("Audit:      {}", switch(status.audit_enabled)))?;
    output::line(&format!("Data:       {}", status.data_directory))
}
