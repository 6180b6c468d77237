//! A whole run, for people and for programs.

mod html;
mod plot;

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::budget::Judgement;
use crate::figure::Figure;

/// Share by which a figure may be worse than an older one before it is pointed out.
const NOTABLE: f64 = 0.1;

/// A whole run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Version of the load test.
    pub(crate) version: String,
    /// Seconds since the Unix epoch.
    pub(crate) made_at: u64,
    /// Processors of the machine.
    pub(crate) processors: usize,
    /// The figures.
    pub(crate) figures: Vec<Figure>,
    /// What became of the budgets.
    #[serde(default)]
    pub(crate) judgements: Vec<Judgement>,
}

impl Report {
    /// Reads an older report.
    ///
    /// # Errors
    /// When the file cannot be read or is none.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text =
            fs::read(path).with_context(|| format!("cannot read report {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is no report of loki-load", path.display()))
    }

    /// Returns whether every answer was a right one and every budget holds.
    pub(crate) fn is_good(&self) -> bool {
        self.figures.iter().all(Figure::is_clean)
            && self.judgements.iter().all(|judgement| judgement.holds)
    }

    /// Returns the report as JSON.
    ///
    /// # Errors
    /// When it cannot be put into JSON.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    /// Returns the report as a page that needs nothing but itself.
    pub(crate) fn html(&self) -> String {
        html::page(self)
    }

    /// Returns the report as a table.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![format!(
            "{:36} {:>10} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}  statuses",
            "figure", "per second", "p50 ms", "p90 ms", "p99 ms", "max ms", "cpu µs", "memory"
        )];
        for figure in &self.figures {
            let latency = &figure.latency_us;
            let statuses: Vec<String> = figure
                .statuses
                .iter()
                .map(|(status, count)| format!("{status}: {count}"))
                .collect();
            lines.push(format!(
                "{:36} {:>10.0} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9}  {}{}",
                figure.key(),
                figure.per_second,
                milliseconds(latency.p50),
                milliseconds(latency.p90),
                milliseconds(latency.p99),
                milliseconds(latency.max),
                figure
                    .cpu_us
                    .map_or_else(String::new, |cpu| format!("{cpu:.1}")),
                figure
                    .resident_kib
                    .map_or_else(String::new, |kib| format!("{} MiB", kib / 1_024)),
                statuses.join(", "),
                match (figure.errors, figure.unexpected) {
                    (0, 0) => String::new(),
                    (errors, unexpected) => {
                        format!("  ERRORS {errors}, UNEXPECTED {unexpected}")
                    }
                }
            ));
        }
        if !self.judgements.is_empty() {
            lines.push(String::new());
        }
        for judgement in &self.judgements {
            let verdict = if judgement.holds { "holds " } else { "MISSED" };
            lines.push(format!(
                "{verdict} {:>9.2}  in rounds {:.2} to {:.2}  {:40} {}",
                judgement.found,
                judgement.least,
                judgement.most,
                judgement.demanded,
                judgement.name
            ));
        }
        lines.join("\n")
    }

    /// Compares with an older report; returns the table, and whether nothing got notably slower.
    pub(crate) fn compare(&self, old: &Self) -> (String, bool) {
        let mut lines = vec![format!(
            "{:36} {:>12} {:>12} {:>8} {:>12} {:>12}",
            "figure", "before /s", "now /s", "change", "p99 before", "p99 now"
        )];
        let mut no_worse = true;
        for now in &self.figures {
            let Some(before) = old.figures.iter().find(|figure| figure.key() == now.key()) else {
                continue;
            };
            let change = now.per_second / before.per_second.max(f64::EPSILON) - 1.0;
            // At a given rate, the rate says nothing.
            let slower = now.rate.is_none() && change < -NOTABLE;
            no_worse &= !slower;
            lines.push(format!(
                "{:36} {:>12.0} {:>12.0} {:>7.1}% {:>12} {:>12}{}",
                now.key(),
                before.per_second,
                now.per_second,
                change * 100.0,
                milliseconds(before.latency_us.p99),
                milliseconds(now.latency_us.p99),
                if slower { "  SLOWER" } else { "" }
            ));
        }
        (lines.join("\n"), no_worse)
    }
}

fn milliseconds(us: u64) -> String {
    format!("{}.{:03}", us / 1_000, us % 1_000)
}

#[cfg(test)]
mod tests;
