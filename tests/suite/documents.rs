//! The documentation is true: its tables and lists equal the code. Its commands: `command_blocks`.

use std::fs;

use config::contract::openapi;
use config::contract::operation::{Access, OPERATIONS};
use config::gateway::GatewaySettings;
use config::load::Sources;
use config::load::variables::KNOWN;
use config::runtime::RuntimeSettings;
use tests::deployment::Deployment;
use tests::installation::Installation;
use tests::programs;

fn document(name: &str) -> String {
    fs::read_to_string(programs::project().join(name)).unwrap()
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
