//! What came back: the value asked for, or a problem in words.

use std::io::Read;

use ::config::contract::problem::Problem;
use reqwest::blocking::Response;
use serde::de::DeserializeOwned;

use super::credential::Credential;
use crate::failure::{Exit, Failure};
use crate::output;

/// Longest answer in bytes.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Returns the answer if it is a success.
pub(super) fn check(
    response: Response,
    credential: Option<&Credential>,
) -> Result<Response, Failure> {
    let status = response.status().as_u16();
    if (200..300).contains(&status) {
        return Ok(response);
    }
    let body = read(response)?;
    Err(failure(status, &body, credential))
}

/// Reads a JSON answer.
pub(super) fn json<T: DeserializeOwned>(response: Response) -> Result<T, Failure> {
    let body = read(response)?;
    serde_json::from_slice(&body).map_err(|error| {
        Failure::failed(format!("cannot understand the gateway's answer: {error}"))
    })
}

/// Reads a text answer.
pub(super) fn text(response: Response) -> Result<String, Failure> {
    String::from_utf8(read(response)?)
        .map_err(|_| Failure::failed("the gateway's answer is not text"))
}

fn read(response: Response) -> Result<Vec<u8>, Failure> {
    let mut body = Vec::new();
    response
        .take(BYTES_MAX + 1)
        .read_to_end(&mut body)
        .map_err(|error| {
            Failure::new(
                Exit::Unreachable,
                format!("the gateway's answer broke off: {error}"),
            )
        })?;
    if body.len() as u64 > BYTES_MAX {
        return Err(Failure::failed("the gateway's answer is too long"));
    }
    Ok(body)
}

pub(super) fn failure(status: u16, body: &[u8], credential: Option<&Credential>) -> Failure {
    // What is no problem document did not come from a gateway; that is said below.
    let problem: Option<Problem> = serde_json::from_slice(body).ok();
    let Some(problem) = problem else {
        return Failure::new(
            exit(status, "", false),
            format!("the gateway answered {status}"),
        )
        .fix("check that the address is that of a Loki gateway");
    };
    let several = !problem.candidates.is_empty();
    let mut what = output::visible(&problem.title);
    if let Some(detail) = &problem.detail {
        what = format!("{what}: {}", output::visible(detail));
    }
    if let Some(scope) = &problem.scope {
        what = format!("{what} (missing scope: {})", output::visible(scope));
    }
    for candidate in &problem.candidates {
        what.push_str("\n  ");
        what.push_str(&output::visible(candidate));
    }
    if let Some(request_id) = &problem.request_id {
        what.push_str(&format!(" [{}]", output::visible(request_id)));
    }
    let failure = Failure::new(exit(status, &problem.kind, several), what);
    match (status, &problem.fix, credential) {
        (401, _, Some(credential)) => failure.fix(format!(
            "the token of {} is not accepted: make another with loki enterprise token generate",
            credential.origin()
        )),
        (401, _, None) => failure.fix(
            "set LOKI_TOKEN or --token-file; make a token with loki enterprise token generate \
             NAME --role operator",
        ),
        (_, Some(fix), _) => failure.fix(output::visible(fix)),
        (_, None, _) => failure,
    }
}

fn exit(status: u16, kind: &str, several: bool) -> Exit {
    let reason = kind.rsplit(':').next().unwrap_or(kind);
    match status {
        409 if several => Exit::Usage,
        409 if reason == "settings_rejected" => Exit::Settings,
        401 | 403 | 409 | 429 => Exit::Refused,
        502 | 504 => Exit::Unreachable,
        503 if matches!(reason, "runtime_away" | "draining") => Exit::Unreachable,
        _ => Exit::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::{Exit, exit, failure};

    #[test]
    fn a_status_has_its_exit_code() {
        let check = |status: u16, reason: &str, several: bool, expected: Exit| {
            let kind = format!("urn:loki:problem:{reason}");
            assert_eq!(exit(status, &kind, several), expected, "{status} {reason}");
        };
        check(401, "no_credential", false, Exit::Refused);
        check(403, "too_little_scope", false, Exit::Refused);
        check(409, "conflict", false, Exit::Refused);
        check(409, "several_sessions", true, Exit::Usage);
        check(409, "settings_rejected", false, Exit::Settings);
        check(429, "too_many", false, Exit::Refused);
        check(502, "runtime_broken", false, Exit::Unreachable);
        check(503, "runtime_away", false, Exit::Unreachable);
        check(503, "draining", false, Exit::Unreachable);
        check(503, "audit_uncertain", false, Exit::Failed);
        check(504, "runtime_slow", false, Exit::Unreachable);
        check(302, "", false, Exit::Failed);
        check(400, "malformed", false, Exit::Failed);
        check(404, "unknown_path", false, Exit::Failed);
    }

    #[test]
    fn a_problem_is_told_with_what_why_and_fix_and_cannot_deceive() {
        let body = br#"{"type":"urn:loki:problem:insufficient_scope","title":"Not allowed","status":403,
            "detail":"needs control\u001b[2J","fix":"ask for more","scope":"control","request_id":"req-1"}"#;
        let told = failure(403, body, None);
        assert_eq!(
            told.what(),
            "Not allowed: needs control\\u{1b}[2J (missing scope: control) [req-1]"
        );
    }
}
