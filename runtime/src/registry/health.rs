//! Checks a registered project's folder.

use std::path::{Path, PathBuf};

use config::contract::registry::{Health, HealthChecks, ProjectHealth, ProjectView};
use config::home::Home;

use super::folder::Folder;
use crate::project;

/// Looks at a project's folder.
pub(crate) fn check(
    view: &ProjectView,
    roots: &[PathBuf],
    home: &Home,
    live_sessions: u64,
    had_session: bool,
) -> ProjectHealth {
    let path = Path::new(&view.path);
    let opened = stands(path, roots, home);
    let (checks, reason) = match opened {
        Ok(folder) => {
            let checks = HealthChecks {
                path_exists: true,
                git_exists: folder.has_folder(".git"),
                loki_dir_exists: folder.has_folder(".loki"),
                prd_exists: has_prd(&folder),
            };
            (checks, None)
        }
        Err(why) => (NOTHING, Some(why)),
    };
    let status = if !checks.path_exists {
        Health::Missing
    } else if live_sessions > 0 {
        Health::Active
    } else if checks.loki_dir_exists || had_session {
        Health::Idle
    } else {
        Health::Uninitialized
    };
    ProjectHealth {
        id: view.id.clone(),
        path: view.path.clone(),
        name: view.name.clone(),
        status,
        live_sessions,
        checks,
        reason,
    }
}

/// Opens a registered folder if its path is still canonical and allowed.
pub(crate) fn stands(path: &Path, roots: &[PathBuf], home: &Home) -> Result<Folder, String> {
    let located = project::locate(path, roots, home).map_err(|error| error.to_string())?;
    if located != path {
        return Err(format!(
            "cannot use project {}: it leads to another place by now; fix: register that place",
            path.display()
        ));
    }
    Folder::open(path).map_err(|error| format!("cannot open project {}: {error}", path.display()))
}

/// Returns whether there is a PRD where `loki start` looks for one.
pub(crate) fn has_prd(folder: &Folder) -> bool {
    ["PRD.md", "prd.md", "docs/prd.md"]
        .iter()
        .any(|name| folder.has_file(name))
}

const NOTHING: HealthChecks = HealthChecks {
    path_exists: false,
    git_exists: false,
    loki_dir_exists: false,
    prd_exists: false,
};
