//! The system's own files that every program may read.
//!
//! Invariant: nothing here holds secrets, of the system or of any user. `/etc` is therefore listed
//! file by file: the runtime may be root, and then `/etc/shadow` and host keys are the agent's own.

use std::path::PathBuf;

/// Returns what may be read if it is there.
pub(super) fn readable() -> impl Iterator<Item = PathBuf> {
    [PROGRAMS, SETTINGS, KERNEL]
        .into_iter()
        .flatten()
        .map(PathBuf::from)
}

/// Where programs are found if nobody says otherwise.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs, their libraries and what comes with them. Not `/opt`: what lies there is no part of the
/// system, and often brings its own secrets; the setting `jail.read` adds what is needed.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/nix/store",
];

/// What programs need to be told: libraries, names of users and hosts, certificates that are trusted,
/// the time zone, the locale, which of several programs is meant.
const SETTINGS: &[&str] = &[
    "/etc/alternatives",
    "/etc/bash.bashrc",
    "/etc/ca-certificates",
    "/etc/ca-certificates.conf",
    "/etc/debian_version",
    "/etc/default/locale",
    "/etc/gai.conf",
    "/etc/group",
    "/etc/host.conf",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/inputrc",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/locale.alias",
    "/etc/locale.conf",
    "/etc/localtime",
    "/etc/login.defs",
    "/etc/magic",
    "/etc/mime.types",
    "/etc/nsswitch.conf",
    "/etc/os-release",
    "/etc/passwd",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/cert.pem",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/profile",
    "/etc/profile.d",
    "/etc/protocols",
    "/etc/python3",
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/shells",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
    "/etc/terminfo",
    "/etc/timezone",
];

/// What the kernel tells about itself. `/proc` as a whole, because Landlock cannot name the one's own
/// part of it in advance; memory, environment and descriptors of processes outside stay closed, since
/// the kernel treats looking at them as tracing, which a jailed process may do to its like alone. What
/// does show are the names and arguments of other processes. Of `/sys` only how many processors and
/// how much memory a program may count on.
const KERNEL: &[&str] = &[
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/sys/kernel/mm/transparent_hugepage",
];
