use std::collections::BTreeMap;

use super::Report;
use crate::budget::Judgement;
use crate::figure::{Figure, Latency};
use crate::target::Protocol;

fn report(per_second: f64, holds: bool) -> Report {
    Report {
        version: "0".to_owned(),
        made_at: 0,
        processors: 2,
        figures: vec![Figure {
            subject: "gateway".to_owned(),
            scenario: "<opaque>".to_owned(),
            protocol: Protocol::Http1,
            connections: 1,
            streams: 1,
            rate: None,
            seconds: 1.0,
            count: 10,
            per_second,
            statuses: BTreeMap::from([(200, 10)]),
            unexpected: 0,
            errors: 0,
            latency_us: Latency {
                quantiles: vec![(0.0, 10), (0.5, 20), (1.0, 4_000)],
                ..Latency::default()
            },
            tenths: vec![1, 2, 3],
            cpu_us: Some(20.5),
            resident_kib: Some(2_048),
            growth_kib: Some(0),
        }],
        judgements: vec![Judgement {
            name: "a budget".to_owned(),
            found: 0.5,
            least: 0.4,
            most: 0.6,
            demanded: "≥ 0.85".to_owned(),
            holds,
        }],
    }
}

#[test]
fn a_missed_budget_or_a_wrong_answer_is_no_success() {
    assert!(!report(1.0, false).is_good());
    let mut wrong = report(1.0, true);
    assert!(wrong.is_good());
    wrong.figures[0].unexpected = 1;
    assert!(!wrong.is_good());
}

#[test]
fn a_figure_that_got_slower_is_pointed_out() {
    let (table, no_worse) = report(80.0, true).compare(&report(100.0, true));
    assert!(!no_worse && table.contains("SLOWER"), "{table}");
    assert!(report(95.0, true).compare(&report(100.0, true)).1);
}

#[test]
fn the_page_needs_nothing_but_itself_and_escapes_names() {
    let page = report(100.0, true).html();
    for foreign in [
        "<opaque>", "http://", "https://", "<script", "<link", "src=",
    ] {
        // The name of the drawing language is no address that is fetched.
        let page = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("&lt;opaque&gt;") && page.contains("<svg"));
}

#[test]
fn a_report_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().expect("folder");
    let path = folder.path().join("report.json");
    let text = report(100.0, true).json().expect("json");
    std::fs::write(&path, &text).expect("file");
    assert_eq!(
        Report::read(&path).expect("report").json().expect("json"),
        text
    );
}
