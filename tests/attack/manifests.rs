//! The manifests fit the schemas of Kubernetes, and the OpenAPI document fits its own.

use std::fs;
use std::process::Command;

use tests::command::{self, Finished};
use tests::counterpart;
use tests::deployment::Deployment;
use tests::programs;

/// The oldest release whose schemas have to be met.
const RELEASE: &str = "1.33";

#[test]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn the_manifests_fit_the_schemas_of_kubernetes() {
    let folder = programs::project().join("deploy/kubernetes");
    let validate = counterpart::folder("kubernetes-validate").join("bin/kubernetes-validate");
    let judge = |file: &str, input: Vec<u8>| {
        let mut command = Command::new(&validate);
        command
            .args(["--strict", "--kubernetes-version", RELEASE, file])
            .current_dir(&folder);
        command::run_with(&mut command, input)
    };
    let wrong =
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: wrong\nspec:\n  replicas: one\n";
    assert_ne!(judge("-", wrong.into()).code, 0);
    // Of what it has no schema for it only warns.
    let good = |finished: Finished| {
        assert!(!finished.text().contains("WARN"), "{finished}");
        assert!(
            finished.text().contains(" passed for resource "),
            "{finished}"
        );
        assert_eq!(finished.code, 0, "{finished}");
    };
    let mut judged = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".yaml") && name != "kustomization.yaml" {
            good(judge(&name, Vec::new()));
            judged += 1;
        }
    }
    assert!(judged >= 7, "only {judged} manifests");
    let mut kustomize = Command::new("kubectl");
    kustomize.args(["kustomize", "."]).current_dir(&folder);
    if kustomize.output().is_err() {
        eprintln!("skipped: kubectl is not installed, so the manifests were judged one by one");
        return;
    }
    let whole = command::run(&mut kustomize).output();
    assert!(whole.contains("namespace: loki"), "{whole}");
    good(judge("-", whole.into_bytes()));
}

#[test]
fn the_openapi_document_is_valid() {
    let deployment = Deployment::builder().start();
    let document = deployment
        .client()
        .get("/api/openapi.json")
        .with_status(200)
        .text()
        .to_owned();
    let path = deployment.root().join("openapi.json");
    fs::write(&path, document).unwrap();
    let python = counterpart::folder("openapi-spec-validator").join("bin/python3");
    let judged = command::run(
        Command::new(python)
            .args(["-m", "openapi_spec_validator", "--schema", "3.1"])
            .arg(&path),
    );
    let _valid = judged.ended_with(0);
}
