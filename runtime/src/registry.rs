//! The project registry: which projects there are, how they are, and the tasks in them.
//!
//! Invariant: an entry's path is canonical and lay below an allowed root when it was entered; it is
//! checked again before anything in it is read. A caller who is bound to projects neither sees nor
//! changes any other.

mod discover;
pub(crate) mod folder;
mod health;
mod queue;
mod sync;
mod upstream;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use config::contract::caller::Caller;
use config::contract::registry::{
    Discovered, DiscoveredList, HealthList, NAME_BYTES_MAX, ProjectHealth, ProjectList,
    ProjectView, RegisterProject, TaskList, TaskStatus,
};
use config::runtime::RuntimeSettings;
use tokio::sync::Semaphore;

use crate::clock;
use crate::identity::{self, NoRandomness};
use crate::project::{self, ProjectError};
use crate::session::may_see;
use crate::store::{NewProject, Remembered, Store, StoreError, TaskQuestion};
use queue::Queues;

/// Why the registry could not do something.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// There is no such project, or the caller may not see it.
    #[error("there is no project {0:?} in the registry")]
    Unknown(String),
    /// The folder cannot be registered.
    #[error(transparent)]
    Folder(#[from] ProjectError),
    /// The caller is bound to other projects.
    #[error("the credential is not valid for project {0}")]
    OtherProject(String),
    /// A name or alias has no lawful shape.
    #[error("cannot use the {what} {text:?}: {why}")]
    Name {
        /// `name` or `alias`.
        what: &'static str,
        /// As given.
        text: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The alias belongs to another project.
    #[error("cannot give the alias {0:?}: another project has it")]
    AliasTaken(String),
    /// There are too many projects.
    #[error("cannot register more than {PROJECTS_MAX} projects")]
    Full,
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No id could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
    /// The work on the disk was lost.
    #[error("the work on the disk was interrupted")]
    Interrupted,
}

/// The registry of this runtime; cheap to clone.
#[derive(Clone, Debug)]
pub struct Registry {
    store: Store,
    settings: Arc<RuntimeSettings>,
    queues: Arc<Queues>,
    /// Bounds the work on the disk at one time.
    disk: Arc<Semaphore>,
}

impl Registry {
    /// Builds the registry over a store.
    #[must_use]
    pub fn new(store: Store, settings: Arc<RuntimeSettings>) -> Self {
        Self {
            store,
            settings,
            queues: Arc::default(),
            disk: Arc::new(Semaphore::new(DISK_MAX)),
        }
    }

    /// Registers a folder, or gives a registered one another name or alias. Returns whether it is
    /// new besides.
    ///
    /// # Errors
    /// See [`RegistryError`].
    pub async fn register(
        &self,
        request: RegisterProject,
        caller: &Caller,
    ) -> Result<(ProjectView, bool), RegistryError> {
        let name = request
            .name
            .map(|name| checked_name("name", name))
            .transpose()?;
        let alias = request.alias.map(checked_alias).transpose()?;
        let path = self.locate(request.path).await?;
        if !may_see(caller, &path) {
            return Err(RegistryError::OtherProject(path));
        }
        match self.remember(path, name, alias.clone()).await? {
            Remembered::Added(view) => Ok((view, true)),
            Remembered::Updated(view) | Remembered::Same(view) => Ok((view, false)),
            Remembered::AliasTaken => Err(RegistryError::AliasTaken(alias.unwrap_or_default())),
        }
    }

    /// Returns a page of the projects that the caller may see.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn list(
        &self,
        caller: &Caller,
        limit: u32,
        offset: u64,
    ) -> Result<ProjectList, RegistryError> {
        let bound = caller.projects.as_deref();
        Ok(ProjectList {
            projects: self.store.projects(bound, limit, offset).await?,
            total: self.store.projects_total(bound).await?,
        })
    }

    /// Returns the project of an id, an alias or a path.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn find(&self, named: &str, caller: &Caller) -> Result<ProjectView, RegistryError> {
        self.store
            .project(named)
            .await?
            .filter(|view| may_see(caller, &view.path))
            .ok_or_else(|| RegistryError::Unknown(named.chars().take(64).collect()))
    }

    /// Takes a project out of the registry and returns what it was.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn remove(&self, named: &str, caller: &Caller) -> Result<ProjectView, RegistryError> {
        let view = self.find(named, caller).await?;
        self.store.remove_project(&view.id).await?;
        Ok(view)
    }

    /// Notes that a project was opened and returns it.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn access(&self, named: &str, caller: &Caller) -> Result<ProjectView, RegistryError> {
        let view = self.find(named, caller).await?;
        let now = clock::written(clock::now());
        let opened = self.store.access_project(&view.path, &now).await?;
        opened.ok_or_else(|| RegistryError::Unknown(view.id.to_string()))
    }

    /// Checks one project's folder.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn health(
        &self,
        named: &str,
        caller: &Caller,
    ) -> Result<ProjectHealth, RegistryError> {
        let view = self.find(named, caller).await?;
        let mut all = self.health_of(vec![view]).await?;
        all.pop().ok_or(RegistryError::Interrupted)
    }

    /// Checks the folders of all projects that the caller may see.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn health_all(&self, caller: &Caller) -> Result<HealthList, RegistryError> {
        let views = self.all(caller.projects.as_deref()).await?;
        let projects = self.health_of(views).await?;
        Ok(HealthList { projects })
    }

    /// Searches the allowed roots for projects that the caller may see.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn discover(
        &self,
        depth_max: u32,
        caller: &Caller,
    ) -> Result<DiscoveredList, RegistryError> {
        let known = self.all(caller.projects.as_deref()).await?;
        let search = self.search(depth_max).await?;
        let projects = search
            .found
            .into_iter()
            .filter(|found| may_see(caller, &found.path))
            .map(|found| Discovered {
                name: crate::store::folder_name(&found.path).to_owned(),
                registered: known.iter().any(|view| view.path == found.path),
                path: found.path,
                has_state: found.has_state,
                has_prd: found.has_prd,
            })
            .collect();
        Ok(DiscoveredList {
            projects,
            cut: search.cut,
        })
    }

    /// Returns the tasks of the named projects, or else of all that the caller may see.
    ///
    /// # Errors
    /// When a named project is none of them, or the store refuses.
    pub async fn tasks(
        &self,
        status: Option<TaskStatus>,
        named: &[&str],
        (limit, offset): (u32, u64),
        caller: &Caller,
    ) -> Result<TaskList, RegistryError> {
        let mut only = Vec::with_capacity(named.len());
        for name in named {
            let view = self.find(name, caller).await?;
            if !only.contains(&view) {
                only.push(view);
            }
        }
        let paths: Option<Vec<String>> = if only.is_empty() {
            caller.projects.clone()
        } else {
            Some(only.iter().map(|view| view.path.clone()).collect())
        };
        let question = TaskQuestion {
            status,
            projects: paths.as_deref(),
        };
        let (mut tasks, sessions_total) = self.store.session_tasks(question, limit, offset).await?;
        let views = if only.is_empty() {
            self.all(paths.as_deref()).await?
        } else {
            only
        };
        let room = (limit as usize).saturating_sub(tasks.len());
        let skip = offset.saturating_sub(sessions_total);
        let this = self.clone();
        let mut queued = self
            .on_disk(move || this.queued(&views, status, room, skip))
            .await?;
        tasks.append(&mut queued.tasks);
        Ok(TaskList {
            tasks,
            total: sessions_total + queued.total,
            left_out: queued.left_out,
        })
    }

    /// Enters the project of a session that begins.
    ///
    /// # Errors
    /// When the store refuses.
    pub(crate) async fn note_session(store: &Store, path: String) -> Result<(), RegistryError> {
        remember(store, path.clone(), None, None).await?;
        let now = clock::written(clock::now());
        store.access_project(&path, &now).await?;
        Ok(())
    }

    async fn remember(
        &self,
        path: String,
        name: Option<String>,
        alias: Option<String>,
    ) -> Result<Remembered, RegistryError> {
        remember(&self.store, path, name, alias).await
    }

    async fn all(&self, bound: Option<&[String]>) -> Result<Vec<ProjectView>, RegistryError> {
        Ok(self.store.projects(bound, PROJECTS_MAX, 0).await?)
    }

    async fn locate(&self, path: String) -> Result<String, RegistryError> {
        let settings = Arc::clone(&self.settings);
        let located = self
            .on_disk(move || {
                project::locate(Path::new(&path), &settings.project_roots, &settings.home)
            })
            .await??;
        Ok(located.display().to_string())
    }

    async fn search(&self, depth_max: u32) -> Result<discover::Search, RegistryError> {
        let settings = Arc::clone(&self.settings);
        self.on_disk(move || discover::search(&settings.project_roots, &settings.home, depth_max))
            .await
    }

    async fn health_of(
        &self,
        views: Vec<ProjectView>,
    ) -> Result<Vec<ProjectHealth>, RegistryError> {
        let live: HashMap<String, u64> = self.store.live_by_project().await?.into_iter().collect();
        let mut looked = Vec::with_capacity(views.len());
        for view in views {
            let had_session = self.store.had_session(&view.path).await?;
            looked.push((view, had_session));
        }
        let settings = Arc::clone(&self.settings);
        self.on_disk(move || {
            looked
                .iter()
                .map(|(view, had_session)| {
                    let live = live.get(&view.path).copied().unwrap_or_default();
                    let (roots, home) = (&settings.project_roots, &settings.home);
                    health::check(view, roots, home, live, *had_session)
                })
                .collect()
        })
        .await
    }

    /// Collects queued tasks: skips `skip`, takes `room`, counts all.
    fn queued(
        &self,
        views: &[ProjectView],
        status: Option<TaskStatus>,
        room: usize,
        mut skip: u64,
    ) -> TaskList {
        let roots: Vec<PathBuf> = self
            .settings
            .project_roots
            .iter()
            .filter_map(|root| root.canonicalize().ok())
            .collect();
        let mut list = TaskList {
            tasks: Vec::new(),
            total: 0,
            left_out: Vec::new(),
        };
        for view in views {
            if !roots
                .iter()
                .any(|root| Path::new(&view.path).starts_with(root))
            {
                continue;
            }
            for file in self.queues.of(&view.path, status) {
                if let Some(why) = &file.left_out
                    && list.left_out.len() < LEFT_OUT_MAX
                {
                    list.left_out.push(format!("{}: {why}", view.id));
                }
                for task in &file.tasks {
                    list.total += 1;
                    if skip > 0 {
                        skip -= 1;
                    } else if list.tasks.len() < room {
                        list.tasks.push(task.view(view));
                    }
                }
            }
        }
        list
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let permit = Arc::clone(&self.disk)
            .acquire_owned()
            .await
            .map_err(|_| RegistryError::Interrupted)?;
        tokio::task::spawn_blocking(move || {
            let done = work();
            drop(permit);
            done
        })
        .await
        .map_err(|_| RegistryError::Interrupted)
    }
}

