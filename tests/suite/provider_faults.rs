//! Programs that misbehave, in each language in which agents' programs speak: what they do wrong is told
//! with the reason, bounded, and never believed.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};
use tests::agent::Agent;
use tests::client::Client;
use tests::deployment::{Builder, Deployment};

/// The languages: how they are named in `runtime.toml`, how a program of them begins, says that it is done,
/// and says that there were too many requests.
struct Language {
    name: &'static str,
    lines: &'static str,
    begin: &'static str,
    done: &'static str,
    limited: &'static str,
    /// Whether only a program that says so is done.
    says: bool,
}

/// Hears the three messages with which a conversation begins, and answers the first two.
const ACP_BEGIN: &str = r#"read -r one; echo '{"id":0,"result":{"protocolVersion":1}}'
read -r two; echo '{"id":1,"result":{"sessionId":"s"}}'
read -r three"#;

const APP_SERVER_BEGIN: &str = r#"read -r one; echo '{"id":0,"result":{}}'
read -r two; read -r three; echo '{"id":1,"result":{"thread":{"id":"t"}}}'
read -r four"#;

const LANGUAGES: [Language; 5] = [
    Language {
        name: "claude",
        lines: "dialect = \"claude\"\n",
        begin: "cat >/dev/null",
        done: r#"{"type":"result","subtype":"success","is_error":false}"#,
        limited: r#"{"type":"result","subtype":"success","is_error":true,"result":"429 rate limit"}"#,
        says: true,
    },
    Language {
        name: "codex",
        lines: "dialect = \"codex\"\n",
        begin: "cat >/dev/null",
        done: r#"{"type":"turn.completed","usage":{}}"#,
        limited: r#"{"type":"turn.failed","error":{"message":"429 Too Many Requests"}}"#,
        says: true,
    },
    Language {
        name: "app-server",
        lines: "asks = \"app-server\"\n",
        begin: APP_SERVER_BEGIN,
        done: r#"{"method":"turn/completed","params":{"turn":{"status":"completed"}}}"#,
        limited: r#"{"method":"turn/completed","params":{"turn":{"status":"failed","error":{"message":"429 Too Many Requests"}}}}"#,
        says: true,
    },
    Language {
        name: "acp",
        lines: "asks = \"acp\"\n",
        begin: ACP_BEGIN,
        done: r#"{"id":2,"result":{"stopReason":"end_turn"}}"#,
        limited: r#"{"id":2,"error":{"code":429,"message":"too many requests"}}"#,
        says: true,
    },
    Language {
        name: "text",
        lines: "",
        begin: "cat >/dev/null",
        done: "done",
        limited: "busy\nEND\nexit 75\ncat <<'END'\n",
        says: false,
    },
];

fn say(line: &str) -> String {
    format!("cat <<'END'\n{line}\nEND\n")
}

fn builder(language: &Language, lines: &str) -> Builder {
    let script = format!("{}\necho work >>work.txt\n{lines}", language.begin);
    Deployment::builder()
        .with_provider_lines("agent", Agent::conversing(&script), language.lines)
        .with_variable("LOKI_BRANCH_PROTECTION", "true")
        .with_variable("LOKI_MAX_ITERATIONS", "1")
        .with_runtime_settings("sessions.retry_pause = \"10ms\"\n")
}

fn events(client: &Client, id: &str) -> Vec<Value> {
    let page = client.get(&format!("/api/sessions/{id}/events?limit=1000"));
    page.json()["events"].as_array().unwrap().clone()
}

/// Runs a session to its end and returns it with its events.
fn run(builder: Builder) -> (Value, Vec<Value>) {
    let deployment = builder.start();
    let client = deployment.client();
    let id = deployment.start_session(&client, deployment.project("app").path());
    let view = deployment.session_in(&client, &id, &["completed", "failed"]);
    (view, events(&client, &id))
}

#[track_caller]
fn assert_failed(language: &Language, view: &Value, reason: &str) {
    let why = view["reason"].as_str().unwrap_or_default();
    let name = language.name;
    assert_eq!(view["state"], "failed", "{name}: {view:#}");
    assert!(why.contains(reason), "{name}: {why}");
    assert!(why.len() < 2000, "{name}: {} bytes", why.len());
}

#[test]
fn output_that_is_none_of_the_language_is_not_done() {
    let noise = [
        "{\"type\":\"result\",",
        "not json at all",
        "[1,2]",
        "null",
        "{}",
        "{\"type\":7,\"id\":[],\"method\":{}}",
        "\u{1b}[2J\u{7}",
    ];
    for language in LANGUAGES.iter().filter(|language| language.says) {
        let (view, events) = run(builder(language, &noise.map(say).concat()));
        assert_failed(language, &view, "without saying that it is done");
        let remarks = events
            .iter()
            .filter(|event| event["data"]["kind"] == "other");
        assert!(remarks.count() >= 3, "{}: {events:#?}", language.name);
    }
}

#[test]
fn a_crash_in_the_middle_is_told_with_its_signal() {
    for language in &LANGUAGES {
        let (view, _) = run(builder(language, "kill -SEGV $$"));
        assert_failed(language, &view, "ended with 139");
    }
}

#[test]
fn a_program_that_hangs_is_ended() {
    for language in &LANGUAGES {
        let hanging = builder(language, "while :; do sleep 1; done")
            .with_runtime_settings("sessions.iteration_timeout = \"500ms\"\n");
        let (view, _) = run(hanging);
        assert_failed(language, &view, "ran longer");
    }
}

