//! The token commands, exactly as documented.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use chrono::{Days, NaiveDate, Utc};
use tests::deployment::Deployment;
use tests::installation::Installation;
use tests::token::Token;

#[test]
fn wrong_token_commands_are_refused_and_change_nothing() {
    let installation = Installation::new();
    let _bot = Token::generate(&installation, "taken", &[]);
    let before = fs::read(installation.home().tokens()).unwrap();
    let check = |arguments: &[&str]| {
        let mut line = vec!["enterprise", "token"];
        line.extend(arguments);
        let finished = installation.loki(&line);
        assert!(matches!(finished.code, 1 | 2), "{finished}");
        assert!(!finished.stdout.contains("loki_"), "{finished}");
        assert!(!finished.stderr.is_empty(), "{finished}");
        assert_eq!(
            fs::read(installation.home().tokens()).unwrap(),
            before,
            "{finished}"
        );
    };
    check(&["generate"]);
    check(&["generate", ""]);
    check(&["generate", "  "]);
    check(&["generate", "taken"]);
    check(&["generate", "bot", "--scopes", "read,superuser"]);
    check(&["generate", "bot", "--scopes", ""]);
    check(&["generate", "bot", "--role", "root"]);
    check(&["generate", "bot", "--role", "viewer", "--scopes", "*"]);
    check(&["generate", "bot", "--expires", "0"]);
    check(&["generate", "bot", "--expires", "-1"]);
    check(&["generate", "bot", "--expires", "soon"]);
    check(&["generate", "bot", "--expires", "99999999"]);
    check(&["generate", "bot", "--unknown-flag"]);
    check(&["revoke"]);
    check(&["revoke", "nobody"]);
    check(&["revoke", "tok-00000000"]);
    check(&["delete", "nobody"]);
}

#[test]
fn generate_prints_the_documented_lines() {
    let installation = Installation::new();
    let arguments = "enterprise token generate ci-bot --scopes read,write --expires 30";
    let output = installation
        .loki(&arguments.split(' ').collect::<Vec<_>>())
        .output();
    let token = Token::read(&output);
    let expires = Utc::now().date_naive() + Days::new(30);
    let expected = format!(
        "Token generated successfully!\n\
         Name: ci-bot\n\
         ID: {}\n\
         Token: {}\n\
         Scopes: read, write\n\
         Expires: {expires}\n\
         IMPORTANT: Save this token - it won't be shown again!",
        token.id, token.raw
    );
    let lines: Vec<&str> = output
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    assert_eq!(lines.join("\n"), expected);
    assert!(token.id.starts_with("tok-"), "{token:?}");
    assert!(token.raw.starts_with("loki_"), "{token:?}");
}

#[test]
fn a_basic_token_reads_and_no_more() {
    let token = Token::generate(&Installation::new(), "my-token", &[]);
    assert_eq!((token.scopes.as_str(), token.expires), ("read", None));
}

#[test]
fn roles_are_the_documented_scopes() {
    let installation = Installation::new();
    for (role, scopes) in [
        ("admin", "*"),
        ("operator", "control, read, write"),
        ("viewer", "read"),
        ("auditor", "read, audit"),
    ] {
        let token = Token::generate(&installation, &format!("{role}-bot"), &["--role", role]);
        let sorted = |text: &str| {
            let mut names: Vec<String> = text.split(", ").map(str::to_owned).collect();
            names.sort();
            names
        };
        assert_eq!(sorted(&token.scopes), sorted(scopes), "{role}");
    }
}

#[test]
fn the_documented_examples_work_as_printed() {
    let installation = Installation::new();
    let viewer = Token::generate(&installation, "ci-bot", &["--role", "viewer"]);
    assert_eq!(viewer.scopes, "read");
    let admin = Token::generate(
        &installation,
        "admin-bot",
        &["--scopes", "*", "--expires", "90"],
    );
    let expires: NaiveDate = admin.expires.unwrap().parse().unwrap();
    assert_eq!(admin.scopes, "*");
    assert_eq!(expires, Utc::now().date_naive() + Days::new(90));
}

