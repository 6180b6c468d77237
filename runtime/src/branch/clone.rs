//! The clone: from the project into the runtime's own repository, from there into the workspace.
//!
//! Both ways git makes a pack of what `HEAD` needs and checks every object of it. So the workspace
//! shares no file with anybody, borrows no objects, and holds nothing of the project but its history.
//!
//! Invariant: of the project only its repository is readable, and nothing of it writable.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use chrono::{DateTime, Utc};
use config::private;

use super::git::{Call, EMAIL, Git, NAME, Repository};
use super::{BranchError, Workspace, name, reference};
use crate::folder::SessionFolder;
use crate::project::Project;
use crate::sandbox::Sandbox;

impl Workspace {
    /// Clones the project's `HEAD` for a session, on a new branch `loki/session-<seconds>-<pid>`.
    /// The session's folder must be fresh.
    ///
    /// # Errors
    /// When the project has no commit, or cannot be cloned; the text names the fix where there is one.
    pub async fn prepare(
        sandbox: &Sandbox,
        folder: &SessionFolder,
        project: &Project,
        now: DateTime<Utc>,
    ) -> Result<Self, BranchError> {
        let source = project.git_directory();
        let (repository, clone) = (folder.repository(), folder.workspace().join(".git"));
        let may_open = [source, project.directory(), &repository, &clone];
        let git = Git::new(sandbox, folder.git_home(), &may_open)?;

        let origin = Repository::own(source);
        let base_branch = git.head(&origin).await?;
        if git.commit(&origin, "HEAD").await?.is_none() {
            let project = project.directory().to_owned();
            return Err(BranchError::NoCommit { project });
        }
        let branch = reserve_name(&git, folder, &origin, now).await?;
        let format = Call::new("tell the repository's format", &origin)
            .arguments(["rev-parse", "--show-object-format"]);
        let format = git.run(format).await?.line();
        let base = fetch_base(&git, source, &repository, &format).await?;
        fill_workspace(&git, folder, &format, &reference(&branch)).await?;
        let notes = notes(&git, folder, project).await?;
        let path = folder.base_branch();
        let text = base_branch.clone().unwrap_or_default();
        private::replace_file(&path, text.as_bytes()).map_err(|source| BranchError::File {
            what: "write",
            path,
            source,
        })?;
        Ok(Self {
            git,
            folder: folder.clone(),
            project: project.clone(),
            branch,
            tip: base.clone(),
            base,
            base_branch,
            notes,
            refused: Vec::new(),
        })
    }
}

async fn reserve_name(
    git: &Git,
    folder: &SessionFolder,
    origin: &Repository,
    now: DateTime<Utc>,
) -> Result<String, BranchError> {
    let taken = Call::new("list the project's branches", origin)
        .arguments(["for-each-ref", "--format=%(refname:lstrip=2)"])
        .arguments(["--", "refs/heads/loki/"]);
    let taken = git.run(taken).await?.lines();
    let path = folder.reservations();
    name::reserve(&path, &taken, now).map_err(|source| BranchError::File {
        what: "reserve a branch name in",
        path,
        source,
    })
}

/// Makes the runtime's own repository and fetches the project's `HEAD` into it. Returns the commit.
async fn fetch_base(
    git: &Git,
    source: &Path,
    repository: &Path,
    format: &str,
) -> Result<String, BranchError> {
    let own = Repository::own(repository);
    let init = Call::new("make the session's repository", &own)
        .write(repository)
        .arguments(["init", "--bare", "--quiet", "--template="])
        .arguments([format!("--object-format={format}")]);
    git.run(init).await?;
    let fetch = Call::new("clone the project", &own)
        .read(source)
        .write(repository)
        .arguments(FETCH)
        .arguments(["--update-shallow", "--end-of-options"])
        .arguments([source.as_os_str()])
        .arguments([format!("HEAD:{BASE}")]);
    git.run(fetch).await?;
    git.commit(&own, BASE).await?.ok_or_else(|| {
        let what = "clone the project";
        let said = "its HEAD did not arrive".to_owned();
        BranchError::Git { what, said }
    })
}

