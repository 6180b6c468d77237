//! Every block of commands in the documentation is run here as it stands, or says which test runs it, or why
//! nothing can.
//!
//! Invariant: a block without a mark is run. A mark stands on the line before the block:
//! `<!-- run by: module::test -->` names tests that exist, `<!-- not run: reason -->` says why.

use std::fs;
use std::path::{Path, PathBuf};

use tests::command;
use tests::installation::{Installation, free_port};
use tests::programs;

/// The documents whose blocks are run, how many they have, and what a reader has before the first of them.
const RUN: [(&str, usize, &str); 7] = [
    ("README.md", 4, ""),
    ("docs/operations.md", 4, ""),
    ("docs/tokens.md", 1, "mkdir -p ~/projects/my-app\n"),
    ("docs/audit.md", 1, CALLER),
    ("docs/configuration.md", 2, RUNNING),
    ("docs/metrics.md", 1, RUNNING),
    ("docs/projects.md", 3, PROJECT),
];

/// A gateway that runs; an answer that is no success ends the script.
const RUNNING: &str = "curl() { command curl -fsS \"$@\"; }\nloki dashboard start --port 57374\n";

/// A gateway that runs, and a token that may read everything.
const CALLER: &str = "curl() { command curl -fsS \"$@\"; }\nexport LOKI_ENTERPRISE_AUTH=true\n\
                      TOKEN=$(loki enterprise token generate reader --role auditor | sed -n 's/^Token: *//p')\n\
                      loki dashboard start --port 57374\n";

/// A gateway that runs, and a project.
const PROJECT: &str = "curl() { command curl -fsS \"$@\"; }\ngit init -q ~/projects/my-app\n\
                       export LOKI_WORKSPACE_ROOTS=$HOME/projects\nloki dashboard start --port 57374\n";

/// What a line of commands begins with.
const PROGRAMS: [&str; 12] = [
    "loki ",
    "loki-",
    "curl ",
    "docker ",
    "kubectl ",
    "sudo ",
    "make ",
    "cargo ",
    "openssl ",
    "export ",
    "git ",
    "systemctl ",
];

/// A block between two fences.
struct Block {
    /// What stands behind the first fence.
    language: String,
    /// The last line before it that is not empty.
    before: String,
    /// Where it begins.
    line: usize,
    text: String,
}

impl Block {
    fn is_shell(&self) -> bool {
        matches!(self.language.as_str(), "sh" | "bash" | "shell" | "console")
    }

    /// The text of a mark, if the line before is one of this kind.
    fn mark(&self, kind: &str) -> Option<&str> {
        let text = self.before.strip_prefix("<!-- ")?.strip_suffix(" -->")?;
        Some(text.strip_prefix(kind)?.strip_prefix(':')?.trim())
    }
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut before = String::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if let Some(language) = line.trim().strip_prefix("```") {
            let inner = lines.by_ref().map(|(_, line)| line);
            let inner: Vec<&str> = inner.take_while(|line| line.trim() != "```").collect();
            blocks.push(Block {
                language: language.to_owned(),
                before: std::mem::take(&mut before),
                line: number + 1,
                text: inner.join("\n"),
            });
        } else if !line.trim().is_empty() {
            line.trim().clone_into(&mut before);
        }
    }
    blocks
}

fn document(name: &str) -> String {
    fs::read_to_string(programs::project().join(name)).unwrap()
}

/// Every document of the project, by its name below the root.
fn documents() -> Vec<String> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/decisions", "deploy", "load", "tests"] {
        for entry in fs::read_dir(programs::project().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                let path: PathBuf = [folder, &name].iter().collect();
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    assert!(found.len() >= 35, "{found:?}");
    found
}

/// Whether a test of the suite or of `make attack` has this name.
fn exists(test: &str) -> bool {
    let Some((module, function)) = test.split_once("::") else {
        return false;
    };
    ["suite", "attack"].iter().any(|folder| {
        let file = programs::project().join(format!("tests/{folder}/{module}.rs"));
        let text = fs::read_to_string(file).unwrap_or_default();
        text.contains(&format!("\n#[test]\nfn {function}()"))
            || text.contains(&format!(")]\nfn {function}()"))
    })
}

