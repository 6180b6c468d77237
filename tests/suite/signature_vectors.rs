//! Wycheproof's signature vectors for every algorithm that a setting can allow, judged by the gateway's own
//! code: no invalid one is accepted, and none that was made for other parameters.

use std::process::Command;

use serde_json::{Value, json};
use tests::command;
use tests::forge::base64url;
use tests::programs;
use wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};

/// A signature and what is known of it.
struct Vector {
    name: String,
    line: Value,
    result: TestResult,
}

impl Vector {
    fn new(
        (set, case): (&str, usize),
        (algorithm, key): (&str, &Value),
        (message, signature): (&[u8], &[u8]),
        result: TestResult,
    ) -> Self {
        Self {
            name: format!("{algorithm} {set} {case}"),
            line: json!({
                "jwk": key, "alg": algorithm,
                "message": base64url(message), "signature": base64url(signature),
            }),
            result,
        }
    }
}

fn ecdsa(algorithm: &str, curve: &str, set: ecdsa::TestName) -> Vec<Vector> {
    let length = if curve == "P-256" { 32 } else { 48 };
    let mut vectors = Vec::new();
    for group in ecdsa::TestSet::load(set).expect("a set").test_groups {
        // An uncompressed point: 4, and two numbers.
        let (x, y) = group.key.key[1..].split_at(length);
        let key = json!({"kty": "EC", "crv": curve, "x": base64url(x), "y": base64url(y)});
        vectors.extend(group.tests.iter().map(|test| {
            Vector::new(
                (&format!("{set:?}"), test.tc_id),
                (algorithm, &key),
                (&test.msg, &test.sig),
                test.result,
            )
        }));
    }
    vectors
}

fn eddsa() -> Vec<Vector> {
    let mut vectors = Vec::new();
    let set = eddsa::TestSet::load(eddsa::TestName::Ed25519).expect("a set");
    for group in set.test_groups {
        let key = json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(&group.key.pk)});
        vectors.extend(group.tests.iter().map(|test| {
            Vector::new(
                ("Ed25519", test.tc_id),
                ("EdDSA", &key),
                (&test.msg, &test.sig),
                test.result,
            )
        }));
    }
    vectors
}

fn rsa_key(modulus: &[u8], exponent: &[u8]) -> Value {
    json!({"kty": "RSA", "n": base64url(modulus), "e": base64url(exponent)})
}

fn pkcs1(algorithm: &str, set: rsa_pkcs1_verify::TestName) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for group in rsa_pkcs1_verify::TestSet::load(set)
        .expect("a set")
        .test_groups
    {
        let key = rsa_key(&group.key.n, &group.key.e);
        vectors.extend(group.tests.iter().map(|test| {
            Vector::new(
                (&format!("{set:?}"), test.tc_id),
                (algorithm, &key),
                (&test.msg, &test.sig),
                test.result,
            )
        }));
    }
    vectors
}

fn pss(algorithm: &str, set: rsa_pss_verify::TestName) -> Vec<Vector> {
    let mut vectors = Vec::new();
    for group in rsa_pss_verify::TestSet::load(set)
        .expect("a set")
        .test_groups
    {
        let key = rsa_key(&group.key.n, &group.key.e);
        vectors.extend(group.tests.iter().map(|test| {
            Vector::new(
                (&format!("{set:?}"), test.tc_id),
                (algorithm, &key),
                (&test.msg, &test.sig),
                test.result,
            )
        }));
    }
    vectors
}

