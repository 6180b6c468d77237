//! The sandbox as a container of a Docker engine, with `loki-jail` inside: the engine makes the world, the
//! jail narrows the program in it as ever, with its own list of system calls.
//!
//! The engine's own client is used, so that nothing here speaks its protocol. Standard input of the
//! client is the lifeline: where it ends, the supervisor inside ends everything, and the container goes.
//!
//! Invariant: a container has no network, no power, no socket of the engine, and a root that cannot be
//! written; what of the host is in it is what the room shows.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use config::runtime::Sandbox as Settings;
use jail::sandbox::{Access, Contained, Egress};
use jail::{Layer, Policy, SandboxLayers};
use sha2::{Digest, Sha256};

use super::room::Room;
use super::{Confined, system};
use crate::egress;

/// A Docker engine.
#[derive(Debug)]
pub(super) struct Engine {
    host: String,
    image: String,
    /// The list of system calls, as a file.
    profile: PathBuf,
    /// Marks the containers of this data directory.
    label: String,
    user: String,
}

/// One container, by its name.
#[derive(Clone, Debug)]
pub(super) struct Container {
    host: String,
    name: String,
}

impl Engine {
    /// Asks the engine what it can enforce, and removes what an earlier run left.
    ///
    /// # Errors
    /// Why there is no sandbox, for people.
    pub(super) fn probe(
        settings: &Settings,
        data_directory: &Path,
        run_directory: &Path,
    ) -> Result<(Self, SandboxLayers), String> {
        let user = rustix::process::geteuid();
        if user.is_root() {
            return Err(
                "the runtime is root, and so would be its containers; fix: run it as an \
                        ordinary user who may speak to the engine"
                    .to_owned(),
            );
        }
        let profile = run_directory.join("system-calls.json");
        let text = jail::sandbox::engine_profile().to_string();
        config::private::replace_file(&profile, text.as_bytes())
            .map_err(|error| format!("cannot write {}: {error}", profile.display()))?;
        let digest = Sha256::digest(data_directory.as_os_str().as_encoded_bytes());
        let digest: String = digest[..8]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let engine = Self {
            host: settings.engine.clone(),
            image: settings.image.clone(),
            profile,
            label: format!("loki.data={digest}"),
            user: format!("{}:{}", user.as_raw(), rustix::process::getegid().as_raw()),
        };
        let figures = engine.said(&["info", "--format", FIGURES])?;
        let _image = engine.said(&["image", "inspect", "--format", "{{.Id}}", &engine.image])?;
        let filter = format!("label={}", engine.label);
        let left = engine.said(&["ps", "--all", "--quiet", "--filter", &filter])?;
        for id in left.split_whitespace() {
            let _removed = engine.said(&["rm", "--force", id])?;
        }
        Ok((engine, layers(&figures)))
    }

    /// Returns the client's arguments for a program in a container, whose jail finds its policy and all
    /// else in `folder`.
    pub(super) fn arguments(
        &self,
        confined: &Confined,
        room: &Room,
        settings: &Settings,
        folder: &Path,
        name: &str,
    ) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let size = settings.temporary_bytes_max;
        let files = (size / FILE_BYTES_LEAST).max(FILES_LEAST);
        for fixed in FIXED {
            arguments.push(fixed.into());
        }
        for (flag, value) in [
            ("--name", name.to_owned()),
            ("--label", self.label.clone()),
            ("--user", self.user.clone()),
            (
                "--security-opt",
                format!("seccomp={}", self.profile.display()),
            ),
            ("--workdir", confined.directory.display().to_string()),
        ] {
            arguments.extend([flag.into(), value.into()]);
        }
        for place in TEMPORARY {
            let options =
                format!("{place}:rw,exec,nosuid,nodev,mode=1777,size={size},nr_inodes={files}");
            arguments.extend(["--tmpfs".into(), options.into()]);
        }
        arguments.extend(limits(settings).into_iter().map(OsString::from));
        let shown = confined.read.iter().map(|path| (path, path, Access::Read));
        let mounts = room.mounts.iter();
        let mounts = mounts.map(|mount| (&mount.source, &mount.target, mount.access));
        let mut own = vec![(folder.to_owned(), PathBuf::from(FOLDER), Access::Write)];
        for (name, _) in NAMED {
            own.push((
                folder.join(name),
                Path::new("/etc").join(name),
                Access::Read,
            ));
        }
        let own = own
            .iter()
            .map(|(source, target, access)| (source, target, *access));
        for (source, target, access) in shown.chain(mounts).chain(own) {
            // The image has a keeper of its own.
            if target != Path::new(super::room::KEEPER) {
                arguments.extend(["--mount".into(), mount(source, target, access)]);
            }
        }
        arguments.extend(["--entrypoint", "loki-jail", &self.image].map(OsString::from));
        arguments.extend(["supervise", "--policy"].map(OsString::from));
        arguments.extend([format!("{FOLDER}/policy").into(), "--".into()]);
        let mut words = confined.program_and_arguments.iter();
        if room.kept && words.next().is_some() {
            arguments.push("loki-jail".into());
        }
        arguments.extend(words.cloned());
        arguments
    }

    /// Returns a command of the engine's client.
    pub(super) fn client(&self) -> tokio::process::Command {
        client(&self.host)
    }

    pub(super) fn container(&self, name: &str) -> Container {
        Container {
            host: self.host.clone(),
            name: name.to_owned(),
        }
    }

    /// Runs the client to its end.
    fn said(&self, arguments: &[&str]) -> Result<String, String> {
        let failed = |why: &str| {
            let what = arguments.first().copied().unwrap_or_default();
            format!("the engine at {}: docker {what}: {why}", self.host)
        };
        let Output {
            status,
            stdout,
            stderr,
        } = client(&self.host)
            .into_std()
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| failed(&error.to_string()))?;
        if status.success() {
            Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
        } else {
            Err(failed(String::from_utf8_lossy(&stderr).trim()))
        }
    }
}

