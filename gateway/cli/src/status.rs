//! `loki status`: what runs.

use ::config::contract::session::{SessionView, Status};

use crate::approvals;
use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;

/// Tells what runs, and what waits for a person.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  loki status\n  loki status --json")]
pub(crate) struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let status: Status = client.get("/api/status")?;
    if arguments.json {
        return output::json(&status);
    }
    output::line(&format!("Gateway:  {}", client.base()))?;
    output::line(&format!(
        "Status:   {} ({} live, {} agents at work)",
        output::visible(&status.status),
        status.active_sessions,
        status.running_agents
    ))?;
    if status.sessions.is_empty() {
        return Ok(());
    }
    output::line("")?;
    let rows: Vec<Vec<String>> = status.sessions.iter().map(row).collect();
    table(&rows)?;
    for approval in approvals::waiting(&client)? {
        output::line("")?;
        approvals::print(&approval)?;
        output::line(&format!("Approve:   loki resume {}", approval.session))?;
        output::line(&format!("Stop:      loki stop {}", approval.session))?;
    }
    Ok(())
}

fn table(rows: &[Vec<String>]) -> Result<(), Failure> {
    output::table(
        &[
            "SESSION",
            "STATE",
            "ITERATION",
            "PRD",
            "PROVIDER",
            "BRANCH",
            "STARTED BY",
        ],
        rows,
    )
}

fn row(session: &SessionView) -> Vec<String> {
    vec![
        session.id.to_string(),
        session.state.to_string(),
        format!("{}/{}", session.iteration, session.iterations_max),
        output::visible(&session.prd),
        output::visible(&session.provider),
        output::visible(&session.branch),
        output::visible(&session.started_by),
    ]
}
