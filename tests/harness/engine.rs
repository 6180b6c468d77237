//! A Docker engine of its own: in its own network and mount namespaces, with images that are made
//! here, since none can be pulled.
//!
//! Invariant: what it publishes is reachable in its own network alone, and it ends with the test.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

use crate::command::{self, Finished};
use crate::{counterpart, poll, programs};

/// A running engine.
#[derive(Debug)]
pub struct Engine {
    folder: TempDir,
    daemon: Child,
}

impl Engine {
    /// Starts an engine that has the image [`BASE`]. None, and why is said, without root.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    #[must_use]
    #[expect(clippy::print_stderr, reason = "what is skipped is said")]
    pub fn start() -> Option<Self> {
        if !geteuid().is_root() {
            eprintln!("skipped: a Docker engine needs root");
            return None;
        }
        let script = "ip link set lo up && sysctl -qw net.ipv4.ip_forward=1 && exec \"$1\" \
                      -H unix://$0/docker.sock --data-root $0/data --exec-root $0/exec \
                      --pidfile $0/pid -s overlay2 >$0/log 2>&1";
        let folder = tempfile::Builder::new()
            .prefix("loki-engine-")
            .tempdir()
            .expect("a folder for the engine");
        // Neither unshare nor the shell forks, so the child becomes the daemon itself.
        let daemon = Command::new("unshare")
            .args(["-n", "-m", "sh", "-c", script])
            .arg(folder.path())
            .arg(counterpart::system("dockerd"))
            .stdin(Stdio::null())
            .spawn()
            .expect("unshare starts");
        let engine = Self { folder, daemon };
        poll::until("the engine answers", || {
            let answered = engine.try_docker(&["version"]);
            (answered.code == 0).then_some(())
        });
        let base = counterpart::folder("debian-base").join("bookworm.tar");
        let _imported = engine.docker(&["import", &base.display().to_string(), BASE]);
        Some(engine)
    }

    /// Runs `docker`; it has to succeed.
    ///
    /// # Panics
    /// When it does not.
    #[must_use]
    pub fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).output().trim_end().to_owned()
    }

    /// Runs `docker`.
    #[must_use]
    pub fn try_docker(&self, arguments: &[&str]) -> Finished {
        // Debian's own client belongs to its engine; a newer one builds with a plugin that it lacks.
        command::run(self.client("/usr/bin/docker").args(arguments))
    }

    /// Returns a command that speaks with this engine.
    #[must_use]
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let socket = format!(
            "unix://{}",
            self.folder.path().join("docker.sock").display()
        );
        command
            .env("DOCKER_HOST", socket)
            .env("DOCKER_BUILDKIT", "1")
            .env("HOME", self.folder.path());
        command
    }

    /// Returns a command in the engine's network, where published ports are.
    #[must_use]
    pub fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.daemon.id().to_string(), "-n", program]);
        command
    }

    /// Builds one of our Dockerfiles from the local base and the programs under test.
    ///
    /// # Panics
    /// When it does not build.
    pub fn build(&self, dockerfile: &str, image: &str) {
        let base = format!("BASE_IMAGE={BASE}");
        let programs = format!("PROGRAMS={PROGRAMS}");
        let finished = command::run(
            self.client("/usr/bin/docker")
                .args(["build", "--quiet", "--file", dockerfile, "--tag", image])
                .args(["--build-arg", &base, "--build-arg", &programs])
                .args(["--build-arg", "PACKAGES=", "."])
                .current_dir(programs::project()),
        );
        let _image = finished.output();
    }

    /// Makes the image that Dockerfiles take the programs under test from.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn import_programs(&self) {
        let folder = self.folder("programs");
        let inner = folder.join("programs");
        std::fs::create_dir_all(&inner).expect("a folder for programs");
        for name in [
            "loki",
            "loki-gateway",
            "loki-runtime",
            "loki-jail",
            "loki-hook",
        ] {
            std::fs::copy(programs::path(name), inner.join(name)).expect("a program");
        }
        let archive = folder.join("programs.tar");
        let packed = command::run(
            Command::new("tar")
                .arg("-C")
                .arg(&folder)
                .arg("-cf")
                .args([&archive])
                .arg("programs"),
        );
        let _packed = packed.ended_with(0);
        let _imported = self.docker(&["import", &archive.display().to_string(), PROGRAMS]);
    }

    /// Lets every user of this machine speak with the engine, and returns where it answers.
    ///
    /// # Panics
    /// When the system refuses.
    #[must_use]
    pub fn open(&self) -> String {
        let socket = self.folder.path().join("docker.sock");
        for (path, mode) in [(self.folder.path(), 0o711), (&socket, 0o666)] {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
                .expect("modes can be set");
        }
        format!("unix://{}", socket.display())
    }

    /// Returns a folder for what a test gives to containers.
    #[must_use]
    pub fn folder(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns what the engine logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.daemon.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).expect("the engine can be ended");
        }
        self.daemon.wait().expect("the engine can be waited for");
    }
}

/// Gives a folder and everything in it to a user and group by number.
///
/// # Panics
/// When the system refuses.
pub fn give(path: &Path, owner: &str) {
    let finished = command::run(Command::new("chown").args(["-R", owner]).arg(path));
    let _given = finished.ended_with(0);
}

/// The local base image, of Debian's own packages.
pub const BASE: &str = "loki-test-base";

const PROGRAMS: &str = "loki-test-programs";
