//! What the host gives: disk space and a clock; to agents git and the kernel's layers.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ::config::home::Home;
use serde_json::Value;

use super::Finding;
use super::place::beside;
use crate::clock;

/// Below this the audit trail may soon stop mutations.
const FREE_BYTES_LOW: u64 = 1024 * 1024 * 1024;

/// Below this nothing can be expected to work.
const FREE_BYTES_MIN: u64 = 64 * 1024 * 1024;

/// 2026-01-01: no clock of a host that runs this program is right before it.
const EARLIEST_SECONDS: i64 = 1_767_225_600;

/// Checks the host.
pub(super) fn check(home: &Home) -> Vec<Finding> {
    vec![disk(home.directory()), time()]
}

fn disk(path: &Path) -> Finding {
    let check = "disk space";
    let existing = path.ancestors().find(|folder| folder.exists());
    let existing = existing.unwrap_or_else(|| Path::new("/"));
    match rustix::fs::statvfs(existing) {
        Ok(figures) => {
            let free = figures.f_bavail.saturating_mul(figures.f_frsize);
            let detail = format!("{} MiB free at {}", free / 1024 / 1024, existing.display());
            let fix = "free some space: without it the audit trail stops every change";
            if free < FREE_BYTES_MIN {
                Finding::failed(check, detail, fix)
            } else if free < FREE_BYTES_LOW {
                Finding::warning(check, detail, fix)
            } else {
                Finding::ok(check, detail)
            }
        }
        Err(error) => Finding::failed(check, error.to_string(), "look at the file system"),
    }
}

fn time() -> Finding {
    let now = clock::now();
    if now.timestamp() < EARLIEST_SECONDS {
        return Finding::failed(
            "clock",
            format!("it says {}", now.to_rfc3339()),
            "set it: tokens and certificates depend on it",
        );
    }
    Finding::ok("clock", now.format("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// Asks git, by which sessions' work is kept.
pub(super) fn git() -> Finding {
    let fix = "install git 2.30 or later";
    match output_of(Path::new("git"), "--version") {
        Ok(text) => Finding::ok("git", text.trim().to_owned()),
        Err(why) => Finding::failed("git", why, fix),
    }
}

/// Asks the program that narrows agents what this kernel lets it enforce.
pub(super) fn kernel() -> Vec<Finding> {
    const FIX: &str = "use a kernel with Landlock 4 or later (Linux 6.7); until then sessions \
                       report this layer as missing";
    let program = match jail() {
        Ok(program) => program,
        Err(why) => {
            let fix = "install loki-jail beside loki";
            return vec![Finding::failed("kernel layers", why, fix)];
        }
    };
    let said = output_of(&program, "probe").and_then(|text| {
        serde_json::from_str::<Value>(&text)
            .map_err(|error| format!("{} said no layers: {error}", program.display()))
    });
    let Value::Object(layers) = (match said {
        Ok(layers) => layers,
        Err(why) => {
            return vec![Finding::failed(
                "kernel layers",
                why,
                "run loki-jail probe and see",
            )];
        }
    }) else {
        return vec![Finding::failed(
            "kernel layers",
            "loki-jail said no layers",
            "use the loki-jail that belongs to this loki",
        )];
    };
    let mut findings = Vec::new();
    for (name, layer) in &layers {
        match (name.as_str(), layer) {
            ("sandbox", Value::Object(sandbox)) => findings.extend(
                sandbox
                    .iter()
                    .map(|(name, layer)| judge(&format!("sandbox: {name}"), layer, SANDBOX_FIX)),
            ),
            _ => findings.push(judge(&format!("kernel: {name}"), layer, FIX)),
        }
    }
    findings
}

/// Finds the program beside this one.
pub(super) fn jail() -> Result<PathBuf, String> {
    let program = beside("loki-jail")?;
    if program.is_file() {
        Ok(program)
    } else {
        Err(format!("there is no {}", program.display()))
    }
}

/// Tells of one layer.
fn judge(check: &str, layer: &Value, fix: &str) -> Finding {
    const GAP: &str = "nothing yet: no kernel closes this gap, and sessions report it";
    match layer {
        Value::Bool(true) => Finding::ok(check, "enforced"),
        Value::Number(number) if number.as_u64() == Some(0) => Finding::warning(check, "none", fix),
        Value::Number(number) => Finding::ok(check, number.to_string()),
        Value::Object(found) => match found.get("state").and_then(Value::as_str) {
            Some("enforced") => Finding::ok(check, "enforced"),
            Some(state) => {
                let why = found.get("reason").or_else(|| found.get("gap"));
                let why = why.and_then(Value::as_str).unwrap_or("");
                let fix = if state == "partial" { GAP } else { fix };
                Finding::warning(check, format!("{state}: {why}"), fix)
            }
            None => Finding::warning(check, layer.to_string(), fix),
        },
        Value::Bool(false) | Value::Null | Value::String(_) | Value::Array(_) => {
            Finding::warning(check, layer.to_string(), fix)
        }
    }
}

const SANDBOX_FIX: &str = "the reason names the cause and the fix; until then sessions that ask for \
                           the sandbox are refused";

#[expect(
    clippy::disallowed_methods,
    reason = "this asks two programs what they are, it starts no agent"
)]
fn output_of(program: &Path, argument: &str) -> Result<String, String> {
    let output = Command::new(program)
        .arg(argument)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {}", program.display(), said.trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
