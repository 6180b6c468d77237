//! Both formats of `/metrics` before the judges that others wrote: the reference parser, promtool,
//! and a Prometheus that scrapes with TLS and a token. Rules and dashboard name what is exported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;
use tests::client::{Client, Response};
use tests::command;
use tests::counterpart;
use tests::deployment::Deployment;
use tests::installation::free_port;
use tests::poll;
use tests::process;
use tests::programs;

const OPEN: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

fn scrape(client: &Client, accept: &str) -> Response {
    let request = client.request("GET", "/metrics");
    request.field("Accept", accept).send().with_status(200)
}

fn open(client: &Client) -> String {
    let answer = scrape(
        client,
        "application/openmetrics-text;version=1.0.0,*/*;q=0.1",
    );
    assert_eq!(answer.field("content-type"), Some(OPEN));
    answer.text().to_owned()
}

/// A deployment of which every family has something to show.
fn busy() -> Deployment {
    let deployment = Deployment::builder()
        .with_tokens()
        .with_tls()
        .with_variable("LOKI_AUDIT_SYSLOG_HOST", "127.0.0.1")
        .with_variable("LOKI_AUDIT_SYSLOG_PORT", &free_port().to_string())
        .start();
    let _refused = deployment.client().get("/api/status").with_status(401);
    deployment
}

/// Returns the names of the samples of an exposition.
fn names(text: &str) -> BTreeSet<String> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_open_format_is_given_to_who_asks_for_it() {
    let deployment = Deployment::builder().start();
    let client = deployment.client();
    for accept in ["*/*", "text/plain", "text/plain;version=0.0.4, */*;q=0.1"] {
        let answer = scrape(&client, accept);
        let kind = answer.field("content-type").unwrap();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(!answer.text().contains("# EOF"));
    }
    let text = open(&client);
    assert!(text.ends_with("\n# EOF\n"));
    let plain = scrape(&client, "text/plain");
    let differing: Vec<_> = names(plain.text())
        .symmetric_difference(&names(&text))
        .cloned()
        .collect();
    assert_eq!(differing, [""; 0], "both show the same");
}

/// Reads an exposition with the reference parser and prints its samples.
const PARSER: &str = "
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
samples = 0
for family in text_string_to_metric_families(sys.stdin.read()):
    for sample in family.samples:
        samples += 1
        print(family.type, sample.name, sorted(sample.labels.items()), sample.value)
assert samples > 50, samples
";

#[test]
fn the_reference_parser_reads_the_open_format() {
    let deployment = busy();
    let token = deployment.token("scraper", &["--role", "viewer"]);
    let text = open(&deployment.client().with_token(&token.raw));
    let python = counterpart::folder("prometheus_client").join("bin/python3");
    let finished = piped(Command::new(python).args(["-c", PARSER]), &text);
    assert_eq!(finished.0, 0, "{}\n{text}", finished.1);
    for sample in [
        "counter loki_events_total [] 0",
        "gauge loki_tasks_total [('status', 'pending')] 0",
        "gauge loki_session_status [] 0",
        "counter loki_gateway_refusals_total [('reason', 'no_credential')] 1",
    ] {
        assert!(
            finished.1.contains(sample),
            "{sample} is not in\n{}",
            finished.1
        );
    }
}

#[test]
fn promtool_finds_nothing_wrong_but_the_documented_names() {
    let deployment = busy();
    let token = deployment.token("scraper", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let text = scrape(&client, "text/plain");
    let mut promtool = Command::new(counterpart::system("promtool"));
    let (_code, told) = piped(promtool.args(["check", "metrics"]), text.text());
    // The feature description names two gauges as counters are named.
    let unexpected: Vec<&str> = told
        .lines()
        .filter(|line| {
            !line.starts_with("loki_tasks_total ") && !line.starts_with("loki_agents_total ")
        })
        .collect();
    assert_eq!(unexpected, [""; 0]);
}

#[test]
fn the_rules_pass_their_own_tests() {
    let rules = programs::project().join("deploy/prometheus");
    let promtool = || {
        let mut command = Command::new(counterpart::system("promtool"));
        command.current_dir(&rules);
        command
    };
    let checked = command::run(promtool().args(["check", "rules", "loki.rules.yaml"]));
    assert_eq!(checked.code, 0, "{checked}");
    let tested = command::run(promtool().args(["test", "rules", "loki.rules.test.yaml"]));
    assert_eq!(tested.code, 0, "{tested}");
}

/// Returns the words of a query that can be names of series.
fn series(query: &str) -> Vec<&str> {
    query
        .split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| {
            ["loki_", "loki:", "process_"]
                .iter()
                .any(|start| word.starts_with(start))
        })
        .collect()
}

