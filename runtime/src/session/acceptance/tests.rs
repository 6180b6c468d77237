use std::collections::BTreeMap;

use config::contract::session::{AutonomyMode, PRD_BYTES_MAX, Prd, StartSession, Tightening};
use config::load::Sources;
use config::runtime::RuntimeSettings;

use super::{Accepted, Unacceptable, judge};
use crate::provider::Providers;

const SETTINGS: &str = r#"
    provider = "scripted"
    [providers.scripted]
    command = ["sh", "-c", "true"]
    [sessions]
    iterations_max = 5
"#;

fn settings(more: &str) -> RuntimeSettings {
    settings_of(SETTINGS, more)
}

fn settings_of(base: &str, more: &str) -> RuntimeSettings {
    let sources = Sources {
        file: Some(("runtime.toml".into(), format!("{base}\n{more}"))),
        environment: [("HOME".to_owned(), "/home/somebody".to_owned())].into(),
        ..Sources::default()
    };
    RuntimeSettings::load(sources).expect("settings").settings
}

fn request() -> StartSession {
    StartSession {
        prd: Prd {
            name: "my-app.md".to_owned(),
            text: "Do it.".to_owned(),
        },
        project: "/projects/my-app".to_owned(),
        provider: None,
        model: None,
        budget_usd: None,
        iterations_max: None,
        tighten: Tightening::default(),
    }
}

fn judged(more: &str, change: impl FnOnce(&mut StartSession)) -> Result<Accepted, Unacceptable> {
    let settings = settings(more);
    let providers = Providers::new(&settings, &BTreeMap::new());
    let mut request = request();
    change(&mut request);
    judge(request, &settings, &providers)
}

#[test]
fn impossible_values_are_refused_by_name() {
    let check = |expected: &str, change: &dyn Fn(&mut StartSession)| match judged("", change) {
        Err(Unacceptable::Invalid { field, fix, .. }) => {
            assert_eq!(field, expected);
            assert!(!fix.is_empty());
        }
        other => panic!("{expected}: {other:?}"),
    };
    check("prd.name", &|request| request.prd.name.clear());
    check("prd.name", &|request| {
        request.prd.name = "a/b.md".to_owned();
    });
    check("prd.name", &|request| request.prd.name = "a\nb".to_owned());
    check("prd.name", &|request| request.prd.name = "x".repeat(201));
    check("prd.text", &|request| request.prd.text = " \n\t".to_owned());
    check("prd.text", &|request| request.prd.text = "a\0b".to_owned());
    check("prd.text", &|request| {
        request.prd.text = "x".repeat(PRD_BYTES_MAX + 1);
    });
    check("project", &|request| request.project = "my-app".to_owned());
    check("project", &|request| {
        request.project = "~/my-app".to_owned();
    });
    check("project", &|request| request.project = "/a\0b".to_owned());
    check("project", &|request| {
        request.project = format!("/{}", "a".repeat(4096));
    });
    check("iterations_max", &|request| {
        request.iterations_max = Some(0);
    });
    check("iterations_max", &|request| {
        request.iterations_max = Some(6);
    });
    for model in ["", "-x", "a b", "a;b"] {
        check("model", &|request| {
            request.provider = Some("claude".to_owned());
            request.model = Some(model.to_owned());
        });
    }
    check("model", &|request| request.model = Some("large".to_owned()));
    check("budget_usd", &|request| request.budget_usd = Some(-1.0));
    check("budget_usd", &|request| {
        request.budget_usd = Some(f64::NAN);
    });
}

#[test]
fn an_unknown_provider_is_refused_with_the_way_to_configure_it() {
    let Err(Unacceptable::UnknownProvider(unknown)) =
        judged("", |request| request.provider = Some("nobody".to_owned()))
    else {
        panic!("accepted");
    };
    let configured = ["claude", "codex", "gemini", "opencode", "scripted"];
    assert_eq!(unknown.configured, configured);
    assert!(unknown.fix().contains("[providers.nobody]"));
}