/// Makes the clone in which the agent works, with its branch checked out.
async fn fill_workspace(
    git: &Git,
    folder: &SessionFolder,
    format: &str,
    reference: &str,
) -> Result<(), BranchError> {
    let (workspace, repository) = (folder.workspace(), folder.repository());
    let clone = Repository::of_workspace(&workspace);
    let initial = reference.trim_start_matches("refs/heads/");
    let init = Call::new("make the workspace", &clone)
        .work_tree(&workspace)
        .write(&workspace)
        .arguments(["init", "--quiet", "--template="])
        .arguments([format!("--object-format={format}")])
        .arguments([format!("--initial-branch={initial}")]);
    git.run(init).await?;
    set_identity(&workspace.join(".git"))?;
    make_guarded(&workspace.join(".git"))?;
    let fetch = Call::new("fill the workspace", &clone)
        .work_tree(&workspace)
        .read(&repository)
        .write(&workspace)
        .arguments(FETCH)
        .arguments(["--update-shallow", "--update-head-ok", "--end-of-options"])
        .arguments([repository.as_os_str()])
        .arguments([format!("{BASE}:{reference}")]);
    git.run(fetch).await?;
    let check_out = Call::new("check out the workspace", &clone)
        .work_tree(&workspace)
        .write(&workspace)
        .arguments(["reset", "--hard", "--quiet"]);
    git.run(check_out).await?;
    Ok(())
}

/// Makes the folders of git's data that the sandbox guards: a name under which nothing is could not be.
fn make_guarded(clone: &Path) -> Result<(), BranchError> {
    for name in GUARDED {
        let path = clone.join(name);
        match std::fs::create_dir(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(BranchError::File {
                    what: "make",
                    path,
                    source,
                });
            }
            Ok(()) | Err(_) => (),
        }
    }
    Ok(())
}

/// Has the agent's own commits bear the session's name. Nobody but git has been here yet.
fn set_identity(clone: &Path) -> Result<(), BranchError> {
    let path = clone.join("config");
    let text = format!("[user]\n\tname = {NAME}\n\temail = {EMAIL}\n");
    let written = OpenOptions::new()
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|source| BranchError::File {
        what: "write the clone's settings",
        path,
        source,
    })
}

/// Tells what of the project is not in the workspace.
async fn notes(
    git: &Git,
    folder: &SessionFolder,
    project: &Project,
) -> Result<Vec<String>, BranchError> {
    let mut notes = Vec::new();
    let left_out = changed_files(git, project).await?;
    if left_out > 0 {
        notes.push(format!(
            "the project has {left_out} changed or new files that are not committed: they are left out"
        ));
    }
    let modules = folder.workspace().join(".gitmodules");
    if modules.symlink_metadata().is_ok() {
        notes.push("the project's submodules are left out".to_owned());
    }
    Ok(notes)
}

/// Counts the files of the project's work tree that differ from its `HEAD` or are unknown to git.
/// Reads the project, writes nothing, and runs none of its filters.
pub(super) async fn changed_files(git: &Git, project: &Project) -> Result<u32, BranchError> {
    let origin = Repository::own(project.git_directory());
    let filters = git.without_filters(&origin).await?;
    let status = Call::new("look for uncommitted files", &origin)
        .work_tree(project.directory())
        .settings(filters)
        .arguments(["status", "--porcelain=v1", "-z", "--no-renames"])
        .arguments(["--untracked-files=normal", "--ignore-submodules=all"]);
    Ok(git.run(status).await?.items())
}

/// How objects and references are fetched: what is named, and nothing besides. Tags that point into
/// what is fetched come along where the target has a place for them.
pub(super) const FETCH: [&str; 6] = [
    "fetch",
    "--quiet",
    "--no-write-fetch-head",
    "--no-auto-gc",
    "--no-recurse-submodules",
    "--no-prune",
];

/// Folders of git's data that the sandbox lets be read alone.
const GUARDED: [&str; 3] = ["hooks", "info", "modules"];

/// The project's commit in the runtime's own repository.
pub(super) const BASE: &str = "refs/loki/base";
