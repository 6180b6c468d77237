//! Landlock: the kernel's own refusal of everything that the policy does not list.
//!
//! Invariant: a layer that the policy requires is enforced, or [`narrow`] fails.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use ::landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, NetPort,
    PathBeneath, RestrictSelf, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
    RulesetError, Scope, make_bitflags,
};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::capabilities;
use crate::layers::{Layer, LayerName, Layers};
use crate::policy::Policy;

/// Says why this process could not be narrowed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandlockError {
    /// The kernel lacks a layer that the policy requires.
    #[error(
        "cannot enforce {layer}: {reason}; fix: {fix}, or list `{layer}` in the policy's may_be_missing"
    )]
    Missing {
        /// The layer.
        layer: LayerName,
        /// What the kernel has instead.
        reason: String,
        /// What to do about it.
        fix: String,
    },
    /// A path of the policy cannot be opened.
    #[error("cannot open policy path {path}: {source}; fix: create it, or take it out of the policy's list `{list}`", path = .path.display())]
    Path {
        /// The policy's list that names the path.
        list: &'static str,
        /// The path.
        path: PathBuf,
        /// What the kernel said.
        source: Errno,
    },
    /// The kernel refused a step.
    #[error(
        "cannot restrict itself with Landlock: {0}; fix: see with `loki-jail probe` what this host can enforce"
    )]
    Kernel(#[from] RulesetError),
    /// What is in force cannot be read back.
    #[error(
        "cannot read back what is enforced: {0}; fix: see with `loki-jail probe` what this host can enforce"
    )]
    Unproven(#[from] Errno),
}

/// Narrows this process, and all that it executes, to the policy for good. The caller has set no new
/// privileges before, without which the kernel allows this to root alone.
///
/// # Errors
/// [`LandlockError`]. The process may then be narrowed in part and must not go on.
pub(crate) fn narrow(policy: &Policy) -> Result<Layers, LandlockError> {
    let status = status()?;
    check_required(policy, status)?;
    allow(handle(policy)?.create()?, policy)?.restrict_self()?;
    Ok(Layers {
        no_new_privileges: rustix::thread::no_new_privs()?,
        no_capabilities: capabilities::none_left()?,
        landlock_abi: ABI::from(status) as u32,
        file_system: state(policy, status, LayerName::FileSystem),
        network_tcp: state(policy, status, LayerName::NetworkTcp),
        signals: state(policy, status, LayerName::Signals),
        abstract_sockets: state(policy, status, LayerName::AbstractSockets),
        sandbox: None,
    })
}

/// Refuses a kernel that lacks a layer which the policy requires.
fn check_required(policy: &Policy, status: LandlockStatus) -> Result<(), LandlockError> {
    for layer in LayerName::ALL {
        if requires(policy, layer) && ABI::from(status) < needed(layer) {
            let (reason, fix) = (shortage(status, layer), remedy(status, layer));
            return Err(LandlockError::Missing { layer, reason, fix });
        }
    }
    Ok(())
}

/// Lists what the kernel is to refuse unless a rule allows it.
fn handle(policy: &Policy) -> Result<Ruleset, RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(level(policy, LayerName::FileSystem))
        .handle_access(AccessFs::from_all(needed(LayerName::FileSystem)))?
        // Control calls of devices came to Landlock later, and no rule allows one.
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::IoctlDev)?;
    if policy.connect_ports.is_some() {
        ruleset = ruleset
            .set_compatibility(level(policy, LayerName::NetworkTcp))
            .handle_access(AccessNet::ConnectTcp)?;
    }
    ruleset
        .set_compatibility(level(policy, LayerName::Signals))
        .scope(Scope::Signal)?
        .set_compatibility(level(policy, LayerName::AbstractSockets))
        .scope(Scope::AbstractUnixSocket)
}