#[test]
fn a_program_that_says_nothing_from_the_beginning_is_ended() {
    for language in &LANGUAGES {
        let deaf = Agent::conversing("while :; do sleep 1; done");
        let builder = Deployment::builder()
            .with_provider_lines("agent", deaf, language.lines)
            .with_variable("LOKI_MAX_ITERATIONS", "1")
            .with_runtime_settings("sessions.iteration_timeout = \"500ms\"\n");
        let (view, _) = run(builder);
        assert_failed(language, &view, "ran longer");
    }
}

#[test]
fn a_rate_limit_is_waited_out_within_the_iteration() {
    for language in &LANGUAGES {
        let lines = format!(
            "if [ ! -f \"$TMPDIR/tried\" ]; then touch \"$TMPDIR/tried\"\n{}exit 1; fi\n{}",
            say(language.limited),
            say(language.done)
        );
        let (view, events) = run(builder(language, &lines));
        let name = language.name;
        assert_eq!(view["state"], "completed", "{name}: {view:#}");
        assert_eq!(view["iteration"], 1, "{name}: {view:#}");
        let retries = events.iter().filter(|event| event["type"] == "retry");
        assert_eq!(retries.count(), 1, "{name}: {events:#?}");
    }
}

#[test]
fn a_rate_limit_that_stays_ends_the_iteration_with_the_reason() {
    for language in &LANGUAGES {
        let lines = format!("{}exit 1", say(language.limited));
        let (view, events) = run(builder(language, &lines));
        let reason = if language.says { "429" } else { "75" };
        let reason = if language.name == "acp" {
            "too many requests"
        } else {
            reason
        };
        assert_failed(language, &view, reason);
        let retries = events.iter().filter(|event| event["type"] == "retry");
        assert_eq!(retries.count(), 4, "{}: {events:#?}", language.name);
    }
}

#[test]
fn a_huge_line_is_never_kept_whole() {
    for language in &LANGUAGES {
        let lines = format!(
            "head -c 9000000 /dev/zero | tr '\\0' x\necho\n{}",
            say(language.done)
        );
        let (view, events) = run(builder(language, &lines));
        let name = language.name;
        // A conversation breaks off at it; of mere output it is left out, or cut into pieces.
        if matches!(name, "acp" | "app-server") {
            assert_failed(language, &view, "not done after 1 iterations");
        } else {
            assert_eq!(view["state"], "completed", "{name}: {view:#}");
        }
        let longest = events.iter().map(|event| event.to_string().len()).max();
        assert!(longest.unwrap() < 100_000, "{name}: {longest:?}");
    }
}

#[test]
fn an_endless_output_is_cut() {
    for language in &LANGUAGES {
        let endless = builder(
            language,
            "while :; do echo 0123456789012345678901234567890123456789; done",
        )
        .with_runtime_settings("sessions.output_bytes_max = 100000\n");
        let (view, _) = run(endless);
        let name = language.name;
        assert_eq!(view["state"], "failed", "{name}: {view:#}");
    }
}

#[test]
fn a_program_that_speaks_another_version_is_refused() {
    let agent = Agent::conversing(
        "read -r one; echo '{\"id\":0,\"result\":{\"protocolVersion\":9}}'\nread -r two",
    );
    let builder = Deployment::builder()
        .with_provider_lines("agent", agent, "asks = \"acp\"\n")
        .with_variable("LOKI_MAX_ITERATIONS", "1");
    let (view, _) = run(builder);
    assert_failed(&LANGUAGES[3], &view, "it speaks version 9 of ACP");
}

#[test]
fn a_built_in_program_of_another_version_is_refused_with_the_fix() {
    for (program, old) in [
        ("claude", "0.2.9 (Claude Code)"),
        ("codex", "codex-cli 0.39.0"),
        ("gemini", "0.7.9"),
        ("opencode", "0.15.2"),
    ] {
        let deployment = Deployment::builder()
            .with_runtime_settings(&format!("provider = {program:?}\n"))
            .start();
        let folder = deployment.agents().join("bin");
        fs::create_dir_all(&folder).unwrap();
        let project = deployment.project("app");
        let client = deployment.client();
        let check = |text: &str, expected: &str| {
            let path = folder.join(program);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            let id = deployment.start_session(&client, project.path());
            let view = deployment.session_in(&client, &id, &["failed"]);
            let why = view["reason"].as_str().unwrap_or_default();
            assert!(
                why.contains(expected) && why.contains("npm install"),
                "{program}: {why}"
            );
        };
        let version = old.split(' ').find(|word| word.contains('.')).unwrap();
        check(&format!("#!/bin/sh\necho '{old}'\n"), version);
        check(
            "#!/bin/sh\necho something else\n",
            "cannot tell the version",
        );
        check("#!/bin/sh\nkill -9 $$\n", "cannot tell the version");
        check("#!/bin/sh\nhead -c 300000 /dev/zero\n", program);
    }
}

#[test]
fn a_built_in_program_that_is_not_there_is_refused_with_the_fix() {
    for program in ["claude", "codex", "gemini", "opencode"] {
        let deployment = Deployment::builder()
            .with_runtime_settings(&format!("provider = {program:?}\n"))
            .start();
        let client = deployment.client();
        let id = deployment.start_session(&client, deployment.project("app").path());
        let view = deployment.session_in(&client, &id, &["failed"]);
        let why = view["reason"].as_str().unwrap_or_default();
        assert!(
            why.contains(program) && why.contains("npm install"),
            "{program}: {why}"
        );
        assert_eq!(view["hand_off"]["commits"], json!(0), "{view:#}");
    }
}
