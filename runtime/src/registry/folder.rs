//! Looks into a registered project's folder without trusting anything in it.
//!
//! Invariant: no symbolic link is followed on the way, nothing that is not a regular file is read,
//! no open can wait for another process, and no read is longer than its bound.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat2, statat};

/// An open folder.
#[derive(Debug)]
pub(crate) struct Folder(OwnedFd);

/// What tells one state of a file from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Print {
    inode: u64,
    bytes: i64,
    modified: (i64, u64),
    changed: (i64, u64),
}

impl Folder {
    /// Opens a folder by its canonical path; a link anywhere in it means that it is canonical no more.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)?;
        Ok(Self(opened))
    }

    /// Opens a folder below this one.
    pub(crate) fn below(&self, name: &str) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat2(&self.0, name, flags, Mode::empty(), BENEATH)?))
    }

    /// Returns whether there is a folder of this name.
    pub(crate) fn has_folder(&self, name: &str) -> bool {
        self.below(name).is_ok()
    }

    /// Returns whether there is a regular file of this name.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat2(&self.0, name, flags, Mode::empty(), BENEATH)
            .and_then(fstat)
            .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::RegularFile)
    }

    /// Returns the print of what lies directly in this folder under a name.
    pub(crate) fn print(&self, name: &str) -> Option<Print> {
        let found = statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
        Some(Print {
            inode: found.st_ino,
            bytes: found.st_size,
            modified: (found.st_mtime, found.st_mtime_nsec),
            changed: (found.st_ctime, found.st_ctime_nsec),
        })
    }

    /// Reads a regular file of at most `bytes_max`.
    ///
    /// # Errors
    /// When it is not there, not regular, longer, or cannot be read.
    pub(crate) fn read(&self, name: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
        let flags =
            OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::CLOEXEC;
        let opened = openat2(&self.0, name, flags, Mode::empty(), BENEATH)?;
        read_regular(File::from(opened), bytes_max)
    }
}

/// Reads an open file to its end if it is regular and not longer than `bytes_max`.
pub(crate) fn read_regular(file: File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let too_long = || {
        io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("it is longer than {bytes_max} bytes"),
        )
    };
    if found.len() > bytes_max {
        return Err(too_long());
    }
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_long());
    }
    Ok(bytes)
}

const BENEATH: ResolveFlags = ResolveFlags::NO_SYMLINKS.union(ResolveFlags::BENEATH);

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::symlink;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::Folder;

    #[test]
    fn hostile_entries_are_refused_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path().join("secret"), root.join("link")).unwrap();
        symlink(outside.path(), root.join("link-folder")).unwrap();
        mknodat(CWD, root.join("pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        fs::write(root.join("long"), "123456789").unwrap();
        let huge = fs::File::create(root.join("huge")).unwrap();
        huge.set_len(10 * 1024 * 1024 * 1024).unwrap();
        fs::create_dir(root.join("folder")).unwrap();
        let folder = Folder::open(&root).unwrap();
        let check = |name: &str, expected: Option<ErrorKind>| {
            let error = folder.read(name, 8).expect_err(name);
            if let Some(expected) = expected {
                assert_eq!(error.kind(), expected, "{name}");
            }
        };
        check("link", None);
        check("link-folder/secret", None);
        check("../elsewhere", None);
        check("/etc/passwd", None);
        check("pipe", Some(ErrorKind::InvalidInput));
        check("folder", Some(ErrorKind::InvalidInput));
        check("long", Some(ErrorKind::FileTooLarge));
        check("huge", Some(ErrorKind::FileTooLarge));
        check("gone", Some(ErrorKind::NotFound));
        assert!(!folder.has_file("link") && !folder.has_file("pipe"));
        assert!(!folder.has_folder("link-folder"));
        assert!(Folder::open(&root.join("link-folder")).is_err());
    }

    #[test]
    fn a_regular_file_is_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("inner")).unwrap();
        fs::write(root.join("inner/file"), "12345678").unwrap();
        let folder = Folder::open(&root).unwrap();
        assert_eq!(folder.read("inner/file", 8).unwrap(), b"12345678");
        assert!(folder.has_file("inner/file") && folder.has_folder("inner"));
    }
}
