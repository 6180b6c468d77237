//! The way in which every program but the runtime itself is started: narrowed by `loki-jail`.
//!
//! Invariant: no program runs where the kernel cannot enforce the base jail, unless the operator
//! allows that; and no program's policy ever covers the data directory as a whole.

mod agent;
mod asking;
mod confined;
mod container;
mod enforcement;
mod places;
mod profile;
mod room;
mod system;
mod tree;

use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use config::contract::session::Enforcement;
use config::home::Home;
use config::private::create_closed_directory;
use config::runtime::Backend;
use jail::{LayerName, Layers, Policy};
use tokio::net::UnixListener;
use tokio::time::Instant;

pub use confined::Confined;
pub use profile::{PathError, Profile};
pub use room::{Room, WayOut};
pub use tree::{Chunk, Cut, Ended, Finished, Stream, Tree};

use crate::egress::Door;
use container::Engine;
use tree::Files;

/// Starts programs in the base jail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sandbox(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    jail: PathBuf,
    /// Canonical.
    data_directory: PathBuf,
    /// Where policies and reports lie, of this run of the runtime alone.
    run_directory: PathBuf,
    settings: config::runtime::Jail,
    sandbox: config::runtime::Sandbox,
    /// What exists of the setting `jail.read`, canonical.
    readable: Vec<PathBuf>,
    layers: Layers,
    /// What makes sandboxes, if it is not the jail itself.
    engine: Option<Engine>,
    started: AtomicU64,
}

