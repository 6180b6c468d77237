//! The names of the audit files, and how one is opened, packed (gzip) or not.
//!
//! Invariant: a file is a regular file of the directory that was asked for, never something that
//! a link points to or that could make its opener wait; listing puts the oldest first, each once.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::str::FromStr;

use chrono::NaiveDate;
use flate2::bufread::MultiGzDecoder;
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Uid};

/// Most files of one day; past it, something is wrong that one more file would not mend.
pub(crate) const SEGMENTS_MAX: u32 = 999;

/// The name of one audit file: `audit-2026-02-02.jsonl`, and `audit-2026-02-02.1.jsonl` for the
/// next one of the same day. Ordered by age.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FileName {
    /// The UTC day.
    pub(crate) day: NaiveDate,
    /// Number of the file in its day, from 0.
    pub(crate) segment: u32,
}

impl FileName {
    /// Returns the first file of a day.
    pub(crate) const fn first_of(day: NaiveDate) -> Self {
        Self { day, segment: 0 }
    }

    /// Returns the file behind this one.
    pub(crate) const fn next(self) -> Self {
        Self {
            day: self.day,
            segment: self.segment + 1,
        }
    }

    /// Returns the name of the packed file.
    pub(crate) fn packed(self) -> String {
        format!("{self}{PACKED}")
    }

    /// Returns the name of the file of this form.
    pub(crate) fn stored(self, form: Form) -> String {
        match form {
            Form::Plain => self.to_string(),
            Form::Packed => self.packed(),
        }
    }
}

/// How a file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Line by line.
    Plain,
    /// The same in gzip format.
    Packed,
}

/// What the name of a packed file ends with.
const PACKED: &str = ".gz";

/// An open file of the trail.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) file: File,
    pub(crate) form: Form,
}

impl Stored {
    /// Begins to read the lines, as far as they are written by now.
    pub(crate) fn reader(self) -> io::Result<Box<dyn BufRead + Send>> {
        let (_, length) = Identity::of(&self.file)?;
        Ok(lines_of(self.form, self.file.take(length)))
    }
}

/// Begins to read the lines behind the bytes of a file.
pub(crate) fn lines_of<'a>(
    form: Form,
    bytes: impl Read + Send + 'a,
) -> Box<dyn BufRead + Send + 'a> {
    let bytes = BufReader::with_capacity(READ_BYTES, bytes);
    match form {
        Form::Plain => Box::new(bytes),
        Form::Packed => Box::new(BufReader::with_capacity(
            READ_BYTES,
            MultiGzDecoder::new(bytes),
        )),
    }
}

/// Returns whether an error is that of unpacking: the disk is no reason to say that somebody changed
/// a file.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

/// How much is read at once.
const READ_BYTES: usize = 256 * 1024;

impl fmt::Display for FileName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "audit-{}", self.day.format("%Y-%m-%d"))?;
        if self.segment > 0 {
            write!(formatter, ".{}", self.segment)?;
        }
        formatter.write_str(".jsonl")
    }
}

/// A name that is not one of an audit file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ForeignName;

impl FromStr for FileName {
    type Err = ForeignName;

    fn from_str(text: &str) -> Result<Self, ForeignName> {
        let stem = text
            .strip_prefix("audit-")
            .and_then(|rest| rest.strip_suffix(".jsonl"))
            .ok_or(ForeignName)?;
        let (day, segment) = match stem.split_once('.') {
            Some((day, segment)) => (day, segment.parse().map_err(|_| ForeignName)?),
            None => (stem, 0),
        };
        let day = NaiveDate::parse_from_str(day, "%Y-%m-%d").map_err(|_| ForeignName)?;
        let name = Self { day, segment };
        // Only the one spelling that we write ourselves counts.
        if name.to_string() == text {
            Ok(name)
        } else {
            Err(ForeignName)
        }
    }
}

