//! The scorecard: every known way out, tried by `loki-jail` inside the sandbox and beside it.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::doctor;
use crate::failure::{Exit, Failure};
use crate::output;

/// What came of one way.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    name: String,
    kind: String,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    Refused,
    Reached,
    Unproven,
    Skipped,
}

/// Tries the ways and prints what came of them.
pub(super) fn run(json: bool) -> Result<(), Failure> {
    let lines = attempts()?;
    if json {
        output::json(&lines)?;
    } else {
        print(&lines)?;
    }
    let kept = lines
        .iter()
        .all(|line| matches!(line.outcome, Outcome::Refused | Outcome::Skipped));
    if kept {
        Ok(())
    } else {
        Err(Failure::said(Exit::Failed))
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this asks loki-jail, it starts no agent"
)]
fn attempts() -> Result<Vec<Line>, Failure> {
    let program = doctor::jail()?;
    let output = Command::new(&program)
        .arg("escapes")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Failure::io("start", &program, &error))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Result<Vec<Line>, _> = text.lines().map(serde_json::from_str).collect();
    match lines {
        Ok(lines) if !lines.is_empty() => Ok(lines),
        Ok(_) | Err(_) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let what = format!("the escapes could not be tried: {}", said.trim());
            Err(Failure::failed(output::visible(&what)).fix("loki sandbox doctor"))
        }
    }
}

fn print(lines: &[Line]) -> Result<(), Failure> {
    let mut kinds: BTreeMap<&str, BTreeMap<Outcome, usize>> = BTreeMap::new();
    for line in lines {
        for kind in [line.kind.as_str(), TOTAL] {
            *kinds
                .entry(kind)
                .or_default()
                .entry(line.outcome)
                .or_default() += 1;
        }
    }
    let outcomes = [
        Outcome::Refused,
        Outcome::Reached,
        Outcome::Unproven,
        Outcome::Skipped,
    ];
    let row = |(kind, counts): (&&str, &BTreeMap<Outcome, usize>)| {
        let counts = outcomes.map(|outcome| counts.get(&outcome).copied().unwrap_or(0).to_string());
        [(*kind).to_owned()].into_iter().chain(counts).collect()
    };
    let rows: Vec<Vec<String>> = kinds.iter().map(row).collect();
    output::table(
        &["KIND", "REFUSED", "REACHED", "UNPROVEN", "SKIPPED"],
        &rows,
    )?;
    for (outcome, text) in [
        (Outcome::Reached, "GOT OUT"),
        (Outcome::Unproven, "did not work beside the sandbox either"),
        (Outcome::Skipped, "not on this host"),
    ] {
        for line in lines.iter().filter(|line| line.outcome == outcome) {
            output::line(&format!("{text}: {}", output::visible(&line.name)))?;
        }
    }
    Ok(())
}

/// Sorted behind the kinds, which begin with small letters.
const TOTAL: &str = "~ all";
