//! What the tests of this crate play on: a data directory, a project, a session, and git as its owner
//! uses it. Everything lies in one temporary folder.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Once;

use chrono::{DateTime, Utc};
use config::contract::id::SessionId;
use config::home::Home;
use tempfile::TempDir;

use crate::branch::Workspace;
use crate::folder::SessionFolder;
use crate::project::{Project, ProjectError};
use crate::sandbox::{Finished, Profile, Sandbox};

/// One test's world.
pub(crate) struct Scene {
    folder: TempDir,
    pub(crate) home: Home,
}

impl Scene {
    /// Makes a project with one commit on `main`.
    pub(crate) fn new() -> Self {
        let scene = Self::empty();
        fs::create_dir(scene.project_path()).unwrap();
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene.write("README", "hello\n");
        scene.commit("first");
        scene
    }

    /// Makes a world without a project.
    pub(crate) fn empty() -> Self {
        build_jail();
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("loki"));
        config::private::create_closed_directory(home.directory()).unwrap();
        fs::create_dir(folder.path().join("projects")).unwrap();
        Self { folder, home }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.path("projects")
    }

    pub(crate) fn project_path(&self) -> PathBuf {
        self.root().join("demo")
    }

    /// What no jailed program may ever make.
    pub(crate) fn canary(&self) -> PathBuf {
        self.path("canary")
    }

    pub(crate) fn check_project(&self) -> Result<Project, ProjectError> {
        Project::check(&self.project_path(), &[self.root()], &self.home)
    }

    pub(crate) fn project(&self) -> Project {
        self.check_project().unwrap()
    }

    pub(crate) fn sandbox(&self) -> Sandbox {
        self.sandbox_with(|_| ())
    }

    pub(crate) fn sandbox_with(&self, change: impl FnOnce(&mut config::runtime::Jail)) -> Sandbox {
        let mut settings = settings();
        change(&mut settings);
        Sandbox::probe(&self.home, &settings, &sandbox_settings()).unwrap()
    }

    /// The profile of a session on the project.
    pub(crate) fn profile(&self, sandbox: bool) -> Profile {
        Profile::new(&self.project_path(), sandbox, None, None).unwrap()
    }

    pub(crate) fn session(&self, number: u8) -> SessionFolder {
        let session = SessionId::from_random([number; SessionId::RANDOM_BYTES]);
        SessionFolder::create(&self.home, &session).unwrap()
    }

    /// Prepares the first session's workspace.
    pub(crate) async fn workspace(&self) -> Workspace {
        let (sandbox, folder) = (self.sandbox(), self.session(1));
        Workspace::prepare(&sandbox, &folder, &self.project(), moment())
            .await
            .unwrap()
    }

    /// Runs a shell script as the first session's agent.
    pub(crate) async fn agent(&self, script: &str) -> Finished {
        let command = ["sh", "-ec", script].map(Into::into).into();
        let sandbox = self.sandbox();
        let confined = sandbox.agent(&self.session(1), command, BTreeMap::new(), None);
        let timeout = std::time::Duration::from_secs(60);
        sandbox.run(confined, 1024 * 1024, timeout).await.unwrap()
    }

    /// Runs a script as the agent, which must succeed.
    pub(crate) async fn agent_does(&self, script: &str) {
        let finished = self.agent(script).await;
        let said = String::from_utf8_lossy(&finished.stderr);
        assert!(finished.succeeded(), "agent: {said}");
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.project_path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a script of the project which makes the canary, and one in every place that the jail of
    /// any git call can write.
    pub(crate) fn write_trap(&self, name: &str) {
        self.write(name, &self.trap());
        let path = self.project_path().join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub(crate) fn trap(&self) -> String {
        let touched: Vec<_> = self
            .trapped()
            .iter()
            .map(|path| format!("touch '{}'\n", path.display()))
            .collect();
        format!("#!/bin/sh\n{}cat\n", touched.concat())
    }

    /// Asserts that no trap has been sprung.
    #[track_caller]
    pub(crate) fn assert_no_trap_sprung(&self) {
        for path in self.trapped() {
            assert!(!path.exists(), "{} was made", path.display());
        }
    }

    fn trapped(&self) -> Vec<PathBuf> {
        let session = self.session(1);
        let project = self.project_path();
        vec![
            self.canary(),
            project.join("canary"),
            project.join(".git/canary"),
            project.join(".git/objects/canary"),
            project.join(".git/refs/canary"),
            session.repository().join("canary"),
            session.bundle_folder().join("canary"),
            session.workspace().join("canary"),
        ]
    }

    pub(crate) fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "-m", message]);
    }

    /// Runs git in the project as its owner, but without what a test may have planted there.
    #[track_caller]
    pub(crate) fn git(&self, arguments: &[&str]) -> String {
        git_in(&self.project_path(), arguments)
    }

    /// Lists every file outside `.git` with its content or target.
    fn files(&self) -> String {
        let mut lines = Vec::new();
        let mut folders = vec![self.project_path()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let found = path.symlink_metadata().unwrap();
                if found.is_dir() && !path.ends_with(".git") && !path.ends_with(".loki") {
                    folders.push(path);
                } else if found.is_symlink() {
                    lines.push(format!("{path:?} -> {:?}", fs::read_link(&path).unwrap()));
                } else if found.is_file() {
                    let mode = found.permissions().mode();
                    lines.push(format!("{path:?} {mode:o} {:?}", fs::read(&path).unwrap()));
                }
            }
        }
        lines.sort();
        lines.join("\n")
    }

    /// Lists the references but those of sessions.
    fn other_references(&self) -> String {
        let references = self.git(&["for-each-ref"]);
        let others = references
            .lines()
            .filter(|line| !line.contains("\trefs/heads/loki/"));
        others.collect::<Vec<_>>().join("\n")
    }

    /// Describes all that must not change in the project: its branch, references, index and files.
    pub(crate) fn portrait(&self) -> BTreeMap<&'static str, String> {
        let read = |path: &str| {
            let bytes = fs::read(self.project_path().join(path)).unwrap_or_default();
            format!("{bytes:?}")
        };
        BTreeMap::from([
            ("HEAD", read(".git/HEAD")),
            ("index", read(".git/index")),
            ("config", read(".git/config")),
            ("files", self.files()),
            ("references", self.other_references()),
        ])
    }
}

