//! `loki audit verify`: whether what the project shows of its agents' actions is what was recorded.
//!
//! Invariant: memory is bounded by the number of sessions, and each line that does not fit is
//! named.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind};
use std::path::Path;

use ::config::contract::agent_audit::{Chained, Link};
use ::config::contract::id::SessionId;
use ::config::home::Home;
use serde::Serialize;

use super::{SESSIONS_MAX, whole_lines};
use crate::failure::{Exit, Failure};
use crate::output;

/// Checks the chain of each session, and compares it with the runtime's own record.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  loki audit verify --json")]
pub(crate) struct VerifyArguments {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize)]
struct Report {
    valid: bool,
    sessions: BTreeMap<String, Session>,
    findings: Vec<Finding>,
}

/// One session's lines in the project.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Session {
    records: u64,
    compared: Compared,
}

/// How the project's lines of a session compare with the runtime's own record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Compared {
    /// Every line is the same, to the end.
    Same,
    /// Every line is the same, but the runtime's record goes on.
    EndsEarly,
    /// They differ, or the runtime's record is broken.
    Differs,
    /// The runtime's record cannot be read from here: only the chain was checked.
    NotThere,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    /// The line, from 1; 0 for a session as a whole.
    line: u64,
    text: String,
}

/// Checks the file; ends with 1 if anything does not fit.
pub(super) fn verify(home: &Home, path: &Path, arguments: &VerifyArguments) -> Result<(), Failure> {
    let report = check(home, path)?;
    if arguments.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    if report.valid {
        Ok(())
    } else {
        Err(Failure::said(Exit::Failed))
    }
}

fn check(home: &Home, path: &Path) -> Result<Report, Failure> {
    let mut report = Report::default();
    let mut links: BTreeMap<SessionId, Link> = BTreeMap::new();
    if let Some(file) = open(path)? {
        let mut find = |line: u64, text: &str| {
            if report.findings.len() < super::MALFORMED_SHOWN_MAX {
                report.findings.push(Finding {
                    line,
                    text: text.to_owned(),
                });
            }
        };
        whole_lines(path, file, |number, line| {
            let Some(chained) = line.and_then(|line| serde_json::from_slice::<Chained>(line).ok())
            else {
                return find(number, "this is no chained record");
            };
            if links.len() >= SESSIONS_MAX && !links.contains_key(&chained.session) {
                return find(number, "too many sessions to check");
            }
            let link = links.entry(chained.session.clone()).or_default();
            match link.follow(line.unwrap_or_default(), &chained) {
                Ok(next) => *link = next,
                Err(broken) => {
                    find(number, &broken.to_string());
                    // What follows is judged by itself, so that one change is one finding.
                    *link = Link {
                        seq: chained.seq,
                        hash: chained.hash,
                    };
                }
            }
        })?;
    }
    for (session, link) in links {
        let compared = compare(home, &session, &link)?;
        if compared == Compared::Differs {
            report.findings.push(Finding {
                line: 0,
                text: format!("session {session} is not what the runtime recorded"),
            });
        }
        let records = link.seq;
        report
            .sessions
            .insert(session.to_string(), Session { records, compared });
    }
    report.valid = report.findings.is_empty();
    Ok(report)
}

/// Follows the runtime's own record of a session to where the project's lines end.
fn compare(home: &Home, session: &SessionId, shown: &Link) -> Result<Compared, Failure> {
    let path = home
        .runtime()
        .join("sessions")
        .join(session.as_str())
        .join("agent-audit.jsonl");
    let Some(file) = open(&path)? else {
        return Ok(Compared::NotThere);
    };
    let mut link = Link::default();
    let mut compared = Compared::Differs;
    let mut whole = true;
    whole_lines(&path, file, |_, line| {
        let next = line.and_then(|line| {
            let chained: Chained = serde_json::from_slice(line).ok()?;
            link.follow(line, &chained).ok()
        });
        match next {
            Some(next) => {
                if next == *shown {
                    compared = Compared::Same;
                } else if compared == Compared::Same {
                    compared = Compared::EndsEarly;
                }
                link = next;
            }
            None => whole = false,
        }
    })?;
    Ok(if whole { compared } else { Compared::Differs })
}

