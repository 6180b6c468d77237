use chrono::{DateTime, Utc};
use config::contract::scope::{Role, Scopes};
use proptest::prelude::*;

use super::{ExpiryDays, InvalidName, Permission, TokenName, shown_scopes};

#[test]
fn unusable_names_are_refused() {
    let check = |text: &str, expected: InvalidName| {
        assert_eq!(text.parse::<TokenName>(), Err(expected), "{text:?}");
    };
    check("", InvalidName::Empty);
    check(" \t", InvalidName::Empty);
    check("-x", InvalidName::LooksLikeFlag("-x".to_owned()));
    check(
        "--scopes",
        InvalidName::LooksLikeFlag("--scopes".to_owned()),
    );
    check("a\nb", InvalidName::Invisible('\n'));
    check("a\u{1b}[2Jb", InvalidName::Invisible('\u{1b}'));
    check("ci\u{202e}tob", InvalidName::Invisible('\u{202e}'));
    check("ci\u{200b}bot", InvalidName::Invisible('\u{200b}'));
    check(
        "tok-abcd1234",
        InvalidName::LooksLikeId("tok-abcd1234".to_owned()),
    );
    check(" ci-bot", InvalidName::OuterBlank(" ci-bot".to_owned()));
    check(&"x".repeat(201), InvalidName::TooLong);
}

#[test]
fn harmless_names_are_accepted() {
    for text in [
        "ci-bot",
        "x",
        "Übersetzer 2",
        "it's \"quoted\"; $(id)",
        "tok-abc123",
        &"ö".repeat(200),
    ] {
        assert_eq!(
            text.parse::<TokenName>().map(String::from),
            Ok(text.to_owned())
        );
    }
}

#[test]
fn absurd_lives_are_refused() {
    for text in [
        "",
        "0",
        "-1",
        "-30",
        "3651",
        "99999999999",
        "1.5",
        "30d",
        " 30",
        "+-1",
        "never",
    ] {
        assert!(text.parse::<ExpiryDays>().is_err(), "{text:?}");
    }
}

#[test]
fn a_life_ends_after_whole_days() {
    let now: DateTime<Utc> = "2026-01-31T12:30:00Z".parse().expect("a time");
    let check = |days: &str, expected: &str| {
        let life: ExpiryDays = days.parse().expect("a life");
        assert_eq!(life.from(now).to_rfc3339(), expected, "{days}");
    };
    check("1", "2026-02-01T12:30:00+00:00");
    check("30", "2026-03-02T12:30:00+00:00");
    check("3650", "2036-01-29T12:30:00+00:00");
}

#[test]
fn scopes_and_role_that_disagree_are_refused() {
    let check = |scopes: &str, role: Role| {
        let scopes: Scopes = scopes.parse().expect("scopes");
        assert!(Permission::new(Some(scopes), Some(role)).is_err());
    };
    check("*", Role::Viewer);
    check("read", Role::Operator);
    check("write,read", Role::Viewer);
    check("control", Role::Operator);
    check("audit", Role::Auditor);
}

#[test]
fn permission_is_what_was_asked_for_and_else_read() {
    let check = |scopes: Option<&str>, role: Option<Role>, expected: &str| {
        let scopes = scopes.map(|text| text.parse::<Scopes>().expect("scopes"));
        let permission = Permission::new(scopes, role).expect("agreement");
        assert_eq!(shown_scopes(permission.scopes), expected);
        assert_eq!(permission.role, role);
    };
    check(None, None, "read");
    check(Some("read,write"), None, "read, write");
    check(Some(" write , read "), None, "read, write");
    check(Some("*"), None, "*");
    check(None, Some(Role::Admin), "*");
    check(None, Some(Role::Operator), "read, write, control");
    check(None, Some(Role::Viewer), "read");
    check(None, Some(Role::Auditor), "read, audit");
    check(Some("audit,read"), Some(Role::Auditor), "read, audit");
}

proptest! {
    #[test]
    fn an_accepted_name_reads_back_and_shows_no_controls(text in "\\PC{0,30}|[ -~\\x00-\\x1f]{0,30}") {
        if let Ok(name) = text.parse::<TokenName>() {
            prop_assert_eq!(name.as_str(), &text);
            prop_assert!(!name.as_str().contains(char::is_control));
            prop_assert!(!name.as_str().starts_with('-'));
            let json = serde_json::to_string(&name).expect("JSON");
            prop_assert_eq!(serde_json::from_str::<TokenName>(&json).expect("a name"), name);
        }
    }
}
