//! Brings the registry up to date with the disk and with Loki Mode's own registry.
//!
//! Invariant: only what changed is written; what cannot be taken over is told, not dropped.

use std::path::Path;
use std::sync::Arc;

use config::contract::caller::Caller;
use config::contract::registry::{ProjectStatus, ProjectView, SyncReport};
use config::runtime::RuntimeSettings;

use super::{Registry, RegistryError, checked_alias, health, upstream};
use crate::clock;
use crate::project;
use crate::session::may_see;
use crate::store::Remembered;

impl Registry {
    /// Brings the registry up to date: which folders are still there, what Loki Mode's own registry
    /// holds, and which folders below the roots have a `.loki` folder. Writes only what changed.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn sync(&self, caller: &Caller) -> Result<SyncReport, RegistryError> {
        let mut report = SyncReport::default();
        let bound = caller.projects.as_deref();
        self.sync_known(bound, &mut report).await?;
        for (path, name, alias) in self.candidates(&mut report).await? {
            if !may_see(caller, &path) {
                continue;
            }
            let remembered = match self.remember(path.clone(), name.clone(), alias).await {
                // Another project may have got the alias in the meantime; the project counts.
                Ok(Remembered::AliasTaken) => self.remember(path, name, None).await,
                other => other,
            };
            match remembered {
                Ok(Remembered::Added(_)) => report.added += 1,
                Ok(Remembered::Updated(_)) => report.updated += 1,
                Ok(Remembered::Same(_) | Remembered::AliasTaken) => {}
                Err(RegistryError::Full) => {
                    refuse(&mut report, RegistryError::Full.to_string());
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        report.total = self.store.projects_total(bound).await?;
        Ok(report)
    }

    /// Looks whether the folders of the registered projects still stand.
    async fn sync_known(
        &self,
        bound: Option<&[String]>,
        report: &mut SyncReport,
    ) -> Result<(), RegistryError> {
        let views = self.all(bound).await?;
        let settings = Arc::clone(&self.settings);
        let looked: Vec<(ProjectView, ProjectStatus)> = self
            .on_disk(move || {
                let look = |view: ProjectView| {
                    let path = Path::new(&view.path);
                    let stands = health::stands(path, &settings.project_roots, &settings.home);
                    let status = match stands {
                        Ok(_) => ProjectStatus::Active,
                        Err(_) => ProjectStatus::Missing,
                    };
                    (view, status)
                };
                views.into_iter().map(look).collect()
            })
            .await?;
        let now = clock::written(clock::now());
        for (view, status) in looked {
            if view.status != status && self.store.note_project(&view.id, status, &now).await? {
                report.updated += 1;
            }
            if status == ProjectStatus::Missing {
                report.missing += 1;
            }
        }
        Ok(())
    }

    /// Returns what could be added: path, name and alias, as far as known.
    async fn candidates(&self, report: &mut SyncReport) -> Result<Vec<Candidate>, RegistryError> {
        let settings = Arc::clone(&self.settings);
        let (mut candidates, refused) = self.on_disk(move || import(&settings)).await?;
        for why in refused {
            refuse(report, why);
        }
        let search = self.search(SYNC_DEPTH).await?;
        let found = search.found.into_iter().filter(|found| found.has_state);
        candidates.extend(found.map(|found| (found.path, None, None)));
        Ok(candidates)
    }
}

/// What could be added: path, name and alias, as far as known.
type Candidate = (String, Option<String>, Option<String>);

/// Reads Loki Mode's own registry; says which entries cannot be taken over.
fn import(settings: &RuntimeSettings) -> (Vec<Candidate>, Vec<String>) {
    let entries = match upstream::entries(&settings.home) {
        Ok(entries) => entries,
        Err(why) => return (Vec::new(), vec![why]),
    };
    let (mut candidates, mut refused) = (Vec::new(), Vec::new());
    for entry in entries {
        let path = Path::new(&entry.path);
        match project::locate(path, &settings.project_roots, &settings.home) {
            Ok(path) => candidates.push((
                path.display().to_string(),
                None,
                entry.alias.and_then(|alias| checked_alias(alias).ok()),
            )),
            Err(error) => refused.push(error.to_string()),
        }
    }
    (candidates, refused)
}

fn refuse(report: &mut SyncReport, why: String) {
    if report.refused.len() < REFUSED_MAX {
        report.refused.push(why);
    }
}

/// How deep below the roots folders are looked for.
const SYNC_DEPTH: u32 = 3;
/// Most refusals that are told.
const REFUSED_MAX: usize = 20;
