//! One user's home on one machine: where programs are run, not yet what runs.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use config::contract::endpoint::Endpoint;
use config::home::Home;
use rustix::process::Signal;
use tempfile::TempDir;

use crate::audit_reader::AuditTrail;
use crate::client::Client;
use crate::command::{self, Finished};
use crate::poll;
use crate::process;
use crate::programs;

/// A home directory with nothing in it but what a test puts there.
#[derive(Debug)]
pub struct Installation {
    root: TempDir,
    environment: BTreeMap<String, String>,
}

impl Default for Installation {
    fn default() -> Self {
        Self::new()
    }
}

impl Installation {
    /// Makes the home.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new() -> Self {
        // A socket's path has an end after 107 bytes, so the home lies close to the root.
        let root = tempfile::Builder::new()
            .prefix("loki-")
            .tempdir()
            .expect("a folder for the test");
        let installation = Self {
            root,
            environment: BTreeMap::new(),
        };
        for folder in [installation.user_home(), installation.agents()] {
            fs::create_dir(folder).expect("a folder for the test");
        }
        installation
    }

    /// Sets a variable for every program started from here.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.environment.insert(name.to_owned(), value.into());
    }

    /// Takes a variable back.
    pub fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    /// Returns the folder of everything of this test.
    #[must_use]
    pub fn root(&self) -> &Path {
        self.root.path()
    }

    /// Returns `$HOME`.
    #[must_use]
    pub fn user_home(&self) -> PathBuf {
        self.root().join("home")
    }

    /// Returns the folder of scripted agents, which the jail lets agents read.
    #[must_use]
    pub fn agents(&self) -> PathBuf {
        self.root().join("agents")
    }

    /// Returns the data directory.
    #[must_use]
    pub fn home(&self) -> Home {
        Home::new(self.user_home().join(".loki"))
    }

    /// Returns the audit trail.
    #[must_use]
    pub fn audit(&self) -> AuditTrail {
        AuditTrail::of(&self.home())
    }

    /// Writes a settings file below the data directory.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write_settings(&self, name: &str, text: &str) {
        let directory = self.home().directory().to_owned();
        fs::create_dir_all(&directory).expect("the data directory");
        fs::write(directory.join(name), text).expect("a settings file");
    }

    /// Returns a command of one of our programs in this home.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(programs::path(program));
        self.close(&mut command);
        command
    }

    /// Returns a command of another program in this home, with our programs on its path.
    #[must_use]
    pub fn foreign_command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        self.close(&mut command);
        let own = programs::directory().as_os_str().to_owned();
        let mut path = own;
        path.push(":");
        path.push(env::var_os("PATH").unwrap_or_default());
        command.env("PATH", path);
        command
    }

    fn close(&self, command: &mut Command) {
        command
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.user_home())
            .envs(&self.environment)
            .current_dir(self.user_home());
    }

    /// Runs `loki` with these arguments to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    pub fn loki(&self, arguments: &[&str]) -> Finished {
        command::run(self.command("loki").args(arguments))
    }

    /// Returns what a listening gateway says about itself; none if there is none.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        let bytes = fs::read(self.home().endpoint()).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Waits for a listening gateway and returns a client of it without a token.
    ///
    /// # Panics
    /// When there is none in time.
    #[must_use]
    pub fn client(&self) -> Client {
        let endpoint = poll::until("a gateway listens", || self.endpoint());
        client_of(&endpoint)
    }

    /// Asserts that no process of this home is left.
    ///
    /// # Panics
    /// When one is.
    pub fn assert_nothing_runs(&self) {
        let root = self.root().to_owned();
        poll::until("every process of the deployment ends", || {
            let left = process::around(&root);
            left.is_empty().then_some(())
        });
    }
}

impl Drop for Installation {
    fn drop(&mut self) {
        let left = process::around(self.root());
        for (id, _) in &left {
            process::signal(*id, Signal::KILL);
        }
        // A test that failed already says why; what it left is no news.
        if !std::thread::panicking() {
            assert!(left.is_empty(), "left running: {left:?}");
        }
    }
}

/// Returns a client of the gateway that an endpoint file names, without a token.
///
/// # Panics
/// When the file names no address.
#[must_use]
pub fn client_of(endpoint: &Endpoint) -> Client {
    let (_, address) = endpoint.url.split_once("://").expect("a url");
    let address = address.parse().expect("an address and a port");
    match &endpoint.certificate_sha256 {
        None => Client::plain(address),
        Some(hex) => Client::pinned(address, from_hex(hex)),
    }
}

/// Returns a port that was free a moment ago.
///
/// # Panics
/// When the system has none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}

fn from_hex(hex: &str) -> [u8; 32] {
    assert_eq!(hex.len(), 64, "a SHA-256 has 64 digits: {hex}");
    let mut bytes = [0; 32];
    for (position, byte) in bytes.iter_mut().enumerate() {
        let digits = &hex[2 * position..2 * position + 2];
        *byte = u8::from_str_radix(digits, 16).expect("hexadecimal digits");
    }
    bytes
}
