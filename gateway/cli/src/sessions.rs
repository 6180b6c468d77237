//! `loki sessions`: the sessions that are kept.

use ::config::contract::id::SessionId;
use ::config::contract::session::{SessionList, SessionView};

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::output;
use crate::start::follow;

/// Lists, shows and removes sessions.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Lists sessions, newest first
    List(List),
    /// Tells everything about one session
    Show(Show),
    /// Removes ended sessions, with their folders; what they handed over stays
    Prune(Prune),
}

/// Which sessions to list.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which session to show.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// The session [default: the newest]
    id: Option<SessionId>,
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Which sessions to remove.
#[derive(Debug, clap::Args)]
pub(crate) struct Prune {
    /// These [default: all that have ended, of the newest 200]
    ids: Vec<SessionId>,
    #[command(flatten)]
    reach: Reach,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(context, arguments),
        Command::Show(arguments) => show(context, arguments),
        Command::Prune(arguments) => prune(context, arguments),
    }
}

/// Returns the session that is named, else the newest one.
pub(crate) fn named_or_newest(
    client: &Client,
    id: Option<&SessionId>,
) -> Result<SessionId, Failure> {
    if let Some(id) = id {
        return Ok(id.clone());
    }
    let listed: SessionList = client.get("/api/sessions")?;
    let newest = listed.sessions.into_iter().next();
    newest
        .map(|session| session.id)
        .ok_or_else(|| Failure::failed("there is no session").fix("start one: loki start PRD.md"))
}

fn list(context: &Context, arguments: &List) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let listed: SessionList = client.get("/api/sessions")?;
    if arguments.json {
        return output::json(&listed);
    }
    let rows: Vec<Vec<String>> = listed.sessions.iter().map(row).collect();
    let columns = [
        "SESSION",
        "STATE",
        "ITERATION",
        "PRD",
        "PROVIDER",
        "COST USD",
        "CREATED",
    ];
    output::table(&columns, &rows)
}

fn show(context: &Context, arguments: &Show) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let id = named_or_newest(&client, arguments.id.as_ref())?;
    let session: SessionView = client.get(&format!("/api/sessions/{id}"))?;
    if arguments.json {
        return output::json(&session);
    }
    follow::print_result(&session)?;
    output::line(&format!("Cost:         {}", cost(&session)))?;
    let usage = &session.usage;
    output::line(&format!(
        "Tokens:       {} in ({} cached), {} out",
        usage.input_tokens, usage.cached_input_tokens, usage.output_tokens
    ))
}

fn prune(context: &Context, arguments: &Prune) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    if !arguments.ids.is_empty() {
        return remove(&client, &arguments.ids);
    }
    // One answer lists the newest alone; those before them come into it once these are gone.
    loop {
        let listed: SessionList = client.get("/api/sessions")?;
        let ended = listed
            .sessions
            .into_iter()
            .filter(|session| session.state.is_final());
        let ids: Vec<SessionId> = ended.map(|session| session.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        remove(&client, &ids)?;
    }
}

fn remove(client: &Client, ids: &[SessionId]) -> Result<(), Failure> {
    for id in ids {
        client.delete(&format!("/api/sessions/{id}"))?;
        output::line(&format!("{id}: removed"))?;
    }
    Ok(())
}

fn row(session: &SessionView) -> Vec<String> {
    vec![
        session.id.to_string(),
        session.state.to_string(),
        format!("{}/{}", session.iteration, session.iterations_max),
        output::visible(&session.prd),
        output::visible(&session.provider),
        cost(session),
        output::visible(&session.created_at),
    ]
}

/// Writes a cost; unknown is not zero.
fn cost(session: &SessionView) -> String {
    match session.cost_usd {
        Some(usd) if session.usage.cost_is_partial => format!("{usd:.2} and more"),
        Some(usd) => format!("{usd:.2}"),
        None => "unknown".to_owned(),
    }
}
