//! The attack list: why each case matters, what is sent, and for which reason it is refused.

use config::gateway::oidc::TokenKind::{self, Access, Id};

use super::super::fault::Fault;
use super::forge::Signer;

/// A payload with nothing wrong.
pub(super) const GOOD: &str = r#"{"iss":"https://issuer.test","aud":"client","sub":"alice","exp":1800000300,"iat":1799999990}"#;

/// The payload is good; header or signature are not.
pub(super) static BY_HEADER: &[(&str, Signer, &str, Fault)] = &[
    (
        "no signature at all",
        Signer::Nobody,
        r#"{"alg":"none"}"#,
        Fault::Algorithm,
    ),
    (
        "none in capitals",
        Signer::Nobody,
        r#"{"alg":"NONE"}"#,
        Fault::Algorithm,
    ),
    (
        "none in mixed case",
        Signer::Nobody,
        r#"{"alg":"nOnE"}"#,
        Fault::Algorithm,
    ),
    (
        "none, signed nevertheless",
        Signer::Ed,
        r#"{"alg":"none","kid":"ed"}"#,
        Fault::Algorithm,
    ),
    (
        "empty algorithm",
        Signer::Ed,
        r#"{"alg":"","kid":"ed"}"#,
        Fault::Algorithm,
    ),
    ("no algorithm", Signer::Ed, r#"{"kid":"ed"}"#, Fault::Header),
    (
        "algorithm is null",
        Signer::Ed,
        r#"{"alg":null,"kid":"ed"}"#,
        Fault::Header,
    ),
    (
        "algorithm is a number",
        Signer::Ed,
        r#"{"alg":1,"kid":"ed"}"#,
        Fault::Header,
    ),
    (
        "algorithm is a list",
        Signer::Ed,
        r#"{"alg":["EdDSA"],"kid":"ed"}"#,
        Fault::Header,
    ),
    (
        "algorithm with a blank",
        Signer::Ed,
        r#"{"alg":"EdDSA ","kid":"ed"}"#,
        Fault::Algorithm,
    ),
    (
        "algorithm in small letters",
        Signer::Ed,
        r#"{"alg":"eddsa","kid":"ed"}"#,
        Fault::Algorithm,
    ),
    (
        "HMAC under the public RSA key",
        Signer::HmacOfModulus,
        r#"{"alg":"HS256","kid":"rs"}"#,
        Fault::Algorithm,
    ),
    (
        "HMAC under the public Ed25519 key",
        Signer::HmacOfEd,
        r#"{"alg":"HS256","kid":"ed"}"#,
        Fault::Algorithm,
    ),
    (
        "HMAC under the empty key",
        Signer::HmacOfNothing,
        r#"{"alg":"HS256","kid":"rs"}"#,
        Fault::Algorithm,
    ),
    (
        "HMAC that claims to be RSA",
        Signer::HmacOfModulus,
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "HMAC-384",
        Signer::HmacOfModulus,
        r#"{"alg":"HS384","kid":"rs"}"#,
        Fault::Algorithm,
    ),
    (
        "HMAC-512",
        Signer::HmacOfModulus,
        r#"{"alg":"HS512","kid":"rs"}"#,
        Fault::Algorithm,
    ),
    (
        "good, but not allowed here",
        Signer::Rs512,
        r#"{"alg":"RS512","kid":"rs"}"#,
        Fault::Algorithm,
    ),
    (
        "a curve that we do not know",
        Signer::Es,
        r#"{"alg":"ES256K","kid":"es"}"#,
        Fault::Algorithm,
    ),
    (
        "key agreement instead of a signature",
        Signer::Es,
        r#"{"alg":"ECDH-ES","kid":"es"}"#,
        Fault::Algorithm,
    ),
    (
        "RSA algorithm, P-256 key named",
        Signer::Rs256,
        r#"{"alg":"RS256","kid":"es"}"#,
        Fault::UnknownKey,
    ),
    (
        "P-256 algorithm, RSA key named",
        Signer::Es,
        r#"{"alg":"ES256","kid":"rs"}"#,
        Fault::UnknownKey,
    ),
    (
        "Ed25519 algorithm, RSA key named",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"rs"}"#,
        Fault::UnknownKey,
    ),
    (
        "PSS signature declared as PKCS 1",
        Signer::Ps256,
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "PKCS 1 signature declared as PSS",
        Signer::Rs256,
        r#"{"alg":"PS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "SHA-512 declared as SHA-256",
        Signer::Rs512,
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "ECDSA signature in DER",
        Signer::EsDer,
        r#"{"alg":"ES256","kid":"es"}"#,
        Fault::Signature,
    ),
    (
        "ECDSA signature of zeros",
        Signer::Zeros(64),
        r#"{"alg":"ES256","kid":"es"}"#,
        Fault::Signature,
    ),
    (
        "ECDSA signature of too many zeros",
        Signer::Zeros(96),
        r#"{"alg":"ES256","kid":"es"}"#,
        Fault::Signature,
    ),
    (
        "Ed25519 signature of zeros",
        Signer::Zeros(64),
        r#"{"alg":"EdDSA","kid":"ed"}"#,
        Fault::Signature,
    ),
    (
        "RSA signature of zeros",
        Signer::Zeros(256),
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "RSA signature too short",
        Signer::Zeros(1),
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "signature left out",
        Signer::Nobody,
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "the attacker's own key under our id",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"ed"}"#,
        Fault::Signature,
    ),
    (
        "the attacker's own RSA key",
        Signer::OtherRs,
        r#"{"alg":"RS256","kid":"rs"}"#,
        Fault::Signature,
    ),
    (
        "the attacker's own key without an id",
        Signer::OtherEd,
        r#"{"alg":"EdDSA"}"#,
        Fault::Signature,
    ),
    (
        "a key id that nobody has",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"nobody"}"#,
        Fault::UnknownKey,
    ),
    (
        "a key id that is a path",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"../../dev/null"}"#,
        Fault::UnknownKey,
    ),
    (
        "a key id that is a query",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"x' UNION SELECT 'k"}"#,
        Fault::UnknownKey,
    ),
    (
        "a key id that is a URL",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"http://127.0.0.1:1/k"}"#,
        Fault::UnknownKey,
    ),
    (
        "a key id with a zero byte",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed\u0000"}"#,
        Fault::UnknownKey,
    ),
    (
        "an empty key id",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":""}"#,
        Fault::UnknownKey,
    ),
    (
        "a key id that is a number",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":1}"#,
        Fault::Header,
    ),
    (
        "a key id that is a list",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":["ed"]}"#,
        Fault::Header,
    ),
    (
        "a key set of the attacker's",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"ed","jku":"http://127.0.0.1:1/"}"#,
        Fault::Signature,
    ),
    (
        "a certificate of the attacker's",
        Signer::OtherRs,
        r#"{"alg":"RS256","kid":"rs","x5u":"http://127.0.0.1:1/"}"#,
        Fault::Signature,
    ),
    (
        "a certificate brought along",
        Signer::OtherRs,
        r#"{"alg":"RS256","kid":"rs","x5c":["MIIB"]}"#,
        Fault::Signature,
    ),
    (
        "a key brought along",
        Signer::OtherEd,
        r#"{"alg":"EdDSA","kid":"ed","jwk":{"kty":"OKP","crv":"Ed25519","x":"AAAA"}}"#,
        Fault::Signature,
    ),
    (
        "an unknown critical field",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","crit":["x"],"x":1}"#,
        Fault::Critical,
    ),
    (
        "a critical field that is absent",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","crit":["x"]}"#,
        Fault::Critical,
    ),
    (
        "an empty list of critical fields",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","crit":[]}"#,
        Fault::Critical,
    ),
    (
        "critical fields of no shape",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","crit":"exp"}"#,
        Fault::Critical,
    ),
    (
        "known names declared critical",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","crit":["alg"]}"#,
        Fault::Critical,
    ),
    (
        "an unencoded payload",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","b64":false,"crit":["b64"]}"#,
        Fault::Critical,
    ),
    (
        "an unencoded payload, not critical",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","b64":false}"#,
        Fault::Critical,
    ),
    (
        "an encrypted token",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","enc":"A128GCM"}"#,
        Fault::Header,
    ),
    (
        "a compressed token",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","zip":"DEF"}"#,
        Fault::Header,
    ),
    (
        "two algorithms, the good one last",
        Signer::Ed,
        r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#,
        Fault::Duplicate,
    ),
    (
        "two algorithms, the good one first",
        Signer::Ed,
        r#"{"alg":"EdDSA","alg":"none","kid":"ed"}"#,
        Fault::Duplicate,
    ),
    (
        "two algorithms, one in escapes",
        Signer::Ed,
        r#"{"alg":"EdDSA","\u0061lg":"none","kid":"ed"}"#,
        Fault::Duplicate,
    ),
    (
        "two key ids",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","kid":"rs"}"#,
        Fault::Duplicate,
    ),
    (
        "a header that is a list",
        Signer::Ed,
        r#"[{"alg":"EdDSA"}]"#,
        Fault::Header,
    ),
    (
        "a header that is no JSON",
        Signer::Ed,
        "alg: EdDSA",
        Fault::Header,
    ),
    (
        "a header and more",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed"}{}"#,
        Fault::Header,
    ),
    ("an empty header", Signer::Ed, "", Fault::Header),
    (
        "an access token for an ID token",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","typ":"at+jwt"}"#,
        Fault::Kind,
    ),
    (
        "a logout token for an ID token",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","typ":"logout+jwt"}"#,
        Fault::Kind,
    ),
    (
        "a client's proof for an ID token",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","typ":"dpop+jwt"}"#,
        Fault::Kind,
    ),
    (
        "a type that is a number",
        Signer::Ed,
        r#"{"alg":"EdDSA","kid":"ed","typ":7}"#,
        Fault::Header,
    ),
];

