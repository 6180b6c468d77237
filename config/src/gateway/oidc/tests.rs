use super::{Algorithm, Grant, Issuer, TokenKind};
use crate::contract::scope::Role;
use crate::gateway::GatewaySettings;
use crate::load::Sources;

const OKTA: &str = "https://your-org.okta.com";
const GOOGLE: &str = super::GOOGLE;
const ID: (&str, &str) = ("LOKI_OIDC_CLIENT_ID", "client");

fn sources(variables: &[(&str, &str)], file: &str) -> Sources {
    Sources {
        environment: std::iter::once(&("HOME", "/home/you"))
            .chain(variables)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        file: Some(("gateway.toml".into(), file.to_owned())),
        ..Sources::default()
    }
}

fn issuer(variables: &[(&str, &str)], file: &str) -> (Issuer, usize) {
    let loaded = GatewaySettings::load(sources(variables, file)).expect("settings");
    assert!(loaded.settings.tokens_required);
    let issuer = loaded.settings.issuers.into_iter().next().expect("issuer");
    (issuer, loaded.warnings.len())
}

fn check(place: &str, variables: &[(&str, &str)], file: &str) {
    let mistakes = GatewaySettings::load(sources(variables, file)).expect_err(place);
    let shown: Vec<_> = mistakes.0.iter().map(ToString::to_string).collect();
    assert!(shown.len() == 1 && shown[0].starts_with(place), "{shown:?}");
}

const fn of(url: &str) -> (&str, &str) {
    ("LOKI_OIDC_ISSUER", url)
}

#[test]
fn issuers_that_may_not_be_used_are_refused() {
    let place = "LOKI_OIDC_ISSUER";
    for url in [
        "",
        "your-org.okta.com",
        "ftp://your-org.okta.com",
        "http://your-org.okta.com",
        "http://127.0.0.1:8080",
        "https://",
        "https://your-org.okta.com?x",
        "https://you@your-org.okta.com",
        "https://your org.okta.com",
        "https://login.microsoftonline.com/{tenant}/v2.0",
        "https://login.microsoftonline.com/common/v2.0",
        "https://login.microsoftonline.com/organizations/v2.0",
        "https://login.microsoftonline.com/",
        "https://token.actions.githubusercontent.com",
        "https://token.actions.githubusercontent.com/my-enterprise",
        "https://github.example.org/_services/token",
        "https://gitlab.com",
        GOOGLE,
        "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0",
    ] {
        check(place, &[of(url), ID], "");
    }
}

#[test]
fn a_mistake_beside_the_issuer_names_its_place() {
    let place = "LOKI_OIDC_ISSUER";
    check(place, &[of(OKTA)], "");
    check("LOKI_OIDC_CLIENT_ID", &[ID], "");
    check("LOKI_OIDC_CLIENT_ID", &[of(OKTA), (ID.0, "")], "");
    check("LOKI_OIDC_CLIENT_ID", &[of(OKTA), (ID.0, "{client}")], "");
    check(
        place,
        &[of(GOOGLE), ID, ("LOKI_OIDC_DEFAULT_ROLE", "admin")],
        "",
    );
    for (name, value) in [
        ("LOKI_OIDC_AUDIENCE", ""),
        ("LOKI_OIDC_ROLES_CLAIM", "realm_access..roles"),
        ("LOKI_OIDC_DEFAULT_ROLE", "root"),
        ("LOKI_OIDC_ALLOWED_DOMAINS", ""),
        ("LOKI_OIDC_ALLOWED_DOMAINS", "*"),
        ("LOKI_OIDC_ALLOWED_DOMAINS", "@example.org"),
        ("LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT", "maybe"),
    ] {
        check(name, &[of(OKTA), ID, (name, value)], "");
    }
    for (name, value) in [
        ("LOKI_OIDC_AUDIENCE", "a"),
        ("LOKI_OIDC_ROLES_CLAIM", "roles"),
        ("LOKI_OIDC_DEFAULT_ROLE", "viewer"),
        ("LOKI_OIDC_ALLOWED_DOMAINS", "example.org"),
        ("LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT", "true"),
    ] {
        check(name, &[(name, value)], "");
    }
    for line in [
        "algorithms = [\"HS256\"]",
        "algorithms = [\"none\"]",
        "algorithms = []",
        "leeway = \"61s\"",
        "stale_keys_max = \"8d\"",
        "token_kind = \"any\"",
    ] {
        check(
            "gateway.toml:2",
            &[of(OKTA), ID],
            &format!("[oidc]\n{line}\n"),
        );
    }
}

#[test]
fn the_documented_examples_start() {
    let (okta, warnings) = issuer(&[("LOKI_OIDC_ISSUER", OKTA), ID], "");
    assert_eq!(
        (okta.audiences[0].as_str(), okta.grant, warnings),
        ("client", Grant::Everything, 1)
    );
    assert_eq!(okta.token_kind, TokenKind::Id);
    assert_eq!(okta.algorithms, Algorithm::DEFAULT);
    let azure = "https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0";
    let (azure, _) = issuer(
        &[
            ("LOKI_OIDC_ISSUER", azure),
            ID,
            ("LOKI_OIDC_AUDIENCE", "api"),
        ],
        "",
    );
    assert_eq!(azure.audiences, ["api"]);
    let google = |more| issuer(&[("LOKI_OIDC_ISSUER", GOOGLE), ID, more], "");
    let (domains, warnings) = google(("LOKI_OIDC_ALLOWED_DOMAINS", "example.org, example.com"));
    assert_eq!((domains.allowed_domains.len(), warnings), (2, 1));
    let (viewer, warnings) = google(("LOKI_OIDC_DEFAULT_ROLE", "viewer"));
    assert_eq!((viewer.grant, warnings), (Grant::Role(Role::Viewer), 0));
    let (any, warnings) = google(("LOKI_OIDC_DANGEROUSLY_TRUST_ANY_ACCOUNT", "true"));
    assert_eq!((any.grant, warnings), (Grant::Everything, 1));
}

#[test]
fn plain_http_is_for_loopback_alone() {
    let file = "[oidc]\nallow_loopback_http = true\n";
    for url in [
        "http://127.0.0.1:1",
        "http://[::1]:1",
        "http://localhost:1/realm",
    ] {
        assert_eq!(issuer(&[("LOKI_OIDC_ISSUER", url), ID], file).0.url, url);
    }
    for url in [
        "http://10.0.0.1",
        "http://127.0.0.1.evil.test",
        "http://localhost.evil.test",
    ] {
        let variables = [("LOKI_OIDC_ISSUER", url), ID];
        assert!(
            GatewaySettings::load(sources(&variables, file)).is_err(),
            "{url}"
        );
    }
}