#[test]
fn list_shows_active_tokens_and_all_shows_revoked_ones() {
    let installation = Installation::new();
    let kept = Token::generate(&installation, "kept", &[]);
    let gone = Token::generate(&installation, "gone", &[]);
    let _done = installation
        .loki(&["enterprise", "token", "revoke", "gone"])
        .ended_with(0);
    let listed = installation.loki(&["enterprise", "token", "list"]).output();
    assert!(
        listed.contains(&kept.id) && listed.contains("kept"),
        "{listed}"
    );
    assert!(!listed.contains(&gone.id), "{listed}");
    let all = installation
        .loki(&["enterprise", "token", "list", "--all"])
        .output();
    assert!(all.contains(&kept.id) && all.contains(&gone.id), "{all}");
    assert!(all.to_lowercase().contains("revoked"), "{all}");
    for output in [listed, all] {
        assert!(
            !output.contains("loki_"),
            "a list shows no secret: {output}"
        );
    }
}

#[test]
fn a_revoked_name_can_be_used_again() {
    let installation = Installation::new();
    let first = Token::generate(&installation, "ci-bot", &[]);
    let _done = installation
        .loki(&["enterprise", "token", "revoke", "ci-bot"])
        .ended_with(0);
    let second = Token::generate(&installation, "ci-bot", &[]);
    assert_ne!((first.id, first.raw), (second.id, second.raw));
}

#[test]
fn revoke_accepts_an_id_and_delete_removes_the_record() {
    let installation = Installation::new();
    let token = Token::generate(&installation, "ci-bot", &[]);
    let _done = installation
        .loki(&["enterprise", "token", "revoke", &token.id])
        .ended_with(0);
    let _done = installation
        .loki(&["enterprise", "token", "delete", &token.id])
        .ended_with(0);
    let all = installation
        .loki(&["enterprise", "token", "list", "--all"])
        .output();
    assert!(!all.contains(&token.id), "{all}");
}

#[test]
fn the_token_file_holds_no_secret_and_is_closed_to_others() {
    let installation = Installation::new();
    let token = Token::generate(&installation, "ci-bot", &["--scopes", "*"]);
    let home = installation.home();
    let path = home.tokens();
    assert!(
        path.ends_with(".loki/dashboard/tokens.json"),
        "{}",
        path.display()
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&token.raw), "{text}");
    assert!(!text.contains(&token.raw[5..]), "{text}");
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&home.dashboard()), 0o700);
    assert_eq!(mode(&home.audit()), 0o700);
    for file in installation.audit().files() {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
        let records = fs::read_to_string(&file).unwrap();
        assert!(
            !records.contains(&token.raw[5..]),
            "the audit trail holds no secret"
        );
    }
}

#[test]
fn a_token_file_open_to_others_is_refused() {
    let installation = Installation::new();
    let _token = Token::generate(&installation, "ci-bot", &[]);
    tests::certificate::set_mode(&installation.home().tokens(), 0o644);
    let finished = installation
        .loki(&["enterprise", "token", "list"])
        .ended_with(1);
    assert!(finished.stderr.contains("chmod 600"), "{finished}");
}

#[test]
fn a_corrupt_token_file_is_an_error_and_is_never_overwritten() {
    let installation = Installation::new();
    let _token = Token::generate(&installation, "ci-bot", &[]);
    let path = installation.home().tokens();
    fs::write(&path, "{\"version\":").unwrap();
    for arguments in [
        ["enterprise", "token", "generate", "another"].as_slice(),
        &["enterprise", "token", "list"],
        &["enterprise", "token", "revoke", "ci-bot"],
    ] {
        let finished = installation.loki(arguments).ended_with(1);
        assert!(finished.stderr.contains("tokens.json"), "{finished}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"version\":");
    }
}

#[test]
fn a_running_gateway_accepts_a_new_token_at_once() {
    let deployment = Deployment::builder().with_tokens().start();
    let token = deployment.token("ci-bot", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let _status = client.get("/api/status").with_status(200);
}

#[test]
fn many_commands_at_once_lose_no_token() {
    let installation = Installation::new();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let installation = &installation;
            scope.spawn(move || Token::generate(installation, &format!("bot-{number}"), &[]));
        }
    });
    let listed = installation.loki(&["enterprise", "token", "list"]).output();
    for number in 0..8 {
        assert!(listed.contains(&format!("bot-{number}")), "{listed}");
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}