/// The signature is good; the claims are not.
pub(super) static BY_CLAIMS: &[(&str, TokenKind, &str, Fault)] = &[
    (
        "another issuer",
        Id,
        r#"{"iss":"https://evil.test","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "our issuer with a slash",
        Id,
        r#"{"iss":"https://issuer.test/","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "our issuer in capitals",
        Id,
        r#"{"iss":"https://ISSUER.test","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "our issuer as a prefix",
        Id,
        r#"{"iss":"https://issuer.test.evil.test","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "our issuer over plain HTTP",
        Id,
        r#"{"iss":"http://issuer.test","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "a list of issuers",
        Id,
        r#"{"iss":["https://issuer.test"],"aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "no issuer",
        Id,
        r#"{"aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Issuer,
    ),
    (
        "two issuers",
        Id,
        r#"{"iss":"https://evil.test","iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Duplicate,
    ),
    (
        "another audience",
        Id,
        r#"{"iss":"https://issuer.test","aud":"other","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "our audience as a prefix",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client2","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "our audience in capitals",
        Id,
        r#"{"iss":"https://issuer.test","aud":"CLIENT","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "our audience among others in one text",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client other","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "no audience",
        Id,
        r#"{"iss":"https://issuer.test","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "an empty list of audiences",
        Id,
        r#"{"iss":"https://issuer.test","aud":[],"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "audience is null",
        Id,
        r#"{"iss":"https://issuer.test","aud":null,"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "audience is an object",
        Id,
        r#"{"iss":"https://issuer.test","aud":{"client":1},"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "a list of audiences with a number",
        Id,
        r#"{"iss":"https://issuer.test","aud":["client",1],"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
    (
        "two audience members",
        Id,
        r#"{"iss":"https://issuer.test","aud":"other","aud":"client","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Duplicate,
    ),
    (
        "given to another party",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","azp":"other","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::AuthorizedParty,
    ),
    (
        "several audiences, no party",
        Id,
        r#"{"iss":"https://issuer.test","aud":["client","other"],"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::AuthorizedParty,
    ),
    (
        "a service account that chose our audience",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","azp":"1081","sub":"1081","exp":1800000300,"iat":1799999990}"#,
        Fault::AuthorizedParty,
    ),
    (
        "bound to its holder's key",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","cnf":{"jkt":"x"},"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Bound,
    ),
    (
        "no expiry",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry is null",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":null,"iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry is a text",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":"1800000300","iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry is negative",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":-1,"iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry in milliseconds",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300000,"iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry beyond any number",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1e300,"iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry that wraps around",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":18446744073709551615,"iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "expiry that overflows",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1e999,"iat":1799999990}"#,
        Fault::Payload,
    ),
    (
        "expired beyond the leeway",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1799999970,"iat":1799999900}"#,
        Fault::Expired,
    ),
    (
        "expired long ago",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":0,"iat":0}"#,
        Fault::Expired,
    ),
    (
        "two expiries",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1,"exp":1800000300,"iat":1799999990}"#,
        Fault::Duplicate,
    ),
    (
        "not valid before later",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300,"nbf":1800000031,"iat":1799999990}"#,
        Fault::NotYet,
    ),
    (
        "valid only in the year 2096",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":4000000000,"nbf":3999999999,"iat":1799999990}"#,
        Fault::NotYet,
    ),
    (
        "not-before is a text",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300,"nbf":"0","iat":1799999990}"#,
        Fault::Time,
    ),
    (
        "issued in the future",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300,"iat":1800000031}"#,
        Fault::IssuedAt,
    ),
    (
        "issue time is a text",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300,"iat":"now"}"#,
        Fault::IssuedAt,
    ),
    (
        "an ID token without issue time",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","exp":1800000300}"#,
        Fault::IssuedAt,
    ),
    (
        "no subject",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","exp":1800000300,"iat":1799999990}"#,
        Fault::Subject,
    ),
    (
        "an empty subject",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"","exp":1800000300,"iat":1799999990}"#,
        Fault::Subject,
    ),
    (
        "a subject that is a number",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":1,"exp":1800000300,"iat":1799999990}"#,
        Fault::Subject,
    ),
    (
        "a subject that forges a line of the log",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a\nadmin","exp":1800000300,"iat":1799999990}"#,
        Fault::Subject,
    ),
    (
        "two subjects",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","sub":"admin","exp":1800000300,"iat":1799999990}"#,
        Fault::Duplicate,
    ),
    (
        "a member twice, deep inside",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","sub":"a","x":{"r":1,"r":2},"exp":1800000300,"iat":1799999990}"#,
        Fault::Duplicate,
    ),
    ("a payload that is a list", Id, "[]", Fault::Payload),
    ("a payload that is a text", Id, r#""alice""#, Fault::Payload),
    (
        "a payload that is another token",
        Id,
        "eyJhbGciOiJub25lIn0.e30.",
        Fault::Payload,
    ),
    ("an empty payload", Id, "", Fault::Payload),
    (
        "Keycloak's access token for an ID token",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","typ":"Bearer","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "Cognito's access token for an ID token",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","token_use":"access","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "a logout event for an ID token",
        Id,
        r#"{"iss":"https://issuer.test","aud":"client","events":{},"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "an ID token for an access token",
        Access,
        r#"{"iss":"https://issuer.test","aud":"client","nonce":"n","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "Keycloak's ID token for an access token",
        Access,
        r#"{"iss":"https://issuer.test","aud":"client","typ":"ID","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "Cognito's ID token for an access token",
        Access,
        r#"{"iss":"https://issuer.test","aud":"client","token_use":"id","sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Kind,
    ),
    (
        "an access token for another service",
        Access,
        r#"{"iss":"https://issuer.test","aud":["other"],"sub":"a","exp":1800000300,"iat":1799999990}"#,
        Fault::Audience,
    ),
];

