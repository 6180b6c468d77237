//! The load test: whom it may be sent to, what counts as a failure, and that it compares what it says.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::certificate::Certificate;
use tests::command::{self, Finished};
use tests::deployment::Deployment;
use tests::programs;

fn loki_load(arguments: &[&str]) -> Finished {
    let mut command = Command::new(programs::path("loki-load"));
    command::run(command.args(arguments))
}

#[test]
fn load_goes_elsewhere_only_if_somebody_owns_the_target() {
    for url in ["http://192.0.2.1/", "https://198.51.100.1:57374/api/status"] {
        let refused = loki_load(&["run", url, "--duration", "1"]).ended_with(2);
        assert!(refused.text().contains("--i-own-this-target"), "{refused}");
    }
}

#[test]
fn a_scenario_without_its_credential_is_refused_by_name() {
    for (scenario, flag) in [
        ("opaque", "--token-file"),
        ("many-tokens", "--token-file"),
        ("cached-jwt", "--jwt-file"),
        ("expired", "--expired-token-file"),
        ("too-little-scope", "--narrow-token-file"),
        ("rotation", "loki-load lab"),
    ] {
        let url = "http://127.0.0.1:1/";
        let refused = loki_load(&["run", url, "--scenario", scenario]).ended_with(2);
        assert!(refused.text().contains(flag), "{scenario}: {refused}");
    }
}

/// A gateway with tokens and TLS, and the files that a load test of it needs.
struct Ground {
    deployment: Deployment,
    files: tempfile::TempDir,
    certificate: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let pair = Certificate::good(files.path(), "server");
        let deployment = Deployment::builder()
            .with_tokens()
            .with_variable("LOKI_TLS_CERT", &pair.certificate.display().to_string())
            .with_variable("LOKI_TLS_KEY", &pair.key.display().to_string())
            .start();
        let token = deployment.token("load", &["--role", "viewer"]);
        fs::write(files.path().join("token"), token.raw).unwrap();
        Self {
            deployment,
            files,
            certificate: pair.certificate,
        }
    }

    fn file(&self, name: &str) -> String {
        self.files.path().join(name).display().to_string()
    }

    fn run(&self, path: &str, more: &[&str]) -> Finished {
        let url = format!("{}{path}", self.deployment.endpoint().unwrap().url);
        let ca = self.certificate.display().to_string();
        let token = self.file("token");
        let mut arguments = vec!["run", &url, "--ca", &ca, "--token-file", &token];
        arguments.extend(["--duration", "1", "--warm-up", "0", "--connections", "4"]);
        arguments.extend(more);
        loki_load(&arguments)
    }
}

#[test]
fn a_wrong_answer_is_a_failure() {
    let ground = Ground::new();
    // No credential where one is needed.
    let wrong = ground.run("/api/status", &["--scenario", "open"]);
    assert!(wrong.ended_with(1).text().contains("UNEXPECTED"));
}

#[test]
fn a_running_gateway_is_measured_in_both_protocols_and_compared() {
    let ground = Ground::new();
    let (json, html) = (ground.file("report.json"), ground.file("report.html"));
    let scenarios = [
        "--scenario",
        "opaque",
        "--scenario",
        "unknown",
        "--scenario",
        "handshakes",
    ];
    let output = ["--json", json.as_str(), "--html", html.as_str()];
    let done = ground.run("/api/status", &[&scenarios[..], &output[..]].concat());
    let table = done.output();
    assert!(table.contains("target/opaque"), "{table}");
    let mut report: Value = serde_json::from_slice(&fs::read(&json).unwrap()).unwrap();
    let figures = report["figures"].as_array().unwrap();
    let statuses = |place: usize| figures[place]["statuses"].as_object().unwrap();
    assert!(statuses(0).keys().eq(["200"]), "{report}");
    assert!(
        statuses(1)
            .keys()
            .all(|status| status == "401" || status == "429")
    );
    assert!(
        figures
            .iter()
            .all(|figure| figure["count"].as_u64() > Some(0))
    );
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("<svg") && !page.contains("<script"), "{page}");

    // An older report that was a thousand times faster makes this one slower, and that a failure.
    for figure in report["figures"].as_array_mut().unwrap() {
        let faster = figure["per_second"].as_f64().unwrap() * 1_000.0;
        figure["per_second"] = faster.into();
    }
    fs::write(&json, report.to_string()).unwrap();
    let slower = ["--scenario", "opaque", "--compare", json.as_str()];
    let slower = ground.run("/api/status", &slower);
    assert!(slower.ended_with(1).text().contains("SLOWER"));

    let two = [
        "--protocol",
        "http2",
        "--streams",
        "3",
        "--scenario",
        "opaque",
        "--rate",
        "200",
    ];
    let two = ground.run("/api/status", &two);
    assert!(two.output().contains("200: "));
}

#[test]
fn the_lab_compares_the_gateway_with_the_baseline_and_judges_budgets() {
    let files = tempfile::tempdir().unwrap();
    let json = files.path().join("report.json").display().to_string();
    let budgets = files.path().join("budgets.toml");
    let lab = |budget: &str| {
        fs::write(&budgets, budget).unwrap();
        let budgets = budgets.display().to_string();
        let mut arguments = vec!["lab", "--rounds", "1", "--seconds", "1", "--no-pinning"];
        for name in [
            "bare/open-http2",
            "gateway/cached-jwt-http2",
            "gateway/rotation",
            "gateway/sse",
            "gateway/web-socket",
        ] {
            arguments.extend(["--only", name]);
        }
        arguments.extend(["--budgets", &budgets, "--json", &json]);
        loki_load(&arguments)
    };
    let within = lab(
        "[[budget]]\nname = 'a ratio'\nfigure = 'gateway/cached-jwt-http2'\n\
         over = 'bare/open-http2'\nmetric = 'per_second'\nat_least = 0.001\n",
    );
    let within = within.ended_with(0);
    assert!(within.text().contains("holds"), "{within}");
    let report: Value = serde_json::from_slice(&fs::read(Path::new(&json)).unwrap()).unwrap();
    assert_eq!(report["judgements"][0]["holds"], true, "{report}");
    let beyond = lab(
        "[[budget]]\nname = 'too fast'\nfigure = 'gateway/cached-jwt-http2'\n\
         metric = 'per_second'\nat_least = 1000000000\n",
    );
    assert!(beyond.ended_with(1).text().contains("MISSED"));
}
