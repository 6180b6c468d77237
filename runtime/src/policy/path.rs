//! Paths as they are meant: without `.`, `..`, doubled slashes, `~`, and ways around through `/proc`.
//!
//! Links are not followed: nothing is looked up. Pure: no I/O, no clock.

use super::word::{HOLE, Word};

/// Where a command runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The working directory, if it is known.
    pub(super) directory: Option<&'a str>,
    /// The home folder.
    pub(super) home: &'a str,
}

/// How sure it is that something fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fit {
    /// It does not.
    No,
    /// It may, depending on what is known only when the command runs.
    Maybe,
    /// It does.
    Yes,
}

impl Fit {
    pub(super) const fn sure(fits: bool) -> Self {
        if fits { Self::Yes } else { Self::No }
    }
}

/// Returns the canonical path of a text; nothing if it is relative to a place that is not known.
pub(super) fn canonical(text: &str, tilde: bool, place: Place<'_>) -> Option<String> {
    let home = tilde
        .then(|| text.strip_prefix('~'))
        .flatten()
        .filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let whole = match home {
        Some(rest) => format!("{}{rest}", place.home),
        None if text.starts_with('/') => text.to_owned(),
        None => format!("{}/{text}", place.directory?),
    };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
        if let ["proc", _, "root"] = parts.as_slice() {
            parts.clear();
        }
    }
    Some(format!("/{}", parts.join("/")))
}

/// Returns whether a word names the root, or everything in it.
pub(super) fn is_root(word: &Word, place: Place<'_>) -> Fit {
    if word.is_known() {
        return Fit::sure(names_root(&word.text, word, place));
    }
    let guesses = ["", "/"].map(|guess| word.text.replace(HOLE, guess));
    let could = word.text.chars().all(|letter| letter == HOLE)
        || guesses
            .iter()
            .any(|guess| !guess.is_empty() && names_root(guess, word, place));
    if could { Fit::Maybe } else { Fit::No }
}

fn names_root(text: &str, word: &Word, place: Place<'_>) -> bool {
    let Some(path) = canonical(text, word.tilde, place) else {
        return false;
    };
    if !word.glob {
        return path == "/";
    }
    // `/*`, `/.*`, `/?*`: everything right below the root.
    path.strip_prefix('/').is_some_and(|name| {
        name.contains('*') && name.chars().all(|letter| matches!(letter, '*' | '?' | '.'))
    })
}

/// Returns whether a word names a disk or a part of one.
pub(super) fn is_disk(word: &Word, place: Place<'_>) -> Fit {
    let Some(path) = canonical(&word.text, word.tilde, place) else {
        return Fit::No;
    };
    let Some(name) = path.strip_prefix("/dev/") else {
        return Fit::No;
    };
    let disk = DISKS.iter().any(|disk| name.starts_with(disk));
    if disk {
        Fit::Yes
    } else if name.starts_with(HOLE) || word.glob {
        Fit::Maybe
    } else {
        Fit::No
    }
}

/// Returns the last part of a path.
pub(super) fn base_name(text: &str) -> &str {
    text.trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or(text)
}

/// Block devices as the kernel and udev name them.
const DISKS: &[&str] = &[
    "bcache", "block/", "dasd", "disk/", "dm-", "drbd", "hd", "loop", "mapper/", "md", "mmcblk",
    "mtd", "nbd", "nvme", "pmem", "ram", "sd", "sr", "ubi", "vd", "xvd", "zram", "zd",
];
