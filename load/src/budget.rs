//! The budgets: what the figures of a run must reach.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Metric};
use crate::rounds::{self, Rounds};

/// The budgets that the project holds itself to.
pub(crate) const OWN: &str = include_str!("../budgets.toml");

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    budget: Vec<Budget>,
}

/// One budget.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Budget {
    name: String,
    /// The figure that is judged.
    figure: String,
    metric: Metric,
    /// The figure that it is divided by.
    over: Option<String>,
    /// The figure that is subtracted from it.
    minus: Option<String>,
    at_least: Option<f64>,
    at_most: Option<f64>,
}

/// What became of a budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Judgement {
    /// The budget's name.
    pub(crate) name: String,
    /// What was found in the round in the middle.
    pub(crate) found: f64,
    /// The least and the most that was found in a round.
    pub(crate) least: f64,
    pub(crate) most: f64,
    /// What was demanded, for people.
    pub(crate) demanded: String,
    /// Whether it holds.
    pub(crate) holds: bool,
}

/// Reads budgets, our own ones by default.
///
/// # Errors
/// When the file cannot be read or is none.
pub(crate) fn read(path: Option<&Path>) -> anyhow::Result<Vec<Budget>> {
    let text = match path {
        Some(path) => {
            fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        None => OWN.to_owned(),
    };
    let file: File = toml::from_str(&text).context("the budgets are not understood")?;
    for budget in &file.budget {
        anyhow::ensure!(
            budget.at_least.is_some() != budget.at_most.is_some()
                && !(budget.over.is_some() && budget.minus.is_some()),
            "budget {:?} needs one of at_least and at_most, and at most one of over and minus",
            budget.name
        );
    }
    Ok(file.budget)
}

/// Judges the budgets whose figures were all measured, by the round in the middle.
pub(crate) fn judge(budgets: &[Budget], rounds: &Rounds) -> Vec<Judgement> {
    budgets
        .iter()
        .filter_map(|budget| budget.judge(rounds))
        .collect()
}

impl Budget {
    /// Returns what was found in one round.
    fn find(&self, round: &[Figure]) -> Option<f64> {
        let value = |key: &str| rounds::of(round, key)?.value(self.metric);
        let own = value(&self.figure)?;
        Some(match (&self.over, &self.minus) {
            (Some(over), _) => own / value(over)?,
            (None, Some(minus)) => own - value(minus)?,
            (None, None) => own,
        })
    }

    fn judge(&self, rounds: &Rounds) -> Option<Judgement> {
        let mut every: Vec<f64> = rounds
            .0
            .iter()
            .filter_map(|round| self.find(round))
            .collect();
        every.sort_by(f64::total_cmp);
        let found = *every.get(every.len() / 2)?;
        let unit = match &self.over {
            Some(over) => format!(" × {over}"),
            None => format!(" {}", self.metric.unit()),
        };
        let (holds, demanded) = match (self.at_least, self.at_most) {
            (Some(least), _) => (found >= least, format!("≥ {least}{unit}")),
            (None, Some(most)) => (found <= most, format!("≤ {most}{unit}")),
            (None, None) => return None,
        };
        Some(Judgement {
            name: self.name.clone(),
            found,
            least: every[0],
            most: every[every.len() - 1],
            demanded,
            holds,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{judge, read};
    use crate::figure::{Figure, Latency};
    use crate::rounds::Rounds;
    use crate::target::Protocol;

    fn figure(subject: &str, scenario: &str, per_second: f64, p50: u64) -> Figure {
        Figure {
            subject: subject.to_owned(),
            scenario: scenario.to_owned(),
            protocol: Protocol::Http1,
            connections: 1,
            streams: 1,
            rate: None,
            seconds: 1.0,
            count: 1,
            per_second,
            statuses: BTreeMap::new(),
            unexpected: 0,
            errors: 0,
            latency_us: Latency {
                p50,
                ..Latency::default()
            },
            tenths: Vec::new(),
            cpu_us: None,
            resident_kib: None,
            growth_kib: None,
        }
    }

    #[test]
    fn our_own_budgets_are_understood() {
        assert!(read(None).expect("budgets").len() > 5);
    }

    #[test]
    fn a_budget_is_judged_by_its_bound_and_left_out_without_its_figures() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("budgets.toml");
        let text = "[[budget]]\nname = 'ratio'\nfigure = 'a/x'\nover = 'b/x'\n\
                    metric = 'per_second'\nat_least = 0.8\n\
                    [[budget]]\nname = 'added'\nfigure = 'a/x'\nminus = 'b/x'\n\
                    metric = 'p50_us'\nat_most = 60\n\
                    [[budget]]\nname = 'absent'\nfigure = 'c/x'\nmetric = 'cpu_us'\nat_most = 1\n";
        std::fs::write(&path, text).expect("budgets");
        let budgets = read(Some(&path)).expect("budgets");
        let round = |a: f64, b: f64| vec![figure("a", "x", a, 100), figure("b", "x", b, 50)];
        // A machine that is twice as fast in the second round.
        let rounds = Rounds(vec![
            round(79.0, 100.0),
            round(158.0, 201.0),
            round(90.0, 100.0),
        ]);
        let judged: Vec<_> = judge(&budgets, &rounds)
            .into_iter()
            .map(|judgement| (judgement.name, judgement.found, judgement.holds))
            .collect();
        assert_eq!(
            judged,
            [
                ("ratio".to_owned(), 0.79, false),
                ("added".to_owned(), 50.0, true)
            ]
        );
        std::fs::write(&path, "[[budget]]\nname='x'\nfigure='y'\nmetric='cpu_us'\n").expect("file");
        assert!(read(Some(&path)).is_err());
    }
}
