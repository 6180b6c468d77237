//! Room on the disk: how much is free, and a piece that is held back for the last words of a trail
//! whose disk is full.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::FallocateFlags;

use super::files;

/// The file that holds the piece.
const HELD_BACK: &str = "reserve";

/// How much is held back.
pub(crate) const HELD_BACK_BYTES: u64 = 64 * 1024;

/// Returns how many bytes are free for us.
pub(crate) fn free_bytes(directory: impl AsFd) -> io::Result<u64> {
    let disk = rustix::fs::fstatvfs(directory)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Holds a piece of the disk back, if that is not done yet.
///
/// # Errors
/// When there is no room for it, or the disk knows no pieces.
pub(crate) fn hold_back(directory: impl AsFd + Copy) -> io::Result<()> {
    match files::open_named(directory, HELD_BACK) {
        Ok(file) if file.metadata()?.len() == HELD_BACK_BYTES => return Ok(()),
        Ok(_) | Err(_) => files::remove(directory, HELD_BACK)?,
    }
    let file = files::create(directory, HELD_BACK)?;
    let taken = rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, HELD_BACK_BYTES);
    if taken.is_err() {
        files::remove(directory, HELD_BACK)?;
    }
    Ok(taken?)
}

/// Gives the piece back to the disk.
pub(crate) fn let_go(directory: impl AsFd) -> io::Result<()> {
    files::remove(directory, HELD_BACK)
}

/// Returns whether an error says that the disk is full.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}
