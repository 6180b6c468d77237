//! The profiles of the compose file, and what is laid over it: each is accepted, and those whose programs can
//! be had here run.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tests::command;
use tests::composed::{Composed, Plan};
use tests::counterpart;
use tests::engine::{BASE, Engine};
use tests::poll;
use tests::programs;
use tests::token::Token;

fn config(arguments: &[&str]) -> String {
    let mut compose = Command::new("/usr/bin/docker-compose");
    compose
        .args(arguments)
        .current_dir(programs::project().join("deploy"));
    command::run(&mut compose).output()
}

#[test]
fn each_profile_is_accepted_and_starts_what_it_says() {
    let shown = config(&["--file", "compose.yaml", "config"]);
    let services = |profile: &str| {
        let mut names: Vec<&str> = Vec::new();
        let mut service = "";
        let mut in_profiles = false;
        for line in shown.lines() {
            match line.strip_prefix("  ") {
                Some(name) if !name.starts_with(' ') => service = name.trim_end_matches(':'),
                Some(key) if key.starts_with("  ") && !key.trim_start().starts_with('-') => {
                    in_profiles = key.trim() == "profiles:";
                }
                _ => (),
            }
            if in_profiles && line.trim() == format!("- {profile}") {
                names.push(service);
            }
        }
        names.join(" ")
    };
    for (profile, expected) in [
        ("prometheus", "prometheus"),
        ("grafana", "grafana prometheus"),
        ("syslog", "syslog"),
        ("identity", "identity"),
    ] {
        let _accepted = config(&[
            "--file",
            "compose.yaml",
            "--profile",
            profile,
            "config",
            "--quiet",
        ]);
        assert_eq!(services(profile), expected, "{profile:?} in\n{shown}");
    }
}

#[test]
fn the_sandbox_is_laid_over_without_losing_a_protection() {
    let files = ["--file", "compose.yaml", "--file", "compose.sandbox.yaml"];
    let shown = config(&[&files[..], &["config"]].concat());
    for line in [
        "systempaths=unconfined",
        "no-new-privileges:true",
        "seccomp:runtime-seccomp.json",
        "LOKI_SANDBOX_MODE: \"true\"",
        "read_only: true",
    ] {
        assert!(shown.contains(line), "{line} is not in\n{shown}");
    }
}

#[test]
fn the_trail_reaches_the_syslog_profile_and_prometheus_scrapes_with_its_token() {
    let plan = Plan {
        profiles: &["syslog", "prometheus"],
        variables: &[
            ("LOKI_AUDIT_SYSLOG_HOST", "syslog"),
            ("LOKI_AUDIT_SYSLOG_PORT", "5514"),
            ("LOKI_AUDIT_SYSLOG_PROTO", "tcp"),
            ("LOKI_PROMETHEUS_IMAGE", "loki-test-prometheus"),
        ],
        images: &[("deploy/syslog.Dockerfile", "loki-syslog")],
        prepare: Some(prometheus),
        ..Plan::default()
    };
    let Some(composed) = Composed::start(plan) else {
        return;
    };
    composed.until_healthy("gateway");
    composed.until_healthy("syslog");
    forwarded(&composed);
    scraped(&composed);
    let _down = composed.compose(&["down", "-v"]);
}

/// Makes an image of the Prometheus that is installed here, laid out as its makers' image is.
fn prometheus(engine: &Engine) {
    let folder = engine.folder("prometheus-image");
    fs::create_dir(&folder).unwrap();
    let program = counterpart::system("prometheus");
    fs::copy(program, folder.join("prometheus")).unwrap();
    let text = format!(
        "FROM {BASE}\nCOPY prometheus /bin/prometheus\nRUN install -d -o nobody /prometheus\n\
         USER nobody\nVOLUME /prometheus\nENTRYPOINT [\"/bin/prometheus\"]\n\
         CMD [\"--config.file=/etc/prometheus/prometheus.yml\", \"--storage.tsdb.path=/prometheus\"]\n"
    );
    fs::write(folder.join("Dockerfile"), text).unwrap();
    let place = folder.display().to_string();
    let _image = engine.docker(&["build", "--quiet", "--tag", "loki-test-prometheus", &place]);
}

fn forwarded(composed: &Composed) {
    let kept = poll::within(
        4 * poll::PATIENCE,
        "the receiver has the first token",
        || {
            let kept = composed.exec("syslog", &["cat", "/var/log/loki/audit.jsonl"]);
            let has = kept.stdout.contains("\"token.generate\"");
            has.then_some(kept.stdout)
        },
    );
    for line in kept.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        assert!(record["seq"].is_u64() && line.starts_with('{'), "{line}");
    }
}

fn scraped(composed: &Composed) {
    let line = "run --rm -T gateway loki enterprise token generate prometheus --role viewer";
    let arguments: Vec<&str> = line.split(' ').collect();
    let token = Token::read(&composed.compose(&arguments)).raw;
    let networks = composed.inspect("prometheus")["NetworkSettings"]["Networks"].clone();
    let address = networks["loki_edge"]["IPAddress"]
        .as_str()
        .unwrap()
        .to_owned();
    let ask = |target: &str| -> Option<Value> {
        let mut curl = composed.engine.inside("curl");
        curl.args(["-sS", "-g", &format!("http://{address}:9090{target}")]);
        serde_json::from_str(&command::run(&mut curl).stdout).ok()
    };
    let up = |wanted: &str| {
        poll::within(8 * poll::PATIENCE, "the gateway is scraped", || {
            let found = ask("/api/v1/query?query=up{job=\"loki\"}")?;
            let value = found["data"]["result"][0]["value"][1].as_str()?;
            (value == wanted).then_some(())
        });
    };
    // Without its token it is refused; the file is read at each scrape.
    up("0");
    fs::write(composed.engine.folder("certs/metrics.token"), token).unwrap();
    up("1");
    let rules = ask("/api/v1/rules").unwrap();
    assert!(rules.to_string().contains("LokiGatewayDown"), "{rules}");
}
