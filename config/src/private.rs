//! Files and directories that only their owner may touch.
//!
//! Invariant: nothing is written through a symbolic link, and a file is replaced as a whole or
//! not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// `O_NOFOLLOW` of Linux on x86-64 and arm64 (`include/uapi/asm-generic/fcntl.h`).
#[cfg(not(any(target_arch = "aarch64", target_arch = "arm")))]
pub const NO_FOLLOW: i32 = 0o400_000;
/// `O_NOFOLLOW` of Linux on arm (`arch/arm64/include/uapi/asm/fcntl.h`).
#[cfg(any(target_arch = "aarch64", target_arch = "arm"))]
pub const NO_FOLLOW: i32 = 0o100_000;

/// Makes `path` and its missing parents with mode 0700; an existing one keeps its mode.
///
/// # Errors
/// When it cannot be made.
pub fn create_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes `path` and narrows it to mode 0700 if it is wider.
///
/// # Errors
/// When it cannot be made or narrowed, or is a symbolic link.
pub fn create_closed_directory(path: &Path) -> io::Result<()> {
    create_directory(path)?;
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            "a directory was expected, not a link",
        ));
    }
    if metadata.permissions().mode() & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Creates a new file with mode 0600.
///
/// # Errors
/// When something of that name exists already, or it cannot be created.
pub fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(path)
}

/// Opens a file for appending, creating it with mode 0600.
///
/// # Errors
/// When it is a symbolic link or cannot be opened.
pub fn append_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .read(true)
        .create(true)
        .mode(0o600)
        .custom_flags(NO_FOLLOW)
        .open(path)
}

/// Replaces `path` by `bytes` (mode 0600) so that a reader, also after a crash, sees either the
/// old or the new content, whole.
///
/// # Errors
/// When the draft cannot be written or moved into place.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = create_file(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_parent(path)
}

/// Makes the directory entry of `path` durable.
///
/// # Errors
/// When the parent cannot be opened or synchronised.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or_else(|| Path::new("."));
    File::open(parent)?.sync_all()
}
