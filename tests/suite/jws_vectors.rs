//! Published signature vectors, and every small change of them, judged by the gateway's own code.

use std::fs;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tests::command;
use tests::programs;

/// RFC 7515, appendices A.2 and A.3: the payload of both.
const PAYLOAD: &str = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";

struct Vector {
    key: Value,
    header: &'static str,
    payload: &'static str,
    signature: &'static str,
}

impl Vector {
    fn jws(&self) -> String {
        format!("{}.{}.{}", self.header, self.payload, self.signature)
    }
}

fn published() -> [Vector; 3] {
    [
        Vector {
            key: json!({"kty": "RSA", "e": "AQAB", "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}),
            header: "eyJhbGciOiJSUzI1NiJ9",
            payload: PAYLOAD,
            signature: "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        },
        Vector {
            key: json!({"kty": "EC", "crv": "P-256",
                "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}),
            header: "eyJhbGciOiJFUzI1NiJ9",
            payload: PAYLOAD,
            signature: "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        },
        // RFC 8037, appendices A.2 and A.4.
        Vector {
            key: json!({"kty": "OKP", "crv": "Ed25519",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}),
            header: "eyJhbGciOiJFZERTQSJ9",
            payload: "RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc",
            signature: "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg",
        },
    ]
}

/// Judges lines, all in one run.
fn judge(lines: &[(Value, String)]) -> Vec<String> {
    let input: String = lines
        .iter()
        .map(|(key, jws)| format!("{}\n", json!({"jwk": key, "jws": jws})))
        .collect();
    let mut program = Command::new(programs::path("loki-gateway"));
    program.arg("jws-verify");
    let output = command::run_with(&mut program, input.into_bytes()).output();
    output.lines().map(str::to_owned).collect()
}

#[test]
fn published_vectors_are_accepted() {
    let lines: Vec<_> = published()
        .iter()
        .map(|v| (v.key.clone(), v.jws()))
        .collect();
    assert_eq!(judge(&lines), ["accept", "accept", "accept"]);
}

/// Vectors of a file, one on each line.
fn listed(name: &str) -> Vec<Value> {
    let path = programs::project().join("tests/vectors").join(name);
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let lines = text.lines().map(serde_json::from_str);
    lines.collect::<Result<_, _>>().expect("JSON lines")
}

/// Judges listed vectors.
fn judge_listed(vectors: &[Value]) -> Vec<String> {
    let lines: Vec<_> = vectors
        .iter()
        .map(|vector| {
            let jws = vector["jws"].as_str().expect("a text");
            (vector["jwk"].clone(), jws.to_owned())
        })
        .collect();
    let judged = judge(&lines);
    assert_eq!(judged.len(), vectors.len(), "one answer for each");
    judged
}

#[test]
fn the_cookbook_s_signatures_are_judged_as_they_should_be() {
    // RFC 7520, section 4.
    let examples = listed("rfc7520.jsonl");
    assert_eq!(examples.len(), 19);
    for (example, answer) in examples.iter().zip(judge_listed(&examples)) {
        let accepted = example["accepted"].as_bool().expect("a judgement");
        assert_eq!(answer == "accept", accepted, "{answer}: {example}");
        assert!(accepted || answer.starts_with("reject "), "{answer}");
    }
}

#[test]
fn wycheproof_s_json_web_signatures_are_judged_as_they_should_be() {
    // The first two groups of its `json_web_signature_test.json`; HMAC is never accepted here.
    let vectors = listed("wycheproof_jws.jsonl");
    assert_eq!(vectors.len(), 32);
    for (vector, answer) in vectors.iter().zip(judge_listed(&vectors)) {
        let valid = vector["result"] == "valid" && vector["group"] != "hs256";
        assert_eq!(answer == "accept", valid, "{answer}: {vector}");
    }
}

#[test]
fn no_changed_vector_is_accepted() {
    let vectors = published();
    let mut lines = Vec::new();
    for (number, vector) in vectors.iter().enumerate() {
        let changed = letters(vector).into_iter().chain(signatures(vector));
        let changed = changed.chain(headers(vector)).chain(shapes(vector));
        lines.extend(changed.map(|jws| (vector.key.clone(), jws)));
        // Somebody else's key, and keys that are none.
        let other = &vectors[(number + 1) % vectors.len()].key;
        let keys = no_keys(&vectors).into_iter().chain([other.clone()]);
        lines.extend(keys.map(|key| (key, vector.jws())));
    }
    assert!(lines.len() > 3_000, "{}", lines.len());
    let judged = judge(&lines);
    assert_eq!(judged.len(), lines.len(), "one answer for each");
    for ((key, jws), answer) in lines.iter().zip(judged) {
        assert!(answer.starts_with("reject "), "{answer}: {key} {jws}");
    }
}

/// Each letter replaced by another.
fn letters(vector: &Vector) -> Vec<String> {
    let whole = vector.jws();
    let mut changed = Vec::new();
    for (position, letter) in whole.char_indices().filter(|(_, letter)| *letter != '.') {
        for other in ["A", "B", "-", "="] {
            if !other.starts_with(letter) {
                let mut jws = whole.clone();
                jws.replace_range(position..=position, other);
                changed.push(jws);
            }
        }
    }
    changed
}

/// Other signatures: empty, zero, swapped, cut, padded, in DER.
fn signatures(vector: &Vector) -> Vec<String> {
    let raw = URL_SAFE_NO_PAD.decode(vector.signature).unwrap();
    let half = raw.len() / 2;
    let zeros = vec![0; half];
    [
        Vec::new(),
        vec![0; raw.len()],
        vec![0xff; raw.len()],
        [&raw[half..], &raw[..half]].concat(),
        raw[1..].to_vec(),
        raw[..raw.len() - 1].to_vec(),
        [&raw[..], &[0]].concat(),
        [&[0], &raw[..]].concat(),
        [&raw[..half], &zeros[..]].concat(),
        [&zeros[..], &raw[half..]].concat(),
        der(&raw),
    ]
    .iter()
    .map(|bytes| {
        let signature = URL_SAFE_NO_PAD.encode(bytes);
        format!("{}.{}.{signature}", vector.header, vector.payload)
    })
    .collect()
}

/// Other algorithms, with the signature and without.
fn headers(vector: &Vector) -> Vec<String> {
    let Vector {
        payload, signature, ..
    } = vector;
    [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"HS256"}"#,
        r#"{"alg":"ES256K"}"#,
        r#"{"alg":"ES512"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["RS256"]}"#,
        "{}",
        "[]",
    ]
    .iter()
    .map(|header| URL_SAFE_NO_PAD.encode(header))
    .flat_map(|header| {
        [
            format!("{header}.{payload}.{signature}"),
            format!("{header}.{payload}."),
        ]
    })
    .collect()
}

/// Other shapes of the whole.
fn shapes(vector: &Vector) -> Vec<String> {
    let Vector {
        header,
        payload,
        signature,
        ..
    } = vector;
    let whole = vector.jws();
    vec![
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        format!("{header}.{payload}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{whole}."),
        format!("{whole}.{signature}"),
        format!(" {whole}"),
        format!("{whole}\n"),
        format!("{whole}=="),
        whole.replace('.', ","),
        whole.to_lowercase(),
    ]
}

fn no_keys(vectors: &[Vector; 3]) -> [Value; 8] {
    let [rsa, ec, ed] = vectors.each_ref().map(|vector| &vector.key);
    [
        json!({"kty": "oct", "k": "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}),
        json!({"kty": "RSA", "e": "AQ", "n": rsa["n"]}),
        json!({"kty": "RSA", "e": "AQAB", "n": "AQAB"}),
        json!({"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}),
        json!({"kty": "EC", "crv": "P-256", "x": ec["x"], "y": ec["x"]}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": ""}),
        json!({"kty": "OKP", "crv": "X25519", "x": ed["x"]}),
        json!({}),
    ]
}

/// The signature as two numbers in DER, which JSON Web Signatures do not use.
fn der(raw: &[u8]) -> Vec<u8> {
    let half = raw.len() / 2;
    let number = |bytes: &[u8]| {
        let length = u8::try_from(bytes.len() + 1).unwrap_or(u8::MAX);
        [&[2, length, 0], bytes].concat()
    };
    let numbers = [number(&raw[..half]), number(&raw[half..])].concat();
    [
        &[0x30, u8::try_from(numbers.len()).unwrap_or(u8::MAX)],
        &numbers[..],
    ]
    .concat()
}