#[test]
fn every_block_of_commands_is_run_or_says_by_which_test_or_why_not() {
    let mut wrong = Vec::new();
    for name in documents() {
        let is_run = RUN.iter().any(|(run, _, _)| *run == name);
        for block in blocks(&document(&name)) {
            let place = format!("{name}:{}", block.line);
            if !block.is_shell() {
                // The page of commands is written by the program, and judged as a whole.
                let is_text = matches!(block.language.as_str(), "" | "text");
                let commands = block
                    .text
                    .lines()
                    .any(|line| PROGRAMS.iter().any(|program| line.starts_with(program)));
                if is_text && commands && name != "docs/commands.md" {
                    wrong.push(format!(
                        "{place}: commands stand in a block that is no \"sh\""
                    ));
                }
            } else if let Some(reason) = block.mark("not run") {
                if reason.split(' ').count() < 3 {
                    wrong.push(format!("{place}: no reason: {reason:?}"));
                }
            } else if let Some(tests) = block.mark("run by") {
                for test in tests.split(',').map(str::trim) {
                    if !exists(test) {
                        wrong.push(format!("{place}: there is no test {test}"));
                    }
                }
            } else if !is_run {
                wrong.push(format!("{place}: neither run nor marked"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_block_without_a_mark_is_found() {
    let found =
        blocks("text\n\n<!-- not run: no engine here -->\n\n```sh\na\n```\n```sh\nb\n```\n");
    let marks: Vec<Option<&str>> = found.iter().map(|it| it.mark("not run")).collect();
    assert_eq!(marks, [Some("no engine here"), None]);
    assert!(!exists("command_blocks::no_such_test"));
    assert!(exists("command_blocks::a_block_without_a_mark_is_found"));
}

/// Runs the blocks of a document as one script in a new user's home, on a port of its own.
fn run(name: &str) -> String {
    let (_, expected, before) = RUN.iter().find(|(run, _, _)| *run == name).unwrap();
    let text = document(name);
    let unmarked: Vec<String> = blocks(&text)
        .into_iter()
        .filter(|block| block.is_shell())
        .filter(|block| block.mark("not run").is_none() && block.mark("run by").is_none())
        .map(|block| block.text)
        .collect();
    assert_eq!(unmarked.len(), *expected, "{name}: blocks to run");
    let installation = Installation::new();
    let project = programs::project().canonicalize().unwrap();
    let script = format!(
        "set -eu\ntrap 'loki dashboard stop >/dev/null 2>&1 || true' EXIT\n{before}{}\n",
        unmarked.join("\n")
    );
    let script = script
        .replace("57374", &free_port().to_string())
        .replace("path/to/loki-gateway", &project.display().to_string());
    let mut shell = installation.foreign_command("sh");
    shell.args(["-c", &script]).env("GIT_CONFIG_NOSYSTEM", "1");
    for who in ["AUTHOR", "COMMITTER"] {
        shell
            .env(format!("GIT_{who}_NAME"), "Ada")
            .env(format!("GIT_{who}_EMAIL"), "ada@example.org");
    }
    let finished = command::run(&mut shell);
    assert_eq!(finished.code, 0, "{name}:\n{script}\n{}", finished.text());
    installation.assert_nothing_runs();
    finished.text()
}

#[test]
fn the_tour_of_the_readme_runs() {
    let output = run("README.md");
    for expected in [
        "Token generated successfully!",
        "completed",
        "loki/session-",
        "session.start",
    ] {
        assert!(output.contains(expected), "{expected} is not in\n{output}");
    }
}

#[test]
fn the_commands_of_the_operations_guide_run() {
    let _output = run("docs/operations.md");
}

#[test]
fn the_commands_about_tokens_run() {
    let output = run("docs/tokens.md");
    assert!(output.contains("Token revoked: ci-bot"), "{output}");
}

#[test]
fn the_questions_to_the_audit_trail_run() {
    let output = run("docs/audit.md");
    assert!(output.contains("token.generate"), "{output}");
}

#[test]
fn the_commands_about_settings_run() {
    let output = run("docs/configuration.md");
    assert!(output.contains("The settings are in order."), "{output}");
}

#[test]
fn the_commands_about_metrics_run() {
    let output = run("docs/metrics.md");
    assert!(output.contains("loki_cost_usd"), "{output}");
}

#[test]
fn the_commands_about_projects_and_memory_run() {
    let output = run("docs/projects.md");
    assert!(output.contains("run the migrations first"), "{output}");
}
