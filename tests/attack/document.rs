//! The OpenAPI document against the real programs: `schemathesis` makes requests of it, lawful and not, and
//! judges the answers by it.

use std::fs;
use std::process::Command;

use tests::agent::Agent;
use tests::command;
use tests::counterpart;
use tests::deployment::Deployment;

#[test]
fn what_the_document_says_holds_for_requests_that_nobody_thought_of() {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_provider("claude", Agent::failing())
        .start();
    let token = deployment.token("admin", &["--role", "admin"]);
    let client = deployment.client().with_token(&token.raw);
    let document = client.get("/api/openapi.json").with_status(200);
    let path = deployment.root().join("openapi.json");
    fs::write(&path, document.text()).unwrap();
    let program = counterpart::folder("schemathesis").join("bin/schemathesis");
    let judged = command::run(
        Command::new(program)
            .arg("run")
            .arg(&path)
            .args(["--url", &deployment.endpoint().unwrap().url])
            .args(["--header", &format!("Authorization: Bearer {}", token.raw)])
            .args(["--phases", "coverage,fuzzing", "--max-examples", "10"])
            .args(["--max-time", "60", "--seed", "1", "--warnings", "off"])
            // Whether a project, a name or a time is there cannot be said in a schema.
            .args(["--exclude-checks", "positive_data_acceptance"])
            // Streams do not end; a token that is withdrawn could be the test's own.
            .args(["--exclude-path-regex", "^/ws$|/events$|/shell$|/revoke$"])
            .current_dir(deployment.root()),
    );
    let _clean = judged.ended_with(0);
    // Whatever was asked, both programs are well.
    let _well = client.get("/api/status").with_status(200);
}
