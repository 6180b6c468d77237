//! A pair of ends of one terminal: a shell has the inner one as its own, the keeper holds the outer one.
//!
//! Invariant: the pair is made inside, of the sandbox's own terminals; nobody outside ever has either end.

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};

use crate::order::Size;

/// Makes a terminal and returns its outer and its inner end. The outer one does not wait.
pub(crate) fn open(size: Size) -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let outer = rustix::fs::open("/dev/ptmx", flags | OFlags::NONBLOCK, Mode::empty())?;
    unlock(&outer)?;
    let inner = format!("/dev/pts/{}", number(&outer)?);
    let inner = rustix::fs::open(inner.as_str(), flags, Mode::empty())?;
    resize(&outer, size)?;
    Ok((outer, inner))
}

/// Tells the programs on the inner end how large the terminal is now.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn resize(outer: &OwnedFd, size: Size) -> io::Result<()> {
    let size = libc::winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: the descriptor is open, and the kernel reads one whole `winsize`, which lives until it
    // returns.
    answered(unsafe { libc::ioctl(outer.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) })
}

/// Makes the terminal on standard input the one of this process and all that it starts. Called between
/// fork and exec.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn become_leader() -> io::Result<()> {
    rustix::process::setsid()?;
    // SAFETY: the call takes no pointer.
    answered(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn unlock(outer: &OwnedFd) -> io::Result<()> {
    let locked: c_int = 0;
    // SAFETY: the descriptor is open, and the kernel reads one `int`, which lives until it returns.
    answered(unsafe { libc::ioctl(outer.as_raw_fd(), libc::TIOCSPTLCK, &raw const locked) })
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn number(outer: &OwnedFd) -> io::Result<c_int> {
    let mut number: c_int = 0;
    // SAFETY: the descriptor is open, and the kernel writes one `int`, which lives until it returns.
    answered(unsafe { libc::ioctl(outer.as_raw_fd(), libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

fn answered(done: c_int) -> io::Result<()> {
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::{Read, Write};

    use super::{open, resize};
    use crate::order::Size;

    const SIZE: Size = Size {
        columns: 80,
        rows: 24,
    };

    #[test]
    fn what_is_no_terminal_has_no_size() {
        let file = File::open("/dev/null").unwrap();
        assert!(resize(&file.into(), SIZE).is_err());
    }

    #[test]
    fn what_is_written_at_one_end_is_read_at_the_other() {
        let (outer, inner) = open(SIZE).unwrap();
        let (mut outer, mut inner) = (File::from(outer), File::from(inner));
        outer.write_all(b"typed\n").unwrap();
        let mut bytes = [0; 16];
        let length = inner.read(&mut bytes).unwrap();
        assert_eq!(&bytes[..length], b"typed\n");
    }
}
