//! Mounts as the kernel hands them out: cut off from the host, narrowed, then put into place.
//!
//! Invariant: a source is opened without following a link, so that a program which ran before cannot
//! have it lead elsewhere; it is narrowed before it can be seen.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// How far a mount is narrowed. Never with set-user-id programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Narrowing {
    /// Nothing can be changed; no devices.
    ReadOnly,
    /// No devices.
    Writable,
    /// Nothing can be executed.
    Device,
}

/// Opens a place without following a link anywhere in its name.
pub(crate) fn open_exactly(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS)
}

/// Cuts a copy of what is mounted at and below a place, and narrows all of it.
pub(crate) fn cut(place: &OwnedFd, narrowing: Narrowing) -> Result<OwnedFd, Errno> {
    let tree = copy(place)?;
    let read_only = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NODEV;
    let attributes = libc::MOUNT_ATTR_NOSUID
        | match narrowing {
            Narrowing::ReadOnly => read_only,
            Narrowing::Writable => libc::MOUNT_ATTR_NODEV,
            Narrowing::Device => libc::MOUNT_ATTR_NOEXEC,
        };
    set(tree.as_fd(), attributes, libc::AT_RECURSIVE)?;
    Ok(tree)
}

#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
fn copy(place: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = libc::OPEN_TREE_CLONE
        | libc::OPEN_TREE_CLOEXEC
        | (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH).cast_unsigned();
    // SAFETY: the path is a terminated string that lives until the call returns, and the descriptor
    // is open.
    let number =
        unsafe { libc::syscall(libc::SYS_open_tree, place.as_raw_fd(), c"".as_ptr(), flags) };
    let number = i32::try_from(number).map_err(|_| Errno::IO)?;
    if number < 0 {
        return Err(last_error());
    }
    // SAFETY: the kernel has just made this descriptor for this process, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts a cut tree over a place.
#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
pub(crate) fn attach(tree: &OwnedFd, place: &OwnedFd) -> Result<(), Errno> {
    // SAFETY: both paths are terminated strings that live until the call returns, and both
    // descriptors are open.
    let done = unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            c"".as_ptr(),
            place.as_raw_fd(),
            c"".as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH | libc::MOVE_MOUNT_T_EMPTY_PATH,
        )
    };
    answered(done == 0)
}

/// Mounts a new file system of a kind.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn mount(
    kind: &CStr,
    place: &Path,
    flags: libc::c_ulong,
    options: &CStr,
) -> Result<(), Errno> {
    let place = CString::new(place.as_os_str().as_bytes()).map_err(|_| Errno::INVAL)?;
    // SAFETY: all four are terminated strings that live until the call returns; the kernel only reads
    // them.
    let done = unsafe {
        libc::mount(
            kind.as_ptr(),
            place.as_ptr(),
            kind.as_ptr(),
            flags,
            options.as_ptr().cast(),
        )
    };
    answered(done == 0)
}

/// Cuts every mount of this namespace off from those that it was copied from.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn cut_off() -> Result<(), Errno> {
    // SAFETY: the place is a terminated string; the other pointers may be null for this request.
    let done = unsafe {
        libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_PRIVATE | libc::MS_REC,
            std::ptr::null(),
        )
    };
    answered(done == 0)
}

/// Lets go of the mount at the current folder, as soon as nobody uses it.
#[expect(unsafe_code, reason = "the call has no safe wrapper")]
pub(crate) fn let_go() -> Result<(), Errno> {
    // SAFETY: the place is a terminated string.
    let done = unsafe { libc::umount2(c".".as_ptr(), libc::MNT_DETACH) };
    answered(done == 0)
}

/// Makes one mount read-only, those below it left as they are.
pub(crate) fn seal(place: &OwnedFd) -> Result<(), Errno> {
    set(place.as_fd(), libc::MOUNT_ATTR_RDONLY, 0)
}

#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
fn set(tree: BorrowedFd<'_>, attributes: u64, recursive: i32) -> Result<(), Errno> {
    let request = libc::mount_attr {
        attr_set: attributes,
        attr_clr: 0,
        propagation: 0,
        userns_fd: 0,
    };
    // SAFETY: the path is a terminated string, and the request a whole `mount_attr` whose size is
    // given; both live until the call returns. The kernel only reads them.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | recursive,
            &raw const request,
            size_of::<libc::mount_attr>(),
        )
    };
    answered(done == 0)
}

fn answered(done: bool) -> Result<(), Errno> {
    if done { Ok(()) } else { Err(last_error()) }
}

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
