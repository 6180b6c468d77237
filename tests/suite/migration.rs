//! The feature description's deployment files, each changed line of them with why, against what is deployed.

use std::fs;

use tests::programs;

fn file(name: &str) -> String {
    fs::read_to_string(programs::project().join(name)).unwrap()
}

/// The lines of a section's diff, each with its mark, and the section's tables.
fn section(title: &str) -> (Vec<(char, String)>, String) {
    let text = file("docs/migration.md");
    let (_, section) = text.split_once(&format!("\n## {title}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let (_, diff) = section.split_once("```diff\n").unwrap();
    let (diff, tables) = diff.split_once("```\n").unwrap();
    let lines = diff.lines().map(|line| {
        let mark = line.chars().next().unwrap();
        (mark, line[1..].trim().to_owned())
    });
    (lines.collect(), tables.to_owned())
}

fn check(title: &str, seed: &str, deployed: &str) {
    let (lines, tables) = section(title);
    let old: Vec<&str> = lines
        .iter()
        .filter(|(mark, _)| *mark != '+')
        .map(|(_, line)| line.as_str())
        .collect();
    let seed: Vec<&str> = seed.lines().map(str::trim).collect();
    assert_eq!(old, seed, "{title}: its lines");
    let deployed = file(deployed);
    let deployed: Vec<&str> = deployed.lines().map(str::trim).collect();
    for (mark, line) in &lines {
        if *mark == '-' {
            let told = tables.contains(&format!("`{line}`"));
            assert!(told, "{title}: nothing says why {line:?} changed");
        } else {
            let is_there = deployed.contains(&line.as_str());
            assert!(is_there, "{title}: {line:?} is not what is deployed");
        }
    }
}

#[test]
fn each_changed_line_of_the_compose_file_is_shown_with_why() {
    check("The compose file", COMPOSE, "deploy/compose.yaml");
}

#[test]
fn each_changed_line_of_the_manifest_is_shown_with_why() {
    let deployed = "deploy/kubernetes/deployment.yaml";
    check("The Kubernetes manifest", MANIFEST, deployed);
}

/// As the feature description has it.
const COMPOSE: &str = r#"version: '3.8'
services:
loki-mode:
image: asklokesh/loki-mode:latest
ports:
- "57374:57374"
- "57374:57374"
environment:
- LOKI_ENTERPRISE_AUTH=true
- LOKI_ENTERPRISE_AUDIT=true
- LOKI_API_HOST=0.0.0.0
- LOKI_TLS_CERT=/certs/cert.pem
- LOKI_TLS_KEY=/certs/key.pem
- LOKI_BRANCH_PROTECTION=true
volumes:
- loki-data:/home/appuser/.loki
- ./projects:/projects:ro
healthcheck:
test: ["CMD", "python", "-c", "import urllib.request; urllib.request.urlopen('http://localhost:57374/health')"]
interval: 30s
timeout: 10s
retries: 3
volumes:
loki-data:"#;

/// As the feature description has it.
const MANIFEST: &str = r#"apiVersion: 7.2.0
kind: Deployment
metadata:
name: loki-mode
spec:
replicas: 1
selector:
matchLabels:
app: loki-mode
template:
metadata:
labels:
app: loki-mode
spec:
containers:
- name: loki-mode
image: asklokesh/loki-mode:latest
ports:
- containerPort: 57374
- containerPort: 57374
env:
- name: LOKI_ENTERPRISE_AUTH
value: "true"
- name: LOKI_ENTERPRISE_AUDIT
value: "true"
livenessProbe:
httpGet:
path: /health/live
port: 57374
initialDelaySeconds: 10
periodSeconds: 30
readinessProbe:
httpGet:
path: /health/ready
port: 57374
initialDelaySeconds: 5
periodSeconds: 10"#;
