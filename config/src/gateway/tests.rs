use std::path::PathBuf;

use super::GatewaySettings;
use crate::load::{Effective, Sources};

pub(crate) fn sources(variables: &[(&str, &str)]) -> Sources {
    Sources {
        environment: std::iter::once(("HOME", "/home/you"))
            .chain(variables.iter().copied())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        ..Sources::default()
    }
}

fn mistakes(sources: Sources) -> Vec<String> {
    match GatewaySettings::load(sources) {
        Ok(_) => Vec::new(),
        Err(mistakes) => mistakes.0.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_bad_value_is_refused_by_its_variable() {
    for (name, value) in [
        ("LOKI_ENTERPRISE_AUTH", "enabled"),
        ("LOKI_ENTERPRISE_AUDIT", "maybe"),
        ("LOKI_AUDIT_DISABLED", "2"),
        ("LOKI_DASHBOARD_PORT", "57374x"),
        ("LOKI_DASHBOARD_PORT", "65536"),
        ("LOKI_DASHBOARD_HOST", "example.org"),
        ("LOKI_API_HOST", "0.0.0.0:80"),
        ("LOKI_TLS_CERT", ""),
        ("LOKI_TLS_CERT", "cert.pem"),
        ("LOKI_TLS_KEY", "key.pem"),
        ("LOKI_DASHBOARD_CORS", "*"),
        ("LOKI_DASHBOARD_CORS", "https://a.example/path"),
        ("LOKI_TRUSTED_PROXIES", "proxy.example"),
        ("LOKI_DATA_DIR", "relative"),
        ("LOKI_LOG", "loud"),
        ("LOKI_LOG_FORMAT", "xml"),
        ("LOKI_OIDC_SKIP_SIGNATURE_VERIFY", "false"),
        ("LOKI_AUDIT_NO_INTEGRITY", "true"),
        ("LOKI_OIDC_ISSUER", "https://accounts.google.com"),
        ("LOKI_OIDC_CLIENT_ID", "id"),
        ("LOKI_OIDC_AUDIENCE", "id"),
        ("LOKI_AUDIT_SYSLOG_PROTO", "relp"),
        ("LOKI_AUDIT_SYSLOG_PORT", "many"),
    ] {
        let found = mistakes(sources(&[(name, value)]));
        assert!(
            found.len() == 1 && found[0].starts_with(name),
            "{name}={value}: {found:?}"
        );
    }
}

#[test]
fn the_offline_part_is_read_although_other_settings_have_mistakes() {
    let (home, audit_enabled) = super::offline(sources(&[
        ("LOKI_DATA_DIR", "/srv/loki"),
        ("LOKI_AUDIT_DISABLED", "true"),
        ("LOKI_TLS_CERT", "cert.pem"),
    ]))
    .expect("these two are in order");
    assert_eq!(home.directory(), PathBuf::from("/srv/loki"));
    assert!(!audit_enabled);
    for (name, value) in [("LOKI_DATA_DIR", "relative"), ("LOKI_AUDIT_DISABLED", "2")] {
        assert!(
            super::offline(sources(&[(name, value)])).is_err(),
            "{name}={value}"
        );
    }
}

#[test]
fn an_open_door_is_refused() {
    let tls = [("LOKI_TLS_CERT", "c.pem"), ("LOKI_TLS_KEY", "k.pem")];
    let auth = ("LOKI_ENTERPRISE_AUTH", "true");
    let host = ("LOKI_API_HOST", "0.0.0.0");
    assert_eq!(mistakes(sources(&[host])).len(), 1);
    assert_eq!(mistakes(sources(&[host, auth])).len(), 1);
    assert_eq!(mistakes(sources(&[host, tls[0], tls[1]])).len(), 1);
    assert!(mistakes(sources(&[host, auth, tls[0], tls[1]])).is_empty());
    let insecure = |variables: &[(&str, &str)]| {
        let flag = Some("true".to_owned());
        sources(variables).with_flag("--dangerously-allow-insecure-bind", flag)
    };
    assert_eq!(mistakes(insecure(&[host])).len(), 1);
    assert!(mistakes(insecure(&[host, ("LOKI_TRUSTED_PROXIES", "10.0.0.0/8")])).is_empty());
}

#[test]
fn hosts_that_disagree_are_refused() {
    let both = [
        ("LOKI_API_HOST", "127.0.0.1"),
        ("LOKI_DASHBOARD_HOST", "::1"),
    ];
    assert_eq!(mistakes(sources(&both)).len(), 1);
    let flag = sources(&both[..1]).with_flag("--host", Some("::1".to_owned()));
    assert_eq!(mistakes(flag).len(), 1);
    let alike = sources(&both[..1]).with_flag("--host", Some("127.0.0.1".to_owned()));
    assert!(mistakes(alike).is_empty());
}

#[test]
fn all_mistakes_are_told_at_once_with_file_line_and_key() {
    let text =
        "[listen]\nport = \"80\"\nhots = \"::1\"\n[audit]\nenabled = 1\n[extra]\nx = 1979-05-27\n";
    let mut sources = sources(&[("LOKI_LOG", "loud")]);
    sources.file = Some((PathBuf::from("/etc/gateway.toml"), text.to_owned()));
    assert_eq!(
        mistakes(sources),
        [
            "/etc/gateway.toml:7: extra.x: expected a text, a number, true, false, or a list of texts",
            "/etc/gateway.toml:2: listen.port: expected a whole number, without quotes",
            "/etc/gateway.toml:5: audit.enabled: expected true or false, without quotes",
            "LOKI_LOG: log.level: \"loud\" is not one of error, warn, info, debug, trace",
            "/etc/gateway.toml:3: listen.hots: unknown key; did you mean listen.host?",
        ]
    );
}

#[test]
fn an_unknown_variable_is_a_warning_with_the_nearest_name() {
    let loaded = GatewaySettings::load(sources(&[("LOKI_ENTERPRISE_AUHT", "true")]));
    let warnings = loaded.expect("only a warning").warnings;
    assert_eq!(
        warnings,
        ["unknown variable LOKI_ENTERPRISE_AUHT has no effect; did you mean LOKI_ENTERPRISE_AUTH?"]
    );
}

#[test]
fn flags_beat_variables_beat_the_file() {
    let port = |sources: Sources| {
        let loaded = GatewaySettings::load(sources).expect("valid");
        let origin = loaded.effective.iter().find(|row| row.key == "listen.port");
        (
            loaded.settings.listen.address.port(),
            origin.expect("port").origin.to_string(),
        )
    };
    let mut all = sources(&[("LOKI_DASHBOARD_PORT", "2")]);
    assert_eq!(port(sources(&[])), (57_374, "default".to_owned()));
    all.file = Some((PathBuf::from("/g.toml"), "[listen]\nport = 1\n".to_owned()));
    assert_eq!(port(all.clone()), (2, "LOKI_DASHBOARD_PORT".to_owned()));
    let flag = all.clone().with_flag("--port", Some("3".to_owned()));
    assert_eq!(port(flag), (3, "--port".to_owned()));
    all.environment.remove("LOKI_DASHBOARD_PORT");
    assert_eq!(port(all), (1, "/g.toml:2".to_owned()));
}

#[test]
fn the_audit_switches_work_as_documented() {
    let enabled = |variables: &[(&str, &str)]| {
        let loaded = GatewaySettings::load(sources(variables)).expect("valid");
        loaded.settings.audit.enabled
    };
    assert!(enabled(&[]));
    assert!(!enabled(&[("LOKI_AUDIT_DISABLED", "true")]));
    assert!(enabled(&[
        ("LOKI_AUDIT_DISABLED", "true"),
        ("LOKI_ENTERPRISE_AUDIT", "true")
    ]));
    assert!(enabled(&[("LOKI_ENTERPRISE_AUDIT", "false")]));
}

#[test]
fn the_sample_equals_the_defaults() {
    let mut with_sample = sources(&[]);
    // What has no default stands as prose, with a blank after its mark.
    let text: String = include_str!("../../gateway.toml")
        .lines()
        .map(uncomment)
        .collect();
    with_sample.file = Some((PathBuf::from("gateway.toml"), text));
    let values = |sources: Sources| -> Vec<(String, String)> {
        let loaded = GatewaySettings::load(sources).expect("valid");
        loaded
            .effective
            .into_iter()
            .map(|Effective { key, value, .. }| (key, value))
            .collect()
    };
    assert_eq!(values(with_sample), values(sources(&[])));
}

/// Makes a commented setting a real one; prose has a blank after its mark.
pub(crate) fn uncomment(line: &str) -> String {
    match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with(' ') => format!("{setting}\n"),
        Some(_) | None => format!("{line}\n"),
    }
}
