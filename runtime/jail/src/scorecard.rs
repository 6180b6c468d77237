//! The scorecard: every known way out of the sandbox is tried, inside and beside it.
//!
//! Invariant: a way counts as refused only if the same line had its effect beside the sandbox.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde::Serialize;

use crate::bait::Found;
use crate::layers::Layer;
use crate::policy::Policy;
use crate::sandbox::{Access, Mount, ResourceName, Resources, SandboxPolicy};
use crate::trial;

include!(concat!(env!("OUT_DIR"), "/escapes.rs"));

/// One way out.
#[derive(Debug)]
struct Escape {
    name: &'static str,
    kind: &'static str,
    /// Succeeds where the way exists at all.
    needs: Option<&'static str>,
    /// Succeeds if the forbidden effect was had.
    line: &'static str,
}

/// What came of one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome {
    /// Refused inside, had beside the sandbox.
    Refused,
    /// Had inside: the sandbox leaks.
    Reached,
    /// Not had beside the sandbox either, so it proves nothing.
    Unproven,
    /// This host does not have what it needs.
    Skipped,
}

#[derive(Debug, Serialize)]
struct Line {
    name: &'static str,
    kind: &'static str,
    outcome: Outcome,
}

/// Tries every way and writes a line of JSON for each. Tells whether none got out or proved nothing.
///
/// # Errors
/// When the scene cannot be set.
pub(crate) fn run(out: &mut impl Write) -> io::Result<bool> {
    let layers = trial::try_out()?;
    if let Layer::Unavailable { reason } = &layers.root {
        return Err(io::Error::other(format!(
            "this host has no sandbox: {reason}"
        )));
    }
    let scene = Scene::set(&[
        ("HAS_PROCESSES", layers.processes == Layer::Enforced),
        ("HAS_MEMORY", layers.memory == Layer::Enforced),
    ])?;
    let mut kept = true;
    for (number, escape) in ESCAPES.iter().enumerate() {
        let outcome = scene.attempt(escape, number)?;
        kept &= matches!(outcome, Outcome::Refused | Outcome::Skipped);
        let line = Line {
            name: escape.name,
            kind: escape.kind,
            outcome,
        };
        serde_json::to_writer(&mut *out, &line)?;
        writeln!(out)?;
    }
    Ok(kept)
}

/// Everything that the lines play on, in one temporary folder.
#[derive(Debug)]
struct Scene {
    folder: PathBuf,
    program: PathBuf,
    bait: Child,
    variables: BTreeMap<String, String>,
}

impl Scene {
    fn set(facts: &[(&str, bool)]) -> io::Result<Self> {
        let folder = std::env::temp_dir().canonicalize()?;
        let folder = folder.join(format!("loki-escapes-{}", std::process::id()));
        fs::create_dir(&folder)?;
        for name in ["inside", "outside", "run"] {
            fs::create_dir(folder.join(name))?;
        }
        let outside = folder.join("outside");
        fs::write(outside.join("secret"), "private\n")?;
        let program = std::env::current_exe()?;
        let mut bait = shell("exec 8<secret; exec \"$0\" bait \"$PWD/socket\"")
            .arg(&program)
            .current_dir(&outside)
            .env_clear()
            .env("PATH", PATH)
            .env("CANARY", "private")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut said = String::new();
        if let Some(stdout) = bait.stdout.take() {
            BufReader::new(stdout).read_line(&mut said)?;
        }
        let found: Found = serde_json::from_str(&said)?;
        let text = |path: &Path| path.display().to_string();
        let host = fs::read_to_string("/proc/sys/kernel/hostname")?;
        let host = host.trim_end().to_owned();
        let mut variables = BTreeMap::from([
            ("PATH".to_owned(), PATH.to_owned()),
            ("OUT".to_owned(), text(&outside)),
            ("PID".to_owned(), found.pid.to_string()),
            ("TCP".to_owned(), found.tcp.to_string()),
            ("UDP".to_owned(), found.udp.to_string()),
            ("ABSTRACT".to_owned(), found.name),
            ("HOST".to_owned(), host),
        ]);
        for (name, fact) in facts {
            variables.insert((*name).to_owned(), u8::from(*fact).to_string());
        }
        Ok(Self {
            folder,
            program,
            bait,
            variables,
        })
    }

