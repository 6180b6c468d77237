//! The way in which every program but the runtime itself is started: narrowed by `loki-jail`.
//!
//! Invariant: no program runs where the kernel cannot enforce the base jail, unless the operator
//! allows that; and no program's policy ever covers the data directory as a whole.

mod agent;
mod confined;
mod enforcement;
mod places;
mod system;
mod tree;

use std::path::PathBuf;
use std::time::Duration;

use config::contract::session::Enforcement;
use config::home::Home;

pub use confined::Confined;
pub use tree::{Chunk, Cut, Ended, Finished, Stream, Tree};

/// Starts programs in the base jail. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sandbox {}

/// Says why a program was not started, or what went wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// To be filled.
    #[error("cannot")]
    Not,
}

impl Sandbox {
    /// Finds `loki-jail`, asks what this host can enforce, and prepares the folder of policies.
    ///
    /// # Errors
    /// When `loki-jail` cannot be found or asked, or when a setting would uncover the data directory.
    pub fn probe(home: &Home, settings: &config::runtime::Jail) -> Result<Self, SandboxError> {
        unimplemented!("{home:?}{settings:?}")
    }

    /// Checks that a session may start on this host.
    ///
    /// # Errors
    /// When the kernel cannot enforce the base jail and the settings do not allow that, or when the
    /// settings require every layer and one is missing.
    pub fn admit(&self) -> Result<(), SandboxError> {
        unimplemented!()
    }

    /// Lists for every promised control the layer that enforces it.
    #[must_use]
    pub fn enforcement(&self) -> Vec<Enforcement> {
        unimplemented!()
    }

    /// Starts a program. Dropping the tree kills it.
    ///
    /// # Errors
    /// When it is not admitted or cannot be started.
    pub fn start(&self, confined: Confined, output_bytes_max: u64) -> Result<Tree, SandboxError> {
        unimplemented!("{confined:?}{output_bytes_max}")
    }

    /// Runs a program to its end and keeps what it writes. Over either bound, the tree is killed.
    ///
    /// # Errors
    /// When it cannot be started, or was cut.
    pub async fn run(
        &self,
        confined: Confined,
        output_bytes_max: u64,
        timeout: Duration,
    ) -> Result<Finished, SandboxError> {
        unimplemented!(
            "{confined:?}{output_bytes_max}{timeout:?}{:?}",
            PathBuf::new()
        )
    }
}