/// What is done to a good token.
pub(super) type Damage = fn(&str) -> String;

/// Damage to a good token.
pub(super) static BY_SHAPE: &[(&str, Damage, Fault)] = &[
    (
        "two parts",
        |token| token.rsplit_once('.').expect("parts").0.to_owned(),
        Fault::Shape,
    ),
    ("one part", |token| token.replace('.', ""), Fault::Shape),
    ("four parts", |token| format!("{token}.AAAA"), Fault::Shape),
    (
        "five parts, as if encrypted",
        |token| format!("{token}.AAAA.AAAA"),
        Fault::Shape,
    ),
    (
        "a dot at the end",
        |token| format!("{token}."),
        Fault::Shape,
    ),
    (
        "a dot at the start",
        |token| format!(".{token}"),
        Fault::Shape,
    ),
    ("dots alone", |_| "..".to_owned(), Fault::Header),
    (
        "the JSON form",
        |_| r#"{"payload":"e30","signatures":[]}"#.to_owned(),
        Fault::Shape,
    ),
    ("padding", |token| format!("{token}="), Fault::Base64),
    (
        "padding inside",
        |token| token.replacen('.', "=.", 1),
        Fault::Base64,
    ),
    (
        "a blank",
        |token| token.replacen('.', " .", 1),
        Fault::Base64,
    ),
    ("a line end", |token| format!("{token}\n"), Fault::Base64),
    (
        "the other alphabet",
        |token| format!("{token}+/"),
        Fault::Base64,
    ),
    (
        "percent signs",
        |token| format!("{token}%3D"),
        Fault::Base64,
    ),
    ("bits left over in the signature", left_over, Fault::Base64),
    (
        "a longer signature",
        |token| format!("{token}AAAA"),
        Fault::Signature,
    ),
    (
        "a shorter signature",
        |token| token[..token.len() - 2].to_owned(),
        Fault::Signature,
    ),
    (
        "no signature",
        |token| token[..=token.rfind('.').expect("dot")].to_owned(),
        Fault::Signature,
    ),
    (
        "longer than 16 KiB",
        |token| format!("{token}{}", "A".repeat(16 * 1024)),
        Fault::TooLong,
    ),
    (
        "letters beyond ASCII",
        |token| format!("{token}\u{e9}"),
        Fault::Base64,
    ),
];

/// The last letter of 64 bytes carries 4 bits that mean nothing; other values of them make another
/// text of the same signature.
fn left_over(token: &str) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut bytes = token.as_bytes().to_vec();
    let last = bytes.pop().expect("letter");
    let value = ALPHABET
        .iter()
        .position(|letter| *letter == last)
        .expect("alphabet");
    bytes.push(ALPHABET[value | 1]);
    String::from_utf8(bytes).expect("text")
}
