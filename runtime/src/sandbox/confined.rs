//! What one program is and what it may reach.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use jail::Limits;

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
    /// The most memory of its own that one process of it may have, in bytes.
    pub memory_bytes_max: Option<u64>,
    /// The permission bits that its new files do not get.
    pub umask: u32,
    /// Its world, if it runs in the sandbox. Then the paths of `directory` and `environment` are names
    /// inside, and `write` is empty.
    pub room: Option<Room>,
}

impl Confined {
    /// Gives the program a port of loopback on which it may serve itself, if an argument wants one: outside
    /// the sandbox it could not connect even to what it serves.
    ///
    /// # Errors
    /// When there is none.
    pub fn give_port(&mut self) -> io::Result<()> {
        let wants = |argument: &&mut OsString| argument.as_os_str() == OWN_PORT;
        let mut wanting = self
            .program_and_arguments
            .iter_mut()
            .filter(wants)
            .peekable();
        if wanting.peek().is_none() {
            return Ok(());
        }
        // Somebody else may take it before the program does, which then ends and says so.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = free.local_addr()?.port();
        wanting.for_each(|argument| *argument = port.to_string().into());
        self.connect_ports.push(port);
        Ok(())
    }

    /// Returns the limits of each of its processes.
    pub(super) fn limits(&self) -> Limits {
        Limits {
            memory_bytes: self.memory_bytes_max,
            ..Limits::default()
        }
    }
}

/// The argument that stands for a port of the program's own.
const OWN_PORT: &str = "{port}";

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Confined;

    fn confined(arguments: &[&str]) -> Confined {
        Confined {
            program_and_arguments: arguments.iter().map(Into::into).collect(),
            directory: "/".into(),
            read: Vec::new(),
            write: Vec::new(),
            environment: BTreeMap::new(),
            input: None,
            connect_ports: vec![443],
            memory_bytes_max: None,
            umask: 0o77,
            room: None,
        }
    }

    #[test]
    fn a_port_is_given_to_whoever_wants_one_and_to_nobody_else() {
        let mut plain = confined(&["agent", "x{port}", "port"]);
        plain.give_port().unwrap();
        assert_eq!(plain.program_and_arguments, ["agent", "x{port}", "port"]);
        assert_eq!(plain.connect_ports, [443]);
        let mut serving = confined(&["agent", "--port", "{port}"]);
        serving.give_port().unwrap();
        let [_, port] = serving.connect_ports.as_slice() else {
            panic!("{serving:?}");
        };
        let expected = ["agent", "--port", &port.to_string()];
        assert_eq!(serving.program_and_arguments, expected);
    }
}