async fn remember(
    store: &Store,
    path: String,
    name: Option<String>,
    alias: Option<String>,
) -> Result<Remembered, RegistryError> {
    if store.project(&path).await?.is_none()
        && store.projects_total(None).await? >= u64::from(PROJECTS_MAX)
    {
        return Err(RegistryError::Full);
    }
    let new = NewProject {
        id: identity::project_id()?,
        path,
        name,
        alias,
        now: clock::written(clock::now()),
    };
    Ok(store.remember_project(&new).await?)
}

fn checked_name(what: &'static str, text: String) -> Result<String, RegistryError> {
    let wrong = |why| RegistryError::Name {
        what,
        text: text.chars().take(64).collect(),
        why,
    };
    if text.trim().is_empty() {
        return Err(wrong("it is empty"));
    }
    if text.len() > NAME_BYTES_MAX {
        return Err(wrong("it is longer than 100 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(wrong("it holds a control character"));
    }
    Ok(text)
}

/// Checks an alias: it stands where ids and paths stand, so it can be neither.
fn checked_alias(text: String) -> Result<String, RegistryError> {
    let text = checked_name("alias", text)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let why = if !text.bytes().all(plain) {
        "it holds something else than letters, digits, dots, hyphens and underscores"
    } else if text.starts_with("proj-") || text.starts_with('.') {
        "it looks like an id or a path"
    } else {
        return Ok(text);
    };
    Err(RegistryError::Name {
        what: "alias",
        text,
        why,
    })
}

/// Most projects in the registry.
const PROJECTS_MAX: u32 = 10_000;
const LEFT_OUT_MAX: usize = 20;
const DISK_MAX: usize = 4;
