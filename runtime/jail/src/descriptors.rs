//! Descriptors that the program must not inherit.
//!
//! Invariant: after [`close_on_execute_above_two`] only standard input, output and error survive the
//! start of another program.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};

use rustix::io::FdFlags;

/// Marks every open descriptor above 2 close-on-exec, whoever opened it.
///
/// They are marked and not closed because that is harmless whoever owns them, and because it covers
/// those that this process opens for itself.
///
/// # Errors
/// The kernel's error if `/proc/self/fd` cannot be read or a descriptor cannot be marked.
pub(crate) fn close_on_execute_above_two() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let name = entry?.file_name();
        let number = name
            .to_str()
            .and_then(|digits| digits.parse::<RawFd>().ok())
            .ok_or_else(|| io::Error::other("an entry of /proc/self/fd is no number"))?;
        if number > STANDARD_ERROR {
            mark(number)?;
        }
    }
    Ok(())
}

#[expect(
    unsafe_code,
    reason = "an inherited descriptor is known by its number alone; no safe call takes one"
)]
fn mark(number: RawFd) -> io::Result<()> {
    // SAFETY: the number is not -1, and the kernel has just listed it as open. This process has one
    // thread, and that is here, so nothing closes it before the borrow ends with this function.
    let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC)?)
}

const STANDARD_ERROR: RawFd = 2;
