//! What stands behind each promised control in the base jail.
//!
//! Invariant: a control is said to be the kernel's only where the probe tried it and was refused.

use config::contract::session::{Enforcement, Layer};

/// Lists the controls in the order in which they are shown.
pub(super) fn list(layers: &jail::Layers) -> Vec<Enforcement> {
    let files = |control, remark| of_layer(control, &layers.file_system, remark);
    vec![
        files("reads outside the workspace", Some(READABLE)),
        files("writes outside the workspace", None),
        files("Loki's own data, keys and audit", None),
        files("the project's repository", None),
        no_new_privileges(layers),
        of_layer(
            "outgoing TCP but to listed ports",
            &layers.network_tcp,
            None,
        ),
        of_layer("signals to outside processes", &layers.signals, None),
        of_layer(
            "abstract sockets of outside processes",
            &layers.abstract_sockets,
            None,
        ),
        unavailable("network isolation", NOT_BUILT),
        unavailable("seccomp", NOT_BUILT),
        unavailable("resource limits", NOT_BUILT),
        unavailable("protected git metadata", OWN_CLONE),
    ]
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
const NOT_BUILT: &str = "the sandbox is not built in this version";
const NOT_PROBED: &str = "it was not tried on this host";
const NO_NEW_PRIVILEGES_MISSING: &str = "the kernel did not set no new privileges";
const OWN_CLONE: &str = "an agent can change settings and hooks of its own clone; the runtime runs \
                         git there only in the jail, with hooks and filters off";
