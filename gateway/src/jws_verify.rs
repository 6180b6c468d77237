//! Judges published signature vectors by the very code that judges callers' tokens.

use std::io::{self, BufRead, Write};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use config::gateway::oidc::Algorithm;
use serde_json::Value;

use crate::authn::oidc::document;
use crate::authn::oidc::fault::Fault;
use crate::authn::oidc::jws::Sealed;
use crate::authn::oidc::key::{Key, KeySet};

/// Longest line in bytes.
const LINE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads lines `{"jwk":…,"jws":…}`, or `{"jwk":…,"alg":…,"message":…,"signature":…}` with both in
/// base64url, and answers each with `accept`, or `reject` and why. Every algorithm that a setting can
/// allow is allowed.
///
/// # Errors
/// When reading or writing fails.
pub fn run(mut input: impl BufRead, mut output: impl Write) -> io::Result<()> {
    let mut line = Vec::new();
    loop {
        line.clear();
        if io::Read::take(&mut input, LINE_BYTES_MAX).read_until(b'\n', &mut line)? == 0 {
            return output.flush();
        }
        match judge(line.trim_ascii()) {
            Ok(()) => writeln!(output, "accept")?,
            Err(reason) => writeln!(output, "reject {reason}")?,
        }
    }
}

fn judge(line: &[u8]) -> Result<(), &'static str> {
    let vector = document::read(line).map_err(|_| "line")?;
    let key = vector
        .get("jwk")
        .and_then(Value::as_object)
        .and_then(Key::read)
        .ok_or("jwk")?;
    let text = |name: &'static str| vector.get(name).and_then(Value::as_str).ok_or(name);
    let keys = KeySet::of(key);
    let judged = if vector.contains_key("jws") {
        Sealed::read(text("jws")?, &Algorithm::EVERY)
            .and_then(|sealed| sealed.open(&keys).map(|_| ()))
    } else {
        bare(&keys, text("alg")?, text("message")?, text("signature")?)
    };
    judged.map_err(Fault::name)
}

/// Judges a signature over bytes that are no token: what is inside [`Sealed::open`].
fn bare(keys: &KeySet, algorithm: &str, message: &str, signature: &str) -> Result<(), Fault> {
    let algorithm: Algorithm = algorithm.parse().map_err(|_| Fault::Algorithm)?;
    let decode = |text| URL_SAFE_NO_PAD.decode(text).map_err(|_| Fault::Base64);
    let (message, signature) = (decode(message)?, decode(signature)?);
    let mut fault = Fault::UnknownKey;
    for key in keys.candidates(None, algorithm) {
        if key.verifies(algorithm, &message, &signature) {
            return Ok(());
        }
        fault = Fault::Signature;
    }
    Err(fault)
}

#[cfg(test)]
mod tests {
    use super::run;

    /// The key of RFC 8037, appendix A.2, and the signature of appendix A.4.
    const KEY: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const GOOD: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

    #[test]
    fn each_line_is_judged_for_itself() {
        let forged = GOOD.replace("hgyY", "hgyZ");
        let input = format!(
            "{{\"jwk\":{KEY},\"jws\":\"{forged}\"}}\nnonsense\n{{\"jws\":\"{GOOD}\"}}\n\
             {{\"jwk\":{KEY},\"jws\":\"{GOOD}\"}}"
        );
        let mut output = Vec::new();
        run(input.as_bytes(), &mut output).expect("judged");
        assert_eq!(
            String::from_utf8_lossy(&output),
            "reject jwt_signature\nreject line\nreject jwk\naccept\n"
        );
    }
}
