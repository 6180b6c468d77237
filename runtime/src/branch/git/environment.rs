//! The environment of every git: fixed, whatever the runtime's own is.
//!
//! Invariant: no variable comes from outside, and the settings in it win over the repository's own.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Call, settings};

/// Builds the environment of one call.
pub(super) fn build(call: &Call, home: &Path) -> BTreeMap<String, String> {
    let mut environment = plain();
    if call.online {
        environment.insert("GIT_ALLOW_PROTOCOL".to_owned(), "https".to_owned());
    }
    let mut add = |name: &str, value: String| environment.insert(name.to_owned(), value);
    let text = |path: &Path| path.to_string_lossy().into_owned();
    add("HOME", text(home));
    add("XDG_CONFIG_HOME", text(home));
    add("GIT_CONFIG_GLOBAL", text(&settings::global(home)));
    add("GIT_DIR", text(&call.repository.git_directory));
    if let Some(work_tree) = &call.work_tree {
        add("GIT_WORK_TREE", text(work_tree));
    }
    let settings = settings::fixed()
        .chain(call.settings.iter().cloned())
        .enumerate();
    let mut count = 0;
    for (number, (key, value)) in settings {
        add(&format!("GIT_CONFIG_KEY_{number}"), key);
        add(&format!("GIT_CONFIG_VALUE_{number}"), value);
        count = number + 1;
    }
    add("GIT_CONFIG_COUNT", count.to_string());
    environment
}

/// Returns the part that is the same for every call.
pub(super) fn plain() -> BTreeMap<String, String> {
    FIXED
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// Returns the permission bits that this process's new files do not get. Reading them another way
/// would change them for an instant.
pub(super) fn own_umask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(UMASK_CLOSED)
}

/// Git's own variables, each of which closes a way to be told something from outside.
const FIXED: &[(&str, &str)] = &[
    ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ("LANG", "C"),
    ("LC_ALL", "C"),
    ("GIT_ADVICE", "0"),
    ("GIT_ALLOW_PROTOCOL", "file"),
    ("GIT_ASKPASS", "/bin/false"),
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_AUTHOR_EMAIL", EMAIL),
    ("GIT_AUTHOR_NAME", NAME),
    ("GIT_COMMITTER_EMAIL", EMAIL),
    ("GIT_COMMITTER_NAME", NAME),
    ("GIT_CONFIG_NOSYSTEM", "1"),
    ("GIT_CONFIG_SYSTEM", "/dev/null"),
    ("GIT_DEFAULT_REF_FORMAT", "files"),
    ("GIT_EDITOR", "/bin/false"),
    ("GIT_GRAFT_FILE", "/dev/null"),
    ("GIT_MERGE_AUTOEDIT", "no"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_NO_REPLACE_OBJECTS", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_PAGER", "cat"),
    ("GIT_SEQUENCE_EDITOR", "/bin/false"),
    ("GIT_SSH_COMMAND", "/bin/false"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("SSH_ASKPASS", "/bin/false"),
];

/// Who commits in a session's clone.
pub(in crate::branch) const NAME: &str = "Loki Agent";

/// The address of [`NAME`], in a domain that can never exist (RFC 2606).
pub(in crate::branch) const EMAIL: &str = "agent@loki.invalid";

const UMASK_CLOSED: u32 = 0o077;