    fn attempt(&self, escape: &Escape, number: usize) -> io::Result<Outcome> {
        if let Some(needs) = escape.needs {
            self.reset()?;
            if !self.beside(needs)? {
                return Ok(Outcome::Skipped);
            }
        }
        self.reset()?;
        let beside = self.beside(escape.line)?;
        self.reset()?;
        let inside = self.inside(escape.line, number)?;
        Ok(match (inside, beside) {
            (true, _) => Outcome::Reached,
            (false, true) => Outcome::Refused,
            (false, false) => Outcome::Unproven,
        })
    }

    /// Puts back what an earlier line may have changed.
    fn reset(&self) -> io::Result<()> {
        let outside = self.folder.join("outside");
        for folder in [self.folder.join("inside"), outside.join("folder")] {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => fs::create_dir(&folder)?,
            }
        }
        fs::write(outside.join("victim"), "untouched\n")
    }

    /// Runs a line beside the sandbox, by the same user, in the same folder.
    fn beside(&self, line: &str) -> io::Result<bool> {
        let status = shell("exec 9<\"$OUT/secret\"; exec timeout -k 1 60 bash -c \"$0\"")
            .arg(line)
            .current_dir(self.folder.join("inside"))
            .env_clear()
            .envs(&self.variables)
            .env("CANARY", "private")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()?;
        Ok(status.success())
    }

    /// Runs a line inside.
    fn inside(&self, line: &str, number: usize) -> io::Result<bool> {
        let file = |kind: &str| self.folder.join(format!("run/{number}.{kind}"));
        let policy = file("policy");
        let written = self.policy(file("report"), number).create(&policy);
        written.map_err(io::Error::other)?;
        let mut child = shell(
            "exec 9<\"$OUT/secret\"; exec timeout -k 1 60 \"$0\" supervise --policy \"$1\" -- bash -c \"$2\"",
        )
        .arg(&self.program)
        .arg(&policy)
        .arg(line)
        .env_clear()
        .envs(&self.variables)
        .env("CANARY", "private")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
        // The lifeline lasts as long as the line.
        let lifeline = child.stdin.take();
        let output = child.wait_with_output()?;
        drop(lifeline);
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(CANNOT) && said.starts_with("loki-jail: ") {
            return Err(io::Error::other(said.trim_end().to_owned()));
        }
        Ok(output.status.success())
    }

    fn policy(&self, report: PathBuf, number: usize) -> Policy {
        let inside = self.folder.join("inside");
        Policy {
            environment: self.variables.clone(),
            read_if_present: SYSTEM.iter().map(PathBuf::from).collect(),
            sandbox: Some(SandboxPolicy {
                mounts: vec![Mount {
                    source: inside.clone(),
                    target: inside.clone(),
                    access: Access::Write,
                }],
                temporary_bytes_max: 16 * MEBIBYTE,
                resources: Resources {
                    cpu_percent: Some(200),
                    memory_bytes: Some(128 * MEBIBYTE),
                    processes: Some(100),
                },
                may_lack: ResourceName::ALL.into(),
                group: format!("loki-escape-{}-{number}", std::process::id()),
                egress: None,
                control: None,
            }),
            ..Policy::new(report, inside)
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // Its input ends, and so does it. What is left in the temporary folder harms nobody.
        drop(self.bait.stdin.take());
        match self
            .bait
            .wait()
            .and_then(|_| fs::remove_dir_all(&self.folder))
        {
            Ok(()) | Err(_) => (),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the ways out are tried by programs"
)]
fn shell(line: &str) -> Command {
    let mut command = Command::new("bash");
    command.args(["-c", line]);
    command
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What every program needs to run.
const SYSTEM: [&str; 6] = [
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
];

/// The exit code by which `loki-jail` says that it could not do its work.
const CANNOT: i32 = 125;

const MEBIBYTE: u64 = 1024 * 1024;
