//! What the agent may reach: the file that the runtime writes for each process tree.
//!
//! Invariant: a policy that was read is of the known version, has no unknown field, names absolute
//! paths alone, and came from a file that nobody but its owner can read or change.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::layers::LayerName;
use crate::private_file;
use crate::sandbox::{Access, Contained, SandboxPolicy};

/// Says what one process tree may reach. Everything that is not listed is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Is [`POLICY_VERSION`].
    pub version: u32,
    /// Where the supervisor creates its [`Report`](crate::Report). Must not exist yet.
    pub report: PathBuf,
    /// Where `enter` creates the [`Layers`](crate::Layers) it enforced, just before the program
    /// starts. Must not exist yet. A missing or empty file means that the program never ran.
    pub layers: Option<PathBuf>,
    /// The regular file, not a link, that the program reads as its standard input. `None` is
    /// `/dev/null`.
    pub stdin: Option<PathBuf>,
    /// Where the program starts.
    pub working_directory: PathBuf,
    /// The program's whole environment. The program is looked up in its `PATH`.
    pub environment: BTreeMap<String, String>,
    /// The permission bits that new files do not get.
    #[serde(default = "umask_default")]
    pub umask: u32,
    /// Limits of each process.
    #[serde(default)]
    pub limits: Limits,
    /// Files and folders that may be read and executed. Each must exist.
    pub read: Vec<PathBuf>,
    /// Files and folders that may be read and executed if they exist when the program starts.
    #[serde(default)]
    pub read_if_present: Vec<PathBuf>,
    /// Files and folders that may be read, executed, written, created and removed. Each must exist.
    /// Device nodes can be created nowhere.
    pub write: Vec<PathBuf>,
    /// Devices that may be read and written. Each must exist.
    #[serde(default = "devices_default")]
    pub devices: Vec<PathBuf>,
    /// The only TCP ports to which the program may connect; `None` (`null`, to be spelled out) is
    /// every port. Accepting connections is never restricted.
    #[serde(deserialize_with = "Option::deserialize")]
    pub connect_ports: Option<BTreeSet<u16>>,
    /// Layers without which the program may start where the kernel cannot enforce them.
    #[serde(default)]
    pub may_be_missing: BTreeSet<LayerName>,
    /// Folders of terminals that may be read, written and controlled.
    #[serde(default)]
    pub terminals: Vec<PathBuf>,
    /// The sandbox around the program; none is the base jail alone. Then the paths of
    /// `working_directory` and `terminals` are names inside.
    #[serde(default)]
    pub sandbox: Option<SandboxPolicy>,
    /// What is asked for inside a container; none is the base jail alone. Not together with `sandbox`.
    #[serde(default)]
    pub contained: Option<Contained>,
}