/// Adds the policy's lists as rules.
fn allow(ruleset: RulesetCreated, policy: &Policy) -> Result<RulesetCreated, LandlockError> {
    let mut ruleset = ruleset.set_compatibility(level(policy, LayerName::FileSystem));
    let required = [
        ("read", &policy.read, READ),
        ("write", &policy.write, READ | WRITE),
        ("devices", &policy.devices, DEVICE),
    ];
    for (list, paths, rights) in required {
        for path in paths {
            let place = open(path).map_err(|source| LandlockError::Path {
                list,
                path: path.clone(),
                source,
            })?;
            ruleset = allow_beneath(ruleset, place, rights)?;
        }
    }
    for path in &policy.read_if_present {
        match open(path) {
            Ok(place) => ruleset = allow_beneath(ruleset, place, READ)?,
            Err(Errno::NOENT) => (),
            Err(source) => {
                return Err(LandlockError::Path {
                    list: "read_if_present",
                    path: path.clone(),
                    source,
                });
            }
        }
    }
    // Without this right a terminal of one's own could not even be told its size.
    ruleset = ruleset.set_compatibility(CompatLevel::BestEffort);
    for path in &policy.terminals {
        let place = open(path).map_err(|source| LandlockError::Path {
            list: "terminals",
            path: path.clone(),
            source,
        })?;
        let rights = READ | DEVICE | AccessFs::IoctlDev;
        ruleset = ruleset.add_rule(PathBeneath::new(place, rights))?;
    }
    ruleset = ruleset.set_compatibility(level(policy, LayerName::NetworkTcp));
    for port in policy.connect_ports.iter().flatten() {
        ruleset = ruleset.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(ruleset)
}

/// Opens the place that a path leads to, links followed, without reading it. The rule then belongs to
/// that place: what becomes of the name later does not change it.
fn open(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
}

/// Allows `rights` on a folder and all below it, or those that make sense for a file on a file.
fn allow_beneath(
    ruleset: RulesetCreated,
    place: OwnedFd,
    rights: BitFlags<AccessFs>,
) -> Result<RulesetCreated, LandlockError> {
    let folder = FileType::from_raw_mode(rustix::fs::fstat(&place)?.st_mode).is_dir();
    let rights = if folder {
        rights
    } else {
        rights & AccessFs::from_file(needed(LayerName::FileSystem))
    };
    Ok(ruleset.add_rule(PathBeneath::new(place, rights))?)
}

/// Returns what is in force for a layer after the process was narrowed.
fn state(policy: &Policy, status: LandlockStatus, layer: LayerName) -> Layer {
    if !asks(policy, layer) {
        return Layer::NotAsked;
    }
    if ABI::from(status) < needed(layer) {
        return Layer::Unavailable {
            reason: shortage(status, layer),
        };
    }
    // The ways around the port list are closed by the filter that is set next, or nothing runs.
    Layer::Enforced
}

fn asks(policy: &Policy, layer: LayerName) -> bool {
    match layer {
        LayerName::NetworkTcp => policy.connect_ports.is_some(),
        LayerName::FileSystem | LayerName::Signals | LayerName::AbstractSockets => true,
    }
}

fn requires(policy: &Policy, layer: LayerName) -> bool {
    asks(policy, layer) && !policy.may_be_missing.contains(&layer)
}

fn level(policy: &Policy, layer: LayerName) -> CompatLevel {
    if requires(policy, layer) {
        CompatLevel::HardRequirement
    } else {
        CompatLevel::BestEffort
    }
}

/// Asks the kernel for its Landlock version. Changes nothing: an empty request is not applied.
fn status() -> Result<LandlockStatus, RulesetError> {
    Ok(RestrictSelf::default()
        .no_new_privs(false)
        .apply()?
        .landlock)
}

/// Returns the first version in which the whole layer can be enforced. Before version 3 any file
/// could be truncated.
fn needed(layer: LayerName) -> ABI {
    match layer {
        LayerName::FileSystem => ABI::V3,
        LayerName::NetworkTcp => ABI::V4,
        LayerName::Signals | LayerName::AbstractSockets => ABI::V6,
    }
}

fn shortage(status: LandlockStatus, layer: LayerName) -> String {
    match status {
        LandlockStatus::NotImplemented => "this kernel has no Landlock".to_owned(),
        LandlockStatus::NotEnabled => "Landlock is switched off on this host".to_owned(),
        LandlockStatus::Available { effective_abi, .. } => {
            format!(
                "the kernel's Landlock has version {effective_abi}, needed is {}",
                needed(layer)
            )
        }
    }
}

fn remedy(status: LandlockStatus, layer: LayerName) -> String {
    let linux = match layer {
        LayerName::FileSystem => "6.2",
        LayerName::NetworkTcp => "6.7",
        LayerName::Signals | LayerName::AbstractSockets => "6.12",
    };
    match status {
        LandlockStatus::NotEnabled => {
            "add `landlock` to the kernel's boot parameter `lsm=`".to_owned()
        }
        LandlockStatus::NotImplemented | LandlockStatus::Available { .. } => {
            format!("use Linux {linux} or newer, built with CONFIG_SECURITY_LANDLOCK")
        }
    }
}

const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});

