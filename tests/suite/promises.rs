//! Every line of the feature description has a row: a test that attacks it, or the issue that will.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::process::Command;

use serde::Deserialize;
use tests::command;
use tests::programs;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promises {
    /// Titles of the issues that open rows may name.
    issues: Vec<String>,
    promise: Vec<Promise>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Promise {
    /// The feature description's own words.
    text: String,
    /// What switches it on; empty if it is always on.
    switch: String,
    /// Who enforces it.
    layer: String,
    /// Tests of the suite that attack it.
    #[serde(default)]
    tests: Vec<String>,
    /// Title of the issue that closes it.
    #[serde(default)]
    open: Option<String>,
}

fn promises() -> Promises {
    let text = fs::read_to_string(programs::project().join("tests/promises.toml")).unwrap();
    toml::from_str(&text).unwrap()
}

fn tests_of_the_suite() -> BTreeSet<String> {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--list", "--format", "terse"]);
    command::run(&mut command)
        .output()
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_promise_names_a_test_or_the_issue_that_closes_it() {
    let promises = promises();
    for promise in &promises.promise {
        let kept = !promise.tests.is_empty();
        let open = promise.open.is_some();
        assert!(kept || open, "neither kept nor open: {promise:?}");
        if let Some(title) = &promise.open {
            assert!(
                promises.issues.contains(title),
                "no such issue: {promise:?}"
            );
        }
    }
}

#[test]
fn what_the_architecture_calls_not_built_is_what_open_rows_name() {
    let document = fs::read_to_string(programs::project().join("docs/architecture.md")).unwrap();
    let (_, section) = document.split_once("\n## What is not built yet\n").unwrap();
    let section = section.split("\n## ").next().unwrap();
    let listed: BTreeSet<&str> = section
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let promises = promises();
    let open = promises.promise.iter().filter_map(|it| it.open.as_deref());
    assert_eq!(listed, open.collect());
}

#[test]
fn the_hardening_checklist_has_each_item_with_its_enforcement_and_its_test() {
    let rows = fs::read_to_string(programs::project().join("tests/promises.toml")).unwrap();
    let (_, checklist) = rows.split_once("\n# Checklist\n").unwrap();
    let document = fs::read_to_string(programs::project().join("docs/hardening.md")).unwrap();
    let mut items = 0;
    for promise in promises().promise {
        if !checklist.contains(&format!("text = {:?}\n", promise.text)) {
            continue;
        }
        items += 1;
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| {} |", promise.text)));
        let row = row.unwrap_or_else(|| panic!("no row: {}", promise.text));
        assert!(row.contains(".rs](../"), "nothing enforces it: {row}");
        let is_attacked = promise.tests.iter().any(|test| row.contains(test.as_str()));
        assert!(is_attacked, "none of {:?}: {row}", promise.tests);
    }
    assert_eq!(items, 22);
}

#[test]
fn every_named_test_exists() {
    let tests = tests_of_the_suite();
    assert!(tests.len() > 30, "{tests:?}");
    for promise in promises().promise {
        for test in &promise.tests {
            assert!(
                tests.contains(test),
                "{test} does not exist: {:?}",
                promise.text
            );
        }
    }
}

#[test]
fn rows_are_whole_and_unique() {
    let promises = promises();
    let layers = [
        "gateway",
        "runtime",
        "kernel",
        "proxy",
        "gate",
        "command line",
        "documentation",
        "none yet",
    ];
    let mut texts = BTreeSet::new();
    for promise in &promises.promise {
        assert!(!promise.text.is_empty(), "{promise:?}");
        assert!(
            promise.switch.is_empty() || promise.switch.trim() == promise.switch,
            "{promise:?}"
        );
        assert!(layers.contains(&promise.layer.as_str()), "{promise:?}");
        assert!(texts.insert(&promise.text), "twice: {promise:?}");
        let nobody = promise.layer == "none yet";
        assert_eq!(
            nobody,
            promise.tests.is_empty(),
            "an unenforced row has no test: {promise:?}"
        );
    }
}