#[test]
fn autonomy_can_be_tightened_but_not_loosened() {
    let check = |more: &str,
                 mode: Option<AutonomyMode>,
                 staged: Option<bool>,
                 expected: Result<(AutonomyMode, bool), &str>| {
        let found = judged(more, |request| {
            request.tighten.autonomy_mode = mode;
            request.tighten.staged_autonomy = staged;
        });
        let found = match &found {
            Ok(accepted) => Ok((accepted.freedom.mode, accepted.freedom.staged)),
            Err(Unacceptable::Loosens { field, .. }) => Err(*field),
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(found, expected, "{more:?} {mode:?} {staged:?}");
    };
    use AutonomyMode::{Checkpoint, Perpetual, Supervised};
    let strict = "[autonomy]\nmode = \"checkpoint\"\nstaged = true";
    check(strict, Some(Perpetual), None, Err("tighten.autonomy_mode"));
    check(strict, None, Some(false), Err("tighten.staged_autonomy"));
    check(strict, None, None, Ok((Checkpoint, true)));
    check(strict, Some(Supervised), Some(true), Ok((Supervised, true)));
    check("", None, None, Ok((Perpetual, false)));
    check("", Some(Checkpoint), Some(true), Ok((Checkpoint, true)));
}

#[test]
fn blocked_commands_can_be_added_but_not_taken_away() {
    let asking = |entries: &[&str]| {
        judged("[commands]\nblocked = [\"curl\"]", |request| {
            let entries = entries.iter().map(|entry| (*entry).to_owned()).collect();
            request.tighten.blocked_commands = Some(entries);
        })
    };
    assert!(matches!(
        asking(&["!default"]),
        Err(Unacceptable::Loosens { .. })
    ));
    assert!(matches!(
        asking(&["a | b"]),
        Err(Unacceptable::Invalid { .. })
    ));
    let blocked = asking(&["wget", "mkfs"])
        .expect("accepted")
        .policy
        .blocked();
    assert_eq!(
        blocked,
        [
            "rm -rf /",
            "dd if=",
            "mkfs",
            ":(){ :|:& };:",
            "curl",
            "wget"
        ]
    );
}

#[test]
fn the_sandbox_can_be_asked_for_but_not_declined() {
    let enabled = "[sandbox]\nenabled = true";
    let check = |more: &str, asked: Option<bool>, expected: Result<bool, Unacceptable>| {
        let found = judged(more, |request| request.tighten.sandbox = asked)
            .map(|accepted| accepted.sandbox);
        assert_eq!(found, expected, "{more:?} {asked:?}");
    };
    let loosens = Unacceptable::Loosens {
        field: "tighten.sandbox",
        variable: "LOKI_SANDBOX_MODE",
    };
    check(enabled, Some(false), Err(loosens));
    check(enabled, None, Ok(true));
    check("", Some(true), Ok(true));
    check("", None, Ok(false));
}

#[test]
fn a_provider_s_variables_do_not_come_into_the_sandbox_unless_the_operator_says_so() {
    let judged = |more: &str| {
        let settings = settings_of(
            "provider = \"scripted\"\n[providers.scripted]\ncommand = [\"sh\"]\nenvironment = [\"KEY\"]",
            more,
        );
        let environment = [("KEY".to_owned(), "secret".to_owned())].into();
        let mut request = request();
        request.tighten.sandbox = Some(true);
        judge(request, &settings, &Providers::new(&settings, &environment))
    };
    let Err(Unacceptable::Invalid { field, why, .. }) = judged("") else {
        panic!("accepted");
    };
    assert_eq!(field, "provider");
    assert!(why.contains("KEY") && !why.contains("secret"), "{why}");
    assert!(judged("[sandbox]\ncredentials_in_sandbox = true").is_ok());
}

#[test]
fn branch_protection_can_be_tightened_but_not_loosened() {
    let protected = "[branch]\nprotection = true";
    let check = |more: &str, asked: Option<bool>, expected: Result<bool, Unacceptable>| {
        let found = judged(more, |request| request.tighten.branch_protection = asked)
            .map(|accepted| accepted.branch_protection);
        assert_eq!(found, expected, "{more:?} {asked:?}");
    };
    let loosens = Unacceptable::Loosens {
        field: "tighten.branch_protection",
        variable: "LOKI_BRANCH_PROTECTION",
    };
    check(protected, Some(false), Err(loosens));
    check(protected, None, Ok(true));
    check(protected, Some(true), Ok(true));
    check("", None, Ok(false));
    check("", Some(false), Ok(false));
    check("", Some(true), Ok(true));
}

#[test]
fn a_plain_request_gets_the_runtime_s_settings() {
    let accepted = judged("", |request| {
        request.tighten.sandbox = Some(false);
        request.tighten.autonomy_mode = Some(AutonomyMode::Perpetual);
    })
    .expect("accepted");
    assert_eq!(accepted.provider.name(), "scripted");
    assert_eq!(accepted.iterations_max, 5);
    assert_eq!(accepted.prd_text, "Do it.");
    let fewer = judged("", |request| request.iterations_max = Some(2)).expect("accepted");
    assert_eq!(fewer.iterations_max, 2);
}
