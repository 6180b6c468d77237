//! The policy against the corpus, and what holds for every text.

use config::contract::policy::Verdict;
use config::runtime::commands::{CommandRule, Commands};
use proptest::prelude::*;
use serde::Deserialize;

use super::{Policy, Surroundings};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    deny: Vec<Case>,
    unknown: Vec<Case>,
    uncaught: Vec<Case>,
    allow: Vec<Case>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    command: String,
    why: String,
}

const AROUND: Surroundings<'static> = Surroundings {
    directory: "/home/dev/project",
    home: "/home/dev",
};

fn corpus() -> Corpus {
    toml::from_str(include_str!("../../../tests/attacks/commands.toml")).expect("the corpus")
}

fn defaults() -> Policy {
    Policy::new(&Commands::default()).expect("the defaults")
}

fn blocking(entries: &[&str]) -> Policy {
    let blocked = entries.iter().map(|entry| (*entry).to_owned()).collect();
    Policy::new(&Commands {
        blocked,
        rules: Vec::new(),
    })
    .expect("a policy")
}

fn verdict(policy: &Policy, command: &str) -> Verdict {
    policy.judge(command, AROUND).verdict
}

#[test]
fn the_corpus_gets_the_verdicts_it_names() {
    let corpus = corpus();
    assert!(corpus.deny.len() + corpus.unknown.len() >= 150);
    assert!(corpus.allow.len() >= 100);
    let policy = defaults();
    let mut wrong = Vec::new();
    for (cases, expected) in [
        (&corpus.deny, Verdict::Deny),
        (&corpus.unknown, Verdict::Unknown),
        (&corpus.uncaught, Verdict::Allow),
        (&corpus.allow, Verdict::Allow),
    ] {
        for case in cases {
            let judged = policy.judge(&case.command, AROUND);
            if judged.verdict != expected {
                wrong.push(format!(
                    "{} instead of {expected}: {:?} ({}) {:?}",
                    judged.verdict, case.command, case.why, judged.findings
                ));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn entries_name_programs_flags_paths_and_beginnings() {
    let check = |entry: &str, command: &str, expected: Verdict| {
        let found = verdict(&blocking(&[entry]), command);
        assert_eq!(found, expected, "{entry:?} on {command:?}");
    };
    for command in [
        "shutdown",
        "shutdown -h now",
        "sudo /sbin/shutdown",
        "sh -c 'shutdown now'",
    ] {
        check("shutdown", command, Verdict::Deny);
    }
    check("shutdown", "git commit -m shutdown", Verdict::Allow);
    check("shutdown", "./shutdown-tests", Verdict::Allow);
    check("git push --force", "git push -f origin main", Verdict::Deny);
    check(
        "git push --force",
        "git -C sub push origin --force",
        Verdict::Deny,
    );
    check("git push --force", "git push origin main", Verdict::Allow);
    check("git push", "git commit -m push", Verdict::Allow);
    check("rm -rf ~", "rm -fr $HOME/", Verdict::Deny);
    check("rm -rf ~", "rm -fr $HOME/x", Verdict::Allow);
    check(
        "chmod -R 777 /etc/*",
        "chmod 777 -R /etc/ssh",
        Verdict::Deny,
    );
    check("curl", "wget x", Verdict::Allow);
}

#[test]
fn the_defaults_go_only_when_they_are_taken_away() {
    assert_eq!(verdict(&blocking(&["shutdown"]), "rm -rf /"), Verdict::Deny);
    assert_eq!(
        verdict(&blocking(&["!default"]), "rm -rf /"),
        Verdict::Allow
    );
    let own = blocking(&["!default", "rm -rf /"]);
    assert_eq!(verdict(&own, "rm -fr //"), Verdict::Deny);
    assert_eq!(verdict(&own, "mkfs /dev/sda"), Verdict::Allow);
    let blocked = blocking(&["rm -rf /", "dd if=", "mkfs", "shutdown"]).blocked();
    assert_eq!(
        blocked,
        ["rm -rf /", "dd if=", "mkfs", ":(){ :|:& };:", "shutdown"]
    );
}

#[test]
fn a_caller_adds_and_never_takes_away() {
    let policy = defaults()
        .tightened(&["curl".to_owned()])
        .expect("a pattern");
    assert_eq!(verdict(&policy, "curl x"), Verdict::Deny);
    assert_eq!(verdict(&policy, "rm -rf /"), Verdict::Deny);
    assert!(defaults().tightened(&["a | b".to_owned()]).is_err());
}

fn rule(decision: Verdict, pattern: &str, matches: &[&str], not_matches: &[&str]) -> Commands {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    Commands {
        blocked: Vec::new(),
        rules: vec![CommandRule {
            name: "mine".to_owned(),
            decision,
            pattern: pattern.to_owned(),
            reason: "because".to_owned(),
            matches: own(matches),
            not_matches: own(not_matches),
        }],
    }
}

#[test]
fn rules_are_proven_by_their_examples_when_they_are_loaded() {
    let check = |commands: Commands, key: &str| {
        let mistakes = Policy::new(&commands).expect_err("a mistake");
        let keys: Vec<&str> = mistakes
            .iter()
            .map(|mistake| mistake.key.as_str())
            .collect();
        assert_eq!(keys, [key]);
    };
    check(
        rule(Verdict::Ask, "git push", &["git pull"], &[]),
        "commands.rules.mine.match",
    );
    check(
        rule(
            Verdict::Ask,
            "git push",
            &["git push"],
            &["sudo git push -f"],
        ),
        "commands.rules.mine.not_match",
    );
    check(
        rule(Verdict::Ask, "a; b", &["a"], &[]),
        "commands.rules.mine.pattern",
    );
    check(
        rule(Verdict::Ask, "", &["a"], &[]),
        "commands.rules.mine.pattern",
    );
    check(
        rule(Verdict::Allow, "bash", &["bash"], &[]),
        "commands.rules.mine.pattern",
    );
    check(
        rule(Verdict::Allow, "sudo", &["sudo"], &[]),
        "commands.rules.mine.pattern",
    );
}

#[test]
fn the_strictest_of_rules_and_entries_decides() {
    let asks = Policy::new(&rule(
        Verdict::Ask,
        "git push",
        &["git push"],
        &["git pull"],
    ))
    .expect("a policy");
    assert_eq!(verdict(&asks, "git push"), Verdict::Ask);
    assert_eq!(verdict(&asks, "git push; rm -rf /"), Verdict::Deny);
    assert_eq!(verdict(&asks, "git pull"), Verdict::Allow);
    let allows =
        Policy::new(&rule(Verdict::Allow, "rm -rf", &["rm -rf x"], &[])).expect("a policy");
    assert_eq!(verdict(&allows, "rm -rf /"), Verdict::Deny);
    assert!(allows.judge("rm -rf x", AROUND).allowed_by_rule);
    assert!(!allows.judge("rm -rf x; ls", AROUND).allowed_by_rule);
}

#[test]
fn only_a_short_list_of_commands_reads_only() {
    let policy = defaults();
    let check = |command: &str, expected: bool| {
        assert_eq!(
            policy.judge(command, AROUND).reads_only,
            expected,
            "{command}"
        );
    };
    for command in [
        "",
        "git status",
        "ls > x",
        "find . -delete",
        "find . -exec ls {} +",
        "sort -ox y",
        "rg --pre=x y",
        "ls $X",
        "sudo ls",
        "cat x | tee y",
        "uniq a b",
        "sed -n 1p x",
        "ls; touch x",
        "echo $(touch x)",
        "rm x",
    ] {
        check(command, false);
    }
    for command in [
        "ls -la",
        "cat a | grep b | wc -l",
        "find . -name '*.rs'",
        "rg -n x src 2>/dev/null",
        "cd src && ls",
    ] {
        check(command, true);
    }
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "\\PC{0,200}") {
        let _judged = defaults().judge(&text, AROUND);
    }

    #[test]
    fn any_mixture_of_shell_signs_is_judged(text in "[rmf/ \\-${}()<>|&;'\"`\\\\\n*?=:!\\[\\]]{0,120}") {
        let _judged = defaults().judge(&text, AROUND);
    }

    #[test]
    fn wrappers_never_make_a_denied_command_milder(
        index in 0_usize..1000,
        wrappers in proptest::collection::vec(0_usize..8, 0..5),
    ) {
        let corpus = corpus();
        let simple: Vec<&Case> = corpus.deny.iter().filter(|case| case.command.starts_with("rm -") && !case.command.contains(['\n', ';', '&', '"', '\'', '$', '{'])).collect();
        let mut text = simple[index % simple.len()].command.clone();
        for wrapper in wrappers {
            let starts = ["sudo ", "env A=b ", "nice -n 5 ", "timeout 5 ", "nohup ", "xargs ", "command ", "time "];
            text = format!("{}{text}", starts[wrapper]);
        }
        prop_assert_eq!(verdict(&defaults(), &text), Verdict::Deny, "{}", text);
    }

    #[test]
    fn more_commands_never_make_a_verdict_milder(first in 0_usize..1000, second in 0_usize..1000) {
        let corpus = corpus();
        let plain: Vec<&Case> = corpus.allow.iter().filter(|case| !case.command.contains(['#', '\n', '&'])).collect();
        let denied: Vec<&Case> = corpus.deny.iter().filter(|case| !case.command.contains(['\n', '&']) && !case.why.contains("unclosed") && !case.command.starts_with('{')).collect();
        let (plain, denied) = (&plain[first % plain.len()].command, &denied[second % denied.len()].command);
        let text = format!("{plain}; {denied}");
        prop_assert_eq!(verdict(&defaults(), &text), Verdict::Deny, "{}", text);
    }
}

#[test]
fn any_code_point_may_stand_where_the_grammar_asks_for_a_digit() {
    let policy = defaults();
    for sign in [
        '\u{e9}',
        '\u{660}',
        '\u{3000}',
        '\u{fffc}',
        '\u{1f600}',
        '\u{10ffff}',
    ] {
        for before in ["{", "{1..", "echo a{", "${a:", "<<", "0", "[[ 1 -eq "] {
            let text = format!("{before}{sign}; rm -rf /");
            assert_ne!(verdict(&policy, &text), Verdict::Allow, "{text}");
        }
    }
}

#[test]
fn size_and_nesting_are_bounded() {
    let policy = defaults();
    for text in [
        "(".repeat(5_000),
        "$(".repeat(3_000),
        "a;".repeat(30_000),
        format!("{}rm -rf /{}", "eval '".repeat(500), "'".repeat(500)),
        "{a,b}".repeat(200),
        "f(){ f; f; }; f;".repeat(500),
        "sudo ".repeat(5_000),
    ] {
        assert_ne!(verdict(&policy, &text), Verdict::Allow, "{text:.40}");
    }
}
