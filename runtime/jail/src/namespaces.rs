//! Namespaces: the program's own view of users, processes, mounts, network and the rest.
//!
//! Invariant: after [`leave_host`] nothing this process does with users, mounts or the network touches
//! the host's.

use std::fs;
use std::io;
use std::os::fd::AsRawFd;

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

use crate::fault::{Fault, at};
use crate::sandbox::USER;

/// Moves this process into new namespaces, in which it is [`USER`] and nobody else exists. The new
/// process namespace begins with its next child.
///
/// # Errors
/// A [`Fault`] with the cause on this host.
pub(crate) fn leave_host() -> Result<(), Fault> {
    let (user, group) = (rustix::process::geteuid(), rustix::process::getegid());
    // Groups are rights too. An ordinary user cannot give them up; unnamed inside, they still count
    // for files that the group may read, which is why the view of files is built from nothing.
    match rustix::thread::set_thread_groups(&[]) {
        Ok(()) | Err(Errno::PERM) => (),
        Err(error) => return at("give up groups", KERNEL, Err(error)),
    }
    separate().map_err(|source| Fault {
        what: "make new namespaces".to_owned(),
        fix: remedy(&Host::look()).to_owned(),
        source: source.into(),
    })?;
    let write = |file: &str, text: String| {
        let written = fs::write(format!("/proc/self/{file}"), text);
        at(format!("write /proc/self/{file}"), MAPPING, written)
    };
    write("setgroups", "deny".to_owned())?;
    write("uid_map", format!("{USER} {user} 1", user = user.as_raw()))?;
    write(
        "gid_map",
        format!("{USER} {group} 1", group = group.as_raw()),
    )?;
    at("raise loopback", KERNEL, raise_loopback())?;
    at("name the host", KERNEL, name_host())
}

#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
fn separate() -> Result<(), Errno> {
    let flags = UnshareFlags::NEWUSER
        | UnshareFlags::NEWNS
        | UnshareFlags::NEWPID
        | UnshareFlags::NEWNET
        | UnshareFlags::NEWIPC
        | UnshareFlags::NEWUTS
        | UnshareFlags::NEWCGROUP;
    // SAFETY: the table of descriptors, which the call's rule is about, is not among the flags.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

#[expect(unsafe_code, reason = "the call has no safe wrapper")]
fn name_host() -> io::Result<()> {
    // SAFETY: the name lives until the call returns, and its length is given.
    let done = unsafe { libc::sethostname(HOST_NAME.as_ptr().cast(), HOST_NAME.len()) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Has the loopback interface of the new network work: programs talk to themselves over it.
#[expect(unsafe_code, reason = "the kernel's call has no safe wrapper")]
fn raise_loopback() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    let mut name = [0; libc::IFNAMSIZ];
    for (place, letter) in name.iter_mut().zip(b"lo") {
        *place = letter.cast_signed();
    }
    let flags = i16::try_from(libc::IFF_UP | libc::IFF_RUNNING).map_err(io::Error::other)?;
    let request = libc::ifreq {
        ifr_name: name,
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: flags },
    };
    // SAFETY: the request is a whole `ifreq` that lives until the call returns, and the descriptor is
    // an open socket. The kernel only reads it.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// What of a host decides whether a program may make namespaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Host {
    /// Ubuntu's AppArmor keeps them from programs without a profile.
    apparmor_restricts: bool,
    /// Debian's switch for ordinary users is off.
    switched_off: bool,
    /// No user namespace may be made.
    none_allowed: bool,
    /// A container's system-call filter is in force.
    filtered: bool,
}

impl Host {
    fn look() -> Self {
        let says = |file: &str, value: &str| {
            fs::read_to_string(file).is_ok_and(|text| text.trim() == value)
        };
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            apparmor_restricts: says(
                "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
                "1",
            ),
            switched_off: says("/proc/sys/kernel/unprivileged_userns_clone", "0"),
            none_allowed: says("/proc/sys/user/max_user_namespaces", "0"),
            filtered: status.lines().any(|line| line == "Seccomp:\t2"),
        }
    }
}

/// Returns what to do where namespaces cannot be made.
fn remedy(host: &Host) -> &'static str {
    if host.filtered {
        "this is a container with a system-call filter: start it with the settings of docs/sandbox.md, \
         \"In a container\""
    } else if host.none_allowed {
        "sysctl user.max_user_namespaces=15000"
    } else if host.switched_off {
        "sysctl kernel.unprivileged_userns_clone=1, or run Loki as root"
    } else if host.apparmor_restricts {
        "give loki-jail an AppArmor profile that allows `userns` (docs/sandbox.md), or sysctl \
         kernel.apparmor_restrict_unprivileged_userns=0"
    } else {
        "use a kernel with CONFIG_USER_NS, CONFIG_PID_NS, CONFIG_NET_NS, CONFIG_IPC_NS and \
         CONFIG_UTS_NS"
    }
}

const HOST_NAME: &str = "sandbox";

const KERNEL: &str = "see with `loki sandbox doctor` what this host can enforce";

const MAPPING: &str = "mount /proc, and let AppArmor or SELinux allow loki-jail user namespaces";

#[cfg(test)]
mod tests {
    use super::{Host, remedy};

    #[track_caller]
    fn check(host: Host, expected: &str) {
        assert!(
            remedy(&host).contains(expected),
            "{host:?}: {}",
            remedy(&host)
        );
    }

    #[test]
    fn each_host_is_told_its_own_remedy() {
        let none = Host::default();
        check(none, "CONFIG_USER_NS");
        check(
            Host {
                apparmor_restricts: true,
                ..none
            },
            "AppArmor profile",
        );
        check(
            Host {
                switched_off: true,
                ..none
            },
            "unprivileged_userns_clone=1",
        );
        check(
            Host {
                none_allowed: true,
                ..none
            },
            "max_user_namespaces",
        );
        let container = Host {
            filtered: true,
            apparmor_restricts: true,
            ..none
        };
        check(container, "In a container");
    }
}
