use config::contract::scope::Role;
use config::gateway::oidc::{GOOGLE, Grant, TokenKind};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::attacks::{issuer, now};
use super::super::fault::Fault;
use super::super::jws::{Opened, Payload};
use super::check;

fn payload(claims: &Value) -> Payload {
    let mut all = json!({
        "iss": "https://issuer.test", "aud": "client", "sub": "alice",
        "exp": 1_800_000_300, "iat": 1_799_999_990,
    });
    for (name, value) in claims.as_object().expect("object") {
        all[name] = value.clone();
    }
    Payload::new(all.to_string().into_bytes())
}

fn opened(payload: &Payload) -> Opened<'_> {
    Opened {
        media_type: None,
        payload,
    }
}

fn claim(path: &str, otherwise: Option<Role>) -> Grant {
    Grant::Claim {
        path: path.to_owned(),
        otherwise,
    }
}

fn scopes(grant: Grant, claims: &Value) -> String {
    let mut issuer = issuer(TokenKind::Id);
    issuer.grant = grant;
    check(opened(&payload(claims)), &issuer, now())
        .map(|claims| claims.grants.scopes.to_string())
        .expect("good claims")
}

#[test]
fn a_missing_or_strange_claim_grants_nothing() {
    for (path, claims) in [
        ("roles", json!({})),
        ("roles", json!({"roles": null})),
        ("roles", json!({"roles": true})),
        ("roles", json!({"roles": {"admin": true}})),
        ("roles", json!({"roles": [["admin"]]})),
        ("roles", json!({"roles": ["admin", 1]})),
        ("roles", json!({"roles": []})),
        ("roles", json!({"roles": "Admin"})),
        ("roles", json!({"roles": "admin,viewer"})),
        ("roles", json!({"roles": " admin"})),
        ("roles", json!({"roles": "administrator"})),
        ("roles", json!({"role": "admin"})),
        ("realm_access.roles", json!({"realm_access": ["admin"]})),
        (
            "realm_access.roles",
            json!({"realm_access": {"roles": {"admin": 1}}}),
        ),
        ("realm_access.roles", json!({"roles": "admin"})),
    ] {
        assert_eq!(scopes(claim(path, None), &claims), "", "{claims}");
        let otherwise = Some(Role::Viewer);
        assert_eq!(scopes(claim(path, otherwise), &claims), "read", "{claims}");
    }
}

#[test]
fn named_roles_grant_their_union() {
    for (path, claims, expected) in [
        ("roles", json!({"roles": "admin"}), "*"),
        ("roles", json!({"roles": ["viewer"]}), "read"),
        (
            "roles",
            json!({"roles": ["staff", "auditor"]}),
            "read, audit",
        ),
        (
            "roles",
            json!({"roles": ["operator", "auditor"]}),
            "control, write, read, audit",
        ),
        (
            "realm_access.roles",
            json!({"realm_access": {"roles": ["viewer"]}}),
            "read",
        ),
        (
            "https://a.example/roles",
            json!({"https://a.example/roles": ["viewer"]}),
            "read",
        ),
    ] {
        assert_eq!(scopes(claim(path, None), &claims), expected, "{claims}");
    }
    assert_eq!(scopes(Grant::Everything, &json!({})), "*");
    assert_eq!(
        scopes(Grant::Role(Role::Auditor), &json!({"roles": "admin"})),
        "read, audit"
    );
}

#[test]
fn accounts_of_other_domains_are_refused() {
    let check = |url: &str, claims: Value, expected: bool| {
        let mut issuer = issuer(TokenKind::Id);
        url.clone_into(&mut issuer.url);
        issuer.allowed_domains = vec!["example.org".to_owned()];
        let mut all = claims.clone();
        all["iss"] = url.into();
        let found = super::check(opened(&payload(&all)), &issuer, now());
        if expected {
            assert!(found.is_ok(), "{claims}");
        } else {
            assert_eq!(found, Err(Fault::Domain), "{claims}");
        }
    };
    let mail =
        |address: &str, verified: Value| json!({"email": address, "email_verified": verified});
    check(GOOGLE, json!({}), false);
    check(GOOGLE, mail("a@example.org", true.into()), false);
    check(GOOGLE, json!({"hd": "example.org.evil.test"}), false);
    check(GOOGLE, json!({"hd": ["example.org"]}), false);
    check(GOOGLE, json!({"hd": "Example.org"}), true);
    let other = "https://issuer.test";
    check(other, json!({}), false);
    check(other, json!({"hd": "example.org"}), false);
    check(other, mail("a@example.org", "true".into()), false);
    check(other, mail("a@example.org", false.into()), false);
    check(other, mail("a@sub.example.org", true.into()), false);
    check(other, mail("a@evil.test@example.org", true.into()), false);
    check(other, mail("@example.org", true.into()), false);
    check(other, mail("a@EXAMPLE.org", true.into()), true);
}

#[test]
fn an_unverified_address_names_nobody() {
    let email = |claims: Value| {
        check(opened(&payload(&claims)), &issuer(TokenKind::Id), now())
            .expect("good claims")
            .email
    };
    assert_eq!(email(json!({"email": "a@b.test"})), None);
    assert_eq!(
        email(json!({"email": "a@b.test", "email_verified": "true"})),
        None
    );
    assert_eq!(
        email(json!({"email": "a\n@b.test", "email_verified": true})),
        None
    );
    assert_eq!(
        email(json!({"email": "a@b.test", "email_verified": true})),
        Some("a@b.test".to_owned())
    );
}

#[test]
fn times_are_judged_to_the_second() {
    let good =
        |claims: Value| check(opened(&payload(&claims)), &issuer(TokenKind::Id), now()).is_ok();
    assert!(!good(json!({"exp": 1_799_999_970})));
    assert!(good(json!({"exp": 1_799_999_971})));
    assert!(good(json!({"exp": 1_799_999_971.9})));
    assert!(!good(json!({"nbf": 1_800_000_031})));
    assert!(good(json!({"nbf": 1_800_000_030})));
    assert!(!good(json!({"iat": 1_800_000_031})));
    assert!(good(json!({"iat": 1_800_000_030})));
}

proptest! {
    #[test]
    fn a_missing_claim_never_grants(name in "[a-z.]{1,20}", value in ".{0,20}") {
        let mut claims = json!({});
        claims["other"] = value.into();
        prop_assume!(name != "other" && name.parse::<Role>().is_err());
        prop_assume!(!["iss", "aud", "sub"].contains(&name.as_str()));
        prop_assert_eq!(scopes(claim(&name, None), &claims), "");
    }
}
