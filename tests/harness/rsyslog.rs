//! A real rsyslog that keeps what it is sent, as one JSON object per message.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::Signal;
use serde_json::Value;

use crate::certificate::Certificate;
use crate::counterpart;
use crate::installation::free_port;
use crate::poll;
use crate::process;

/// One property per field of an RFC 5424 message.
const TEMPLATE: &str = r#"
template(name="j" type="list" option.jsonf="on") {
  property(outname="ts" name="timereported" dateFormat="rfc3339" format="jsonf")
  property(outname="pri" name="pri" format="jsonf")
  property(outname="ver" name="protocol-version" format="jsonf")
  property(outname="host" name="hostname" format="jsonf")
  property(outname="app" name="app-name" format="jsonf")
  property(outname="procid" name="procid" format="jsonf")
  property(outname="msgid" name="msgid" format="jsonf")
  property(outname="sd" name="structured-data" format="jsonf")
  property(outname="msg" name="msg" format="jsonf")
}
"#;

/// A receiver on a port of its own.
#[derive(Debug)]
pub struct Rsyslog {
    place: PathBuf,
    port: u16,
    running: Option<Child>,
}

impl Rsyslog {
    /// Starts a receiver of counted octets; with a certificate, inside TLS.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start(place: &Path, certificate: Option<&Certificate>) -> Self {
        fs::create_dir_all(place.join("work")).expect("a folder for the receiver");
        let port = free_port();
        let shown = place.display();
        let (module, global) = match certificate {
            None => (String::new(), String::new()),
            Some(pair) => (
                " StreamDriver.Name=\"gtls\" StreamDriver.Mode=\"1\" StreamDriver.AuthMode=\"anon\""
                    .to_owned(),
                format!(
                    " DefaultNetstreamDriver=\"gtls\" DefaultNetstreamDriverCAFile=\"{cert}\" \
                     DefaultNetstreamDriverCertFile=\"{cert}\" DefaultNetstreamDriverKeyFile=\"{key}\"",
                    cert = pair.certificate.display(),
                    key = pair.key.display(),
                ),
            ),
        };
        let text = format!(
            "module(load=\"imtcp\"{module})\n\
             global(workDirectory=\"{shown}/work\" maxMessageSize=\"16k\"{global})\n{TEMPLATE}\
             input(type=\"imtcp\" address=\"127.0.0.1\" port=\"{port}\")\n\
             *.* action(type=\"omfile\" file=\"{shown}/out.jsonl\" template=\"j\")\n"
        );
        fs::write(place.join("rs.conf"), text).expect("its settings");
        let mut receiver = Self {
            place: place.to_owned(),
            port,
            running: None,
        };
        receiver.start_again();
        receiver
    }

    /// Returns the port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Starts it on the same port after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        let log = fs::File::create(self.place.join("rs.log")).expect("its log");
        let child = Command::new(counterpart::system("rsyslogd"))
            .arg("-n")
            .arg("-f")
            .arg(self.place.join("rs.conf"))
            .arg("-i")
            .arg(self.place.join("rs.pid"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("rsyslogd starts");
        let id = child.id();
        self.running = Some(child);
        poll::until("rsyslogd listens", || {
            assert!(process::is_alive(id), "rsyslogd ended: {}", self.log());
            std::net::TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    /// Kills it without a chance to keep what it holds in memory.
    ///
    /// # Panics
    /// When it was killed before.
    pub fn kill(&mut self) {
        let mut child = self.running.take().expect("it runs");
        process::signal(child.id(), Signal::KILL);
        let _status = child.wait().expect("it can be waited for");
        if let Err(error) = fs::remove_file(self.place.join("rs.pid")) {
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }

    /// Returns what it kept, in the order in which it came; a line that the kill cut is left out.
    #[must_use]
    pub fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.place.join("out.jsonl")).unwrap_or_default();
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|message: &Value| message["app"] == "loki-gateway")
            .collect()
    }

    /// Returns what it said itself.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.join("rs.log")).unwrap_or_default()
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        if self.running.is_some() {
            self.kill();
        }
    }
}
