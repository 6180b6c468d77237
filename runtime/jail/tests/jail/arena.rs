//! A place to run programs in a jail, and beside it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jail::sandbox::{Access, Mount, Resources, SandboxPolicy};
use jail::{Layer, LayerName, Layers, Policy, Report, Request};
use tempfile::TempDir;

/// Folders of one test: `inside` is writable in the jail, `outside` and `run` are not.
pub(crate) struct Arena {
    folder: TempDir,
    pub(crate) policy: Policy,
}

impl Arena {
    /// Makes the folders and a policy which asks for all that this host can enforce.
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        for name in ["inside", "outside", "run"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        let path = |name: &str| folder.path().join(name);
        let mut policy = Policy::new(path("run/report.json"), path("inside"));
        policy.layers = Some(path("run/layers.json"));
        policy
            .environment
            .insert("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned());
        policy.read = vec!["/usr".into(), "/proc".into()];
        policy.read_if_present = ["/bin", "/lib", "/lib64", "/lib32", "/etc/ld.so.cache"]
            .map(PathBuf::from)
            .into();
        policy.write = vec![path("inside")];
        policy.may_be_missing = LayerName::ALL
            .into_iter()
            .filter(|layer| !enforced(*layer))
            .collect();
        Self { folder, policy }
    }

    /// Returns the arena if this host can enforce the layer. Otherwise says that the test is skipped.
    #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
    pub(crate) fn enforcing(layer: LayerName) -> Option<Self> {
        if enforced(layer) {
            return Some(Self::new());
        }
        eprintln!("skipped: this host cannot enforce {layer}: {:?}", host());
        None
    }

    /// Returns an arena whose program runs in the sandbox: `inside` is writable there under its own name,
    /// `outside` and `run` do not exist. Says that the test is skipped where this host has no sandbox.
    #[expect(clippy::print_stderr, reason = "a skipped test must say so")]
    pub(crate) fn sandboxed() -> Option<Self> {
        let mut arena = Self::new();
        let layers = host().sandbox.as_ref()?;
        if layers.root != Layer::Enforced || layers.network != Layer::Enforced {
            eprintln!("skipped: this host has no sandbox: {layers:?}");
            return None;
        }
        let inside = arena.folder.path().join("inside");
        arena.policy.read = Vec::new();
        arena.policy.read_if_present.push("/usr".into());
        arena.policy.write = Vec::new();
        arena.policy.connect_ports = None;
        arena.policy.sandbox = Some(SandboxPolicy {
            mounts: vec![Mount {
                source: inside.clone(),
                target: inside,
                access: Access::Write,
            }],
            temporary_bytes_max: 8 * 1024 * 1024,
            resources: Resources::default(),
            may_lack: std::collections::BTreeSet::new(),
            group: format!("loki-test-{}-{}", std::process::id(), number()),
            egress: None,
            control: None,
        });
        Some(arena)
    }

    /// Returns the sandbox's part of the policy.
    pub(crate) fn sandbox(&mut self) -> &mut SandboxPolicy {
        self.policy.sandbox.as_mut().unwrap()
    }

    pub(crate) fn inside(&self, name: &str) -> PathBuf {
        self.folder.path().join("inside").join(name)
    }

    pub(crate) fn outside(&self, name: &str) -> PathBuf {
        self.folder.path().join("outside").join(name)
    }

    pub(crate) fn run_folder(&self, name: &str) -> PathBuf {
        self.folder.path().join("run").join(name)
    }

    /// Makes a file outside that only its owner may read.
    pub(crate) fn secret(&self, name: &str, content: &str) -> PathBuf {
        let path = self.outside(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    /// Starts a supervised shell script.
    pub(crate) fn start(&self, script: &str) -> Tree {
        self.start_program(&["/bin/bash", "-c", script])
    }

    pub(crate) fn start_program(&self, program: &[&str]) -> Tree {
        let policy = self.run_folder("policy.json");
        // What an earlier run of the same test left.
        for file in [
            Some(&policy),
            Some(&self.policy.report),
            self.policy.layers.as_ref(),
        ] {
            file.filter(|file| file.exists())
                .map(fs::remove_file)
                .transpose()
                .unwrap();
        }
        self.policy.create(&policy).unwrap();
        self.start_with(&policy, program)
    }

    pub(crate) fn start_with(&self, policy: &Path, program: &[&str]) -> Tree {
        let mut child = command(env!("CARGO_BIN_EXE_loki-jail"))
            .arg("supervise")
            .arg("--policy")
            .arg(policy)
            .arg("--")
            .args(program)
            .stdin(Stdio::piped())
            // Files and not pipes: a process that was left behind must not keep the test waiting.
            .stdout(File::create(self.run_folder("stdout")).unwrap())
            .stderr(File::create(self.run_folder("stderr")).unwrap())
            .spawn()
            .unwrap();
        let lifeline = child.stdin.take();
        Tree {
            child,
            lifeline,
            run_folder: self.run_folder(""),
        }
    }

    /// Runs a supervised shell script to its end.
    pub(crate) fn run(&self, script: &str) -> End {
        self.start(script).end()
    }

    /// Runs a shell script beside the jail, in the same place and with the same environment.
    pub(crate) fn run_beside(&self, script: &str) -> Output {
        command("/bin/bash")
            .args(["-c", script])
            .env_clear()
            .envs(&self.policy.environment)
            .current_dir(&self.policy.working_directory)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    /// Asserts that a script is refused inside, by the kernel, and succeeds beside the jail.
    #[track_caller]
    pub(crate) fn refused(&self, script: &str) {
        let end = self.run(script);
        let refusals = [
            "Permission denied",
            "Operation not permitted",
            "Invalid cross-device link",
        ];
        assert!(
            refusals.iter().any(|refusal| end.stderr.contains(refusal)),
            "{script}: {end:?}"
        );
        assert_ne!(end.code, Some(0), "{script}: {end:?}");
        let beside = self.run_beside(script);
        assert!(
            beside.status.success(),
            "{script}, beside the jail: {beside:?}"
        );
    }

    /// Returns what the jail says was enforced. `None`: the program never ran.
    pub(crate) fn layers(&self) -> Option<Layers> {
        let text = fs::read(self.policy.layers.as_ref().unwrap()).unwrap_or_default();
        (!text.is_empty()).then(|| serde_json::from_slice(&text).unwrap())
    }
}

/// A supervised process tree. Its lifeline ends with it.
pub(crate) struct Tree {
    pub(crate) child: Child,
    pub(crate) lifeline: Option<ChildStdin>,
    run_folder: PathBuf,
}

/// How a supervised tree ended.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) report: Option<Report>,
}

impl Tree {
    pub(crate) fn ask(&mut self, request: Request) {
        self.say(&format!("{request}\n"));
    }

    pub(crate) fn say(&mut self, line: &str) {
        use std::io::Write;
        self.lifeline
            .as_mut()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }

    /// Waits for the end, holding the lifeline.
    #[track_caller]
    pub(crate) fn end(mut self) -> End {
        let mut status = None;
        until("the supervisor ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let read = |name| fs::read_to_string(self.run_folder.join(name)).unwrap();
        // Where the policy could not be used there is none.
        let report = fs::read_to_string(self.run_folder.join("report.json")).unwrap_or_default();
        End {
            code: status.and_then(|status| status.code()),
            stdout: read("stdout"),
            stderr: read("stderr"),
            report: (!report.is_empty()).then(|| serde_json::from_str(&report).unwrap()),
        }
    }
}

/// Waits until something holds, by looking again and again up to a deadline.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        look_again();
    }
}

/// Waits until a process has written its id, and returns it.
#[track_caller]
pub(crate) fn written_pid(file: &Path) -> i32 {
    let mut pid = None;
    until("a process id is written", || {
        let text = fs::read_to_string(file).unwrap_or_default();
        pid = text
            .strip_suffix('\n')
            .and_then(|digits| digits.parse().ok());
        pid.is_some()
    });
    pid.unwrap()
}

/// Tells whether a process lives. One that has ended but was not reaped does not.
pub(crate) fn lives(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| {
        line.starts_with("State:") && !line.contains("(zombie)") && !line.contains("(dead)")
    })
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests start the program under test and their helpers"
)]
pub(crate) fn command(program: &str) -> Command {
    Command::new(program)
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn look_again() {
    let pause = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 5_000_000,
    };
    rustix::event::poll(&mut [], Some(&pause)).unwrap();
}

/// Returns another number each time.
fn number() -> u32 {
    static LAST: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    LAST.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

fn enforced(layer: LayerName) -> bool {
    let layers = host();
    let layer = match layer {
        LayerName::FileSystem => &layers.file_system,
        LayerName::NetworkTcp => &layers.network_tcp,
        LayerName::Signals => &layers.signals,
        LayerName::AbstractSockets => &layers.abstract_sockets,
    };
    match layer {
        Layer::Enforced | Layer::Partial { .. } => true,
        Layer::Unavailable { .. } | Layer::NotAsked => false,
    }
}

/// Returns what this host can enforce.
pub(crate) fn host() -> &'static Layers {
    static HOST: OnceLock<Layers> = OnceLock::new();
    HOST.get_or_init(|| jail::probe::ask(Path::new(env!("CARGO_BIN_EXE_loki-jail"))).unwrap())
}
