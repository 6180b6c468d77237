//! `loki approvals`: what waits for a person, and the decision about it.

use std::collections::BTreeSet;
use std::time::Duration;

use ::config::contract::approval::{ApprovalList, ApprovalView, Approve, Reject};
use ::config::contract::id::{ApprovalId, SessionId};
use clap::Subcommand;
use serde_json::Value;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Shows what waits for a person, and decides about it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(ListArguments),
    Show(ShowArguments),
    Approve(ApproveArguments),
    Reject(RejectArguments),
    Watch(WatchArguments),
}

/// Lists what waits.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki approvals list\n  loki approvals list --all --session sess-4k9x2m7qab01"
)]
pub(crate) struct ListArguments {
    /// Also those that are decided
    #[arg(long)]
    all: bool,
    /// Only of this session
    #[arg(long, value_name = "ID")]
    session: Option<SessionId>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Shows exactly what will be done.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki approvals show appr-4k9x2m7qab01")]
pub(crate) struct ShowArguments {
    /// The approval
    id: ApprovalId,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Approves exactly what was asked for.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki approvals approve appr-4k9x2m7qab01")]
pub(crate) struct ApproveArguments {
    /// The approval
    id: ApprovalId,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// The digest that was looked at [default: the one that it has now]
    #[arg(long)]
    digest: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Rejects; the reason reaches the agent.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  loki approvals reject appr-4k9x2m7qab01 --reason 'keep the tests'"
)]
pub(crate) struct RejectArguments {
    /// The approval
    id: ApprovalId,
    /// Why; the agent is told
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints a line for each approval that begins to wait, until it is interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki approvals watch")]
pub(crate) struct WatchArguments {
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(context, &arguments),
        Command::Show(arguments) => show(context, &arguments),
        Command::Approve(arguments) => approve(context, arguments),
        Command::Reject(arguments) => reject(context, arguments),
        Command::Watch(arguments) => watch(context, &arguments),
    }
}

/// Returns what waits, newest first.
pub(crate) fn waiting(client: &Client) -> Result<Vec<ApprovalView>, Failure> {
    client
        .get::<ApprovalList>("/api/approvals")
        .map(|list| list.approvals)
}

/// Prints one approval in full.
pub(crate) fn print(approval: &ApprovalView) -> Result<(), Failure> {
    let mut lines = vec![
        format!("Approval:  {} ({})", approval.id, approval.state),
        format!("Session:   {}", approval.session),
        format!("Asks:      {}", output::visible(&approval.summary)),
        format!("Why:       {}", output::visible(&approval.why)),
        format!("Deadline:  {}", approval.deadline),
        format!("Digest:    {}", approval.digest),
    ];
    if let Some(by) = &approval.decided_by {
        let own = if approval.self_decided {
            " (who started the session)"
        } else {
            ""
        };
        lines.push(format!("Decided:   by {}{own}", output::visible(by)));
    }
    if let Some(reason) = &approval.reason {
        lines.push(format!("Reason:    {}", output::visible(reason)));
    }
    lines.push("Will be done:".to_owned());
    match &approval.action {
        Value::Object(members) => {
            for (name, value) in members {
                lines.extend(member(name, value));
            }
        }
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)) => {
            lines.push(format!("  {}", output::visible(&other.to_string())));
        }
    }
    for line in lines {
        output::line(&line)?;
    }
    Ok(())
}

/// Returns the lines of one fact; a text of several lines is shown line by line.
fn member(name: &str, value: &Value) -> Vec<String> {
    match value {
        Value::String(text) if text.contains('\n') => {
            let mut lines = vec![format!("  {name}:")];
            lines.extend(text.lines().map(|line| format!("    {}", shown(line))));
            lines
        }
        Value::String(text) => vec![format!("  {name}: {}", output::visible(text))],
        other @ (Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::Array(_)
        | Value::Object(_)) => vec![format!("  {name}: {}", output::visible(&other.to_string()))],
    }
}

/// Returns a line with everything invisible made visible, but tabs.
fn shown(line: &str) -> String {
    line.split('\t')
        .map(output::visible)
        .collect::<Vec<_>>()
        .join("\t")
}

fn list(context: &Context, arguments: &ListArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let state = if arguments.all { "all" } else { "waiting" };
    let mut path = format!("/api/approvals?state={state}");
    if let Some(session) = &arguments.session {
        path.push_str(&format!("&session={session}"));
    }
    let list: ApprovalList = client.get(&path)?;
    if arguments.json {
        return output::json(&list);
    }
    if list.approvals.is_empty() {
        return output::line("Nothing waits for a person.");
    }
    let rows: Vec<Vec<String>> = list.approvals.iter().map(row).collect();
    output::table(
        &["APPROVAL", "STATE", "SESSION", "GATE", "DEADLINE", "ASKS"],
        &rows,
    )
}

fn row(approval: &ApprovalView) -> Vec<String> {
    vec![
        approval.id.to_string(),
        approval.state.to_string(),
        approval.session.to_string(),
        output::visible(&approval.gate),
        approval.deadline.clone(),
        output::visible(&approval.summary),
    ]
}

fn show(context: &Context, arguments: &ShowArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let approval: ApprovalView = client.get(&format!("/api/approvals/{}", arguments.id))?;
    if arguments.json {
        return output::json(&approval);
    }
    print(&approval)
}

fn approve(context: &Context, arguments: ApproveArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let path = format!("/api/approvals/{}/approve", arguments.id);
    let body = Approve {
        digest: arguments.digest,
        reason: arguments.reason,
    };
    decided(&client.post(&path, Some(&body))?, arguments.json)
}

fn reject(context: &Context, arguments: RejectArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let path = format!("/api/approvals/{}/reject", arguments.id);
    let body = Reject {
        reason: arguments.reason,
    };
    decided(&client.post(&path, Some(&body))?, arguments.json)
}

fn decided(approval: &ApprovalView, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(approval);
    }
    output::line(&format!("{}: {}", approval.id, approval.state))
}

fn watch(context: &Context, arguments: &WatchArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let mut seen = BTreeSet::new();
    loop {
        let mut new: Vec<ApprovalView> = waiting(&client)?;
        new.retain(|approval| seen.insert(approval.id.clone()));
        for approval in new.iter().rev() {
            output::line(&row(approval).join("  "))?;
        }
        std::thread::park_timeout(LOOK_AGAIN);
    }
}

const LOOK_AGAIN: Duration = Duration::from_secs(1);
