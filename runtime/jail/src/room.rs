//! The way into the sandbox, step by step, each with its reason.
//!
//! Invariant: the program runs only after every step has succeeded; what could not be had is an error
//! with cause and fix, unless the policy says that it may be lacked.

use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::Mode;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::cgroup::Groups;
use crate::family::{self, Fork};
use crate::fault::{Fault, at};
use crate::layers::{Layer, Layers, SandboxLayers};
use crate::policy::Policy;
use crate::sandbox::{Access, Contained, Egress, SandboxPolicy};
use crate::{allow_list, capabilities, landlock, limits, namespaces, root};

/// Who came out of [`enter`].
pub(crate) enum Entered {
    /// This is the process that is to become the program. It is narrowed to the last.
    ///
    /// With it comes its connection with the runtime, if it has one.
    Program(Box<Layers>, Option<OwnedFd>),
    /// This process has waited for another to end; its exit code.
    Waited(ExitCode),
}

/// Enters the sandbox. Three processes come out of it: one outside, which waits; process 1 inside,
/// which takes note of whoever ends; and the one that becomes the program.
///
/// # Errors
/// A [`Fault`], or Landlock's own. The process must then end.
pub(crate) fn enter(policy: &Policy, sandbox: &SandboxPolicy) -> Result<Entered, RoomError> {
    // Control groups first: afterwards their files are out of reach, and the new view of groups
    // begins with the group in which this process is.
    let resources = Groups::find(&sandbox.group).join(sandbox)?;
    // While the socket's name is still to be seen.
    let control = connect(sandbox.control.as_deref())?;
    namespaces::leave_host().map_err(RoomError::Namespaces)?;
    // Inside the new network, and before anything of it can be used by the program.
    open_way_out(sandbox.egress.as_ref())?;

    let (reader, writer) = at(
        "make a pipe",
        RETRY,
        rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC),
    )?;
    if let Fork::Parent(inside) = at("make process 1", RETRY, family::fork())? {
        drop(reader);
        let code = at("wait for process 1", RETRY, family::wait_outside(inside));
        // To the end: by it process 1 knows that this one is there.
        drop(writer);
        return Ok(Entered::Waited(ExitCode::from(code?)));
    }
    drop(writer);
    become_process_one(policy, sandbox, &reader)?;
    let layers = narrow(policy, sandbox, resources)?;
    match at("make the program's process", RETRY, family::fork())? {
        Fork::Parent(program) => {
            let code = at("wait for the program", RETRY, family::wait_inside(program))?;
            Ok(Entered::Waited(ExitCode::from(code)))
        }
        Fork::Child => {
            // Its own session: no terminal, and `kill 0` reaches nobody else.
            at("start a new session", RETRY, rustix::process::setsid())?;
            Ok(Entered::Program(Box::new(layers), control))
        }
    }
}

/// Builds the world in which this process, the first of its namespace, and all others will live.
fn become_process_one(
    policy: &Policy,
    sandbox: &SandboxPolicy,
    outside: &OwnedFd,
) -> Result<(), RoomError> {
    root::enter(policy, sandbox).map_err(RoomError::Root)?;
    rustix::process::umask(Mode::from_bits_truncate(policy.umask));
    at(
        format!("start in {}", policy.working_directory.display()),
        "mount the working directory",
        std::env::set_current_dir(&policy.working_directory),
    )?;
    at(
        "lower resource limits",
        "raise the policy's limits",
        limits::lower(&policy.limits),
    )?;
    // All the power of the new namespace's owner was needed up to here, and none of it from here on.
    at("drop capabilities", RETRY, capabilities::drop_all())?;
    at(
        "set no new privileges",
        RETRY,
        rustix::thread::set_no_new_privs(true),
    )?;
    // Nobody inside may look into this process, which has been outside. Programs that are executed
    // later can be looked into again.
    let closed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    at("close process 1", RETRY, closed)?;
    // The kernel forgets this whenever powers change.
    at(
        "bind process 1 to the outside",
        RETRY,
        family::bind_to(outside),
    )?;
    Ok(())
}

/// Sets what every later process inside inherits: Landlock, then the list of system calls.
fn narrow(
    policy: &Policy,
    sandbox: &SandboxPolicy,
    [cpu, memory, processes]: [Layer; 3],
) -> Result<Layers, RoomError> {
    let mut layers = landlock::narrow(&inside(policy, sandbox))?;
    allow_list::enforce()?;
    layers.sandbox = Some(SandboxLayers {
        namespaces: Layer::Enforced,
        root: Layer::Enforced,
        network: Layer::Enforced,
        system_calls: Layer::Enforced,
        cpu,
        memory,
        processes,
    });
    Ok(layers)
}

/// Returns the policy as it reads inside. Everything there was declared, so everything may be read.
fn inside(policy: &Policy, sandbox: &SandboxPolicy) -> Policy {
    let writable = sandbox
        .mounts
        .iter()
        .filter(|mount| mount.access == Access::Write)
        .map(|mount| mount.target.clone());
    let own = root::TEMPORARY.iter().map(Into::into);
    Policy {
        read: vec!["/".into()],
        read_if_present: Vec::new(),
        write: writable.chain(own).chain(["/dev/shm".into()]).collect(),
        terminals: vec!["/dev/pts".into()],
        // The network has no way out, and on its loopback address programs may meet as they like.
        connect_ports: None,
        ..policy.clone()
    }
}

/// Opens the ways between a container and the runtime. Returns the program's connection, if it has one.
pub(crate) fn open_ways(contained: &Contained) -> Result<Option<OwnedFd>, RoomError> {
    open_way_out(contained.egress.as_ref())?;
    connect(contained.control.as_deref())
}

fn open_way_out(egress: Option<&Egress>) -> Result<(), RoomError> {
    let handed = egress.map(hand_over).transpose();
    at("hand a listener to the egress proxy", EGRESS, handed)?;
    Ok(())
}

fn connect(control: Option<&Path>) -> Result<Option<OwnedFd>, RoomError> {
    let connected = control.map(UnixStream::connect).transpose();
    let connected = at("reach the runtime", CONTROL, connected)?;
    Ok(connected.map(Into::into))
}

/// Makes the listener and sends it to the proxy, which accepts on it from then on.
fn hand_over(egress: &Egress) -> std::io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, egress.port))?;
    let proxy = UnixStream::connect(&egress.socket)?;
    let descriptors = [listener.as_fd()];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(std::io::Error::other("no room for the listener"));
    }
    let letter = [std::io::IoSlice::new(b"l")];
    let _sent: usize = sendmsg(&proxy, &letter, &mut control, SendFlags::empty())?;
    Ok(())
}

/// Says why the sandbox was not entered.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RoomError {
    /// The host's namespaces could not be left.
    #[error(transparent)]
    Namespaces(Fault),
    /// The root could not be built.
    #[error(transparent)]
    Root(Fault),
    /// Another step failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// Landlock could not be enforced.
    #[error(transparent)]
    Landlock(#[from] landlock::LandlockError),
    /// The list of system calls could not be set.
    #[error(
        "cannot set the list of system calls: {0}; fix: use a kernel built with CONFIG_SECCOMP_FILTER"
    )]
    SystemCalls(#[from] seccompiler::Error),
}

const RETRY: &str = "see with `loki sandbox doctor` what this host can enforce";

const CONTROL: &str = "start the sandbox through the runtime, which waits for its keeper";

const EGRESS: &str = "start the sandbox through the runtime, which runs the proxy";