/// Limits of each process, on top of those it inherits. Core dumps are always off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Open descriptors of one process.
    pub open_files: Option<u64>,
    /// Size of one file, in bytes.
    pub file_size_bytes: Option<u64>,
    /// Processes of the **user**, those outside the jail included.
    pub processes: Option<u64>,
    /// Memory of one process that is its own: heap and private mappings, in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// Says why a policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// The file cannot be opened or read.
    #[error("cannot read policy {path}: {source}; fix: give the path of a policy that the runtime wrote", path = .path.display())]
    Unreadable {
        /// The policy's file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file cannot be created or written.
    #[error("cannot create policy {path}: {source}; fix: choose a new name in a folder of one's own", path = .path.display())]
    Uncreatable {
        /// The policy's file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Somebody else could have read or written the file.
    #[error("cannot trust policy {path}: it is {what}; fix: write it anew as one's own regular file of mode 0600", path = .path.display())]
    Untrusted {
        /// The policy's file.
        path: PathBuf,
        /// What is wrong with the file.
        what: &'static str,
    },
    /// The content is not a policy.
    #[error("cannot understand policy {path}: {source}; fix: use the loki-jail that belongs to this runtime", path = .path.display())]
    Malformed {
        /// The policy's file.
        path: PathBuf,
        /// Where and why the content is wrong.
        source: serde_json::Error,
    },
    /// The content is a policy which contradicts a rule.
    #[error("cannot use policy: {what}; fix: correct that field")]
    Invalid {
        /// The field, its value and the rule.
        what: String,
    },
}

impl Policy {
    /// Makes a policy which allows only to use the default devices and to connect nowhere.
    #[must_use]
    pub fn new(report: PathBuf, working_directory: PathBuf) -> Self {
        Self {
            version: POLICY_VERSION,
            report,
            layers: None,
            stdin: None,
            working_directory,
            environment: BTreeMap::new(),
            umask: umask_default(),
            limits: Limits::default(),
            read: Vec::new(),
            read_if_present: Vec::new(),
            write: Vec::new(),
            devices: devices_default(),
            connect_ports: Some(BTreeSet::new()),
            may_be_missing: BTreeSet::new(),
            terminals: Vec::new(),
            sandbox: None,
            contained: None,
        }
    }

    /// Reads and checks a policy of at most [`POLICY_BYTES_MAX`] bytes.
    ///
    /// # Errors
    /// [`PolicyError`] if the file is unreadable, not private, malformed or breaks a rule.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |source| PolicyError::Unreadable {
            path: path.to_owned(),
            source,
        };
        let file = private_file::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        if let Some(what) = untrusted(&metadata) {
            return Err(PolicyError::Untrusted {
                path: path.to_owned(),
                what,
            });
        }
        let mut text = Vec::new();
        file.take(POLICY_BYTES_MAX)
            .read_to_end(&mut text)
            .map_err(unreadable)?;
        let policy: Self =
            serde_json::from_slice(&text).map_err(|source| PolicyError::Malformed {
                path: path.to_owned(),
                source,
            })?;
        policy.check()?;
        Ok(policy)
    }

    /// Checks this policy and writes it as a new file of mode 0600.
    ///
    /// # Errors
    /// [`PolicyError`] if the policy breaks a rule or the file exists or cannot be written.
    pub fn create(&self, path: &Path) -> Result<(), PolicyError> {
        self.check()?;
        let text = serde_json::to_vec(self).map_err(|source| PolicyError::Malformed {
            path: path.to_owned(),
            source,
        })?;
        private_file::create(path)
            .and_then(|mut file| file.write_all(&text))
            .map_err(|source| PolicyError::Uncreatable {
                path: path.to_owned(),
                source,
            })
    }

    /// Checks what the field types alone do not say.
    ///
    /// # Errors
    /// [`PolicyError::Invalid`] naming the first field that breaks a rule.
    pub fn check(&self) -> Result<(), PolicyError> {
        let invalid = |what: String| Err(PolicyError::Invalid { what });
        if self.sandbox.is_some() && self.contained.is_some() {
            return invalid("both a sandbox and a container are asked for".to_owned());
        }
        if self.version != POLICY_VERSION {
            return invalid(format!(
                "version is {}, known is {POLICY_VERSION}",
                self.version
            ));
        }
        if self.umask > UMASK_MAX {
            return invalid(format!(
                "umask {:o} is greater than {UMASK_MAX:o}",
                self.umask
            ));
        }
        if let Some(path) = self.paths().find(|path| !path.is_absolute()) {
            return invalid(format!("path {} is not absolute", path.display()));
        }
        if let Some(sandbox) = &self.sandbox {
            if !self.write.is_empty() {
                return invalid("write is not empty; use sandbox.mounts".to_owned());
            }
            if let Some(what) = sandbox.fault() {
                return invalid(what);
            }
        }
        let outputs = [Some(&self.report), self.layers.as_ref()];
        for output in outputs.into_iter().flatten() {
            if let Some(folder) = self.writable().find(|folder| output.starts_with(folder)) {
                let (output, folder) = (output.display(), folder.display());
                return invalid(format!(
                    "{output} lies in {folder}, where the program can write"
                ));
            }
        }
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return invalid(format!(
                    "environment variable {name:?} has no lawful name or value"
                ));
            }
        }
        Ok(())
    }

    /// Returns the folders outside in which the program can write.
    fn writable(&self) -> impl Iterator<Item = &PathBuf> {
        let mounts = self.sandbox.iter().flat_map(|sandbox| &sandbox.mounts);
        let mounted = mounts
            .filter(|mount| mount.access == Access::Write)
            .map(|mount| &mount.source);
        self.write.iter().chain(mounted)
    }

    /// Returns every path that the policy itself names.
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        let lists = [
            &self.read,
            &self.read_if_present,
            &self.write,
            &self.devices,
            &self.terminals,
        ];
        [&self.report, &self.working_directory]
            .into_iter()
            .chain(&self.layers)
            .chain(&self.stdin)
            .chain(lists.into_iter().flatten())
    }
}

