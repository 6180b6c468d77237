use std::path::PathBuf;

use super::{Provider, RuntimeSettings};
use crate::gateway::tests::{sources, uncomment};
use crate::load::{Effective, Sources};

fn mistakes(sources: Sources) -> Vec<String> {
    match RuntimeSettings::load(sources) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_bad_or_unenforced_value_is_refused_by_its_variable() {
    for (name, value) in [
        ("LOKI_BRANCH_PROTECTION", "maybe"),
        ("LOKI_MAX_ITERATIONS", "0"),
        ("LOKI_MAX_ITERATIONS", "-1"),
        ("LOKI_WORKSPACE_ROOTS", "relative"),
        ("LOKI_SANDBOX_MODE", "maybe"),
        ("LOKI_STAGED_AUTONOMY", "maybe"),
        ("LOKI_AUTONOMY_MODE", "free"),
    ] {
        let found = mistakes(sources(&[(name, value)]));
        assert!(
            found.len() == 1 && found[0].starts_with(name),
            "{name}={value}: {found:?}"
        );
    }
}

#[test]
fn harmless_values_are_accepted() {
    for (name, value) in [
        ("LOKI_BRANCH_PROTECTION", "true"),
        ("LOKI_BRANCH_PROTECTION", "off"),
        ("LOKI_MAX_ITERATIONS", "3"),
        ("LOKI_SANDBOX_MODE", "false"),
        ("LOKI_SANDBOX_MODE", "true"),
        ("LOKI_ALLOWED_PATHS", "/app/src,tests"),
        ("LOKI_STAGED_AUTONOMY", "no"),
        ("LOKI_STAGED_AUTONOMY", "true"),
        ("LOKI_AUTONOMY_MODE", "perpetual"),
        ("LOKI_AUTONOMY_MODE", "checkpoint"),
        ("LOKI_AUTONOMY_MODE", "supervised"),
        ("LOKI_BLOCKED_COMMANDS", "rm -rf /,dd if=,mkfs,shutdown"),
        ("LOKI_WORKSPACE_ROOTS", "/srv/projects,/home/you"),
        ("LOKI_PROVIDER", "codex"),
    ] {
        assert_eq!(
            mistakes(sources(&[(name, value)])),
            [""; 0],
            "{name}={value}"
        );
    }
}

#[test]
fn a_rule_needs_a_decision_and_an_example() {
    let check = |text: &str, expected: &[&str]| {
        let mut sources = sources(&[]);
        sources.file = Some((PathBuf::from("/r.toml"), text.to_owned()));
        let found = mistakes(sources);
        assert_eq!(found.len(), expected.len(), "{text:?}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found}");
        }
    };
    let rule = "[commands.rules.push]\npattern = \"git push\"\n";
    check(rule, &["commands.rules.push.match"]);
    check(
        &format!("{rule}match = [\"git push\"]\ndecision = \"maybe\"\n"),
        &["commands.rules.push.decision"],
    );
    check(&format!("{rule}match = [\"git push\"]\n"), &[]);
    check("[approvals]\ndeadline = \"0s\"\n", &["approvals.deadline"]);
    let long = "[approvals]\noperation_deadline = \"8d\"\n";
    check(long, &["approvals.operation_deadline"]);
    let hook = "[approvals.webhook]\nurl = \"ftp://x\"\n";
    check(hook, &["approvals.webhook.url"]);
    let hook = "[approvals.webhook]\nurl = \"http://x\"\n";
    check(
        hook,
        &["approvals.webhook.key_file", "approvals.webhook.link"],
    );
    let hook = "[approvals.webhook]\nlink = \"http://x\"\n";
    check(hook, &["approvals.webhook.link"]);
    let asks = "[providers.mine]\ncommand = [\"x\"]\nasks = \"nobody\"\n";
    check(asks, &["providers.mine.asks"]);
}

#[test]
fn a_provider_needs_a_program() {
    let with_text = |text: &str| {
        let mut sources = sources(&[]);
        sources.file = Some((PathBuf::from("/r.toml"), text.to_owned()));
        sources
    };
    assert_eq!(
        mistakes(with_text("[providers.mine]\ncommand = []\n")).len(),
        1
    );
    assert_eq!(
        mistakes(with_text("[providers.mine]\ncomand = [\"x\"]\n")).len(),
        2
    );
    let text = "[providers.claude]\ncommand = [\"agent\", \"-p\"]\nenvironment = [\"KEY\"]\n";
    let loaded = RuntimeSettings::load(with_text(text)).expect("valid");
    assert_eq!(
        loaded.settings.providers,
        [Provider {
            name: "claude".to_owned(),
            command: vec!["agent".to_owned(), "-p".to_owned()],
            environment: vec!["KEY".to_owned()],
            dialect: None,
            asks: None,
            model_arguments: Vec::new(),
            price: None,
        }]
    );
}

#[test]
fn the_sample_equals_the_defaults() {
    let values = |sources: Sources| -> Vec<(String, String)> {
        let loaded = RuntimeSettings::load(sources).expect("valid");
        loaded
            .effective
            .into_iter()
            .filter(|row| {
                !["providers.", "egress.routes."]
                    .iter()
                    .any(|example| row.key.starts_with(example))
            })
            .map(|Effective { key, value, .. }| (key, value))
            .collect()
    };
    let mut with_sample = sources(&[]);
    let text: String = include_str!("../../runtime.toml")
        .lines()
        .map(uncomment)
        .collect();
    // The provider and the route are examples; keys of the top level must come before its table.
    with_sample.file = Some((PathBuf::from("runtime.toml"), text));
    assert_eq!(values(with_sample), values(sources(&[])));
}
