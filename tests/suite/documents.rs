//! The documentation is true: its commands run, its tables equal the code.

use std::fs;

use config::contract::openapi;
use config::contract::operation::{Access, OPERATIONS};
use config::gateway::GatewaySettings;
use config::load::Sources;
use config::load::variables::KNOWN;
use config::runtime::RuntimeSettings;
use tests::command;
use tests::deployment::Deployment;
use tests::installation::{Installation, free_port};
use tests::programs;

/// The mark before a block that is not run; it says why.
const NOT_RUN: &str = "<!-- not run:";

fn document(name: &str) -> String {
    fs::read_to_string(programs::project().join(name)).unwrap()
}

/// The shell blocks of a document that are to be run, in order.
fn blocks(text: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = text.lines();
    let mut before = "";
    while let Some(line) = lines.next() {
        if line.trim() == "```sh" {
            let block: Vec<&str> = lines
                .by_ref()
                .take_while(|line| line.trim() != "```")
                .collect();
            if !before.starts_with(NOT_RUN) {
                blocks.push(block.join("\n"));
            }
        }
        if !line.trim().is_empty() {
            before = line.trim();
        }
    }
    blocks
}

/// Runs a document's blocks as one script in a new user's home, on a port of its own.
fn run(name: &str, expected_blocks: usize) -> String {
    let blocks = blocks(&document(name));
    assert!(
        blocks.len() >= expected_blocks,
        "{name} has {} blocks to run",
        blocks.len()
    );
    let installation = Installation::new();
    let project = programs::project().canonicalize().unwrap();
    let script = format!(
        "set -eu\ntrap 'loki dashboard stop >/dev/null 2>&1 || true' EXIT\n{}\n",
        blocks.join("\n")
    );
    let script = script
        .replace("57374", &free_port().to_string())
        .replace("path/to/loki-gateway", &project.display().to_string());
    let finished = command::run(
        installation
            .foreign_command("sh")
            .args(["-c", &script])
            .env("GIT_AUTHOR_NAME", "Ada")
            .env("GIT_AUTHOR_EMAIL", "ada@example.org")
            .env("GIT_COMMITTER_NAME", "Ada")
            .env("GIT_COMMITTER_EMAIL", "ada@example.org")
            .env("GIT_CONFIG_NOSYSTEM", "1"),
    );
    assert_eq!(finished.code, 0, "{name}:\n{script}\n{}", finished.text());
    installation.assert_nothing_runs();
    finished.text()
}

#[test]
fn the_tour_of_the_readme_runs() {
    let output = run("README.md", 3);
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
    let _output = run("docs/operations.md", 1);
}

#[test]
fn every_block_is_run_or_says_why_not() {
    for name in [
        "README.md",
        "docs/operations.md",
        "docs/security.md",
        "docs/audit.md",
        "docs/metrics.md",
        "docs/configuration.md",
        "docs/api.md",
        "docs/ci.md",
        "docs/commands.md",
        "docs/comparison.md",
        "docs/faq.md",
        "docs/tokens.md",
        "docs/deployment.md",
        "docs/migration.md",
        "CONTRIBUTING.md",
    ] {
        let text = document(name);
        let all = text.lines().filter(|line| line.trim() == "```sh").count();
        let skipped = text
            .lines()
            .filter(|line| line.trim().starts_with(NOT_RUN))
            .count();
        let runs_here = matches!(name, "README.md" | "docs/operations.md");
        assert!(
            runs_here || all == skipped,
            "{name}: a block is neither run nor marked"
        );
    }
}

#[test]
fn the_page_of_commands_is_what_the_program_says() {
    let said = Installation::new().loki(&["manual", "--markdown"]);
    assert!(
        said.output().trim() == document("docs/commands.md").trim(),
        "docs/commands.md is stale: loki manual --markdown >docs/commands.md"
    );
}

#[test]
fn the_api_document_lists_every_operation() {
    let text = document("docs/api.md");
    let mut missing = Vec::new();
    for operation in OPERATIONS {
        let scope = match operation.access {
            Access::Public => "none".to_owned(),
            Access::Scoped(scope) => format!("`{scope}`"),
        };
        let row = format!(
            "| `{operation}` | {scope} | `{}` | {} |",
            operation.action, operation.summary
        );
        if !text.contains(&row) {
            missing.push(row);
        }
    }
    assert!(
        missing.is_empty(),
        "docs/api.md lacks\n{}",
        missing.join("\n")
    );
    let document = openapi::document(env!("CARGO_PKG_VERSION"));
    assert!(
        text.contains(&openapi::markdown::tables(&document)),
        "docs/api.md is stale: make docs"
    );
    // The first table; what operations are asked with has rows of its own.
    let rows = text.lines().take_while(|line| !line.contains("| member |"));
    let rows = rows.filter(|line| {
        ["| `GET ", "| `POST ", "| `PUT ", "| `DELETE "]
            .iter()
            .any(|start| line.starts_with(start))
    });
    assert_eq!(
        rows.count(),
        OPERATIONS.len(),
        "docs/api.md lists what does not exist"
    );
}

#[test]
fn the_configuration_document_lists_every_key_and_default() {
    let text = document("docs/configuration.md");
    let sources = || {
        let mut sources = Sources::default();
        sources
            .environment
            .insert("HOME".to_owned(), "~".to_owned());
        sources
            .environment
            .insert("LOKI_DATA_DIR".to_owned(), "/~/.loki".to_owned());
        sources
    };
    let gateway = GatewaySettings::load(sources()).unwrap().effective;
    let mut runtime_sources = sources();
    runtime_sources
        .environment
        .insert("HOME".to_owned(), "/~".to_owned());
    let runtime = RuntimeSettings::load(runtime_sources).unwrap().effective;
    let mut missing = Vec::new();
    for setting in gateway.iter().chain(&runtime) {
        let shown = setting.value.replace("/~", "~");
        let row = format!("| `{}` | `{shown}` |", setting.key);
        if !text.contains(&row) {
            missing.push(row);
        }
    }
    assert!(
        missing.is_empty(),
        "docs/configuration.md lacks\n{}",
        missing.join("\n")
    );
    for (name, _) in KNOWN {
        assert!(
            text.contains(&format!("`{name}`")),
            "docs/configuration.md lacks {name}"
        );
    }
}

#[test]
fn the_metrics_document_lists_every_family() {
    let text = document("docs/metrics.md");
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    let _counted = client.get("/api/status");
    let exported = client.get("/metrics").with_status(200);
    for line in exported.text().lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().unwrap();
            assert!(
                text.contains(&format!("`{name}")),
                "docs/metrics.md lacks {name}"
            );
        }
    }
}
