//! The files by which it is deployed are hardened, and agree with what the programs accept.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use config::gateway::GatewaySettings;
use config::load::Sources;
use config::runtime::RuntimeSettings;
use serde_json::Value;
use tests::command;
use tests::programs;

fn path(name: &str) -> PathBuf {
    programs::project().join("deploy").join(name)
}

fn file(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_image_ends_as_appuser_with_a_health_check_and_a_base_of_choice() {
    for (name, command) in [
        ("gateway.Dockerfile", "CMD [\"loki-gateway\"]"),
        ("runtime.Dockerfile", "CMD [\"loki-runtime\"]"),
        ("sandbox.Dockerfile", "CMD [\"loki-jail\", \"probe\"]"),
        (
            "syslog.Dockerfile",
            "CMD [\"rsyslogd\", \"-n\", \"-i\", \"/tmp/rsyslogd.pid\", \"-f\", \"/etc/rsyslog.conf\"]",
        ),
        (
            "all-in-one.Dockerfile",
            "CMD [\"loki\", \"dashboard\", \"start\", \"--foreground\"]",
        ),
    ] {
        let text = file(name);
        let users: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("USER "))
            .collect();
        assert_eq!(users, ["appuser"], "{name}");
        assert!(text.contains("\nHEALTHCHECK "), "{name}");
        assert!(text.contains("\nFROM ${BASE_IMAGE}\n"), "{name}");
        assert!(text.ends_with(&format!("{command}\n")), "{name}");
        assert!(!text.contains(":latest"), "{name}");
    }
}

#[test]
fn the_seccomp_profile_allows_the_jail_and_nothing_dangerous() {
    let profile: Value = serde_json::from_str(&file("runtime-seccomp.json")).unwrap();
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    let names: Vec<&str> = profile["syscalls"][0]["names"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap())
        .collect();
    assert!(names.is_sorted(), "the names are not in order");
    let allowed: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(allowed.len(), names.len(), "a name stands twice");
    for needed in [
        "landlock_create_ruleset",
        "landlock_restrict_self",
        "seccomp",
        "unshare",
        "mount",
        "pivot_root",
        "sethostname",
        "openat2",
        "pidfd_open",
    ] {
        assert!(allowed.contains(needed), "{needed} is needed");
    }
    for dangerous in [
        "acct",
        "add_key",
        "bpf",
        "clock_settime",
        "delete_module",
        "fanotify_init",
        "finit_module",
        "init_module",
        "io_uring_setup",
        "ioperm",
        "iopl",
        "kcmp",
        "kexec_file_load",
        "kexec_load",
        "keyctl",
        "nfsservctl",
        "open_by_handle_at",
        "perf_event_open",
        "process_vm_writev",
        "ptrace",
        "quotactl",
        "reboot",
        "request_key",
        "settimeofday",
        "swapon",
        "syslog",
        "userfaultfd",
        "vhangup",
    ] {
        assert!(!allowed.contains(dangerous), "{dangerous} is allowed");
    }
}

#[test]
fn compose_publishes_the_gateway_alone_and_hardens_both() {
    let text = file("compose.yaml");
    let services = text.split_once("\nservices:\n").unwrap().1;
    let services = services.split_once("\nnetworks:\n").unwrap().0;
    let service = |name: &str| {
        let start = services.find(&format!("  {name}:\n")).unwrap();
        let rest = &services[start..];
        let end = rest.find("\n\n").unwrap_or(rest.len());
        &rest[..end]
    };
    for name in ["gateway", "runtime"] {
        for line in [
            "read_only: true",
            "cap_drop: [ALL]",
            "- no-new-privileges:true",
            "mem_limit:",
            "cpus:",
            "pids_limit:",
        ] {
            assert!(service(name).contains(line), "{name} lacks {line}");
        }
    }
    assert!(service("gateway").contains("\n    ports:\n"));
    assert!(!service("runtime").contains("\n    ports:\n"));
    assert!(service("runtime").contains("- seccomp=runtime-seccomp.json"));
    assert!(service("gateway").contains("condition: service_healthy"));
    for forbidden in [
        "privileged:",
        ":latest",
        "docker.sock",
        "network_mode: host",
    ] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_manifest_has_the_documented_probes_and_is_restricted() {
    let text = file("kubernetes/deployment.yaml");
    let flat: Vec<&str> = text.lines().map(str::trim).collect();
    let after = |first: &str, lines: &[&str]| {
        let start = flat.iter().position(|line| *line == first);
        let start = start.unwrap_or_else(|| panic!("no line {first}"));
        assert_eq!(flat[start + 1..=start + lines.len()], *lines, "{first}");
    };
    let probe = |path: &'static str, delay: &'static str, period: &'static str| {
        [
            "httpGet:",
            path,
            "port: 57374",
            "scheme: HTTPS",
            delay,
            period,
        ]
    };
    let live = probe(
        "path: /health/live",
        "initialDelaySeconds: 10",
        "periodSeconds: 30",
    );
    after("livenessProbe:", &live);
    let ready = probe(
        "path: /health/ready",
        "initialDelaySeconds: 5",
        "periodSeconds: 10",
    );
    after("readinessProbe:", &ready);
    let namespace = file("kubernetes/namespace.yaml");
    assert!(namespace.contains("pod-security.kubernetes.io/enforce: restricted"));
    for line in [
        "runAsNonRoot: true",
        "automountServiceAccountToken: false",
        "localhostProfile: loki/runtime-seccomp.json",
    ] {
        assert!(flat.contains(&line), "{line}");
    }
    for user in [
        "securityContext: &runtime-user",
        "securityContext: &gateway-user",
    ] {
        assert!(flat.contains(&user), "{user}");
    }
    let written = flat
        .iter()
        .filter(|line| **line == "readOnlyRootFilesystem: true");
    assert_eq!(written.count(), 3, "a container may write its root");
    for forbidden in ["privileged: true", "hostPath", "hostNetwork", "docker.sock"] {
        assert!(!text.contains(forbidden), "{forbidden}");
    }
}

