//! What an agent, and the verify command after it, may reach.
//!
//! Invariant: it can write its session's workspace and private folder, and nothing else.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use jail::sandbox::{HOME, USER_NAME};

use super::{Confined, Profile, Room, Sandbox, WayOut, room, system};
use crate::folder::SessionFolder;

impl Sandbox {
    /// Confines a session's program as its profile asks. See [`Self::agent`].
    #[must_use]
    pub fn confine(
        &self,
        profile: &Profile,
        folder: &SessionFolder,
        program_and_arguments: Vec<OsString>,
        variables: BTreeMap<String, String>,
        input: Option<PathBuf>,
        way_out: Option<WayOut>,
    ) -> Confined {
        let mut confined = self.agent(folder, program_and_arguments, variables, input);
        if profile.sandbox {
            if let Some(way) = &way_out {
                confined.environment.extend(way.outlet.variables());
            }
            for (name, value) in [("HOME", HOME), ("TMPDIR", "/tmp"), ("USER", USER_NAME)] {
                confined
                    .environment
                    .insert(name.to_owned(), value.to_owned());
            }
            confined.directory.clone_from(&profile.project);
            confined.write.clear();
            confined.room = Some(Room::of_session(folder, profile).with_way_out(way_out));
        } else if let Some(places) = &profile.allowed {
            let workspace = folder.workspace();
            confined.write = places.iter().map(|place| workspace.join(place)).collect();
            confined.write.push(folder.private());
            confined.read.push(workspace);
        }
        confined
    }

    /// Confines the keeper of a long-lived sandbox, which runs a program if one is named.
    #[must_use]
    pub fn keeper(
        &self,
        profile: &Profile,
        folder: &SessionFolder,
        program: Option<Vec<OsString>>,
        way_out: Option<WayOut>,
    ) -> Confined {
        let mut call: Vec<OsString> = vec![room::KEEPER.into(), "keep".into()];
        if let Some(program) = program {
            call.push("--".into());
            call.extend(program);
        }
        let profile = Profile {
            sandbox: true,
            ..profile.clone()
        };
        let mut confined = self.confine(&profile, folder, call, BTreeMap::new(), None, way_out);
        confined.room = confined
            .room
            .map(|room| room.with_keeper(self.0.jail.clone()));
        confined
    }

    /// Confines an agent's program to its session's workspace and private folder.
    ///
    /// `variables` are added to the agent's own environment and win over it; but `HOME`, `TMPDIR` and
    /// `LOKI_SESSION_ID` cannot be replaced. `input` is the file that the program reads as standard
    /// input: a regular file, best outside the agent's reach.
    #[must_use]
    pub fn agent(
        &self,
        folder: &SessionFolder,
        program_and_arguments: Vec<OsString>,
        variables: BTreeMap<String, String>,
        input: Option<PathBuf>,
    ) -> Confined {
        let mut environment = BTreeMap::from([
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("PATH".to_owned(), self.path()),
        ]);
        environment.extend(variables);
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        environment.extend([
            ("HOME".to_owned(), text(folder.home())),
            ("TMPDIR".to_owned(), text(folder.temporary())),
            (
                "LOKI_SESSION_ID".to_owned(),
                folder.session().as_str().to_owned(),
            ),
        ]);
        Confined {
            program_and_arguments,
            directory: folder.workspace(),
            read: self.0.readable.clone(),
            write: vec![folder.workspace(), folder.private()],
            environment,
            input,
            connect_ports: self.0.settings.connect_ports.clone(),
            memory_bytes_max: None,
            umask: AGENT_UMASK,
            room: None,
        }
    }

    /// Returns the most memory that a git may use, whatever an agent made of its repository.
    pub(crate) fn git_memory_bytes_max(&self) -> u64 {
        self.0.settings.git_memory_bytes_max
    }

    /// Returns what the operator lets programs read besides the system's own.
    pub(crate) fn tools(&self) -> Vec<PathBuf> {
        self.0.readable.clone()
    }

    /// Returns where an agent's programs are found: first in what the operator lets it read.
    pub(crate) fn path(&self) -> String {
        let mut folders: Vec<String> = Vec::new();
        for place in &self.0.readable {
            let programs = if place.ends_with("bin") {
                place.clone()
            } else {
                place.join("bin")
            };
            if let Some(text) = programs.to_str().filter(|text| !text.contains(':'))
                && programs.is_dir()
            {
                folders.push(text.to_owned());
            }
        }
        folders.push(system::PATH.to_owned());
        folders.join(":")
    }
}

/// Files in the workspace get the modes that git would give them; the folder above is closed.
const AGENT_UMASK: u32 = 0o022;
