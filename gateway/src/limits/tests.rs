use config::gateway::Listen;
use config::limit::Limits;
use http::Version;
use pingora::http::RequestHeader;

use super::{check, check_site};
use crate::refusal::Refusal;

fn limits() -> Limits {
    let loaded = config::gateway::GatewaySettings::load(config::load::Sources::default());
    loaded.expect("defaults are valid").settings.limits
}

fn header(target: &[u8], fields: &[(&str, &str)]) -> RequestHeader {
    let mut header = RequestHeader::build("GET", target, None).expect("header");
    header.set_version(Version::HTTP_11);
    for (name, value) in fields {
        header
            .append_header((*name).to_owned(), *value)
            .expect("field");
    }
    header
}

#[test]
fn disguised_paths_are_refused() {
    for target in [
        "/api/../metrics",
        "/./api/status",
        "/api//status",
        "//api/status",
        "/api/status/..",
        "/api%2Fstatus",
        "/api/%2e%2e/status",
        "/api\\status",
        "/api/status;x=1",
        "/api/sessions/%00",
        "*",
        "http://other/api/status",
    ] {
        let header = header(target.as_bytes(), &[("host", "localhost")]);
        assert!(
            matches!(check(&header, &limits()), Err(Refusal::Malformed(_))),
            "{target}"
        );
    }
}

#[test]
fn fields_that_two_readers_could_read_differently_are_refused() {
    let refused: &[&[(&str, &str)]] = &[
        &[],
        &[("host", "")],
        &[("host", "a b")],
        &[("host", "a,b")],
        &[("host", "a/b")],
        &[("host", "user@host")],
        &[("host", "host:99999")],
        &[("host", "[::1")],
        &[("host", "a%2eb")],
        &[("host", "a"), ("host", "a")],
        &[
            ("host", "a"),
            ("content-length", "1"),
            ("content-length", "1"),
        ],
        &[("host", "a"), ("content-length", "1, 1")],
        &[("host", "a"), ("content-length", "+1")],
        &[("host", "a"), ("content-length", "")],
        &[
            ("host", "a"),
            ("content-length", "1"),
            ("transfer-encoding", "chunked"),
        ],
        &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
        &[
            ("host", "a"),
            ("transfer-encoding", "chunked"),
            ("transfer-encoding", "chunked"),
        ],
        &[("host", "a"), ("transfer-encoding", "identity")],
        &[("host", "a"), ("x_loki_caller", "forged")],
    ];
    for fields in refused {
        let header = header(b"/api/status", fields);
        assert!(
            matches!(check(&header, &limits()), Err(Refusal::Malformed(_))),
            "{fields:?}"
        );
    }
}

#[test]
fn what_is_over_a_limit_is_refused() {
    let long = "x".repeat(9_000);
    let target = format!("/{long}");
    let over = header(target.as_bytes(), &[("host", "a")]);
    assert_eq!(check(&over, &limits()), Err(Refusal::TargetTooLong));
    let fields: Vec<(&str, &str)> = std::iter::once(("host", "a"))
        .chain((0..4).map(|_| ("x-filler", long.as_str())))
        .collect();
    let over = header(b"/", &fields);
    assert_eq!(check(&over, &limits()), Err(Refusal::HeaderTooLong));
    let many: Vec<(&str, &str)> = std::iter::once(("host", "a"))
        .chain((0..100).map(|_| ("x-filler", "")))
        .collect();
    assert_eq!(
        check(&header(b"/", &many), &limits()),
        Err(Refusal::HeaderTooLong)
    );
}

#[test]
fn plain_requests_pass() {
    for (target, host) in [
        ("/", "localhost"),
        ("/api/status", "localhost:57374"),
        (
            "/api/enterprise/audit?user=a%20b&limit=1",
            "127.0.0.1:57374",
        ),
        ("/api/sessions/sess-1/events?after=0", "[::1]:57374"),
        ("/api/", "gateway.example.org"),
    ] {
        let header = header(target.as_bytes(), &[("host", host)]);
        assert_eq!(check(&header, &limits()), Ok(()), "{target} {host}");
    }
}

#[test]
fn foreign_hosts_and_origins_are_refused() {
    let listen = |host_names: &[&str], origins: &[&str]| Listen {
        address: ([127, 0, 0, 1], 0).into(),
        host_names: host_names.iter().map(ToString::to_string).collect(),
        origins: origins.iter().map(ToString::to_string).collect(),
        trusted_proxies: Vec::new(),
        dangerously_allow_insecure_bind: false,
    };
    let check = |listen: &Listen, tokens: bool, fields: &[(&str, &str)], expected| {
        let header = header(b"/api/status", fields);
        assert_eq!(
            check_site(&header, listen, tokens, "http"),
            expected,
            "{fields:?}"
        );
    };
    let plain = listen(&[], &[]);
    check(
        &plain,
        false,
        &[("host", "evil.example")],
        Err(Refusal::ForeignHost),
    );
    check(
        &plain,
        false,
        &[("host", "localhost.evil.example")],
        Err(Refusal::ForeignHost),
    );
    check(&plain, true, &[("host", "gateway.example")], Ok(()));
    let named = listen(&["gateway.example"], &["https://console.example"]);
    check(
        &named,
        true,
        &[("host", "evil.example")],
        Err(Refusal::ForeignHost),
    );
    check(&named, true, &[("host", "GATEWAY.example:443")], Ok(()));
    let own = ("host", "localhost:57374");
    for (origin, expected) in [
        ("https://evil.example", Err(Refusal::ForeignOrigin)),
        ("null", Err(Refusal::ForeignOrigin)),
        ("http://localhost", Err(Refusal::ForeignOrigin)),
        ("https://localhost:57374", Err(Refusal::ForeignOrigin)),
        ("http://localhost:57374", Ok(())),
        ("https://console.example", Ok(())),
    ] {
        check(&named, false, &[own, ("origin", origin)], expected);
    }
    check(
        &plain,
        false,
        &[own, ("sec-fetch-site", "cross-site")],
        Err(Refusal::ForeignOrigin),
    );
    check(
        &plain,
        false,
        &[own, ("sec-fetch-site", "same-site")],
        Err(Refusal::ForeignOrigin),
    );
    check(
        &plain,
        false,
        &[own, ("sec-fetch-site", "same-origin")],
        Ok(()),
    );
    check(&plain, false, &[own], Ok(()));
}
