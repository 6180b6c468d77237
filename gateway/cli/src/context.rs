//! What a command knows of the process that it runs in: environment, folder, user.
//!
//! Invariant: the environment is read once, at start; everything else takes it from here.

use std::fs;
use std::path::{Path, PathBuf};

use ::config::gateway::{self, GatewaySettings, Loaded};
use ::config::home::Home;
use ::config::load::Sources;
use ::config::runtime::RuntimeSettings;

use crate::failure::Failure;

/// The process's surroundings.
#[derive(Debug)]
pub(crate) struct Context {
    sources: Sources,
    directory: PathBuf,
}

/// What commands need that work without a gateway.
#[derive(Debug)]
pub(crate) struct Offline {
    /// The data directory.
    pub(crate) home: Home,
    /// Whether the audit trail is written.
    pub(crate) audit_enabled: bool,
}

impl Context {
    /// Reads the surroundings.
    pub(crate) fn from_process() -> Result<Self, Failure> {
        let directory = std::env::current_dir()
            .map_err(|error| Failure::failed(format!("cannot tell the current folder: {error}")))?;
        Ok(Self {
            sources: Sources::from_process(),
            directory,
        })
    }

    /// Returns the folder that the person is in.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns a variable of the environment; an empty one counts as unset.
    pub(crate) fn variable(&self, name: &str) -> Option<&str> {
        let value = self.sources.environment.get(name)?;
        (!value.is_empty()).then_some(value.as_str())
    }

    /// Returns a variable of the environment, also an empty one.
    pub(crate) fn raw_variable(&self, name: &str) -> Option<&str> {
        self.sources.environment.get(name).map(String::as_str)
    }

    /// Returns the environment and, once added, flags.
    pub(crate) fn sources(&self) -> Sources {
        self.sources.clone()
    }

    /// Returns the data directory and the audit switch, whatever else is wrong with the settings.
    pub(crate) fn offline(&self) -> Result<Offline, Failure> {
        let sources =
            self.sources()
                .with_settings_file(None, "LOKI_GATEWAY_CONFIG", "gateway.toml")?;
        let (home, audit_enabled) = gateway::offline(sources)?;
        Ok(Offline {
            home,
            audit_enabled,
        })
    }

    /// Returns the gateway's settings as a gateway started from here would have them.
    pub(crate) fn gateway_settings(
        &self,
        sources: Sources,
    ) -> Result<Loaded<GatewaySettings>, ::config::load::Mistakes> {
        sources
            .with_settings_file(None, "LOKI_GATEWAY_CONFIG", "gateway.toml")
            .and_then(GatewaySettings::load)
    }

    /// Returns the runtime's settings as a runtime started from here would have them.
    pub(crate) fn runtime_settings(
        &self,
    ) -> Result<Loaded<RuntimeSettings>, ::config::load::Mistakes> {
        self.sources()
            .with_settings_file(None, "LOKI_RUNTIME_CONFIG", "runtime.toml")
            .and_then(RuntimeSettings::load)
    }

    /// Returns who acts, as audit records have it: `local:` and the login name, else the user
    /// number. Variables such as `USER` are not asked: anybody can set them.
    pub(crate) fn user(&self) -> String {
        let id = rustix::process::getuid().as_raw();
        let name = fs::read_to_string("/etc/passwd")
            .ok()
            .and_then(|text| login_name(&text, id));
        format!("local:{}", name.unwrap_or_else(|| id.to_string()))
    }
}

fn login_name(passwd: &str, id: u32) -> Option<String> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number = fields.nth(1)?.parse::<u32>().ok()?;
        (number == id && !name.is_empty()).then(|| name.to_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::login_name;

    #[test]
    fn the_login_name_belongs_to_the_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n:x:7:7::/:\nbroken\nana:x:1000:1000::/home/ana:/bin/sh\n";
        let check = |id: u32, expected: Option<&str>| {
            assert_eq!(login_name(passwd, id).as_deref(), expected);
        };
        check(0, Some("root"));
        check(1000, Some("ana"));
        check(7, None);
        check(42, None);
    }
}