#[test]
fn the_settings_of_containers_are_accepted() {
    for name in ["runtime.toml", "kubernetes/runtime.toml"] {
        let sources = Sources {
            file: Some((path(name), file(name))),
            environment: [
                ("LOKI_DATA_DIR", "/data/loki"),
                ("LOKI_RUNTIME_SOCKET", "/run/loki/runtime.sock"),
                ("LOKI_STATEMENT_KEY", "/run/loki/statement.key"),
                ("LOKI_GATEWAY_USER", "1001"),
                ("LOKI_WORKSPACE_ROOTS", "/projects"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            ..Sources::default()
        };
        let loaded = RuntimeSettings::load(sources).unwrap();
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{name}");
        assert_eq!(loaded.settings.gateway_user.as_deref(), Some("1001"));
    }
}

#[test]
fn the_gateway_s_settings_of_containers_are_accepted() {
    for (name, issuer) in [
        ("gateway.toml", "https://idp.example.org"),
        ("identity/gateway.toml", "https://identity:5556/dex"),
    ] {
        let sources = Sources {
            file: Some((path(name), file(name))),
            environment: [
                ("LOKI_DATA_DIR", "/data/loki"),
                ("LOKI_ENTERPRISE_AUTH", "true"),
                ("LOKI_API_HOST", "0.0.0.0"),
                ("LOKI_TLS_CERT", "/run/secrets/tls_cert"),
                ("LOKI_TLS_KEY", "/run/secrets/tls_key"),
                ("LOKI_OIDC_ISSUER", issuer),
                ("LOKI_OIDC_CLIENT_ID", "loki"),
                ("LOKI_AUDIT_SYSLOG_HOST", "syslog"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
            ..Sources::default()
        };
        let loaded = GatewaySettings::load(sources).unwrap();
        let [issuer] = loaded.settings.issuers.as_slice() else {
            panic!("{name}: {:?}", loaded.settings.issuers);
        };
        let own = name.starts_with("identity/");
        assert_eq!(issuer.allow_private_addresses, own, "{name}");
    }
    // The provider is the one that the compose file's head names, and has no password of ours.
    let provider = file("identity/dex.yaml");
    assert!(provider.contains("\nissuer: https://identity:5556/dex\n"));
    assert!(provider.contains("hashFromEnv: IDENTITY_PASSWORD_HASH"));
    assert!(
        !provider.contains("hash: "),
        "a password that everybody knows"
    );
}

#[test]
#[expect(clippy::print_stderr, reason = "what is skipped is said")]
fn the_units_are_no_more_exposed_than_stated() {
    let document = fs::read_to_string(programs::project().join("docs/deployment.md")).unwrap();
    assert!(
        document.contains("exposure 1.4 (gateway), 3.0 (runtime), 3.3 (runtime with the sandbox)")
    );
    // As a machine has them, with what is laid over a unit in a folder beside it.
    let root = tempfile::tempdir().unwrap();
    let units = root.path().join("etc/systemd/system");
    let programs = root.path().join("usr/bin");
    let over = units.join("loki-runtime.service.d");
    for folder in [&over, &programs] {
        fs::create_dir_all(folder).unwrap();
    }
    for name in ["loki-gateway", "loki-runtime"] {
        let unit = format!("{name}.service");
        fs::copy(path("systemd").join(&unit), units.join(&unit)).unwrap();
        fs::copy("/bin/true", programs.join(name)).unwrap();
    }
    let judge = |unit: &str, tenths: u32| {
        let mut judge = std::process::Command::new("systemd-analyze");
        judge
            .args(["security", "--offline=yes", "--no-pager"])
            .arg(format!("--root={}", root.path().display()))
            .arg(format!("--threshold={tenths}"))
            .arg(unit);
        judge
    };
    if judge("loki-gateway.service", 14).output().is_err() {
        eprintln!("skipped: systemd-analyze is not installed");
        return;
    }
    let check = |unit: &str, tenths: u32| {
        let finished = command::run(&mut judge(unit, tenths));
        assert_eq!(finished.code, 0, "{finished}");
        let better = command::run(&mut judge(unit, tenths - 1));
        assert_ne!(better.code, 0, "{unit} is better than stated");
    };
    check("loki-gateway.service", 14);
    check("loki-runtime.service", 30);
    let sandbox = path("systemd/loki-runtime.sandbox.conf");
    fs::copy(sandbox, over.join("sandbox.conf")).unwrap();
    check("loki-runtime.service", 33);
}