/// The sets whose parameters are those of JSON Web Algorithms (RFC 7518).
fn ours() -> Vec<Vector> {
    use ecdsa::TestName as E;
    use rsa_pkcs1_verify::TestName as R;
    use rsa_pss_verify::TestName as P;
    [
        ecdsa("ES256", "P-256", E::EcdsaSecp256r1Sha256P1363),
        ecdsa("ES384", "P-384", E::EcdsaSecp384r1Sha384P1363),
        eddsa(),
        pkcs1("RS256", R::Rsa2048Sha256),
        pkcs1("RS256", R::Rsa3072Sha256),
        pkcs1("RS256", R::Rsa4096Sha256),
        pkcs1("RS256", R::Rsa8192Sha256),
        pkcs1("RS384", R::Rsa2048Sha384),
        pkcs1("RS384", R::Rsa3072Sha384),
        pkcs1("RS384", R::Rsa4096Sha384),
        pkcs1("RS512", R::Rsa2048Sha512),
        pkcs1("RS512", R::Rsa3072Sha512),
        pkcs1("RS512", R::Rsa4096Sha512),
        pss("PS256", P::RsaPss2048Sha256Mgf1SaltLen32),
        pss("PS256", P::RsaPss3072Sha256Mgf1SaltLen32),
        pss("PS256", P::RsaPss4096Sha256Mgf1SaltLen32),
        pss("PS384", P::RsaPss2048Sha384Mgf1SaltLen48),
        pss("PS384", P::RsaPss4096Sha384Mgf1SaltLen48),
        pss("PS512", P::RsaPss4096Sha512Mgf1SaltLen64),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Sets of other parameters: another form of the numbers, another hash, another salt.
fn others() -> Vec<Vector> {
    use ecdsa::TestName as E;
    use rsa_pkcs1_verify::TestName as R;
    use rsa_pss_verify::TestName as P;
    [
        ecdsa("ES256", "P-256", E::EcdsaSecp256r1Sha256),
        ecdsa("ES256", "P-256", E::EcdsaSecp256r1Sha512P1363),
        ecdsa("ES384", "P-384", E::EcdsaSecp384r1Sha384),
        ecdsa("ES384", "P-384", E::EcdsaSecp384r1Sha512P1363),
        pkcs1("RS256", R::Rsa2048Sha512_256),
        pkcs1("RS256", R::Rsa2048Sha3_256),
        pkcs1("RS256", R::Rsa2048Sha512),
        pkcs1("RS512", R::Rsa2048Sha256),
        pkcs1("PS256", R::Rsa2048Sha256),
        pss("RS256", P::RsaPss2048Sha256Mgf1SaltLen32),
        pss("PS256", P::RsaPss2048Sha256Mgf1SaltLen0),
        pss("PS256", P::RsaPss2048Sha256Mgf1Sha1_20),
        pss("PS256", P::RsaPss2048Sha512_256Mgf1SaltLen32),
        pss("PS512", P::RsaPss4096Sha512Mgf1SaltLen32),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Judges vectors, all in one run.
fn judge(vectors: &[Vector]) -> Vec<String> {
    let input: String = vectors
        .iter()
        .map(|vector| format!("{}\n", vector.line))
        .collect();
    let mut program = Command::new(programs::path("loki-gateway"));
    program.arg("jws-verify");
    let output = command::run_with(&mut program, input.into_bytes()).output();
    let judged: Vec<String> = output.lines().map(str::to_owned).collect();
    assert_eq!(judged.len(), vectors.len(), "one answer for each");
    judged
}

#[test]
fn no_invalid_signature_of_wycheproof_is_accepted() {
    let vectors = ours();
    let mut wrong = Vec::new();
    let [mut valid, mut invalid] = [0, 0];
    for (vector, answer) in vectors.iter().zip(judge(&vectors)) {
        let accepted = answer == "accept";
        let as_it_should_be = match vector.result {
            TestResult::Valid => {
                valid += 1;
                accepted
            }
            TestResult::Invalid => {
                invalid += 1;
                !accepted
            }
            // Some may, some may not; what is told is told without an error.
            TestResult::Acceptable => accepted || answer == "reject jwt_signature",
        };
        if !as_it_should_be {
            wrong.push(format!("{}: {:?}: {answer}", vector.name, vector.result));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(invalid > 2_000 && valid > 1_000, "{valid} {invalid}");
}

#[test]
fn no_signature_of_other_parameters_is_accepted() {
    // What is invalid there may be wrong because it has our parameters.
    let mut vectors = others();
    vectors.retain(|vector| vector.result == TestResult::Valid);
    assert!(vectors.len() > 500, "{}", vectors.len());
    for (vector, answer) in vectors.iter().zip(judge(&vectors)) {
        assert!(answer.starts_with("reject "), "{}: {answer}", vector.name);
    }
}
