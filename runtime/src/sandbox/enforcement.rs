//! What stands behind each promised control, in the base jail and in the sandbox.
//!
//! Invariant: a control is said to be the kernel's only where the probe tried it and was refused.

use config::contract::session::{Enforcement, Layer};
use config::runtime::Sandbox as Settings;

use super::Profile;

/// Lists the controls in the order in which they are shown.
pub(super) fn list(
    layers: &jail::Layers,
    profile: &Profile,
    settings: &Settings,
) -> Vec<Enforcement> {
    let sandbox = layers.sandbox.as_ref().filter(|_| profile.sandbox);
    let files = |control, remark| of_layer(control, &layers.file_system, remark);
    let readable = if sandbox.is_some() { VISIBLE } else { READABLE };
    let mut controls = vec![
        files("reads outside the workspace", Some(readable)),
        files("writes outside the workspace", None),
        files("Loki's own data, keys and audit", None),
        files("the project's repository", None),
        no_new_privileges(layers),
    ];
    if profile.allowed.is_some() {
        let remark = sandbox.is_none().then_some(MODES);
        controls.push(files("writes outside the allowed paths", remark));
    }
    // With the sandbox there is nobody outside whom these could reach.
    let (tcp, signals, sockets) = match sandbox {
        Some(sandbox) => (&sandbox.network, &sandbox.namespaces, &sandbox.network),
        None => (
            &layers.network_tcp,
            &layers.signals,
            &layers.abstract_sockets,
        ),
    };
    controls.extend([
        of_layer("outgoing TCP but to listed ports", tcp, None),
        of_layer("signals to outside processes", signals, None),
        of_layer("abstract sockets of outside processes", sockets, None),
    ]);
    match sandbox {
        Some(sandbox) => controls.extend([
            of_layer("network isolation", &sandbox.network, None),
            of_layer("seccomp", &sandbox.system_calls, None),
            limits(sandbox, settings),
            of_layer(
                "protected git metadata",
                &sandbox.root,
                Some("new settings of agents are refused when the work is taken over"),
            ),
            of_layer(
                "read-only root, own user and processes",
                &sandbox.root,
                None,
            ),
            if profile.variables {
                unavailable("credentials stay outside", CREDENTIALS)
            } else {
                of_layer("credentials stay outside", &sandbox.namespaces, None)
            },
        ]),
        None => controls.extend([
            unavailable("network isolation", NO_SANDBOX),
            unavailable("seccomp", NO_SANDBOX),
            unavailable("resource limits", NO_SANDBOX),
            unavailable("protected git metadata", OWN_CLONE),
        ]),
    }
    controls
}

/// Returns why the sandbox cannot be enforced, if it cannot.
pub(super) fn sandbox_shortage(layers: &jail::Layers, settings: &Settings) -> Option<String> {
    let Some(sandbox) = &layers.sandbox else {
        return Some(NOT_PROBED.to_owned());
    };
    let required = [
        ("namespaces", &sandbox.namespaces),
        ("root", &sandbox.root),
        ("network", &sandbox.network),
        ("system_calls", &sandbox.system_calls),
    ];
    let limited = [
        ("cpu", &sandbox.cpu, settings.cpu_percent_max > 0),
        ("memory", &sandbox.memory, settings.memory_bytes_max > 0),
        ("processes", &sandbox.processes, settings.processes_max > 0),
    ];
    let may_lack = |name: &str| settings.may_lack.iter().any(|lacked| lacked == name);
    let limited = limited
        .into_iter()
        .filter(|(name, _, asked)| *asked && !may_lack(name))
        .map(|(name, layer, _)| (name, layer));
    required
        .into_iter()
        .chain(limited)
        .find_map(|(name, layer)| shortage(layer).map(|why| format!("{name}: {why}")))
}

/// Returns the layers of a sandbox that cannot be had.
pub(super) fn no_sandbox(reason: &str) -> jail::SandboxLayers {
    let layer = || jail::Layer::Unavailable {
        reason: reason.to_owned(),
    };
    jail::SandboxLayers {
        namespaces: layer(),
        root: layer(),
        network: layer(),
        system_calls: layer(),
        cpu: layer(),
        memory: layer(),
        processes: layer(),
    }
}

pub(super) fn shortage(layer: &jail::Layer) -> Option<&str> {
    match layer {
        jail::Layer::Enforced => None,
        jail::Layer::Partial { gap: why } | jail::Layer::Unavailable { reason: why } => Some(why),
        jail::Layer::NotAsked => Some(NOT_PROBED),
    }
}

