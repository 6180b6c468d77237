//! The settings that git is given: in each call's environment, where they win over the repository's
//! own, and in a file of the runtime's, for the helpers to which git does not pass that on.
//!
//! Invariant: a repository's settings can name programs, but none that git would start.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use config::private;

use crate::branch::BranchError;

/// Returns the settings of every call.
pub(super) fn fixed() -> impl Iterator<Item = (String, String)> {
    FIXED
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
}

/// Returns the file which stands for the user's settings.
pub(super) fn global(home: &Path) -> PathBuf {
    home.join("gitconfig")
}

/// Writes the file which stands for the user's settings. Only there, and never in a repository, does
/// git look for the repositories that it may open though somebody else owns them.
pub(super) fn write_global(home: &Path, repositories: &[&Path]) -> Result<(), BranchError> {
    let path = global(home);
    let mut text = String::new();
    for (key, value) in FIXED {
        push(&mut text, key, value);
    }
    for repository in repositories {
        push(&mut text, "safe.directory", &repository.to_string_lossy());
    }
    private::replace_file(&path, text.as_bytes()).map_err(|source| BranchError::File {
        what: "write git's settings",
        path,
        source,
    })
}

/// Returns settings which switch off all filters in a list of names, each of which ends with NUL.
///
/// An empty command is none. A required filter without a command would be an error.
pub(super) fn without_filters(names: &[u8]) -> Vec<(String, String)> {
    let names = String::from_utf8_lossy(names);
    let filters: BTreeSet<&str> = names
        .split('\0')
        .filter_map(|name| name.strip_prefix("filter.")?.rsplit_once('.'))
        .map(|(filter, _)| filter)
        .collect();
    filters
        .into_iter()
        .flat_map(|filter| {
            [
                ("clean", ""),
                ("smudge", ""),
                ("process", ""),
                ("required", "false"),
            ]
            .map(|(key, value)| (format!("filter.{filter}.{key}"), value.to_owned()))
        })
        .collect()
}

/// Adds `section.key` or `section.subsection.key` with its value, quoted.
fn push(text: &mut String, key: &str, value: &str) {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let (section, name) = key.rsplit_once('.').unwrap_or((key, ""));
    let header = match section.split_once('.') {
        Some((section, subsection)) => format!("[{section} \"{}\"]", quote(subsection)),
        None => format!("[{section}]"),
    };
    text.push_str(&format!("{header}\n\t{name} = \"{}\"\n", quote(value)));
}

/// What git would otherwise let a repository decide.
const FIXED: &[(&str, &str)] = &[
    // Programs that a repository's settings can name.
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.pager", "cat"),
    ("core.editor", "/bin/false"),
    ("core.askPass", "/bin/false"),
    ("core.sshCommand", "/bin/false"),
    ("core.alternateRefsCommand", "/bin/false"),
    ("credential.helper", ""),
    ("credential.interactive", "false"),
    ("gpg.program", "/bin/false"),
    ("init.templateDir", ""),
    // Transports: another repository on this host, and nothing else.
    ("protocol.allow", "never"),
    ("protocol.file.allow", "always"),
    ("protocol.ext.allow", "never"),
    ("protocol.ssh.allow", "never"),
    ("protocol.git.allow", "never"),
    ("protocol.http.allow", "never"),
    ("protocol.https.allow", "never"),
    // Every object is checked on its way in. The three exceptions are old faults without danger
    // that stand in the history of well-known projects.
    ("transfer.fsckObjects", "true"),
    ("fetch.fsckObjects", "true"),
    ("receive.fsckObjects", "true"),
    ("fetch.fsck.badTimezone", "ignore"),
    ("fetch.fsck.missingSpaceBeforeDate", "ignore"),
    ("fetch.fsck.zeroPaddedFilemode", "ignore"),
    ("fsck.badTimezone", "ignore"),
    ("fsck.missingSpaceBeforeDate", "ignore"),
    ("fsck.zeroPaddedFilemode", "ignore"),
    // What would be done beyond the call.
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("fetch.prune", "false"),
    ("fetch.pruneTags", "false"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("submodule.recurse", "false"),
    ("rerere.enabled", "false"),
    ("merge.autoStash", "false"),
    ("merge.verifySignatures", "false"),
    ("commit.gpgSign", "false"),
    ("tag.gpgSign", "false"),
    ("log.showSignature", "false"),
    // What would make the same files look different.
    ("core.attributesFile", "/dev/null"),
    ("core.excludesFile", "/dev/null"),
    ("core.autocrlf", "false"),
    ("core.safecrlf", "false"),
    ("core.protectHFS", "true"),
    ("core.protectNTFS", "true"),
    ("core.splitIndex", "false"),
    ("core.untrackedCache", "false"),
    ("diff.ignoreSubmodules", "all"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_filter_is_switched_off() {
        let names =
            b"core.bare\0filter.lfs.clean\0filter.a.b.smudge\0filter.lfs.process\0filter.x\0";
        let keys: Vec<String> = without_filters(names)
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        assert_eq!(
            keys,
            [
                "filter.a.b.clean=",
                "filter.a.b.smudge=",
                "filter.a.b.process=",
                "filter.a.b.required=false",
                "filter.lfs.clean=",
                "filter.lfs.smudge=",
                "filter.lfs.process=",
                "filter.lfs.required=false",
            ]
        );
    }

    #[test]
    fn values_cannot_leave_their_quotes() {
        let mut text = String::new();
        push(&mut text, "safe.directory", "/a\"\\b");
        push(&mut text, "fetch.fsck.badTimezone", "ignore");
        assert_eq!(
            text,
            "[safe]\n\tdirectory = \"/a\\\"\\\\b\"\n[fetch \"fsck\"]\n\tbadTimezone = \"ignore\"\n"
        );
    }
}