/// Opens a file; none if it is not there or not for us.
fn open(path: &Path) -> Result<Option<BufReader<File>>, Failure> {
    match File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::PermissionDenied
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(Failure::io("read", path, &error)),
    }
}

fn print(report: &Report) -> Result<(), Failure> {
    output::line(if report.valid { "VALID" } else { "NOT VALID" })?;
    for (id, session) in &report.sessions {
        let compared = match session.compared {
            Compared::Same => "as the runtime recorded it",
            Compared::EndsEarly => "as the runtime recorded it, whose record goes on",
            Compared::Differs => "not what the runtime recorded",
            Compared::NotThere => {
                "consistent in itself only: the runtime's record is not there to compare"
            }
        };
        output::line(&format!("{id}: {} records, {compared}", session.records))?;
    }
    for finding in &report.findings {
        output::line(&format!("  line {}: {}", finding.line, finding.text))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::config::contract::agent_audit::Link;
    use ::config::home::Home;

    use super::{Compared, check};

    const SESSION: &str = "sess-0123456789ab";

    fn lines(count: u64) -> String {
        let mut link = Link::default();
        let mut text = String::new();
        for seq in 1..=count {
            let body = format!("{{\"session\":\"{SESSION}\",\"seq\":{seq}}}");
            let hash = link.hash_of_next(body.as_bytes());
            text.push_str(body.trim_end_matches('}'));
            text.push_str(&format!(",\"hash\":\"{hash}\"}}\n"));
            link = Link { seq, hash };
        }
        text
    }

    /// Returns the lines of the findings, and how the session compares.
    fn judged(shown: &str, recorded: Option<&str>) -> (Vec<u64>, Option<Compared>) {
        let kept = tempfile::tempdir().expect("temporary directory");
        let home = Home::new(kept.path().join("home"));
        let own = home.runtime().join("sessions").join(SESSION);
        fs::create_dir_all(&own).expect("folders");
        if let Some(recorded) = recorded {
            fs::write(own.join("agent-audit.jsonl"), recorded).expect("write");
        }
        let path = kept.path().join("shown.jsonl");
        fs::write(&path, shown).expect("write");
        let report = check(&home, &path).expect("read");
        let compared = report.sessions.get(SESSION).map(|session| session.compared);
        let found = report.findings.iter().map(|finding| finding.line).collect();
        assert_eq!(report.valid, report.findings.is_empty());
        (found, compared)
    }

    #[test]
    fn what_was_changed_is_named_by_its_line() {
        let text = lines(3);
        let edited = text.replacen("\"seq\":2", "\"seq\": 2", 1);
        assert_eq!(judged(&edited, Some(&text)).0, [2]);
        let cut: String = text.split_inclusive('\n').skip(1).collect();
        assert_eq!(judged(&cut, Some(&text)).0, [1]);
        assert_eq!(judged("rubbish\n", None), (vec![1], None));
        // A chain that was made anew fits itself, not the runtime's record.
        let longer = lines(4);
        assert_eq!(
            judged(&longer, Some(&text)),
            (vec![0], Some(Compared::Differs))
        );
    }

    #[test]
    fn an_untouched_file_fits() {
        let text = lines(3);
        assert_eq!(judged(&text, None), (vec![], Some(Compared::NotThere)));
        assert_eq!(judged(&text, Some(&text)), (vec![], Some(Compared::Same)));
        let more = lines(5);
        assert_eq!(
            judged(&text, Some(&more)),
            (vec![], Some(Compared::EndsEarly))
        );
        assert_eq!(judged("", None), (vec![], None));
    }
}
