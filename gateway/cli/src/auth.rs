//! `loki auth`: who the gateway takes us for.

use clap::Subcommand;
use serde_json::Value;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Tells who the gateway takes us for.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show whom the token stands for and what it may do.
    #[command(after_help = "Examples:\n  loki auth whoami\n  loki auth whoami --json")]
    Whoami(Arguments),
}

/// How to reach the gateway.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let Command::Whoami(arguments) = command;
    let told: Value = Client::new(context, &arguments.reach)?.get("/api/auth/whoami")?;
    if arguments.json {
        return output::json(&told);
    }
    for (label, member) in [
        ("User", "user"),
        ("Identity", "principal"),
        ("Proved by", "auth_method"),
        ("Scopes", "scopes"),
        ("Projects", "projects"),
        ("Token", "token_id"),
        ("Issuer", "issuer"),
        ("Expires", "expires_at"),
        ("Rate limit", "rate_limit"),
    ] {
        let shown = match &told[member] {
            Value::Null if member == "projects" => "all".to_owned(),
            Value::Null if member == "expires_at" => "never".to_owned(),
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(list) => {
                let texts: Vec<&str> = list.iter().filter_map(Value::as_str).collect();
                texts.join(", ")
            }
            other @ (Value::Bool(_) | Value::Number(_) | Value::Object(_)) => other.to_string(),
        };
        output::line(&format!("{label}: {}", output::visible(&shown)))?;
    }
    Ok(())
}
