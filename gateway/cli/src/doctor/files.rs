//! Folders and files: there, whole, and closed to others.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ::config::home::Home;
use ::config::secret;
use gateway::tokens::store;

use super::Finding;
use super::place::Place;
use crate::context::Context;

/// Checks everything below the data directory.
pub(super) fn check(context: &Context, home: &Home, place: Place) -> Vec<Finding> {
    let mut findings = vec![data_directory(home.directory())];
    let closed = [
        ("tokens and audit", home.dashboard(), 0o700),
        ("audit files", home.audit(), 0o700),
        ("sockets", home.run(), 0o700),
        ("runtime data", home.runtime(), 0o700),
        ("logs", home.logs(), 0o700),
        ("credentials", home.credentials(), 0o600),
    ];
    for (check, path, wanted) in closed {
        findings.extend(mode(check, &path, wanted));
    }
    if place.gateway {
        findings.push(tokens(home));
    }
    // Each process has its own settings of the key that both share.
    let path = if place.gateway {
        let loaded = context.gateway_settings(context.sources());
        loaded.map(|loaded| loaded.settings.runtime.statement_key)
    } else {
        let loaded = context.runtime_settings();
        loaded.map(|loaded| loaded.settings.statement_key)
    };
    findings.extend(path.ok().map(|path| key(&path)));
    findings
}

fn data_directory(path: &Path) -> Finding {
    let check = "data directory";
    let shown = path.display();
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_dir() => Finding::failed(
            check,
            format!("{shown} is no folder"),
            "move it away, or set LOKI_DATA_DIR",
        ),
        Ok(metadata) if metadata.uid() != rustix::process::geteuid().as_raw() => Finding::failed(
            check,
            format!("{shown} belongs to user {}", metadata.uid()),
            "run as its owner, or set LOKI_DATA_DIR",
        ),
        Ok(metadata) if metadata.mode() & 0o022 != 0 => Finding::failed(
            check,
            format!("{shown} can be changed by others"),
            format!("chmod go-w {shown}"),
        ),
        Ok(_) => Finding::ok(check, shown.to_string()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Finding::ok(check, format!("{shown} is made at the first start"))
        }
        Err(error) => Finding::failed(
            check,
            format!("cannot look at {shown}: {error}"),
            "set LOKI_DATA_DIR to a folder of yours",
        ),
    }
}

/// What does not exist yet is made as it should be.
fn mode(check: &str, path: &PathBuf, wanted: u32) -> Option<Finding> {
    let metadata = fs::symlink_metadata(path).ok()?;
    let mode = metadata.mode() & 0o777;
    let shown = path.display();
    if metadata.is_symlink() {
        let detail = format!("{shown} is a link");
        return Some(Finding::failed(check, detail, "put the real one there"));
    }
    if mode & !wanted == 0 {
        return Some(Finding::ok(check, format!("{shown} is closed to others")));
    }
    Some(Finding::failed(
        check,
        format!("{shown} has mode {mode:04o}"),
        format!("chmod {wanted:o} {shown}"),
    ))
}

fn tokens(home: &Home) -> Finding {
    match store::load(home) {
        Ok(stored) => Finding::ok("tokens", format!("{} records", stored.records.len())),
        Err(error) => Finding::failed("tokens", error.to_string(), "mend the file it names"),
    }
}

fn key(path: &Path) -> Finding {
    let check = "statement key";
    if !path.exists() {
        return Finding::ok(check, "made at the first start");
    }
    match secret::load_keys(path) {
        Ok(keys) => Finding::ok(check, format!("{} in {}", keys.len(), path.display())),
        Err(error) => Finding::failed(
            check,
            error.to_string(),
            "mend it, or remove it while nothing runs: a new one is made",
        ),
    }
}