/// All rights but device nodes: by one of its own, root could read the raw disk.
const WRITE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    WriteFile | Truncate | RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSock | MakeFifo | MakeSym | Refer
});

const DEVICE: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | WriteFile});

#[cfg(test)]
mod tests {
    use super::*;

    const fn version(effective_abi: ABI) -> LandlockStatus {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi: None,
        }
    }

    #[track_caller]
    fn check(status: LandlockStatus, may_be_missing: &[LayerName], expected: Option<&str>) {
        let may_be_missing = may_be_missing.iter().copied().collect();
        let policy = Policy {
            may_be_missing,
            ..Policy::new("/report".into(), "/".into())
        };
        let found = check_required(&policy, status)
            .err()
            .map(|error| error.to_string());
        assert_eq!(found.as_deref(), expected);
    }

    #[test]
    fn a_kernel_that_lacks_a_required_layer_is_refused() {
        check(
            LandlockStatus::NotImplemented,
            &[],
            Some(
                "cannot enforce file_system: this kernel has no Landlock; fix: use Linux 6.2 or newer, built with \
                 CONFIG_SECURITY_LANDLOCK, or list `file_system` in the policy's may_be_missing",
            ),
        );
        check(
            LandlockStatus::NotEnabled,
            &[],
            Some(
                "cannot enforce file_system: Landlock is switched off on this host; fix: add `landlock` to the \
                 kernel's boot parameter `lsm=`, or list `file_system` in the policy's may_be_missing",
            ),
        );
        check(
            version(ABI::V2),
            &[
                LayerName::NetworkTcp,
                LayerName::Signals,
                LayerName::AbstractSockets,
            ],
            Some(
                "cannot enforce file_system: the kernel's Landlock has version 2, needed is 3; fix: use Linux 6.2 or \
                 newer, built with CONFIG_SECURITY_LANDLOCK, or list `file_system` in the policy's may_be_missing",
            ),
        );
        check(
            version(ABI::V5),
            &[],
            Some(
                "cannot enforce signals: the kernel's Landlock has version 5, needed is 6; fix: use Linux 6.12 or \
                 newer, built with CONFIG_SECURITY_LANDLOCK, or list `signals` in the policy's may_be_missing",
            ),
        );
        check(LandlockStatus::NotImplemented, &LayerName::ALL, None);
        check(
            version(ABI::V4),
            &[LayerName::Signals, LayerName::AbstractSockets],
            None,
        );
        check(version(ABI::V6), &[], None);
    }

    #[test]
    fn a_layer_that_the_kernel_lacks_is_never_called_enforced() {
        let policy = Policy::new("/report".into(), "/".into());
        for layer in LayerName::ALL {
            let reason = "this kernel has no Landlock".to_owned();
            assert_eq!(
                state(&policy, LandlockStatus::NotImplemented, layer),
                Layer::Unavailable { reason }
            );
        }
        let open = Policy {
            connect_ports: None,
            ..policy
        };
        assert_eq!(
            state(&open, version(ABI::V6), LayerName::NetworkTcp),
            Layer::NotAsked
        );
    }
}