impl Container {
    /// Holds everything in it still, or lets it go on.
    pub(super) async fn hold(&self, still: bool) -> io::Result<bool> {
        let verb = if still { "pause" } else { "unpause" };
        let mut client = client(&self.host);
        let client = client.args([verb, &self.name]);
        let client = client.stdin(Stdio::null()).stdout(Stdio::null());
        Ok(client.stderr(Stdio::null()).status().await?.success())
    }

    /// Has the engine remove it, without waiting.
    pub(super) fn remove(&self) {
        let mut client = client(&self.host);
        let client = client.args(["rm", "--force", &self.name]);
        let client = client.stdin(Stdio::null()).stdout(Stdio::null());
        if let Err(error) = client.stderr(Stdio::null()).spawn() {
            tracing::warn!(container = self.name, %error, "container not removed");
        }
    }
}

/// Puts down who and where everybody inside is: nothing of the machine, nor of the image.
pub(super) fn name_world(folder: &Path) -> io::Result<()> {
    let user = rustix::process::geteuid().as_raw().to_string();
    for (name, text) in NAMED {
        let path = folder.join(name);
        std::fs::write(&path, text.replace("USER", &user))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644))?;
    }
    Ok(())
}

/// Writes down what the jail inside is to do, in the container's own names.
pub(super) fn policy(confined: Confined, room: &Room) -> Policy {
    let inside = |name: &str| Path::new(FOLDER).join(name);
    let written = room.mounts.iter();
    let written = written.filter(|mount| mount.access == Access::Write);
    let own = TEMPORARY.iter().map(PathBuf::from);
    Policy {
        layers: Some(inside("layers")),
        stdin: confined.input.map(|_| inside("input")),
        environment: confined.environment,
        umask: confined.umask,
        // What the kernel tells of the machine is not among these.
        read_if_present: system::readable()
            .chain(OF_THE_IMAGE.map(PathBuf::from))
            .collect(),
        read: room
            .mounts
            .iter()
            .map(|mount| mount.target.clone())
            .filter(|target| target != Path::new(super::room::KEEPER))
            .chain(confined.read)
            .collect(),
        write: written
            .map(|mount| mount.target.clone())
            .chain(own)
            .collect(),
        terminals: vec!["/dev/pts".into()],
        connect_ports: None,
        contained: Some(Contained {
            egress: room.way_out.as_ref().map(|_| Egress {
                socket: inside("door"),
                port: egress::PORT,
            }),
            control: room.kept.then(|| inside("control")),
        }),
        ..Policy::new(inside("report"), confined.directory)
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the engine's client starts containers, as loki-jail starts programs"
)]
fn client(host: &str) -> tokio::process::Command {
    let mut client = tokio::process::Command::new("docker");
    // Nothing of the runtime's environment is for the client, least of all another engine's name.
    client
        .env_clear()
        .env("PATH", system::PATH)
        .env("HOME", "/nonexistent")
        .args(["--host", host]);
    client
}

