//! The settings of the sandbox: whether agents run in it, and how much of the machine they get.

use crate::load::{Key, Reader, Value};

/// The sandbox of agents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sandbox {
    /// Whether every session runs in it; if not, a caller may still ask for it.
    pub enabled: bool,
    /// Processor time of one tree, in hundredths of one processor; 0 is no limit.
    pub cpu_percent_max: u32,
    /// Memory and swap of one tree, in bytes; 0 is no limit.
    pub memory_bytes_max: u64,
    /// Processes and threads of one tree; 0 is no limit.
    pub processes_max: u32,
    /// Size of each private temporary file system, in bytes.
    pub temporary_bytes_max: u64,
    /// Limits without which the sandbox may start where the host cannot enforce them.
    pub may_lack: Vec<String>,
    /// Whether a provider's variables may be given to the program inside.
    pub credentials: bool,
    /// What the sandbox is made of.
    pub backend: Backend,
    /// The image of containers.
    pub image: String,
    /// Where the engine of containers answers.
    pub engine: String,
    /// Most long-lived sandboxes that run at once; 0 is none.
    pub live_max: u32,
}

/// What a sandbox is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// The kernel's own means, by `loki-jail`.
    Native,
    /// A container of a Docker engine, with `loki-jail` inside.
    Docker,
}

impl Value for Backend {
    fn from_text(text: &str) -> Result<Self, String> {
        match text {
            "native" => Ok(Self::Native),
            "docker" => Ok(Self::Docker),
            _ => Err(format!("{text:?} is neither native nor docker")),
        }
    }

    fn show(&self) -> String {
        match self {
            Self::Native => "\"native\"".to_owned(),
            Self::Docker => "\"docker\"".to_owned(),
        }
    }
}

/// Reads the table `sandbox`.
pub(super) fn read(reader: &mut Reader) -> Sandbox {
    let sandbox = Sandbox {
        enabled: reader.value(
            &Key::new("sandbox.enabled").variables(&["LOKI_SANDBOX_MODE"]),
            false,
        ),
        cpu_percent_max: reader.value(&Key::new("sandbox.cpu_percent_max"), 200),
        memory_bytes_max: reader.value(&Key::new("sandbox.memory_bytes_max"), 4 * GIBIBYTE),
        processes_max: reader.value(&Key::new("sandbox.processes_max"), 512),
        temporary_bytes_max: reader.value(&Key::new("sandbox.temporary_bytes_max"), GIBIBYTE),
        may_lack: reader.value(&Key::new("sandbox.may_lack"), Vec::new()),
        credentials: reader.value(&Key::new("sandbox.credentials_in_sandbox"), false),
        backend: reader.value(&Key::new("sandbox.backend"), Backend::Native),
        image: reader.value(&Key::new("sandbox.image"), "loki-sandbox".to_owned()),
        engine: reader.value(
            &Key::new("sandbox.engine"),
            "unix:///var/run/docker.sock".to_owned(),
        ),
        live_max: reader.value(&Key::new("sandbox.live_max"), 4),
    };
    for name in &sandbox.may_lack {
        if !RESOURCES.contains(&name.as_str()) {
            let message = format!("{name:?} is no limit: use {}", RESOURCES.join(", "));
            reader.mistake("sandbox.may_lack", message);
        }
    }
    // They stand among the arguments of the engine's client, where neither may look like an option.
    for (key, text) in [
        ("sandbox.image", &sandbox.image),
        ("sandbox.engine", &sandbox.engine),
    ] {
        if text.is_empty() || text.starts_with('-') || text.contains(char::is_whitespace) {
            reader.mistake(key, "is empty, begins with a dash or holds a blank");
        }
    }
    if sandbox.temporary_bytes_max == 0 {
        reader.mistake("sandbox.temporary_bytes_max", "must be at least 1");
    }
    sandbox
}

/// Reads the only places that agents may write: `LOKI_ALLOWED_PATHS`.
pub(super) fn allowed_paths(reader: &mut Reader) -> Option<Vec<String>> {
    let key = Key::new("paths.allowed").variables(&["LOKI_ALLOWED_PATHS"]);
    let paths: Vec<String> = reader.value(&key, Vec::new());
    if paths.iter().any(|path| path.trim().is_empty()) {
        reader.mistake("paths.allowed", "holds an empty path");
    }
    (!paths.is_empty()).then_some(paths)
}

/// The limits that a host may be unable to enforce.
const RESOURCES: [&str; 3] = ["cpu", "memory", "processes"];

const GIBIBYTE: u64 = 1024 * 1024 * 1024;
