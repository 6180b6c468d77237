//! The memory looked back on: sessions that have ended, patterns, and what happened when.

use config::contract::caller::Caller;
use config::contract::id::SessionId;
use config::contract::learning::{LearningKind, LearningList, LearningView};
use config::contract::memory::{EpisodeList, MemorySummary, Timeline};
use config::contract::session::SessionView;

use super::{Asked, Memory, MemoryError, now};
use crate::session::may_see;

impl Memory {
    /// Counts what there is; of one project, if it is named.
    ///
    /// # Errors
    /// When there is no such project that the caller may see, or the store refuses.
    pub async fn summary(
        &self,
        project: Option<&str>,
        caller: &Caller,
    ) -> Result<MemorySummary, MemoryError> {
        let projects = self.within(project, caller).await?;
        self.store.forget_expired(&now()).await?;
        let episodes = self.store.episodes(projects.as_deref(), (1, 0)).await?;
        let latest = episodes.episodes.into_iter().next();
        Ok(MemorySummary {
            episodes: episodes.total,
            latest_episode: latest.and_then(|session| session.ended_at),
            learnings: self.store.learning_stats(projects).await?,
        })
    }

    /// Returns a page of the sessions that have ended, the last first.
    ///
    /// # Errors
    /// When there is no such project that the caller may see, or the store refuses.
    pub async fn episodes(
        &self,
        project: Option<&str>,
        page: (u32, u64),
        caller: &Caller,
    ) -> Result<EpisodeList, MemoryError> {
        let projects = self.within(project, caller).await?;
        Ok(self.store.episodes(projects.as_deref(), page).await?)
    }

    /// Returns one session that has ended.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn episode(&self, id: &str, caller: &Caller) -> Result<SessionView, MemoryError> {
        let unknown = || MemoryError::NoEpisode(id.chars().take(64).collect());
        let parsed: SessionId = id.parse().map_err(|_| unknown())?;
        self.store
            .session(&parsed)
            .await?
            .filter(|view| view.state.is_final() && may_see(caller, &view.project))
            .ok_or_else(unknown)
    }

    /// Returns a page of the learnings that are patterns, newest first.
    ///
    /// # Errors
    /// When there is no such project that the caller may see, or the store refuses.
    pub async fn patterns(
        &self,
        project: Option<String>,
        page: (u32, u64),
        caller: &Caller,
    ) -> Result<LearningList, MemoryError> {
        let asked = Asked {
            kind: Some(LearningKind::Pattern),
            project,
            ..Asked::default()
        };
        self.list(asked, page, caller).await
    }

    /// Returns one learning that is a pattern.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn pattern(&self, id: &str, caller: &Caller) -> Result<LearningView, MemoryError> {
        let view = self.find(id, caller).await?;
        if view.kind == LearningKind::Pattern {
            Ok(view)
        } else {
            Err(MemoryError::Unknown(view.id.to_string()))
        }
    }

    /// Returns what happened last, newest first.
    ///
    /// # Errors
    /// When there is no such project that the caller may see, or the store refuses.
    pub async fn timeline(
        &self,
        project: Option<&str>,
        limit: u32,
        caller: &Caller,
    ) -> Result<Timeline, MemoryError> {
        let projects = self.within(project, caller).await?;
        self.store.forget_expired(&now()).await?;
        let entries = self.store.timeline(projects.as_deref(), limit).await?;
        Ok(Timeline { entries })
    }

    /// Returns the paths of the projects that a question is about; none means all.
    pub(super) async fn within(
        &self,
        project: Option<&str>,
        caller: &Caller,
    ) -> Result<Option<Vec<String>>, MemoryError> {
        match project {
            Some(named) => Ok(Some(vec![self.registry.find(named, caller).await?.path])),
            None => Ok(caller.projects.clone()),
        }
    }
}