/// Returns what is wrong with a file that must be private, if anything is.
fn untrusted(metadata: &std::fs::Metadata) -> Option<&'static str> {
    let owner = metadata.uid();
    if !metadata.is_file() {
        Some("not a regular file")
    } else if owner != rustix::process::geteuid().as_raw() && owner != 0 {
        Some("somebody else's file")
    } else if metadata.mode() & 0o077 != 0 {
        Some("open to group or others")
    } else if metadata.len() >= POLICY_BYTES_MAX {
        Some("too long")
    } else {
        None
    }
}

fn umask_default() -> u32 {
    0o077
}

fn devices_default() -> Vec<PathBuf> {
    [
        "/dev/null",
        "/dev/zero",
        "/dev/full",
        "/dev/random",
        "/dev/urandom",
    ]
    .map(PathBuf::from)
    .into()
}

/// The version of the policy's format that this program knows.
pub const POLICY_VERSION: u32 = 1;

/// The size from which on a policy file is refused, in bytes.
pub const POLICY_BYTES_MAX: u64 = 1024 * 1024;

const UMASK_MAX: u32 = 0o777;

#[cfg(test)]
mod tests {
    use super::*;

    fn plain() -> Policy {
        Policy::new("/run/report".into(), "/work".into())
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Policy), expected: Option<&str>) {
        let mut policy = plain();
        change(&mut policy);
        let found = policy.check().err().map(|error| error.to_string());
        let expected =
            expected.map(|what| format!("cannot use policy: {what}; fix: correct that field"));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_container_and_a_sandbox_at_once_are_refused() {
        let both = Some("both a sandbox and a container are asked for");
        check(
            |p| {
                p.contained = Some(Contained::default());
                p.sandbox = Some(SandboxPolicy {
                    mounts: Vec::new(),
                    temporary_bytes_max: 1,
                    resources: crate::sandbox::Resources::default(),
                    may_lack: BTreeSet::new(),
                    group: "g".to_owned(),
                    egress: None,
                    control: None,
                });
            },
            both,
        );
    }

    #[test]
    fn contradictions_are_refused() {
        check(|p| p.version = 2, Some("version is 2, known is 1"));
        check(|p| p.umask = 0o1000, Some("umask 1000 is greater than 777"));
        check(
            |p| p.report = "report".into(),
            Some("path report is not absolute"),
        );
        check(
            |p| p.layers = Some("l".into()),
            Some("path l is not absolute"),
        );
        check(
            |p| p.stdin = Some("s".into()),
            Some("path s is not absolute"),
        );
        check(
            |p| p.working_directory = ".".into(),
            Some("path . is not absolute"),
        );
        check(
            |p| p.read.push("usr".into()),
            Some("path usr is not absolute"),
        );
        check(
            |p| p.read_if_present.push("lib64".into()),
            Some("path lib64 is not absolute"),
        );
        check(
            |p| p.write.push("../w".into()),
            Some("path ../w is not absolute"),
        );
        check(
            |p| p.devices.push("null".into()),
            Some("path null is not absolute"),
        );
        check(
            |p| p.write.push("/run".into()),
            Some("/run/report lies in /run, where the program can write"),
        );
        let nameless = Some("environment variable \"\" has no lawful name or value");
        check(
            |p| drop(p.environment.insert(String::new(), "x".into())),
            nameless,
        );
        let joined = Some("environment variable \"A=B\" has no lawful name or value");
        check(
            |p| drop(p.environment.insert("A=B".into(), "x".into())),
            joined,
        );
        let nul = Some("environment variable \"A\" has no lawful name or value");
        check(
            |p| drop(p.environment.insert("A".into(), "x\0y".into())),
            nul,
        );
        check(|_| (), None);
        check(|p| p.write.push("/run2".into()), None);
    }

    #[test]
    fn missing_ports_are_refused_and_spelled_out_null_is_read() {
        let mut value = serde_json::to_value(plain()).unwrap();
        value["connect_ports"] = serde_json::Value::Null;
        let read: Policy = serde_json::from_value(value.clone()).unwrap();
        assert_eq!(
            read,
            Policy {
                connect_ports: None,
                ..plain()
            }
        );
        value.as_object_mut().unwrap().remove("connect_ports");
        let error = serde_json::from_value::<Policy>(value).unwrap_err();
        assert_eq!(error.to_string(), "missing field `connect_ports`");
    }
}