/// Runs git in a folder, free of hooks and of the user's settings; it must succeed.
#[track_caller]
pub(crate) fn git_in(folder: &Path, arguments: &[&str]) -> String {
    let output = program("git")
        .args([
            "-c",
            "core.hooksPath=/dev/null",
            "-c",
            "core.fsmonitor=false",
        ])
        .args([
            "-c",
            "user.name=Owner",
            "-c",
            "user.email=owner@example.invalid",
        ])
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git {arguments:?}: {said}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

/// A fixed moment.
pub(crate) fn moment() -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_921_000, 0).unwrap()
}

/// The settings of a jail that nobody changed.
pub(crate) fn settings() -> config::runtime::Jail {
    config::runtime::Jail {
        read: Vec::new(),
        connect_ports: vec![443],
        allow_advisory: false,
        require_enforcement: false,
        git_memory_bytes_max: 4 * 1024 * 1024 * 1024,
    }
}

/// The settings of a sandbox that nobody changed, but for its limits, which this host may lack.
pub(crate) fn sandbox_settings() -> config::runtime::Sandbox {
    config::runtime::Sandbox {
        enabled: false,
        cpu_percent_max: 200,
        memory_bytes_max: 1024 * 1024 * 1024,
        processes_max: 200,
        temporary_bytes_max: 16 * 1024 * 1024,
        may_lack: ["cpu", "memory", "processes"].map(str::to_owned).into(),
        credentials: false,
        live_max: 4,
        backend: config::runtime::Backend::Native,
        image: "loki-sandbox".to_owned(),
        engine: "unix:///nowhere".to_owned(),
    }
}

/// Builds `loki-jail` beside the tests, once: cargo builds the programs of other packages for nobody.
pub(crate) fn build_jail() {
    static BUILT: Once = Once::new();
    BUILT.call_once(|| {
        let own = std::env::current_exe().unwrap();
        let profile = own.ancestors().nth(2).unwrap();
        if profile.join("loki-jail").exists() {
            return;
        }
        let status = program(env!("CARGO"))
            .args([
                "build",
                "--quiet",
                "--offline",
                "-p",
                "jail",
                "--target-dir",
            ])
            .arg(profile.parent().unwrap())
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .status()
            .unwrap();
        assert!(status.success(), "loki-jail cannot be built");
    });
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests play the project's owner, who is not jailed"
)]
fn program(name: impl AsRef<OsStr>) -> Command {
    Command::new(name)
}
