//! `loki enterprise audit tail`, `search` and `export`: the records themselves.

use std::io::{self, BufWriter, ErrorKind, Write};
use std::thread;
use std::time::Duration;

use chrono::NaiveDate;
use gateway::audit::export::{self, Format};
use gateway::audit::follow::Follow;
use gateway::audit::query::{self, Page, Query, StoppedBy};
use gateway::audit::record::{Outcome, Record};

use crate::context::Context;
use crate::failure::{Exit, Failure};
use crate::output;

/// How often `tail -f` looks for new records.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// Shows the newest records, oldest first.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  loki enterprise audit tail -n 50\n  loki enterprise audit tail -f --json"
)]
pub(super) struct TailArguments {
    /// How many
    #[arg(short = 'n', long = "lines", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    lines: u32,
    /// Go on with new records as they come, until interrupted
    #[arg(short = 'f', long)]
    follow: bool,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Finds records, newest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loki enterprise audit search --user token:ci-bot --outcome denied
  loki enterprise audit search --action session.start --start-date 2026-02-01 --json")]
pub(super) struct SearchArguments {
    #[command(flatten)]
    filter: Filter,
    /// How many
    #[arg(long, default_value_t = query::LIMIT_DEFAULT, value_parser = clap::value_parser!(u32).range(1..=1000))]
    limit: u32,
    /// How many newer ones to pass over
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    offset: u32,
    /// Only records with a smaller number: where the page before ended
    #[arg(long, value_name = "SEQ", conflicts_with = "offset")]
    cursor: Option<u64>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Writes all records that fit to standard output, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  loki enterprise audit export > audit.jsonl
  loki enterprise audit export --format csv --start-date 2026-02-01 > audit.csv")]
pub(super) struct ExportArguments {
    #[command(flatten)]
    filter: Filter,
    /// jsonl keeps the lines as they are; csv has one column per member
    #[arg(long, value_parser = ["jsonl", "csv"], default_value = "jsonl")]
    format: String,
}

/// Which records; texts are compared whole.
#[derive(Debug, clap::Args)]
struct Filter {
    /// First UTC day, such as 2026-02-02
    #[arg(long, value_name = "DAY")]
    start_date: Option<NaiveDate>,
    /// Last UTC day
    #[arg(long, value_name = "DAY")]
    end_date: Option<NaiveDate>,
    /// What was done
    #[arg(long)]
    action: Option<String>,
    /// Who did it
    #[arg(long)]
    user: Option<String>,
    /// What it was done to, as kind:id
    #[arg(long)]
    resource: Option<String>,
    /// How it went
    #[arg(long, value_parser = Outcome::EVERY.map(Outcome::name))]
    outcome: Option<String>,
    /// The request
    #[arg(long, value_name = "ID")]
    request_id: Option<String>,
}

impl Filter {
    fn query(&self) -> Query {
        let named = |name: &String| Outcome::EVERY.into_iter().find(|one| one.name() == name);
        Query {
            start_date: self.start_date,
            end_date: self.end_date,
            action: self.action.clone(),
            user: self.user.clone(),
            resource: self.resource.clone(),
            outcome: self.outcome.as_ref().and_then(named),
            request_id: self.request_id.clone(),
            ..Query::default()
        }
    }
}

/// Shows the newest records, and with `-f` those that come.
pub(super) fn tail(context: &Context, arguments: &TailArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let mut follow = Follow::from_now(&home).map_err(Failure::failed)?;
    let wanted = Query {
        limit: arguments.lines,
        ..Query::default()
    };
    let page = query::query(&home, &wanted).map_err(Failure::failed)?;
    for record in page.entries.iter().rev() {
        show(record, arguments.json)?;
    }
    warn_of_malformed(page.malformed);
    if !arguments.follow {
        return Ok(());
    }
    let mut shown_to = page.entries.first().map_or(0, |record| record.seq);
    loop {
        let lines = follow.next_lines().map_err(Failure::failed)?;
        for line in lines {
            let Ok(record) = serde_json::from_slice::<Record>(&line) else {
                warn_of_malformed(1);
                continue;
            };
            if record.seq > shown_to {
                shown_to = record.seq;
                show(&record, arguments.json)?;
            }
        }
        thread::park_timeout(LOOK_AGAIN);
    }
}

/// Shows the records that fit.
pub(super) fn search(context: &Context, arguments: &SearchArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let wanted = Query {
        limit: arguments.limit,
        offset: arguments.offset,
        cursor: arguments.cursor,
        ..arguments.filter.query()
    };
    let page = query::query(&home, &wanted).map_err(Failure::failed)?;
    for record in &page.entries {
        show(record, arguments.json)?;
    }
    warn_of_malformed(page.malformed);
    warn_of_more(&page);
    Ok(())
}

fn warn_of_more(page: &Page) {
    match (page.stopped_by, page.next_cursor) {
        (StoppedBy::Limit, Some(cursor)) => {
            output::warn(&format!("there may be more: go on with --cursor {cursor}"));
        }
        (StoppedBy::ScanBytesMax, _) => {
            output::warn("too much to read at once: name fewer days");
        }
        (StoppedBy::End | StoppedBy::Limit, _) => {}
    }
}

/// Writes the records that fit.
pub(super) fn export(context: &Context, arguments: &ExportArguments) -> Result<(), Failure> {
    let home = context.offline()?.home;
    let format = if arguments.format == "csv" {
        Format::Csv
    } else {
        Format::Jsonl
    };
    let mut out = BufWriter::new(io::stdout().lock());
    let exported = export::export(&home, &arguments.filter.query(), format, &mut out);
    let exported = exported.map_err(|error| ended(&error, &error.to_string()))?;
    out.flush()
        .map_err(|error| Failure::failed(format!("cannot write to standard output: {error}")))?;
    warn_of_malformed(exported.malformed);
    Ok(())
}

fn ended(error: &io::Error, text: &str) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        Failure::said(Exit::Quiet)
    } else {
        Failure::failed(format!("cannot export the audit trail: {text}"))
    }
}

fn warn_of_malformed(lines: u64) {
    if lines > 0 {
        output::warn(&format!("{lines} lines are not records"));
    }
}

fn show(record: &Record, json: bool) -> Result<(), Failure> {
    if !json {
        return output::line(&shown(record));
    }
    let text = serde_json::to_string(record)
        .map_err(|error| Failure::failed(format!("cannot show a record: {error}")))?;
    output::line(&text)
}

fn shown(record: &Record) -> String {
    let mut text = format!(
        "{} {:<8} {:<8} {} {}",
        record.timestamp,
        record.phase.name(),
        record.outcome,
        output::visible(&record.action),
        output::visible(&record.user)
    );
    for (name, value) in [("", &record.resource), ("from ", &record.ip)] {
        if !value.is_empty() {
            text.push(' ');
            text.push_str(name);
            text.push_str(&output::visible(value));
        }
    }
    if let Some(status) = record.status {
        text.push_str(&format!(" {status}"));
    }
    text
}
