//! `loki memory`: what was learned, across projects.

mod import;

use std::io::Write;
use std::path::PathBuf;

use ::config::contract::id::LearningId;
use ::config::contract::learning::{
    LearningKind, LearningList, LearningStats, LearningView, NewLearning, Trust,
};
use clap::Subcommand;

use crate::client::{Client, Reach};
use crate::context::Context;
use crate::failure::Failure;
use crate::{output, projects};

/// Lists, searches and reviews what was learned, across projects.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(ListArguments),
    Search(SearchArguments),
    Show(ShowArguments),
    Add(AddArguments),
    Trust(TrustArguments),
    Forget(ForgetArguments),
    Stats(StatsArguments),
    Export(ExportArguments),
    Import(ImportArguments),
}

/// Lists learnings, newest first.
#[derive(Debug, clap::Args)]
#[command(
    visible_alias = "ls",
    after_help = "Examples:\n  loki memory list\n  loki memory list --trust quarantined"
)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    shared: Shared,
}

/// Searches learnings; every word must be there, `word*` stands for all that begin so.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory search \"authentication\"")]
pub(crate) struct SearchArguments {
    /// The words
    query: String,
    #[command(flatten)]
    narrow: Narrow,
    #[command(flatten)]
    shared: Shared,
}

/// Shows one learning.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory show ID")]
pub(crate) struct ShowArguments {
    /// Its id
    id: LearningId,
    #[command(flatten)]
    shared: Shared,
}

/// Remembers a learning that you vouch for.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  loki memory add \"Run the migrations first\" --type pattern --project app"
)]
pub(crate) struct AddArguments {
    /// What was learned
    text: String,
    /// pattern, mistake, success, decision or note
    #[arg(long = "type", value_name = "TYPE", default_value = "note", value_parser = kind)]
    kind: LearningKind,
    /// Id, alias or folder of the project [default: all projects]
    #[arg(short, long)]
    project: Option<String>,
    /// Forget it after this many days
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=3650))]
    expires: Option<u32>,
    #[command(flatten)]
    shared: Shared,
}

/// Trusts a learning that you have reviewed, so that it can reach prompts of other projects.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory trust ID")]
pub(crate) struct TrustArguments {
    /// Its id
    id: LearningId,
    #[command(flatten)]
    shared: Shared,
}

/// Forgets a learning.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory forget ID")]
pub(crate) struct ForgetArguments {
    /// Its id
    id: LearningId,
    #[command(flatten)]
    reach: Reach,
}

/// Counts learnings by type and label.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory stats")]
pub(crate) struct StatsArguments {
    #[command(flatten)]
    shared: Shared,
}

/// Writes all learnings as one JSON object per line.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki memory export learnings.jsonl")]
pub(crate) struct ExportArguments {
    /// The new file [default: standard output]
    file: Option<PathBuf>,
    #[command(flatten)]
    reach: Reach,
}

/// Imports learnings, in quarantine until they are trusted.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki memory import                    Loki Mode's own, from the data directory\n  loki memory import learnings.jsonl"
)]
pub(crate) struct ImportArguments {
    /// A file of `loki memory export` or of Loki Mode [default: learnings/*.jsonl of the data directory]
    file: Option<PathBuf>,
    #[command(flatten)]
    shared: Shared,
}

/// What narrows a list.
#[derive(Debug, clap::Args)]
struct Narrow {
    /// pattern, mistake, success, decision or note
    #[arg(long = "type", value_name = "TYPE", value_parser = kind)]
    kind: Option<LearningKind>,
    /// trusted, untrusted or quarantined
    #[arg(long, value_parser = trust_label)]
    trust: Option<Trust>,
    /// Id, alias or folder of the project
    #[arg(short, long)]
    project: Option<String>,
    /// Most learnings
    #[arg(short, long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
}

/// What most of the commands take.
#[derive(Debug, clap::Args)]
struct Shared {
    #[command(flatten)]
    reach: Reach,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List(arguments) => list(context, None, &arguments.narrow, &arguments.shared),
        Command::Search(arguments) => {
            let query = Some(arguments.query.as_str());
            list(context, query, &arguments.narrow, &arguments.shared)
        }
        Command::Show(arguments) => show(context, &arguments),
        Command::Add(arguments) => add(context, arguments),
        Command::Trust(arguments) => trust(context, &arguments),
        Command::Forget(arguments) => {
            let client = Client::new(context, &arguments.reach)?;
            client.delete(&format!("{PATH}/{}", arguments.id))?;
            output::line(&format!("Forgot {}", arguments.id))
        }
        Command::Stats(arguments) => stats(context, &arguments.shared),
        Command::Export(arguments) => export(context, &arguments),
        Command::Import(arguments) => import::run(context, &arguments),
    }
}

