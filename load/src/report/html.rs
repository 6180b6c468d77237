//! The report as one page: tables and drawings, no script, nothing fetched from elsewhere.

use std::collections::BTreeMap;

use super::plot::{self, Line, escape};
use super::{Report, milliseconds};
use crate::figure::Figure;

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em auto;max-width:64em;color:#222}\
    table{border-collapse:collapse}td,th{padding:.2em .7em;text-align:right;border-bottom:1px solid #ddd}\
    td:first-child,th:first-child{text-align:left}.missed{color:#b00;font-weight:600}\
    svg text{font:11px system-ui,sans-serif;fill:#333}svg{max-width:100%;height:auto}";

/// Returns the page.
pub(super) fn page(report: &Report) -> String {
    let bars: Vec<(String, f64)> = report
        .figures
        .iter()
        .filter(|figure| figure.rate.is_none())
        .map(|figure| (figure.key(), figure.per_second))
        .collect();
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>loki-load</title>\
         <style>{STYLE}</style></head><body><h1>loki-load {}</h1>\
         <p>{} processors; made at {} seconds after 1970. Ratios are of figures of this run.</p>",
        escape(&report.version),
        report.processors,
        report.made_at
    );
    page.push_str(&judgements(report));
    page.push_str("<h2>Answers per second</h2>");
    page.push_str(&plot::bars(&bars, "/s"));
    page.push_str("<h2>Figures</h2>");
    page.push_str(&figures(report));
    page.push_str("<h2>How long answers took</h2>");
    page.push_str(&latencies(report));
    page.push_str("<h2>How cost grows</h2>");
    page.push_str(&growth(report));
    page.push_str("<h2>Answers in each tenth of a second</h2>");
    page.push_str(&tenths(report));
    page.push_str("</body></html>\n");
    page
}

fn judgements(report: &Report) -> String {
    if report.judgements.is_empty() {
        return String::new();
    }
    let rows: String = report
        .judgements
        .iter()
        .map(|judgement| {
            let (class, verdict) = if judgement.holds {
                ("", "holds")
            } else {
                (" class=\"missed\"", "missed")
            };
            format!(
                "<tr{class}><td>{}</td><td>{:.2}</td><td>{:.2} to {:.2}</td><td>{}</td><td>{verdict}</td></tr>",
                escape(&judgement.name),
                judgement.found,
                judgement.least,
                judgement.most,
                escape(&judgement.demanded)
            )
        })
        .collect();
    format!(
        "<h2>Budgets</h2><table><tr><th>budget</th><th>found</th><th>in rounds</th><th>demanded</th><th></th></tr>\
         {rows}</table>"
    )
}

fn figures(report: &Report) -> String {
    let rows: String = report.figures.iter().map(row).collect();
    format!(
        "<table><tr><th>figure</th><th>/s</th><th>p50 ms</th><th>p90 ms</th><th>p99 ms</th>\
         <th>max ms</th><th>cpu µs</th><th>memory KiB</th><th>growth KiB</th><th>statuses</th>\
         <th>errors</th></tr>{rows}</table>"
    )
}

fn row(figure: &Figure) -> String {
    let latency = &figure.latency_us;
    let or_nothing = |value: Option<String>| value.unwrap_or_default();
    let statuses: Vec<String> = figure
        .statuses
        .iter()
        .map(|(status, count)| format!("{status}: {count}"))
        .collect();
    format!(
        "<tr><td>{}</td><td>{:.0}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
         <td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
        escape(&figure.key()),
        figure.per_second,
        milliseconds(latency.p50),
        milliseconds(latency.p90),
        milliseconds(latency.p99),
        milliseconds(latency.max),
        or_nothing(figure.cpu_us.map(|cpu| format!("{cpu:.1}"))),
        or_nothing(figure.resident_kib.map(|kib| kib.to_string())),
        or_nothing(figure.growth_kib.map(|kib| kib.to_string())),
        statuses.join(", "),
        figure.errors + figure.unexpected
    )
}

#[expect(clippy::cast_precision_loss, reason = "a latency is below 2^52")]
fn latencies(report: &Report) -> String {
    let lines: Vec<Line> = report
        .figures
        .iter()
        .map(|figure| Line {
            name: figure.key(),
            points: figure
                .latency_us
                .quantiles
                .iter()
                .map(|(quantile, us)| (*quantile, *us as f64))
                .collect(),
        })
        .collect();
    plot::lines(&lines, "share of answers", "µs", true)
}

/// Draws figures named `NAME=NUMBER` over the number.
fn growth(report: &Report) -> String {
    let mut families: BTreeMap<&str, Vec<(f64, f64)>> = BTreeMap::new();
    for figure in &report.figures {
        let Some((name, number)) = figure.scenario.split_once('=') else {
            continue;
        };
        if let (Ok(number), Some(cpu)) = (number.parse::<f64>(), figure.cpu_us) {
            families.entry(name).or_default().push((number, cpu));
        }
    }
    if families.is_empty() {
        return "<p>Not measured in this run.</p>".to_owned();
    }
    families
        .into_iter()
        .map(|(name, points)| {
            let line = Line {
                name: "processor time by answer".to_owned(),
                points,
            };
            plot::lines(&[line], name, "µs", false)
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "a count is below 2^52")]
fn tenths(report: &Report) -> String {
    let lines: Vec<Line> = report
        .figures
        .iter()
        .map(|figure| Line {
            name: figure.key(),
            points: figure
                .tenths
                .iter()
                .enumerate()
                .map(|(tenth, count)| (tenth as f64 / 10.0, *count as f64))
                .collect(),
        })
        .collect();
    plot::lines(&lines, "seconds", "answers", false)
}
