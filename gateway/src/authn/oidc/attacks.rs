//! Changed tokens and unusable keys: none may pass. What an attacker would bring is listed in
//! `tests/attacks/tokens.toml`, which the suite brings to a running gateway.

mod forge;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use config::contract::scope::Role;
use config::gateway::oidc::{Algorithm, Grant, Issuer, TokenKind};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, crypto};
use std::time::Duration;

use super::claims::{self, Claims};
use super::fault::Fault;
use super::jws::Sealed;
use super::key::KeySet;
use super::rules::Grants;
use forge::Forge;

/// A payload with nothing wrong.
const GOOD: &str = r#"{"iss":"https://issuer.test","aud":"client","sub":"alice","exp":1800000300,"iat":1799999990}"#;

pub(super) fn issuer(token_kind: TokenKind) -> Issuer {
    Issuer {
        name: "default".to_owned(),
        url: "https://issuer.test".to_owned(),
        client_id: Some("client".to_owned()),
        audiences: vec!["client".to_owned()],
        token_kind,
        algorithms: Algorithm::DEFAULT.to_vec(),
        allowed_domains: Vec::new(),
        grant: Grant::Everything,
        leeway: Duration::from_secs(30),
        stale_keys_max: Duration::from_secs(86_400),
        max_age: None,
        lifetime_max: Duration::from_secs(3_600),
        ca: None,
        allow_loopback_http: false,
        allow_private_addresses: false,
    }
}

pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("time")
}

/// The way of every token: take apart, find the issuer, check the signature, check the claims.
fn judge(token: &str, keys: &KeySet, issuer: &Issuer) -> Result<Claims, Fault> {
    let sealed = Sealed::read(token, &issuer.algorithms)?;
    if sealed.claimed_issuer()? != issuer.url {
        return Err(Fault::Issuer);
    }
    claims::check(sealed.open(keys)?, issuer, now())
}

#[test]
fn any_changed_byte_is_noticed() {
    let forge = Forge::new();
    let good = forge.token(forge::Signer::Es, r#"{"alg":"ES256","kid":"es"}"#, GOOD);
    for position in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
        let token = String::from_utf8(bytes).expect("text");
        let judged = judge(&token, &forge.keys(), &issuer(TokenKind::Id));
        assert!(judged.is_err(), "byte {position}");
    }
}

#[test]
fn good_tokens_of_every_algorithm_pass() {
    let forge = Forge::new();
    let mut every = issuer(TokenKind::Id);
    every.algorithms = Algorithm::EVERY.to_vec();
    for (signer, header) in [
        (forge::Signer::Rs256, r#"{"alg":"RS256","kid":"rs"}"#),
        (forge::Signer::Ps256, r#"{"alg":"PS256","kid":"rs"}"#),
        (
            forge::Signer::Es,
            r#"{"alg":"ES256","kid":"es","typ":"JWT"}"#,
        ),
        (forge::Signer::Ed, r#"{"alg":"EdDSA","kid":"ed"}"#),
        (forge::Signer::Ed, r#"{"alg":"EdDSA"}"#),
        // What a header says about keys is not looked at.
        (
            forge::Signer::Ed,
            r#"{"alg":"EdDSA","kid":"ed","jku":"http://127.0.0.1:1/","x5c":["AAAA"]}"#,
        ),
    ] {
        let token = forge.token(signer, header, GOOD);
        let judged = judge(&token, &forge.keys(), &every);
        let expected = Claims {
            subject: "alice".to_owned(),
            email: None,
            grants: Grants {
                scopes: Role::Admin.scopes(),
                role: Some(Role::Admin),
                ..Grants::default()
            },
            expires: 1_800_000_300,
            until: 1_800_000_330,
            issued_at: DateTime::from_timestamp(1_799_999_990, 0),
        };
        assert_eq!(judged, Ok(expected), "{header}");
    }
}

#[test]
fn another_library_judges_signatures_alike() {
    let forge = Forge::new();
    for (signer, id, ours, theirs) in [
        (
            forge::Signer::Rs256,
            "rs",
            Algorithm::Rs256,
            jsonwebtoken::Algorithm::RS256,
        ),
        (
            forge::Signer::Ps256,
            "rs",
            Algorithm::Ps256,
            jsonwebtoken::Algorithm::PS256,
        ),
        (
            forge::Signer::Es,
            "es",
            Algorithm::Es256,
            jsonwebtoken::Algorithm::ES256,
        ),
        (
            forge::Signer::Ed,
            "ed",
            Algorithm::EdDsa,
            jsonwebtoken::Algorithm::EdDSA,
        ),
    ] {
        let jwk: Jwk = serde_json::from_str(&forge.jwk(id, "")).expect("a key");
        let their_key = DecodingKey::from_jwk(&jwk).expect("a key for signatures");
        let keys = forge.keys();
        let our_key = keys.candidates(Some(id), ours).next().expect("the key");
        let token = forge.token(signer, "{}", GOOD);
        let (whole, signature) = token.rsplit_once('.').expect("a token");
        let good = URL_SAFE_NO_PAD.decode(signature).expect("base64url");
        let flipped = |position: usize| {
            let mut bytes = good.clone();
            bytes[position] ^= 0x40;
            bytes
        };
        let longer = [good.as_slice(), &[0]].concat();
        let signatures = (0..good.len()).map(flipped).chain([
            good.clone(),
            longer,
            good[1..].to_vec(),
            Vec::new(),
        ]);
        for signature in signatures {
            for message in [whole, &whole[1..], ""] {
                let expected = signature == good && message == whole;
                let found = our_key.verifies(ours, message.as_bytes(), &signature);
                let text = URL_SAFE_NO_PAD.encode(&signature);
                let other = crypto::verify(&text, message.as_bytes(), &their_key, theirs);
                assert_eq!(found, other.unwrap_or(false), "{ours:?} {text} {message}");
                assert_eq!(found, expected, "{ours:?} {text} {message}");
            }
        }
    }
}

#[test]
fn an_access_token_passes_where_access_tokens_are_expected() {
    let forge = Forge::new();
    for typ in ["at+jwt", "application/at+jwt", "AT+JWT"] {
        let header = format!(r#"{{"alg":"RS256","kid":"rs","typ":"{typ}"}}"#);
        let token = forge.token(forge::Signer::Rs256, &header, GOOD);
        assert!(judge(&token, &forge.keys(), &issuer(TokenKind::Access)).is_ok());
    }
}

#[test]
fn keys_that_are_no_public_signature_keys_are_left_out() {
    let forge = Forge::new();
    for (why, jwk) in forge.unusable_keys() {
        let set = format!(r#"{{"keys":[{jwk}]}}"#);
        assert!(KeySet::read(set.as_bytes()).is_err(), "{why}");
    }
    for set in [
        "",
        "{}",
        r#"{"keys":{}}"#,
        r#"{"keys":[]}"#,
        r#"{"keys":[],"keys":[]}"#,
        "<html>",
    ] {
        assert!(KeySet::read(set.as_bytes()).is_err(), "{set}");
    }
    let many = vec![forge.jwk("ed", ""); 101].join(",");
    assert!(KeySet::read(format!(r#"{{"keys":[{many}]}}"#).as_bytes()).is_err());
}
