//! What an agent, and the verify command after it, may reach.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::{Confined, Sandbox};
use crate::folder::SessionFolder;

impl Sandbox {
    /// Confines an agent's program to its session's workspace and private folder.
    ///
    /// `variables` are added to the agent's own environment and win over it; but `HOME`, `TMPDIR` and
    /// `LOKI_SESSION_ID` cannot be replaced.
    #[must_use]
    pub fn agent(
        &self,
        folder: &SessionFolder,
        program_and_arguments: Vec<OsString>,
        variables: BTreeMap<String, String>,
        input: Option<PathBuf>,
    ) -> Confined {
        unimplemented!("{folder:?}{program_and_arguments:?}{variables:?}{input:?}")
    }
}