/// Returns the audit files of a directory, oldest first; a directory that is not there has none.
pub(crate) fn list(directory: &Path) -> io::Result<Vec<FileName>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry?.file_name();
        let parsed = name.to_str().map(|text| {
            let plain = text.strip_suffix(PACKED).unwrap_or(text);
            plain.parse::<FileName>()
        });
        if let Some(Ok(name)) = parsed {
            names.push(name);
        }
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Returns in which form a file is kept; while it is being packed, the plain one counts.
pub(crate) fn form(directory: impl AsFd + Copy, name: FileName) -> io::Result<Option<Form>> {
    for form in [Form::Plain, Form::Packed] {
        match rustix::fs::statat(directory, name.stored(form), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => return Ok(Some(form)),
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(None)
}

/// Returns how many bytes of the disk a file takes in all its forms.
pub(crate) fn bytes_on_disk(directory: impl AsFd + Copy, name: FileName) -> io::Result<u64> {
    let mut bytes = 0;
    for form in [Form::Plain, Form::Packed] {
        match rustix::fs::statat(directory, name.stored(form), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => bytes += u64::try_from(stat.st_size).unwrap_or(0),
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(bytes)
}

/// What makes a file the same file, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns the identity and the length of an open file.
    pub(crate) fn of(file: &File) -> io::Result<(Self, u64)> {
        let metadata = file.metadata()?;
        let identity = Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        };
        Ok((identity, metadata.len()))
    }

    /// Returns the identity and the length of what has a name in an open directory.
    pub(crate) fn named(directory: impl AsFd, name: FileName) -> io::Result<Option<(Self, u64)>> {
        match rustix::fs::statat(directory, name.to_string(), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => {
                let identity = Self {
                    device: stat.st_dev,
                    inode: stat.st_ino,
                };
                Ok(Some((identity, u64::try_from(stat.st_size).unwrap_or(0))))
            }
            Err(rustix::io::Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Returns the identity of what has a path.
    pub(crate) fn at(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::symlink_metadata(path)?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
        })
    }
}

/// Opens a file for reading, in whichever form it is kept; it may be packed meanwhile.
///
/// # Errors
/// When it is not there, or is not a regular file.
pub(crate) fn open_to_read(directory: impl AsFd + Copy, name: FileName) -> io::Result<Stored> {
    let open = |form: Form| -> io::Result<Stored> {
        let file = open(directory, &name.stored(form), OFlags::RDONLY)?;
        Ok(Stored { file, form })
    };
    match open(Form::Plain) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => open(Form::Packed),
        other => other,
    }
}

/// Opens a file for appending and reading; makes it (mode 0600) if it is not there.
///
/// # Errors
/// When it can be neither opened nor made, or is not a regular file.
pub(crate) fn open_to_append(directory: impl AsFd + Copy, name: FileName) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::APPEND;
    match open(directory, &name.to_string(), flags) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        other => {
            let file = other?;
            narrow(&file)?;
            return Ok(file);
        }
    }
    let file = open(
        directory,
        &name.to_string(),
        flags | OFlags::CREATE | OFlags::EXCL,
    )?;
    give_to_owner_of(directory, &file)?;
    rustix::fs::fsync(directory)?;
    Ok(file)
}

/// Gives a file the mode 0600 if it has another; returns whether it had.
pub(crate) fn narrow(file: &File) -> io::Result<bool> {
    let other = file.metadata()?.permissions().mode() & 0o777 != 0o600;
    if other {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(other)
}

/// Makes a new file (mode 0600) of any name in the directory.
///
/// # Errors
/// When it is there already, or cannot be made.
pub(crate) fn create(directory: impl AsFd + Copy, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
    let file = open(directory, name, flags)?;
    give_to_owner_of(directory, &file)?;
    Ok(file)
}

/// Opens a file of any name in the directory for reading.
///
/// # Errors
/// When it is not there, or is not a regular file.
pub(crate) fn open_named(directory: impl AsFd, name: &str) -> io::Result<File> {
    open(directory, name, OFlags::RDONLY)
}

/// Removes a name from the directory; one that is not there is no error.
pub(crate) fn remove(directory: impl AsFd, name: &str) -> io::Result<()> {
    match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

fn open(directory: impl AsFd, name: &str, flags: OFlags) -> io::Result<File> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let opened = rustix::fs::openat(directory, name, flags, mode);
    let file = File::from(opened.map_err(|errno| explain(name, errno.into()))?);
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
    if kind == FileType::RegularFile {
        Ok(file)
    } else {
        Err(not_regular(name))
    }
}

fn explain(name: &str, error: io::Error) -> io::Error {
    let errno = error
        .raw_os_error()
        .map(rustix::io::Errno::from_raw_os_error);
    match errno {
        Some(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR | rustix::io::Errno::NXIO) => {
            not_regular(name)
        }
        _ => error,
    }
}

fn not_regular(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name} is not a regular file: move it away"),
    )
}

/// A command that root runs must not make a file that the gateway's own user cannot open.
fn give_to_owner_of(directory: impl AsFd, file: &File) -> io::Result<()> {
    let owner = rustix::fs::fstat(directory)?;
    let made = rustix::fs::fstat(file)?;
    if (owner.st_uid, owner.st_gid) != (made.st_uid, made.st_gid) && made.st_uid == 0 {
        rustix::fs::fchown(
            file,
            Some(Uid::from_raw(owner.st_uid)),
            Some(Gid::from_raw(owner.st_gid)),
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::FileName;

    #[test]
    fn foreign_names_are_not_audit_files() {
        for text in [
            "",
            "audit.jsonl",
            "audit-2026-02-30.jsonl",
            "audit-2026-2-2.jsonl",
            "audit-2026-02-02.0.jsonl",
            "audit-2026-02-02.01.jsonl",
            "audit-2026-02-02.-1.jsonl",
            "audit-2026-02-02.jsonl.gz",
            "audit-2026-02-02.120000.x.jsonl",
            "../audit-2026-02-02.jsonl",
        ] {
            assert!(text.parse::<FileName>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn names_are_read_back_and_sorted_by_age() {
        let names = [
            "audit-2026-02-01.jsonl",
            "audit-2026-02-02.jsonl",
            "audit-2026-02-02.2.jsonl",
            "audit-2026-02-02.10.jsonl",
            "audit-2026-02-03.jsonl",
        ];
        let mut parsed: Vec<FileName> = names.iter().rev().flat_map(|name| name.parse()).collect();
        parsed.sort_unstable();
        let shown: Vec<String> = parsed.iter().map(ToString::to_string).collect();
        assert_eq!(shown, names);
    }
}
