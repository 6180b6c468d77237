//! Runs a program to its end and keeps what it said.

use std::io::{Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde_json::Value;

use crate::poll;

/// A program that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// How it was called, for messages.
    pub line: String,
    /// Its exit code; 128 + n after signal n.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Finished {
    /// Returns itself if the exit code is `code`.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn ended_with(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self}");
        self
    }

    /// Returns what it printed if it succeeded.
    ///
    /// # Panics
    /// When it did not.
    #[must_use]
    pub fn output(self) -> String {
        self.ended_with(0).stdout
    }

    /// Returns what it printed as JSON if it succeeded.
    ///
    /// # Panics
    /// When it did not, or printed something else.
    #[must_use]
    pub fn json(self) -> Value {
        let text = self.output();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON: {error}: {text}"))
    }

    /// Returns everything that a person saw.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

impl std::fmt::Display for Finished {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{}\nexit code {}\nstdout:\n{}\nstderr:\n{}",
            self.line, self.code, self.stdout, self.stderr
        )
    }
}

/// Runs `command` to its end without input.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[must_use]
pub fn run(command: &mut Command) -> Finished {
    run_with(command, Vec::new())
}

/// Runs `command` to its end with `input` on its standard input.
///
/// # Panics
/// When it cannot be started or does not end in time.
#[must_use]
pub fn run_with(command: &mut Command, input: Vec<u8>) -> Finished {
    let line = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {line}: {error}"));
    let feeder = feed(child.stdin.take().expect("it is piped"), input);
    let stdout = collect(child.stdout.take().expect("it is piped"));
    let stderr = collect(child.stderr.take().expect("it is piped"));
    let status = poll::within(4 * poll::PATIENCE, &line, || {
        child.try_wait().expect("a child can be waited for")
    });
    feeder.join().expect("feeding does not panic");
    Finished {
        line,
        code: status
            .code()
            .unwrap_or_else(|| 128 + status.signal().unwrap_or(0)),
        stdout: all_of(&stdout),
        stderr: all_of(&stderr),
    }
}

fn feed(mut pipe: ChildStdin, input: Vec<u8>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        // A program may end without reading its input; that is for the exit code to judge.
        drop(pipe.write_all(&input));
    })
}

fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe can be read");
        sender.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receiver
}

/// A program that leaves its standard output to a daemon would make its caller wait for ever.
fn all_of(pipe: &Receiver<String>) -> String {
    pipe.recv_timeout(poll::PATIENCE)
        .expect("the output ends with the program, so nobody else holds it")
}