/// Tells of the limits of the whole tree: as strong as the weakest that was asked for.
fn limits(sandbox: &jail::SandboxLayers, settings: &Settings) -> Enforcement {
    let limits = [
        ("cpu", &sandbox.cpu, settings.cpu_percent_max > 0),
        ("memory", &sandbox.memory, settings.memory_bytes_max > 0),
        ("processes", &sandbox.processes, settings.processes_max > 0),
    ];
    let missing: Vec<String> = limits
        .iter()
        .filter_map(|(name, layer, asked)| {
            if *asked {
                shortage(layer).map(|why| format!("{name}: {why}"))
            } else {
                Some(format!("{name}: the operator set no limit"))
            }
        })
        .collect();
    Enforcement {
        control: "resource limits".to_owned(),
        layer: if missing.is_empty() {
            Layer::Kernel
        } else {
            Layer::Advisory
        },
        reason: (!missing.is_empty()).then(|| missing.join("; ")),
    }
}

/// Returns why the base jail cannot be enforced, if it cannot.
pub(super) fn base_shortage(layers: &jail::Layers) -> Option<String> {
    if !layers.no_new_privileges {
        return Some(NO_NEW_PRIVILEGES_MISSING.to_owned());
    }
    match &layers.file_system {
        jail::Layer::Enforced => None,
        jail::Layer::Partial { gap: why } | jail::Layer::Unavailable { reason: why } => {
            Some(why.clone())
        }
        jail::Layer::NotAsked => Some(NOT_PROBED.to_owned()),
    }
}

/// Lists the layers that this host lacks.
pub(super) fn missing(layers: &jail::Layers) -> impl Iterator<Item = jail::LayerName> + '_ {
    jail::LayerName::ALL.into_iter().filter(|name| {
        let layer = match name {
            jail::LayerName::FileSystem => &layers.file_system,
            jail::LayerName::NetworkTcp => &layers.network_tcp,
            jail::LayerName::Signals => &layers.signals,
            jail::LayerName::AbstractSockets => &layers.abstract_sockets,
        };
        match layer {
            jail::Layer::Unavailable { .. } => true,
            jail::Layer::Enforced | jail::Layer::Partial { .. } | jail::Layer::NotAsked => false,
        }
    })
}

/// Returns whether something stronger than a wish stands behind a control.
pub(super) fn holds(enforcement: &Enforcement) -> bool {
    match enforcement.layer {
        Layer::Kernel | Layer::Proxy | Layer::Gate => true,
        Layer::GateRequestBound | Layer::Advisory | Layer::Unavailable => false,
    }
}

fn of_layer(control: &str, layer: &jail::Layer, remark: Option<&str>) -> Enforcement {
    let (layer, reason) = match layer {
        jail::Layer::Enforced => (Layer::Kernel, remark.map(str::to_owned)),
        jail::Layer::Partial { gap } => (Layer::Kernel, Some(gap.clone())),
        jail::Layer::Unavailable { reason } => (Layer::Advisory, Some(reason.clone())),
        jail::Layer::NotAsked => (Layer::Unavailable, Some(NOT_PROBED.to_owned())),
    };
    Enforcement {
        control: control.to_owned(),
        layer,
        reason,
    }
}

fn no_new_privileges(layers: &jail::Layers) -> Enforcement {
    if layers.no_new_privileges {
        Enforcement {
            control: "no new privileges".to_owned(),
            layer: Layer::Kernel,
            reason: None,
        }
    } else {
        unavailable("no new privileges", NO_NEW_PRIVILEGES_MISSING)
    }
}

fn unavailable(control: &str, reason: &str) -> Enforcement {
    Enforcement {
        control: control.to_owned(),
        layer: Layer::Unavailable,
        reason: Some(reason.to_owned()),
    }
}

const READABLE: &str = "the system's programs and the folders of jail.read can be read, and /proc \
                        shows names and arguments of other processes";
const VISIBLE: &str = "the system's programs and the folders of jail.read can be read";
const MODES: &str = "modes, owners and times of files in the workspace are not covered without the \
                     sandbox";
const CREDENTIALS: &str = "the operator gives the provider's variables to the program inside \
                           (sandbox.credentials_in_sandbox)";
const NO_SANDBOX: &str = "this session does not run in the sandbox";
const NOT_PROBED: &str = "it was not tried on this host";
const NO_NEW_PRIVILEGES_MISSING: &str = "the kernel did not set no new privileges";
const OWN_CLONE: &str = "an agent can change settings and hooks of its own clone; the runtime runs \
                         git there only in the jail, with hooks and filters off";