#[test]
fn rules_and_dashboard_name_exported_series_alone() {
    let deployment = busy();
    let token = deployment.token("scraper", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let _read = client.get("/api/status").with_status(200);
    let mut known = names(scrape(&client, "text/plain").text());
    // Only with an issuer.
    known.insert("loki_gateway_issuer_keys_age_seconds".to_owned());
    let project = programs::project();
    let rules = fs::read_to_string(project.join("deploy/prometheus/loki.rules.yaml")).unwrap();
    for line in rules.lines() {
        if let Some(name) = line.trim().strip_prefix("- record: ") {
            known.insert(name.to_owned());
        }
    }
    let mut named: Vec<(String, &str)> = Vec::new();
    let dashboard = project.join("deploy/grafana/loki-gateway.json");
    let dashboard: Value = serde_json::from_slice(&fs::read(dashboard).unwrap()).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let queries: Vec<&str> = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().unwrap())
        .map(|target| target["expr"].as_str().unwrap())
        .collect();
    assert!(queries.len() > 20, "{}", queries.len());
    for query in &queries {
        let found = series(query);
        assert!(!found.is_empty(), "{query} names no series of ours");
        named.extend(found.into_iter().map(|name| ("dashboard".to_owned(), name)));
    }
    let statements = rules
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    for line in statements.filter(|line| !line.contains("- record:")) {
        named.extend(
            series(line)
                .into_iter()
                .map(|name| ("rules".to_owned(), name)),
        );
    }
    let missing: Vec<_> = named
        .iter()
        .filter(|(_, name)| !known.contains(*name))
        .collect();
    assert!(missing.is_empty(), "not exported: {missing:?}");
}

/// A Prometheus on a port of its own.
struct Prometheus {
    child: Child,
    client: Client,
}

impl Prometheus {
    fn scraping(deployment: &Deployment, token: &str, place: &Path) -> Self {
        fs::write(place.join("token"), token).unwrap();
        let endpoint = deployment.endpoint().unwrap();
        let (_, address) = endpoint.url.split_once("://").unwrap();
        let port = address.rsplit_once(':').unwrap().1;
        let certificate = deployment.root().join("server-cert.pem");
        let settings = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n  - job_name: loki\n    scheme: https\n    \
             authorization: {{credentials_file: {token}}}\n    tls_config: {{ca_file: {ca}}}\n    \
             static_configs: [{{targets: [\"localhost:{port}\"]}}]\n",
            token = place.join("token").display(),
            ca = certificate.display(),
        );
        fs::write(place.join("prometheus.yaml"), settings).unwrap();
        let listen = free_port();
        let log = fs::File::create(place.join("log")).unwrap();
        let child = Command::new(counterpart::system("prometheus"))
            .arg(format!(
                "--config.file={}",
                place.join("prometheus.yaml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                place.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{listen}"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{listen}").parse().unwrap();
        Self {
            child,
            client: Client::plain(address),
        }
    }

    /// Returns the value of a query; none if it has none yet.
    fn value(&self, query: &str) -> Option<f64> {
        let query = query
            .replace('{', "%7B")
            .replace('}', "%7D")
            .replace('"', "%22");
        let answer = self
            .client
            .request("GET", &format!("/api/v1/query?query={query}"))
            .try_send()?;
        let answer: Value = serde_json::from_slice(&answer.body).ok()?;
        answer["data"]["result"][0]["value"][1]
            .as_str()?
            .parse()
            .ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        process::signal(self.child.id(), Signal::TERM);
        if let Err(error) = self.child.wait() {
            assert!(std::thread::panicking(), "{error}");
        }
    }
}

#[test]
fn a_real_prometheus_scrapes_with_tls_and_token_and_counts_what_was_sent() {
    let deployment = busy();
    let token = deployment.token("scraper", &["--role", "viewer"]);
    let client = deployment.client().with_token(&token.raw);
    let place = tempfile::tempdir().unwrap();
    let prometheus = Prometheus::scraping(&deployment, &token.raw, place.path());
    for _ in 0..37 {
        let _read = client.get("/api/status").with_status(200);
    }
    let count = "loki_gateway_requests_total{operation=\"status.show\",status_class=\"2xx\"}";
    poll::until("the scrape shows every request", || {
        (prometheus.value(count) == Some(37.0)).then_some(())
    });
    assert_eq!(prometheus.value("up"), Some(1.0));
    assert_eq!(prometheus.value("loki_session_status"), Some(0.0));
}

/// Runs a program on an input to its end; returns its code and everything that it printed.
fn piped(command: &mut Command, input: &str) -> (i32, String) {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), input).unwrap();
    let output = command
        .stdin(fs::File::open(file.path()).unwrap())
        .output()
        .unwrap();
    let printed = [output.stdout, output.stderr].concat();
    let printed = String::from_utf8_lossy(&printed).into_owned();
    (output.status.code().unwrap(), printed)
}