fn list(
    context: &Context,
    query: Option<&str>,
    narrow: &Narrow,
    shared: &Shared,
) -> Result<(), Failure> {
    let client = Client::new(context, &shared.reach)?;
    let mut path = format!("{PATH}?limit={}", narrow.limit);
    if let Some(query) = query {
        path.push_str(&format!("&query={}", output::encoded(query)));
    }
    if let Some(kind) = narrow.kind {
        path.push_str(&format!("&type={}", kind.name()));
    }
    if let Some(trust) = narrow.trust {
        path.push_str(&format!("&trust={}", trust.name()));
    }
    if let Some(named) = &narrow.project {
        let project = projects::find(context, &client, named)?;
        path.push_str(&format!("&project={}", project.id));
    }
    let list: LearningList = client.get(&path)?;
    if shared.json {
        return output::json(&list);
    }
    if list.learnings.is_empty() {
        return output::line("No learning fits.");
    }
    let rows: Vec<_> = list.learnings.iter().map(row).collect();
    output::table(&["ID", "TYPE", "TRUST", "PROJECT", "TEXT"], &rows)?;
    if let Some(note) = &list.note {
        output::warn(&output::visible(note));
    } else if list.total > rows.len() as u64 {
        output::error(&format!("{} of {}; see --limit", rows.len(), list.total));
    }
    Ok(())
}

fn row(learning: &LearningView) -> Vec<String> {
    let project = learning.project.as_deref().unwrap_or("-");
    let name = project.rsplit('/').next().unwrap_or(project);
    let first: String = learning
        .text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(TEXT_SHOWN)
        .collect();
    vec![
        learning.id.to_string(),
        learning.kind.name().to_owned(),
        learning.trust.name().to_owned(),
        output::visible(name),
        output::visible(&first),
    ]
}

fn show(context: &Context, arguments: &ShowArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let learning: LearningView = client.get(&format!("{PATH}/{}", arguments.id))?;
    tell(&learning, arguments.shared.json)
}

fn trust(context: &Context, arguments: &TrustArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let path = format!("{PATH}/{}/trust", arguments.id);
    let learning: LearningView = client.post(&path, None::<&()>)?;
    tell(&learning, arguments.shared.json)
}

fn add(context: &Context, arguments: AddArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.shared.reach)?;
    let project = match &arguments.project {
        Some(named) => Some(projects::find(context, &client, named)?.id.to_string()),
        None => None,
    };
    let new = NewLearning {
        text: arguments.text,
        kind: Some(arguments.kind),
        project,
        expires_days: arguments.expires,
    };
    let learning: LearningView = client.post(PATH, Some(&new))?;
    tell(&learning, arguments.shared.json)
}

fn tell(learning: &LearningView, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(learning);
    }
    let dash = |text: Option<&str>| output::visible(text.unwrap_or("-"));
    let session = learning.session.as_ref().map(ToString::to_string);
    for (name, value) in [
        ("Id", learning.id.to_string()),
        ("Type", learning.kind.name().to_owned()),
        ("Trust", learning.trust.name().to_owned()),
        ("Source", learning.source.name().to_owned()),
        ("Project", dash(learning.project.as_deref())),
        ("Session", dash(session.as_deref())),
        ("Author", output::visible(&learning.author)),
        ("Created", output::visible(&learning.created_at)),
        ("Expires", dash(learning.expires_at.as_deref())),
    ] {
        output::line(&format!("{:<9}{value}", format!("{name}:")))?;
    }
    output::line("")?;
    for line in learning.text.lines() {
        output::line(&output::visible(line))?;
    }
    Ok(())
}

fn stats(context: &Context, shared: &Shared) -> Result<(), Failure> {
    let client = Client::new(context, &shared.reach)?;
    let stats: LearningStats = client.get(&format!("{PATH}/stats"))?;
    if shared.json {
        return output::json(&stats);
    }
    let mut rows: Vec<Vec<String>> = Vec::new();
    for count in &stats.counts {
        rows.push(vec![
            count.kind.name().to_owned(),
            count.trust.name().to_owned(),
            count.count.to_string(),
        ]);
    }
    rows.push(vec![
        "all".to_owned(),
        String::new(),
        stats.total.to_string(),
    ]);
    output::table(&["TYPE", "TRUST", "LEARNINGS"], &rows)
}

fn export(context: &Context, arguments: &ExportArguments) -> Result<(), Failure> {
    let client = Client::new(context, &arguments.reach)?;
    let mut text = String::new();
    let mut offset = 0;
    loop {
        let list: LearningList = client.get(&format!("{PATH}?limit=1000&offset={offset}"))?;
        for learning in &list.learnings {
            let line = serde_json::to_string(learning)
                .map_err(|error| Failure::failed(format!("cannot write a learning: {error}")))?;
            text.push_str(&line);
            text.push('\n');
        }
        offset += list.learnings.len();
        if list.learnings.is_empty() || offset as u64 >= list.total {
            break;
        }
    }
    let Some(file) = &arguments.file else {
        return output::raw(&text);
    };
    let path = context.directory().join(file);
    // What projects learned is nobody else's business, and nothing is written over.
    ::config::private::create_file(&path)
        .and_then(|mut created| created.write_all(text.as_bytes()))
        .map_err(|error| Failure::io("write", &path, &error))?;
    output::line(&format!("Wrote {offset} learnings to {}", path.display()))
}

fn kind(text: &str) -> Result<LearningKind, String> {
    LearningKind::EVERY
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| "use pattern, mistake, success, decision or note".to_owned())
}

fn trust_label(text: &str) -> Result<Trust, String> {
    Trust::EVERY
        .into_iter()
        .find(|trust| trust.name() == text)
        .ok_or_else(|| "use trusted, untrusted or quarantined".to_owned())
}

const PATH: &str = "/api/registry/learnings";
const TEXT_SHOWN: usize = 80;
