//! The programs that are known to run others, and what stands before what they run.

/// Shells.
pub(in super::super) const SHELLS: &[&str] = &[
    "sh", "bash", "dash", "zsh", "ksh", "ash", "fish", "rbash", "mksh",
];

/// Options of `ssh` with a value.
pub(super) const SSH_VALUES: &[&str] = &[
    "-b", "-c", "-D", "-E", "-e", "-F", "-I", "-i", "-J", "-L", "-l", "-m", "-O", "-o", "-p", "-Q",
    "-R", "-S", "-W", "-w",
];

/// Settings of git that name commands.
pub(super) const GIT_RUNS: &[&str] = &[
    "core.editor",
    "core.fsmonitor",
    "core.pager",
    "core.sshcommand",
    "diff.external",
    "sequence.editor",
    "gpg.program",
    "core.gitproxy",
];

/// Wrappers: their options with a value, and the operands before the command.
pub(super) const WRAPPERS: &[(&str, &[&str], usize)] = &[
    ("builtin", &[], 0),
    ("busybox", &[], 0),
    ("catchsegv", &[], 0),
    ("cgexec", &["-g"], 0),
    ("choom", &["-n"], 0),
    ("chroot", &["--userspec", "--groups"], 1),
    ("chrt", &["-T", "-P", "-D"], 1),
    ("command", &[], 0),
    ("coproc", &[], 0),
    ("dbus-run-session", &[], 0),
    ("doas", &["-u", "-C"], 0),
    ("dumb-init", &[], 0),
    ("exec", &["-a"], 0),
    ("fakeroot", &[], 0),
    ("firejail", &[], 0),
    ("gosu", &[], 1),
    ("ionice", &["-c", "-n", "--class", "--classdata"], 0),
    ("ltrace", &["-o", "-e", "-p", "-s", "-u", "-n"], 0),
    ("nice", &["-n", "--adjustment"], 0),
    ("nohup", &[], 0),
    ("nsenter", &["-t", "--target", "-S", "-G"], 0),
    ("numactl", &["-C", "-N", "-m", "-p", "-i"], 0),
    ("pkexec", &["--user"], 0),
    ("prlimit", &["-p", "--pid"], 0),
    ("proxychains", &["-f"], 0),
    ("setarch", &[], 1),
    (
        "setpriv",
        &[
            "--reuid",
            "--regid",
            "--groups",
            "--inh-caps",
            "--bounding-set",
        ],
        0,
    ),
    ("setsid", &[], 0),
    (
        "stdbuf",
        &["-i", "-o", "-e", "--input", "--output", "--error"],
        0,
    ),
    (
        "strace",
        &["-o", "-e", "-p", "-s", "-u", "-E", "-P", "-b", "-I", "-a"],
        0,
    ),
    ("su-exec", &[], 1),
    (
        "sudo",
        &[
            "-u", "-g", "-h", "-p", "-C", "-T", "-r", "-t", "-R", "-D", "-U", "--user", "--group",
            "--host", "--prompt", "--chdir", "--chroot", "--role", "--type",
        ],
        0,
    ),
    (
        "systemd-run",
        &[
            "-p",
            "--property",
            "-u",
            "--unit",
            "-E",
            "--slice",
            "--description",
            "--uid",
            "--gid",
        ],
        0,
    ),
    ("taskset", &[], 1),
    ("time", &["-f", "-o", "--format", "--output"], 0),
    ("timeout", &["-s", "--signal", "-k", "--kill-after"], 1),
    ("tini", &[], 0),
    ("torsocks", &[], 0),
    ("toybox", &[], 0),
    ("unbuffer", &[], 0),
    ("unshare", &["-S", "-G", "-R", "--root", "-w", "--wd"], 0),
    ("valgrind", &[], 0),
    ("xvfb-run", &["-s", "-n", "-e", "-f", "-p", "-w"], 0),
];