/// Says why a program was not started, or what went wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A program of one's own is not there.
    #[error("cannot find {name} at {path}; fix: install it beside loki-runtime", path = .path.display())]
    ProgramMissing {
        /// The program.
        name: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The jail's program could not say what this host enforces.
    #[error(transparent)]
    Probe(#[from] jail::probe::ProbeError),
    /// The folder of policies cannot be made.
    #[error("cannot make folder {path}: {source}", path = .path.display())]
    RunDirectory {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A readable path is not absolute.
    #[error("cannot let agents read {path}: it is not absolute; fix: correct jail.read", path = .path.display())]
    Relative {
        /// The path as set.
        path: PathBuf,
    },
    /// A path would give Loki's own data away.
    #[error(
        "cannot let programs reach {path}: Loki's own data lies in {data_directory}; fix: list a narrower folder in jail.read, or move the data directory (LOKI_DATA_DIR)",
        path = .path.display(), data_directory = .data_directory.display()
    )]
    Uncovered {
        /// The path that reaches too far.
        path: PathBuf,
        /// The data directory.
        data_directory: PathBuf,
    },
    /// A place is not where its name says.
    #[error("cannot let programs reach {path}: it leads to {place}", path = .path.display(), place = .place.display())]
    Elsewhere {
        /// The place as named.
        path: PathBuf,
        /// Where it is.
        place: PathBuf,
    },
    /// The standard input could be replaced by the program that ran before.
    #[error("cannot use {path} as standard input: programs in the jail can write it", path = .path.display())]
    Input {
        /// The file.
        path: PathBuf,
    },
    /// The kernel cannot enforce the base jail.
    #[error(
        "cannot enforce the base jail on this host: {0}; fix: use Linux 6.2 or newer with Landlock, or accept agents without it by jail.allow_advisory = true"
    )]
    NoBaseJail(String),
    /// The kernel cannot enforce the sandbox.
    #[error("cannot run agents in the sandbox on this host: {0}")]
    NoSandbox(String),
    /// Controls are missing though the settings require all of them.
    #[error("cannot enforce {0}; fix: set jail.require_enforcement = false to go without")]
    NotEnforced(String),
    /// The egress proxy cannot be had.
    #[error(transparent)]
    Egress(#[from] crate::egress::DoorError),
    /// What a program needs cannot be put in its place.
    #[error("cannot prepare {path}: {source}", path = .path.display())]
    Prepare {
        /// The place.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// No program was named.
    #[error("cannot start a program: none is named")]
    NoProgram,
    /// The policy is not lawful or cannot be written.
    #[error(transparent)]
    Policy(#[from] jail::PolicyError),
    /// The jail's program cannot be started.
    #[error("cannot start {jail}: {source}", jail = .jail.display())]
    Unstartable {
        /// The jail's program.
        jail: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The supervisor cannot be told what to do.
    #[error("cannot tell the supervisor what to do: {0}")]
    Lifeline(io::Error),
    /// Processes went on although they were halted.
    #[error("cannot freeze all processes of the program")]
    NotFrozen,
    /// The program never ran.
    #[error("cannot run the program in the jail: {0}")]
    NotRun(String),
    /// The supervisor ended without a report.
    #[error("cannot tell how the program ended: {0}")]
    NoReport(String),
    /// Processes withstood being killed.
    #[error("cannot end all processes of the program: {0} are left")]
    Survivors(usize),
}

impl Sandbox {
    /// Finds `loki-jail`, asks what this host can enforce, and prepares the folder of policies.
    ///
    /// # Errors
    /// When `loki-jail` cannot be found or asked, or when a setting would uncover the data directory.
    pub fn probe(
        home: &Home,
        settings: &config::runtime::Jail,
        sandbox: &config::runtime::Sandbox,
    ) -> Result<Self, SandboxError> {
        let jail = places::find_program("loki-jail")?;
        let layers = jail::probe::ask(&jail)?;
        let failed = |path: &Path, source| SandboxError::RunDirectory {
            path: path.to_owned(),
            source,
        };
        let runs = home.runtime().join("jail");
        create_closed_directory(&runs).map_err(|source| failed(&runs, source))?;
        let data_directory = home.directory();
        let data_directory = data_directory
            .canonicalize()
            .map_err(|source| failed(data_directory, source))?;
        places::keep_out_of_system(&data_directory)?;
        let readable = places::check_readable(&settings.read, &data_directory)?;
        let run_directory = create_run_directory(&runs).map_err(|source| failed(&runs, source))?;
        let (mut layers, mut engine) = (layers, None);
        if sandbox.backend == Backend::Docker {
            layers.sandbox = Some(
                match Engine::probe(sandbox, &data_directory, &run_directory) {
                    Ok((found, layers)) => {
                        engine = Some(found);
                        layers
                    }
                    Err(reason) => {
                        tracing::warn!(reason, "no sandbox");
                        enforcement::no_sandbox(&reason)
                    }
                },
            );
        }
        Ok(Self(Arc::new(Inner {
            jail,
            data_directory,
            run_directory,
            settings: settings.clone(),
            sandbox: sandbox.clone(),
            readable,
            layers,
            engine,
            started: AtomicU64::new(0),
        })))
    }

    /// Removes what earlier runs of the runtime left that were killed: their folders of policies and the
    /// groups of their trees. Nothing of these runs goes on any more.
    ///
    /// # Errors
    /// When a folder cannot be removed.
    pub fn sweep(&self) -> io::Result<()> {
        let own = &self.0.run_directory;
        if let Some(runs) = own.parent() {
            for entry in std::fs::read_dir(runs)? {
                let path = entry?.path();
                if path != *own {
                    std::fs::remove_dir_all(path)?;
                }
            }
        }
        let groups = jail::remove_abandoned();
        if groups > 0 {
            tracing::info!(groups, "control groups of an earlier run removed");
        }
        Ok(())
    }

    /// Checks that a session may start on this host.
    ///
    /// # Errors
    /// When the kernel cannot enforce the base jail and the settings do not allow that, when it cannot
    /// enforce the sandbox that the profile asks for, or when the settings require every layer and one
    /// is missing.
    pub fn admit(&self, profile: &Profile) -> Result<(), SandboxError> {
        self.require_base()?;
        if profile.sandbox
            && let Some(reason) = enforcement::sandbox_shortage(&self.0.layers, &self.0.sandbox)
        {
            return Err(SandboxError::NoSandbox(reason));
        }
        if !self.0.settings.require_enforcement {
            return Ok(());
        }
        let missing: Vec<String> = self
            .enforcement(profile)
            .into_iter()
            .filter(|enforcement| !enforcement::holds(enforcement))
            .map(|enforcement| enforcement.control)
            .collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(SandboxError::NotEnforced(missing.join(", ")))
        }
    }

    /// Lists for every promised control the layer that enforces it.
    #[must_use]
    pub fn enforcement(&self, profile: &Profile) -> Vec<Enforcement> {
        enforcement::list(&self.0.layers, profile, &self.0.sandbox)
    }

    /// Starts a program. More output than `output_bytes_max` kills its tree; so does dropping the
    /// [`Tree`], and the end of this process however it comes. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the host cannot enforce the base jail, or the program cannot be started.
    pub fn start(&self, confined: Confined, output_bytes_max: u64) -> Result<Tree, SandboxError> {
        self.require_base()?;
        if confined.program_and_arguments.is_empty() {
            return Err(SandboxError::NoProgram);
        }
        let rooms = confined.room.iter().flat_map(Room::sources);
        let reach = confined.read.iter().chain(&confined.write).chain(rooms);
        places::check_reach(reach, &self.0.data_directory)?;
        if let Some(input) = &confined.input
            && (confined.write.iter().any(|place| input.starts_with(place))
                || confined.room.iter().any(|room| room.can_write(input)))
        {
            let path = input.clone();
            return Err(SandboxError::Input { path });
        }

        let number = self.0.started.fetch_add(1, Ordering::Relaxed);
        let engine = self.engine_of(&confined)?;
        let files = Files::new(&self.0.run_directory, number, engine.is_some());
        let files = files.map_err(|source| SandboxError::Prepare {
            path: self.0.run_directory.clone(),
            source,
        })?;
        let way_out = confined.room.as_ref().and_then(|room| room.way_out.clone());
        let door = way_out
            .map(|way| Door::open(files.door.clone(), way.outlet, way.decisions))
            .transpose()?;
        let kept = confined.room.as_ref().is_some_and(|room| room.kept);
        let control = kept.then(|| UnixListener::bind(&files.control));
        let control = control.transpose().map_err(SandboxError::Lifeline)?;
        let name = format!("loki-{}-{number}", std::process::id());
        let container = engine.map(|engine| engine.container(&name));
        let mut command = match engine {
            Some(engine) => self.contain(engine, confined, &files, &name)?,
            None => self.jailed(confined, &files, name)?,
        };
        command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = command
            .spawn()
            .map_err(|source| SandboxError::Unstartable {
                jail: self.0.jail.clone(),
                source,
            })?;
        Tree::new(child, files, door, control, container, output_bytes_max)
    }

    /// Returns the engine that makes a program's world, if one does.
    fn engine_of(&self, confined: &Confined) -> Result<Option<&Engine>, SandboxError> {
        if confined.room.is_none() || self.0.sandbox.backend == Backend::Native {
            return Ok(None);
        }
        let missing = || {
            let sandbox = self.0.layers.sandbox.as_ref();
            let why = sandbox.and_then(|layers| enforcement::shortage(&layers.root));
            SandboxError::NoSandbox(why.unwrap_or("there is no engine").to_owned())
        };
        self.0.engine.as_ref().map(Some).ok_or_else(missing)
    }

    /// Returns the command that runs a program in a container.
    fn contain(
        &self,
        engine: &Engine,
        mut confined: Confined,
        files: &Files,
        name: &str,
    ) -> Result<tokio::process::Command, SandboxError> {
        let (Some(folder), Some(room)) = (&files.folder, confined.room.take()) else {
            return Err(SandboxError::NoProgram);
        };
        if let Some(input) = &confined.input {
            let copied = std::fs::copy(input, folder.join("input"));
            copied.map_err(|source| SandboxError::Prepare {
                path: input.clone(),
                source,
            })?;
        }
        container::name_world(folder).map_err(|source| SandboxError::Prepare {
            path: folder.clone(),
            source,
        })?;
        let arguments = engine.arguments(&confined, &room, &self.0.sandbox, folder, name);
        container::policy(confined, &room).create(&files.policy)?;
        let mut command = engine.client();
        command.args(arguments);
        Ok(command)
    }

    /// Returns the command that runs a program in the jail, and in its sandbox if it has one.
    fn jailed(
        &self,
        confined: Confined,
        files: &Files,
        name: String,
    ) -> Result<tokio::process::Command, SandboxError> {
        let program_and_arguments = confined.program_and_arguments.clone();
        self.policy(confined, files, name).create(&files.policy)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "this is the one place of the runtime in which processes start"
        )]
        let mut command = tokio::process::Command::new(&self.0.jail);
        command
            .args(["supervise", "--policy"])
            .arg(&files.policy)
            .arg("--")
            .args(program_and_arguments)
            .env_clear();
        Ok(command)
    }

    /// Runs a program to its end and keeps what it writes. Over either bound its tree is killed, and
    /// [`Finished::cut`] says so.
    ///
    /// # Errors
    /// When it cannot be started, or nobody can tell how it ended.
    pub async fn run(
        &self,
        confined: Confined,
        output_bytes_max: u64,
        timeout: Duration,
    ) -> Result<Finished, SandboxError> {
        let mut tree = self.start(confined, output_bytes_max)?;
        let deadline = Instant::now() + timeout;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            match tokio::time::timeout_at(deadline, tree.next()).await {
                Ok(Some(chunk)) => match chunk.stream {
                    Stream::Output => stdout.extend(chunk.bytes),
                    Stream::Error => stderr.extend(chunk.bytes),
                },
                Ok(None) => break,
                Err(_) => {
                    tree.cut(Cut::Time(timeout));
                    break;
                }
            }
        }
        let ended = tree.wait().await?;
        Ok(Finished {
            code: ended.code,
            stdout,
            stderr,
            cut: ended.cut,
        })
    }

    fn require_base(&self) -> Result<(), SandboxError> {
        match enforcement::base_shortage(&self.0.layers) {
            Some(reason) if !self.0.settings.allow_advisory => {
                Err(SandboxError::NoBaseJail(reason))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn policy(&self, confined: Confined, files: &Files, group: String) -> Policy {
        Policy {
            limits: confined.limits(),
            sandbox: confined.room.map(|room| {
                let door = room.way_out.is_some().then(|| files.door.clone());
                let control = room.kept.then(|| files.control.clone());
                room.policy(&self.0.sandbox, group, door, control)
            }),
            layers: Some(files.layers.clone()),
            stdin: confined.input,
            environment: confined.environment,
            umask: confined.umask,
            read: confined.read,
            read_if_present: system::readable().collect(),
            write: confined.write,
            connect_ports: Some(BTreeSet::from_iter(confined.connect_ports)),
            may_be_missing: self.may_be_missing(),
            ..Policy::new(files.report.clone(), confined.directory)
        }
    }

    /// Lists what this host lacks. The jail itself refuses to go without anything else.
    fn may_be_missing(&self) -> BTreeSet<LayerName> {
        enforcement::missing(&self.0.layers)
            .filter(|name| *name != LayerName::FileSystem || self.0.settings.allow_advisory)
            .collect()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.run_directory) {
            tracing::debug!(path = %self.run_directory.display(), %error, "policy folder not removed");
        }
    }
}

/// Makes a folder that no earlier run has used: its files must not exist yet when they are created.
fn create_run_directory(runs: &Path) -> io::Result<PathBuf> {
    let process = std::process::id();
    for number in 0..RUN_DIRECTORIES_MAX {
        let path = runs.join(format!("{process}-{number}"));
        match DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => return path.canonicalize(),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other(
        "too many folders of earlier runs; remove them",
    ))
}

const RUN_DIRECTORIES_MAX: u32 = 100_000;

#[cfg(test)]
mod tests;
