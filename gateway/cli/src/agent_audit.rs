//! `loki audit`: what agents did in a project, from its `.loki/logs/agent-audit.jsonl`.
//!
//! Invariant: memory does not grow with the file, and a line that is no record is named by its
//! number, never passed over in silence.

mod verify;

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::context::Context;
use crate::failure::Failure;
use crate::output;

const LINE_BYTES_MAX: u64 = 256 * 1024;
/// Most sessions whose chains are followed at once.
const SESSIONS_MAX: usize = 100_000;
const ACTIONS_MAX: usize = 1_000;
const MALFORMED_SHOWN_MAX: usize = 10;

const EXAMPLES: &str = "\
Examples:
  loki audit log          the last 50 actions of agents in this project
  loki audit log 200
  loki audit count        how often each action happened
  loki audit verify       whether anything was changed";

/// Reads what agents did in this project.
#[derive(Debug, Subcommand)]
#[command(after_help = EXAMPLES)]
pub(crate) enum Command {
    Log(LogArguments),
    Count(CountArguments),
    Verify(verify::VerifyArguments),
}

/// Shows the last actions, oldest first.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki audit log 200")]
pub(crate) struct LogArguments {
    /// How many
    #[arg(default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    number: u32,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Counts actions.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki audit count --json")]
pub(crate) struct CountArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One line; what else it holds is kept for `--json`.
#[derive(Debug, Deserialize, Serialize)]
struct Entry {
    timestamp: String,
    action: String,
    agent: String,
    details: Map<String, Value>,
    #[serde(flatten)]
    more: Map<String, Value>,
}

/// Runs the command.
pub(crate) fn run(context: &Context, command: &Command) -> Result<(), Failure> {
    let path = find(context.directory());
    match command {
        Command::Log(arguments) => log(&path, arguments),
        Command::Count(arguments) => count(&path, arguments),
        Command::Verify(arguments) => verify::verify(&context.offline()?.home, &path, arguments),
    }
}

/// Returns the file of the project that a folder lies in.
fn find(directory: &Path) -> PathBuf {
    let file = |folder: &Path| folder.join(".loki/logs/agent-audit.jsonl");
    for folder in directory.ancestors() {
        if file(folder).exists() || folder.join(".git").exists() {
            return file(folder);
        }
    }
    file(directory)
}

fn log(path: &Path, arguments: &LogArguments) -> Result<(), Failure> {
    let wanted = usize::try_from(arguments.number).unwrap_or(usize::MAX);
    let mut last: VecDeque<Entry> = VecDeque::new();
    let malformed = each(path, |entry| {
        if last.len() == wanted {
            last.pop_front();
        }
        last.push_back(entry);
    })?;
    for entry in &last {
        output::line(&if arguments.json {
            serde_json::to_string(entry)
                .map_err(|error| Failure::failed(format!("cannot show a record: {error}")))?
        } else {
            shown(entry)
        })?;
    }
    malformed.report(path)
}

fn shown(entry: &Entry) -> String {
    let details = Value::Object(entry.details.clone()).to_string();
    format!(
        "[{}] [{}] {} {}",
        output::visible(&entry.timestamp),
        output::visible(&entry.action),
        output::visible(&entry.agent),
        output::visible(&details)
    )
}

#[derive(Serialize)]
struct Counts {
    actions: BTreeMap<String, u64>,
    total: u64,
}

fn count(path: &Path, arguments: &CountArguments) -> Result<(), Failure> {
    let mut counts = Counts {
        actions: BTreeMap::new(),
        total: 0,
    };
    let malformed = each(path, |entry| {
        counts.total += 1;
        let known = counts.actions.contains_key(&entry.action);
        let action = if known || counts.actions.len() < ACTIONS_MAX {
            entry.action
        } else {
            "(other)".to_owned()
        };
        *counts.actions.entry(action).or_default() += 1;
    })?;
    if arguments.json {
        output::json(&counts)?;
    } else {
        for (action, number) in &counts.actions {
            output::line(&format!("{number:>8}  {}", output::visible(action)))?;
        }
        output::line(&format!("{:>8}  TOTAL", counts.total))?;
    }
    malformed.report(path)
}

/// Lines that are no records.
#[derive(Debug, Default)]
struct Malformed {
    count: usize,
    first: Vec<u64>,
}

impl Malformed {
    fn add(&mut self, line: u64) {
        self.count += 1;
        if self.first.len() < MALFORMED_SHOWN_MAX {
            self.first.push(line);
        }
    }

    fn report(&self, path: &Path) -> Result<(), Failure> {
        if self.count == 0 {
            return Ok(());
        }
        let lines: Vec<String> = self.first.iter().map(u64::to_string).collect();
        let more = if self.count > self.first.len() {
            ", …"
        } else {
            ""
        };
        Err(Failure::failed(format!(
            "{} holds {} lines that are no records: line {}{more}",
            path.display(),
            self.count,
            lines.join(", ")
        )))
    }
}

/// Hands each record over, and returns the lines that are none.
fn each(path: &Path, mut take: impl FnMut(Entry)) -> Result<Malformed, Failure> {
    let mut malformed = Malformed::default();
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            output::error(&format!(
                "no agent has acted here yet: there is no {}",
                path.display()
            ));
            return Ok(malformed);
        }
        Err(error) => return Err(Failure::io("read", path, &error)),
    };
    whole_lines(path, BufReader::new(file), |number, line| {
        match line.and_then(|line| serde_json::from_slice(line).ok()) {
            Some(entry) => take(entry),
            None => malformed.add(number),
        }
    })?;
    Ok(malformed)
}

/// Hands over each line with its number, as it stands there; none for one that is too long.
fn whole_lines(
    path: &Path,
    mut reader: BufReader<File>,
    mut take: impl FnMut(u64, Option<&[u8]>),
) -> Result<(), Failure> {
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = Read::by_ref(&mut reader)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut line)
            .map_err(|error| Failure::io("read", path, &error))?;
        if read == 0 {
            break;
        }
        if line.last() != Some(&b'\n') && read as u64 == LINE_BYTES_MAX {
            take(number, None);
            reader
                .skip_until(b'\n')
                .map_err(|error| Failure::io("read", path, &error))?;
            continue;
        }
        take(number, Some(&line));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{each, find};

    const GOOD: &str = r#"{"timestamp":"2026-02-12T18:30:00Z","action":"git_commit","agent":"development","details":{"files_changed":3},"seq":7}"#;

    #[test]
    fn lines_that_are_no_records_are_named() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("agent-audit.jsonl");
        let long = "x".repeat(300_000);
        fs::write(&path, format!("{GOOD}\n\n{{}}\n{long}\n{GOOD}\n{GOOD}")).expect("write");
        let mut seen = 0;
        let malformed = each(&path, |entry| {
            assert_eq!(entry.action, "git_commit");
            assert_eq!(entry.more["seq"], 7);
            seen += 1;
        })
        .expect("read");
        assert_eq!(
            (seen, malformed.count, malformed.first),
            (3, 3, vec![2, 3, 4])
        );
    }

    #[test]
    fn the_file_belongs_to_the_project_around_the_folder() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let project = directory.path().join("project");
        let inner = project.join("src/deep");
        fs::create_dir_all(&inner).expect("folders");
        fs::create_dir(project.join(".git")).expect("folder");
        assert_eq!(find(&inner), project.join(".loki/logs/agent-audit.jsonl"));
    }
}
