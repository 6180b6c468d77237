//! What an agent's program is given to ask by: the program `loki-hook` and the session's gate.
//!
//! Invariant: both can be read and executed inside, and changed by nobody there.

use std::path::PathBuf;

use jail::sandbox::{Access, Mount};

use super::{Confined, Profile, Sandbox, SandboxError, places};
use crate::folder::SessionFolder;
use crate::operation::Place;

impl Sandbox {
    /// Returns the names under which a session's programs see what they ask by.
    ///
    /// # Errors
    /// When `loki-hook` is not there.
    pub fn asking_place(
        &self,
        profile: &Profile,
        folder: &SessionFolder,
    ) -> Result<Place, SandboxError> {
        let hook = places::find_program("loki-hook")?;
        Ok(if profile.sandbox {
            Place {
                hook: PathBuf::from(INSIDE).join("loki-hook"),
                gate: PathBuf::from(INSIDE).join("gate"),
            }
        } else {
            Place {
                hook,
                gate: folder.gate(),
            }
        })
    }

    /// Lets a program reach what it asks by.
    ///
    /// # Errors
    /// When `loki-hook` is not there.
    pub fn let_ask(
        &self,
        confined: &mut Confined,
        folder: &SessionFolder,
        place: &Place,
    ) -> Result<(), SandboxError> {
        let sources = [places::find_program("loki-hook")?, folder.gate()];
        match &mut confined.room {
            None => confined.read.extend(sources),
            Some(room) => {
                let targets = [place.hook.clone(), place.gate.clone()];
                let mounts = sources.into_iter().zip(targets);
                room.mounts.extend(mounts.map(|(source, target)| Mount {
                    source,
                    target,
                    access: Access::Read,
                }));
            }
        }
        Ok(())
    }
}

/// Where they lie in the sandbox.
const INSIDE: &str = "/run/loki";
