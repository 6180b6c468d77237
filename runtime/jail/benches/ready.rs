//! How long a program takes to run in the sandbox, over running it plainly: medians of many starts.

#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(
    clippy::disallowed_methods,
    reason = "a benchmark starts what it measures"
)]

use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use jail::Policy;
use jail::sandbox::{Access, Mount, Resources, SandboxPolicy};

const ROUNDS: usize = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let inside = folder.path().join("inside");
    fs::create_dir(&inside)?;
    let plain = median(|_| run(Command::new("/bin/true")))?;
    let base = median(|round| supervised(folder.path(), round, "base", None))?;
    let sandbox = median(|round| {
        supervised(
            folder.path(),
            round,
            "sandbox",
            Some(sandbox(&inside, round)),
        )
    })?;
    for (name, time) in [
        ("plain exec", plain),
        ("base jail", base),
        ("sandbox", sandbox),
    ] {
        let over = time.saturating_sub(plain);
        println!(
            "{name}: {:.2} ms, over plain exec {:.2} ms",
            milliseconds(time),
            milliseconds(over)
        );
    }
    Ok(())
}

fn supervised(
    folder: &Path,
    round: usize,
    kind: &str,
    sandbox: Option<SandboxPolicy>,
) -> Result<(), Box<dyn Error>> {
    let inside = folder.join("inside");
    let mut policy = Policy::new(
        folder.join(format!("{kind}-{round}.report")),
        inside.clone(),
    );
    policy.read_if_present = ["/usr", "/bin", "/lib", "/lib64", "/etc/ld.so.cache"]
        .map(Into::into)
        .into();
    if sandbox.is_none() {
        policy.write.push(inside);
    }
    policy.sandbox = sandbox;
    let file = folder.join(format!("{kind}-{round}.policy"));
    policy.create(&file)?;
    let mut command = Command::new(env!("CARGO_BIN_EXE_loki-jail"));
    command
        .arg("supervise")
        .arg("--policy")
        .arg(file)
        .args(["--", "/bin/true"]);
    run(command)
}

fn sandbox(inside: &Path, round: usize) -> SandboxPolicy {
    SandboxPolicy {
        mounts: vec![Mount {
            source: inside.to_owned(),
            target: inside.to_owned(),
            access: Access::Write,
        }],
        temporary_bytes_max: 16 * 1024 * 1024,
        resources: Resources {
            cpu_percent: Some(200),
            memory_bytes: Some(1024 * 1024 * 1024),
            processes: Some(200),
        },
        may_lack: jail::sandbox::ResourceName::ALL.into(),
        group: format!("loki-bench-{}-{round}", std::process::id()),
        egress: None,
        control: None,
    }
}

/// Runs a command to its end, with a lifeline that lasts as long.
fn run(mut command: Command) -> Result<(), Box<dyn Error>> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    let lifeline = child.stdin.take();
    let status = child.wait()?;
    drop(lifeline);
    if status.success() {
        Ok(())
    } else {
        Err(format!("ended with {status}").into())
    }
}

fn median(
    mut once: impl FnMut(usize) -> Result<(), Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let began = Instant::now();
        once(round)?;
        times.push(began.elapsed());
    }
    times.sort();
    Ok(times[ROUNDS / 2])
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
