//! Scanners and conformance tools of others find nothing: testssl.sh, sslyze, nmap, h2load, varnishtest.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tests::capture::Capture;
use tests::certificate::Authority;
use tests::command::{self, Finished};
use tests::counterpart;
use tests::deployment::{Builder, Deployment};
use tests::poll;
use tests::programs;

/// Longest time for the slowest of them.
const PATIENCE: Duration = Duration::from_secs(900);

/// A gateway whose certificate strict checkers accept, and the authority's file.
struct Target {
    deployment: Deployment,
    authority: Authority,
    _folder: tempfile::TempDir,
}

impl Target {
    fn start(builder: Builder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::new(folder.path(), "scanners");
        let pair = authority.server("server");
        let deployment = builder
            .with_tokens()
            .with_variable("LOKI_TLS_CERT", &pair.certificate.display().to_string())
            .with_variable("LOKI_TLS_KEY", &pair.key.display().to_string())
            .start();
        Self {
            deployment,
            authority,
            _folder: folder,
        }
    }

    fn port(&self) -> String {
        let url = self.deployment.endpoint().expect("it listens").url;
        url.rsplit(':').next().expect("a port").to_owned()
    }

    fn place(&self) -> String {
        format!("localhost:{}", self.port())
    }

    /// Asserts that the gateway still does its work.
    fn assert_serves(&self) {
        let client = self.deployment.client();
        let _served = client.get("/health/live").with_status(200);
    }
}

/// Runs a program that may take minutes; its output goes by files, which never fill up.
fn run(command: &mut Command, folder: &Deployment) -> Finished {
    let line = format!("{command:?}");
    let path = |name: &str| folder.root().join(name);
    let file = |name: &str| fs::File::create(path(name)).expect("a file");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file("scanner.out"))
        .stderr(file("scanner.err"))
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    let status = poll::within(PATIENCE, &line, || child.try_wait().expect("its status"));
    let text = |name: &str| {
        let bytes = fs::read(path(name)).expect("its output");
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Finished {
        line,
        code: status.code().unwrap_or(-1),
        stdout: text("scanner.out"),
        stderr: text("scanner.err"),
    }
}

#[test]
fn testssl_finds_nothing_above_low() {
    /// What is said of a certificate that a test made for itself, and of this machine's own tools.
    const NOT_OURS: [&str; 7] = [
        "engine_problem",
        "cert_chain_of_trust",
        "cert_revocation",
        "cert_crlDistributionPoints",
        "cert_ocspURL",
        "DNS_CAArecord",
        "cert_trust",
    ];
    let target = Target::start(Deployment::builder());
    let report = target.deployment.root().join("testssl.json");
    let mut testssl = Command::new(counterpart::system("testssl"));
    testssl
        .args([
            "--quiet",
            "--color",
            "0",
            "--warnings",
            "off",
            "--ip",
            "127.0.0.1",
        ])
        .arg("--add-ca")
        .arg(target.authority.file())
        .arg("--jsonfile")
        .arg(&report)
        .arg(target.place());
    let finished = run(&mut testssl, &target.deployment);
    let text = fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {finished}"));
    let entries: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let severe: Vec<&Value> = entries
        .iter()
        .filter(|entry| {
            let severity = entry["severity"].as_str().unwrap_or_default();
            let id = entry["id"].as_str().unwrap_or_default();
            ["MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL"].contains(&severity)
                && !NOT_OURS.iter().any(|own| id.starts_with(own))
        })
        .collect();
    assert!(severe.is_empty(), "{severe:#?}");
    let simulated = entries.iter().filter(|entry| {
        let id = entry["id"].as_str().unwrap_or_default();
        id.starts_with("clientsimulation-")
    });
    assert!(
        simulated.count() > 20,
        "it did not come to its end: {finished}"
    );
    let overall = entries.iter().find(|entry| entry["id"] == "scanTime");
    assert!(overall.is_some(), "it did not come to its end: {finished}");
    target.assert_serves();
}

#[test]
fn sslyze_finds_the_intermediate_profile_and_with_the_newest_version_alone_the_modern_one() {
    let program = counterpart::folder("sslyze").join("bin/python3");
    for (profile, settings) in [
        ("intermediate", ""),
        ("modern", "[tls]\nversion_min = \"1.3\"\n"),
    ] {
        let target = Target::start(Deployment::builder().with_gateway_settings(settings));
        let mut sslyze = Command::new(&program);
        sslyze
            .args(["-m", "sslyze", "--certinfo_ca_file"])
            .arg(target.authority.file())
            .arg(format!("--mozilla_config={profile}"))
            .arg(target.place());
        let finished = run(&mut sslyze, &target.deployment);
        assert!(finished.stdout.contains("OK - Compliant"), "{finished}");
        assert_eq!(finished.code, 0, "{finished}");
        target.assert_serves();
    }
}

#[test]
fn nmap_grades_every_suite_with_the_best_letter() {
    let target = Target::start(Deployment::builder());
    let mut nmap = Command::new(counterpart::system("nmap"));
    nmap.args(["-Pn", "--script", "ssl-enum-ciphers", "-p", &target.port()])
        .arg("127.0.0.1");
    let finished = run(&mut nmap, &target.deployment);
    assert!(finished.stdout.contains("least strength: A"), "{finished}");
    for old in ["SSLv3", "TLSv1.0", "TLSv1.1"] {
        assert!(!finished.stdout.contains(old), "{finished}");
    }
    target.assert_serves();
}

#[test]
fn h2load_has_every_request_answered() {
    let target = Target::start(Deployment::builder());
    let url = format!("https://{}/health/live", target.place());
    for streams in ["1", "32", "100"] {
        let mut h2load = Command::new(counterpart::system("h2load"));
        h2load.args(["-n", "20000", "-c", "16", "-m", streams, &url]);
        let finished = run(&mut h2load, &target.deployment);
        let all = "20000 total, 20000 started, 20000 done, 20000 succeeded, 0 failed, 0 errored";
        assert!(finished.stdout.contains(all), "{finished}");
    }
    target.assert_serves();
}

#[test]
fn every_script_of_varnishtest_passes() {
    let folder = programs::project().join("tests/attacks/varnishtest");
    let mut scripts = Vec::new();
    for entry in fs::read_dir(&folder).expect("the scripts") {
        scripts.push(entry.expect("a script").path());
    }
    scripts.sort();
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in scripts {
        let deployment = Deployment::builder()
            .with_tokens()
            .without_runtime()
            .start();
        let socket = deployment.home().runtime_socket();
        let text = fs::read_to_string(&script).expect("a script");
        let place = socket.parent().expect("it lies in a folder");
        fs::create_dir_all(place).expect("a folder");
        // A script with a runtime of its own binds the socket itself.
        let capture = (!text.contains("server ")).then(|| Capture::listen(&socket, "{}"));
        let token = deployment.token("operator", &["--role", "operator"]);
        let url = deployment.endpoint().expect("it listens").url;
        let mut varnishtest = Command::new(counterpart::system("varnishtest"));
        varnishtest
            .arg("-D")
            .arg(format!("gateway={}", url.trim_start_matches("http://")))
            .arg("-D")
            .arg(format!("token={}", token.raw))
            .arg("-D")
            .arg(format!("socket={}", socket.display()))
            .arg(&script);
        let finished = command::run(&mut varnishtest);
        assert_eq!(finished.code, 0, "{}: {finished}", script.display());
        let marked = capture.map(|capture| capture.requests_for("GET /never"));
        assert_eq!(marked.unwrap_or_default(), [], "{}", script.display());
    }
}
