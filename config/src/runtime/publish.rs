//! Whether and with what a session's branch is published.

use std::path::PathBuf;

use crate::load::{Key, Reader};

/// How branches are published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullRequest {
    /// Whether a session that is done pushes its branch and makes a pull request, if branch protection
    /// is on and the project has a remote.
    pub enabled: bool,
    /// The file with the token; none means the variable `GH_TOKEN`.
    pub token_file: Option<PathBuf>,
    /// The hosts that get the token; to others nothing is published.
    pub hosts: Vec<String>,
}

pub(super) fn pull_request(reader: &mut Reader) -> PullRequest {
    let file = reader.value(&Key::new("pull_request.token_file"), String::new());
    PullRequest {
        enabled: reader.value(&Key::new("pull_request.enabled"), true),
        token_file: (!file.is_empty()).then(|| PathBuf::from(file)),
        hosts: reader.value(
            &Key::new("pull_request.hosts"),
            vec!["github.com".to_owned()],
        ),
    }
}
