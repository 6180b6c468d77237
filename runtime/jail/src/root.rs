//! The sandbox's root: an empty file system into which only what was declared is put.
//!
//! Invariant: nothing of the host is visible inside that the policy does not name; what is not listed
//! as writable cannot be written by anybody.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat};
use rustix::io::Errno;

use crate::fault::{Fault, at};
use crate::mounts::{self, Narrowing};
use crate::policy::Policy;
use crate::sandbox::{Access, HOME, SandboxPolicy, USER, USER_NAME};

/// Builds the root and makes it this process's. Process 1 of a new process namespace does this: the
/// `/proc` that it mounts shows that namespace alone.
///
/// # Errors
/// A [`Fault`]; this process must then not go on.
pub(crate) fn enter(policy: &Policy, sandbox: &SandboxPolicy) -> Result<(), Fault> {
    at("cut mounts off from the host's", MOUNTS, mounts::cut_off())?;
    // While everything is still to be seen.
    let pieces = cut(policy, sandbox)?;

    let place = policy.report.parent().unwrap_or(Path::new("/"));
    let options = format!("mode=0755,size={ROOT_BYTES_MAX}");
    at("mount the root", MOUNTS, temporary(place, &options))?;
    let root = Root(place.to_owned());
    at("fill the root", MOUNTS, root.furnish(sandbox))?;
    for piece in &pieces {
        let put = root.put(piece);
        at(
            format!("show {} inside", piece.target.display()),
            PLACES,
            put,
        )?;
    }
    at("mount /proc", PROC, root.mount_proc())?;
    let whole = at("open the root", MOUNTS, open_folder(&root.0))?;
    at("seal the root", MOUNTS, mounts::seal(&whole))?;
    at("enter the root", MOUNTS, root.enter())
}

/// Something to be shown inside.
#[derive(Debug)]
struct Piece {
    target: PathBuf,
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Folder(OwnedFd),
    File(OwnedFd),
    /// A name that leads elsewhere, inside as it does outside.
    Link(PathBuf),
}

/// Cuts what the policy names out of the host's mounts, parents before children.
fn cut(policy: &Policy, sandbox: &SandboxPolicy) -> Result<Vec<Piece>, Fault> {
    let mut pieces = Vec::new();
    for path in &policy.read_if_present {
        let private = PRIVATE.iter().any(|place| path.starts_with(place));
        let own = OWN.iter().any(|place| path == Path::new(place));
        if private || own || path.symlink_metadata().is_err() {
            continue;
        }
        pieces.push(piece(path, path, Narrowing::ReadOnly)?);
    }
    for path in &policy.read {
        pieces.push(piece(path, path, Narrowing::ReadOnly)?);
    }
    for path in &policy.devices {
        pieces.push(piece(path, path, Narrowing::Device)?);
    }
    for mount in &sandbox.mounts {
        let narrowing = match mount.access {
            Access::Read => Narrowing::ReadOnly,
            Access::Write => Narrowing::Writable,
        };
        pieces.push(piece(&mount.source, &mount.target, narrowing)?);
    }
    pieces.sort_by_key(|piece| piece.target.components().count());
    Ok(pieces)
}

fn piece(source: &Path, target: &Path, narrowing: Narrowing) -> Result<Piece, Fault> {
    let target = target.to_owned();
    if source == target
        && let Ok(leads_to) = fs::read_link(source)
    {
        let shape = Shape::Link(leads_to);
        return Ok(Piece { target, shape });
    }
    let taken = mounts::open_exactly(source).and_then(|place| {
        let kind = FileType::from_raw_mode(fstat(&place)?.st_mode);
        let tree = mounts::cut(&place, narrowing)?;
        Ok(if kind.is_dir() {
            Shape::Folder(tree)
        } else {
            Shape::File(tree)
        })
    });
    let shape = at(format!("take {} inside", source.display()), PLACES, taken)?;
    Ok(Piece { target, shape })
}

/// The root while it is being built: the folder at which it is mounted.
struct Root(PathBuf);

impl Root {
    fn place(&self, target: &Path) -> PathBuf {
        self.0.join(target.strip_prefix("/").unwrap_or(target))
    }

