//! The dangers that are blocked by default, by what they do rather than by how they are written.
//!
//! Pure: no I/O, no clock.

use super::path::{Fit, is_disk, is_root};
use super::pattern::{Given, covers};
use super::piece::Piece;
use super::word::Word;

/// A danger of the documented default list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Danger {
    /// `rm -rf /`: deleting the root or everything in it.
    RootDeletion,
    /// `dd if=`: raw copies, and writing to a disk past its file system.
    RawDisk,
    /// `mkfs`: making a file system.
    FileSystem,
    /// `:(){ :|:& };:`: a function that starts itself again and again.
    ForkBomb,
}

impl Danger {
    pub(super) const EVERY: [Self; 4] = [
        Self::RootDeletion,
        Self::RawDisk,
        Self::FileSystem,
        Self::ForkBomb,
    ];

    /// Returns the entry that stands for it.
    pub(super) const fn entry(self) -> &'static str {
        match self {
            Self::RootDeletion => "rm -rf /",
            Self::RawDisk => "dd if=",
            Self::FileSystem => "mkfs",
            Self::ForkBomb => ":(){ :|:& };:",
        }
    }

    /// Returns the danger that an entry stands for; blanks do not count.
    pub(super) fn of_entry(entry: &str) -> Option<Self> {
        let bare = |text: &str| text.split_whitespace().collect::<String>();
        Self::EVERY
            .into_iter()
            .find(|danger| bare(danger.entry()) == bare(entry))
    }

    /// Returns what it does, for people.
    pub(super) const fn meaning(self) -> &'static str {
        match self {
            Self::RootDeletion => "it deletes the root directory or everything in it",
            Self::RawDisk => "it copies raw data or writes to a disk past its file system",
            Self::FileSystem => "it makes a file system",
            Self::ForkBomb => "it starts itself again and again",
        }
    }

    /// Returns whether a command is this danger. The fork bomb is found where functions are read.
    pub(super) fn fit(self, piece: &Piece, home: &str) -> Fit {
        match self {
            Self::RootDeletion => deletes_root(piece, home),
            Self::RawDisk => writes_disk(piece, home),
            Self::FileSystem => Fit::sure(makes_file_system(&piece.name)),
            Self::ForkBomb => Fit::No,
        }
    }
}

fn deletes_root(piece: &Piece, home: &str) -> Fit {
    let place = piece.place(home);
    let given = Given::of(&piece.name, &piece.arguments);
    let root = |words: &[&Word]| {
        let found = words.iter().map(|word| is_root(word, place)).max();
        let found = found.unwrap_or(Fit::No);
        if given.uncertain {
            found.max(Fit::Maybe)
        } else {
            found
        }
    };
    match piece.name.as_str() {
        "rm" => root(&given.operands).min(given.has("-r")),
        "mv" => root(&given.operands[..given.operands.len().saturating_sub(1)]),
        "rsync" => {
            let deletes = given.flags.iter().any(|flag| flag.starts_with("--del"));
            let target = given
                .operands
                .last()
                .map_or(Fit::No, |word| is_root(word, place));
            Fit::sure(deletes).min(target)
        }
        "find" => {
            let deletes = piece.arguments.iter().any(|word| word.text == "-delete");
            let starts: Vec<&Word> = piece
                .arguments
                .iter()
                .take_while(|word| !word.text.starts_with(['-', '(', '!']))
                .collect();
            Fit::sure(deletes).min(root(&starts))
        }
        _ => Fit::No,
    }
}

fn writes_disk(piece: &Piece, home: &str) -> Fit {
    let place = piece.place(home);
    let disk = |word: &Word| is_disk(word, place);
    let redirected = piece.writes.iter().map(disk).max().unwrap_or(Fit::No);
    let name = piece.name.as_str();
    let by_operand = if matches!(name, "dd" | "dcfldd" | "dc3dd") {
        piece
            .arguments
            .iter()
            .map(|word| copies(word, piece, home))
            .max()
    } else if name == "fdisk" && piece.arguments.iter().any(|word| word.text == "-l") {
        None
    } else if DISK_WRITERS.contains(&name) {
        piece.arguments.iter().map(disk).max()
    } else {
        None
    };
    redirected.max(by_operand.unwrap_or(Fit::No))
}

fn copies(word: &Word, piece: &Piece, home: &str) -> Fit {
    if word.text.starts_with("if=") {
        return Fit::Yes;
    }
    match word.text.strip_prefix("of=") {
        Some(target) => is_disk(&Word::known(target), piece.place(home)),
        None => Fit::sure(false).max(if word.is_known() { Fit::No } else { Fit::Maybe }),
    }
}

fn makes_file_system(name: &str) -> bool {
    covers("mkfs", name) || FILE_SYSTEM_MAKERS.contains(&name)
}

/// Programs that write to the disk which they are given.
const DISK_WRITERS: &[&str] = &[
    "badblocks",
    "blkdiscard",
    "cfdisk",
    "cp",
    "cryptsetup",
    "ddrescue",
    "fdisk",
    "gdisk",
    "hdparm",
    "install",
    "mv",
    "parted",
    "sfdisk",
    "sgdisk",
    "shred",
    "tee",
    "truncate",
    "wipefs",
    "nvme",
];

/// Programs that make file systems under another name.
const FILE_SYSTEM_MAKERS: &[&str] = &[
    "mke2fs",
    "mkdosfs",
    "mkntfs",
    "mkreiserfs",
    "mkudffs",
    "mkswap",
    "newfs",
    "newfs_msdos",
];