/// Tells what the engine enforces: cpu, memory and processes are the three words of its answer.
fn layers(figures: &str) -> SandboxLayers {
    let mut words = figures.split_whitespace();
    let mut limit = || match words.next() {
        Some("true") => Layer::Enforced,
        Some(_) | None => Layer::Unavailable {
            reason: "the engine has no such limit".to_owned(),
        },
    };
    SandboxLayers {
        cpu: limit(),
        memory: limit(),
        processes: limit(),
        namespaces: Layer::Enforced,
        root: Layer::Enforced,
        network: Layer::Enforced,
        system_calls: Layer::Enforced,
    }
}

fn limits(settings: &Settings) -> Vec<String> {
    let mut flags = Vec::new();
    if settings.cpu_percent_max > 0 {
        let (whole, part) = (
            settings.cpu_percent_max / 100,
            settings.cpu_percent_max % 100,
        );
        flags.push(format!("--cpus={whole}.{part:02}"));
    }
    if settings.memory_bytes_max > 0 {
        let bytes = settings.memory_bytes_max;
        flags.extend([
            format!("--memory={bytes}b"),
            format!("--memory-swap={bytes}b"),
        ]);
    }
    if settings.processes_max > 0 {
        flags.push(format!("--pids-limit={}", settings.processes_max));
    }
    flags
}

/// Writes a mount as the client reads it: fields between commas, in quotes where they hold some.
fn mount(source: &Path, target: &Path, access: Access) -> OsString {
    let field = |name: &str, path: &Path| {
        let text = format!("{name}={}", path.display());
        if text.contains([',', '"']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text
        }
    };
    let end = match access {
        Access::Read => ",readonly",
        Access::Write => "",
    };
    let (source, target) = (field("source", source), field("target", target));
    format!("type=bind,{source},{target}{end}").into()
}

/// Where the jail inside finds its policy, and puts what it has to tell.
const FOLDER: &str = "/run/loki";

const TEMPORARY: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// Folders of the image besides the system's programs.
const OF_THE_IMAGE: [&str; 4] = ["/etc", "/home", "/opt", "/var"];

/// Files of `/etc` that are the sandbox's own, as in the native one.
const NAMED: [(&str, &str); 4] = [
    ("passwd", "appuser:x:USER:USER::/home/appuser:/bin/sh\n"),
    ("group", "appuser:x:USER:\n"),
    ("hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n"),
    ("resolv.conf", "# Names are resolved by the egress proxy.\n"),
];

const FIGURES: &str = "{{.CPUCfsQuota}} {{.MemoryLimit}} {{.PidsLimit}}";

/// What every container is.
const FIXED: [&str; 15] = [
    "run",
    "--rm",
    "--interactive",
    "--pull=never",
    "--network=none",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges:true",
    "--ipc=private",
    "--hostname=sandbox",
    "--log-driver=none",
    "--ulimit=core=0:0",
    "--restart=no",
    "--no-healthcheck",
    "--stop-timeout=1",
];

/// As in the native sandbox.
const FILE_BYTES_LEAST: u64 = 4 * 1024;
const FILES_LEAST: u64 = 1024;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use jail::Layer;
    use jail::sandbox::{Access, HOME};

    use super::{FIXED, layers, limits, mount};
    use crate::scene::sandbox_settings;

    #[test]
    fn a_path_cannot_add_options_to_its_mount() {
        let hostile = Path::new("/a,target=/etc");
        assert_eq!(
            mount(hostile, Path::new(HOME), Access::Read),
            "type=bind,\"source=/a,target=/etc\",target=/home/appuser,readonly"
        );
        let quoted = Path::new("/a\"b");
        assert_eq!(
            mount(Path::new("/a"), quoted, Access::Write),
            "type=bind,source=/a,\"target=/a\"\"b\""
        );
    }

    #[test]
    fn no_container_has_network_power_or_a_root_that_can_be_written() {
        for flag in [
            "--network=none",
            "--read-only",
            "--cap-drop=ALL",
            "--security-opt=no-new-privileges:true",
        ] {
            assert!(FIXED.contains(&flag), "{flag}");
        }
    }

    #[test]
    fn a_limit_that_the_engine_lacks_is_not_claimed() {
        let found = layers("true false true");
        assert_eq!(
            (found.cpu, found.processes),
            (Layer::Enforced, Layer::Enforced)
        );
        assert!(matches!(found.memory, Layer::Unavailable { .. }));
        assert!(matches!(layers("").cpu, Layer::Unavailable { .. }));
        let mut settings = sandbox_settings();
        settings.cpu_percent_max = 150;
        settings.memory_bytes_max = 7;
        settings.processes_max = 0;
        assert_eq!(
            limits(&settings),
            ["--cpus=1.50", "--memory=7b", "--memory-swap=7b"]
        );
    }
}