    /// Makes what is the sandbox's own: temporary folders, terminals, the files that name its user.
    fn furnish(&self, sandbox: &SandboxPolicy) -> io::Result<()> {
        for folder in ["dev", "etc", "proc", "run", "var/tmp", "tmp"] {
            fs::create_dir_all(self.0.join(folder))?;
        }
        fs::create_dir_all(self.place(Path::new(HOME)))?;
        let size = sandbox.temporary_bytes_max;
        // Empty files cost memory, too.
        let files = (size / FILE_BYTES_LEAST).max(FILES_LEAST);
        for folder in TEMPORARY {
            let place = self.place(Path::new(folder));
            temporary(&place, &format!("mode=1777,size={size},nr_inodes={files}"))?;
        }
        let devices = self.0.join("dev");
        temporary(&devices, &format!("mode=0755,size={ROOT_BYTES_MAX}"))?;
        let terminals = devices.join("pts");
        fs::create_dir(&terminals)?;
        let flags = libc::MS_NOSUID | libc::MS_NOEXEC;
        let options = c"newinstance,ptmxmode=0666,mode=0620";
        mounts::mount(c"devpts", &terminals, flags, options)?;
        let memory = devices.join("shm");
        fs::create_dir(&memory)?;
        temporary(&memory, &format!("mode=1777,size={size},nr_inodes={files}"))?;
        for (name, leads_to) in [
            ("ptmx", "pts/ptmx"),
            ("fd", "/proc/self/fd"),
            ("stdin", "/proc/self/fd/0"),
            ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
        ] {
            symlink(leads_to, devices.join(name))?;
        }
        let settings = self.0.join("etc");
        let own = |name: &str, text: &str| fs::write(settings.join(name), text);
        own(
            "passwd",
            &format!("{USER_NAME}:x:{USER}:{USER}::{HOME}:/bin/sh\n"),
        )?;
        own("group", &format!("{USER_NAME}:x:{USER}:\n"))?;
        own("hostname", "sandbox\n")?;
        own("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")?;
        own("resolv.conf", "# Names are resolved by the egress proxy.\n")
    }

    /// Shows a piece under its name.
    fn put(&self, piece: &Piece) -> io::Result<()> {
        let place = self.place(&piece.target);
        if let Some(parent) = place.parent() {
            fs::create_dir_all(parent)?;
        }
        let (tree, made) = match &piece.shape {
            Shape::Link(leads_to) => return symlink(leads_to, &place),
            Shape::Folder(tree) => (tree, fs::create_dir(&place)),
            Shape::File(tree) => (tree, fs::File::create_new(&place).map(drop)),
        };
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => (),
        }
        Ok(mounts::attach(tree, &mounts::open_exactly(&place)?)?)
    }

    /// Mounts a `/proc` that shows the sandbox's processes and cannot be written.
    fn mount_proc(&self) -> io::Result<()> {
        let place = self.0.join("proc");
        let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC | libc::MS_RDONLY;
        mounts::mount(c"proc", &place, flags, c"")?;
        // What the kernel tells there of the whole machine beyond its size.
        for name in HIDDEN {
            let hidden = place.join(name);
            if hidden.exists() {
                let nothing = mounts::cut(
                    &mounts::open_exactly(Path::new("/dev/null"))?,
                    Narrowing::Device,
                )?;
                mounts::attach(&nothing, &mounts::open_exactly(&hidden)?)?;
            }
        }
        Ok(())
    }

    /// Makes this the root of the process, and lets go of the host's.
    fn enter(&self) -> Result<(), Errno> {
        rustix::process::chdir(&self.0)?;
        rustix::process::pivot_root(".", ".")?;
        mounts::let_go()?;
        rustix::process::chdir("/")
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty())
}

fn temporary(place: &Path, options: &str) -> Result<(), Errno> {
    let options = std::ffi::CString::new(options).map_err(|_| Errno::INVAL)?;
    let flags = libc::MS_NOSUID | libc::MS_NODEV;
    mounts::mount(c"tmpfs", place, flags, &options)
}

/// Folders that are the sandbox's own, besides its home.
pub(crate) const TEMPORARY: [&str; 2] = ["/tmp", "/var/tmp"];

/// Where the host's files are never taken from, whatever the list says.
const PRIVATE: [&str; 2] = ["/proc", "/dev"];

/// Files that are the sandbox's own.
const OWN: [&str; 5] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
];

const HIDDEN: [&str; 8] = [
    "kcore",
    "keys",
    "key-users",
    "kallsyms",
    "kmsg",
    "timer_list",
    "sched_debug",
    "sysrq-trigger",
];

/// How much of a temporary file system each of its files is counted at.
const FILE_BYTES_LEAST: u64 = 4 * 1024;

/// Every temporary file system holds as many files as this.
const FILES_LEAST: u64 = 1024;

/// Enough for the names of what is put into it.
const ROOT_BYTES_MAX: u64 = 8 * 1024 * 1024;

const MOUNTS: &str =
    "use Linux 6.2 or newer; in a container, start it with the settings of docs/sandbox.md";

const PLACES: &str = "create it, and let no part of its name be a symbolic link";

const PROC: &str = "in a container, start it with --security-opt systempaths=unconfined (docs/sandbox.md, \"In a container\")";
