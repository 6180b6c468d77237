//! What one session's programs find inside the sandbox: where its clone, its home and its temporary
//! files appear, and what of the clone they may change.
//!
//! Invariant: what can be written is the clone, or its allowed places, and the session's own home;
//! of git's data that is not objects, references, index and logs, nothing that exists.

use std::path::{Path, PathBuf};

use config::runtime::Sandbox as Settings;
use jail::sandbox::{Access, Egress, HOME, Mount, ResourceName, Resources, SandboxPolicy};

use tokio::sync::mpsc;

use super::profile::Profile;
use crate::branch::AGENTS_SETTINGS;
use crate::egress::{self, Outlet, Pending};
use crate::folder::SessionFolder;

/// The world of one program in the sandbox.
#[derive(Clone, Debug)]
pub struct Room {
    pub(super) mounts: Vec<Mount>,
    pub(super) way_out: Option<WayOut>,
    /// Whether its program is a keeper, with which the runtime talks.
    pub(super) kept: bool,
}

/// What a program reaches outside, and who is told of each attempt.
#[derive(Clone, Debug)]
pub struct WayOut {
    /// What it may reach.
    pub outlet: Outlet,
    /// Where decisions go; where nobody takes them, nothing is reached.
    pub decisions: mpsc::Sender<Pending>,
}

impl Room {
    /// Furnishes the room of a session.
    pub(super) fn of_session(folder: &SessionFolder, profile: &Profile) -> Self {
        let (workspace, project) = (folder.workspace(), &profile.project);
        let mount = |source: PathBuf, target: PathBuf, access| Mount {
            source,
            target,
            access,
        };
        let mut mounts = vec![mount(folder.home(), HOME.into(), Access::Write)];
        match &profile.allowed {
            None => {
                mounts.push(mount(workspace.clone(), project.clone(), Access::Write));
                mounts.push(mount(workspace.join(GIT), project.join(GIT), Access::Write));
                for name in GIT_READ.iter().chain(&AGENTS_SETTINGS) {
                    mounts.extend(guard(&workspace, project, name));
                }
            }
            Some(places) => {
                mounts.push(mount(workspace.clone(), project.clone(), Access::Read));
                for place in places {
                    mounts.push(mount(
                        workspace.join(place),
                        project.join(place),
                        Access::Write,
                    ));
                }
                // The runtime commits, so all of git's data can be closed wherever it lies.
                for name in [GIT].iter().chain(&AGENTS_SETTINGS) {
                    if places
                        .iter()
                        .any(|place| Path::new(name).starts_with(place))
                    {
                        mounts.extend(guard(&workspace, project, name));
                    }
                }
            }
        }
        Self {
            mounts,
            way_out: None,
            kept: false,
        }
    }

    /// Has the room kept by a keeper, whose program lies outside at a place.
    pub(super) fn with_keeper(mut self, program: PathBuf) -> Self {
        self.mounts.push(Mount {
            source: program,
            target: KEEPER.into(),
            access: Access::Read,
        });
        self.kept = true;
        self
    }

    /// Adds a way out.
    pub(super) fn with_way_out(self, way_out: Option<WayOut>) -> Self {
        Self { way_out, ..self }
    }

    /// Returns the places outside that the program reaches.
    pub(super) fn sources(&self) -> impl Iterator<Item = &PathBuf> {
        self.mounts.iter().map(|mount| &mount.source)
    }

    /// Returns whether a file outside can be changed inside.
    pub(super) fn can_write(&self, file: &Path) -> bool {
        self.mounts
            .iter()
            .any(|mount| mount.access == Access::Write && file.starts_with(&mount.source))
    }

    /// Writes the room down for the jail.
    pub(super) fn policy(
        self,
        settings: &Settings,
        group: String,
        door: Option<PathBuf>,
        control: Option<PathBuf>,
    ) -> SandboxPolicy {
        let some = |limit: u64| (limit > 0).then_some(limit);
        SandboxPolicy {
            mounts: self.mounts,
            temporary_bytes_max: settings.temporary_bytes_max,
            resources: Resources {
                cpu_percent: (settings.cpu_percent_max > 0).then_some(settings.cpu_percent_max),
                memory_bytes: some(settings.memory_bytes_max),
                processes: some(settings.processes_max.into()),
            },
            may_lack: ResourceName::ALL
                .into_iter()
                .filter(|name| settings.may_lack.contains(&name.to_string()))
                .collect(),
            group,
            egress: door.map(|socket| Egress {
                socket,
                port: egress::PORT,
            }),
            control,
        }
    }
}

/// Where the keeper's program appears inside.
pub(super) const KEEPER: &str = "/run/loki/keeper";

/// Lets what exists of a clone under a name be read only. A name that is bound while nothing is there would
/// leave an empty file behind.
fn guard(workspace: &Path, project: &Path, name: &str) -> Option<Mount> {
    let source = workspace.join(name);
    source.symlink_metadata().is_ok().then(|| Mount {
        source,
        target: project.join(name),
        access: Access::Read,
    })
}

/// A mount of its own, so that it can be neither moved away nor replaced.
const GIT: &str = ".git";

/// Settings and programs that git runs.
const GIT_READ: [&str; 5] = [
    ".git/config",
    ".git/config.worktree",
    ".git/hooks",
    ".git/info",
    ".git/modules",
];
