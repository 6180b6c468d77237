//! What one program is and what it may reach.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::Room;

/// A program with what it may reach besides the system's own files.
#[derive(Clone, Debug)]
pub struct Confined {
    /// The program, looked up in the environment's `PATH`, and its arguments.
    pub program_and_arguments: Vec<OsString>,
    /// Where it starts.
    pub directory: PathBuf,
    /// Files and folders that it may read and execute. Each must exist.
    pub read: Vec<PathBuf>,
    /// Files and folders that it may read, execute and change. Each must exist.
    pub write: Vec<PathBuf>,
    /// Its whole environment.
    pub environment: BTreeMap<String, String>,
    /// The file that it reads as standard input; none is `/dev/null`.
    pub input: Option<PathBuf>,
    /// The only TCP ports that it may connect to.
    pub connect_ports: Vec<u16>,
    /// The permission bits that its new files do not get.
    pub umask: u32,
    /// Its world, if it runs in the sandbox. Then the paths of `directory` and `environment` are names
    /// inside, and `write` is empty.
    pub room: Option<Room>,
}
