//! The memory: what people, sessions, agents and imports have learned, across projects.
//!
//! Invariant: a caller who is bound to projects neither sees nor changes learnings of others, nor
//! those of no project; only a person makes a learning trusted.

mod past;

use std::time::Duration;

use chrono::{DateTime, Utc};
use config::contract::caller::Caller;
use config::contract::id::LearningId;
use config::contract::learning::{
    IMPORT_MAX, Imported, LearningKind, LearningList, LearningSource, LearningStats, LearningView,
    NewLearning, TEXT_BYTES_MAX, Trust,
};

use crate::clock;
use crate::identity::{self, NoRandomness};
use crate::registry::{Registry, RegistryError};
use crate::session::may_see;
use crate::store::{self, Learned, LearningQuestion, Store, StoreError};

/// Why the memory could not do something.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// There is no such learning, or the caller may not see it.
    #[error("there is no learning {0:?}")]
    Unknown(String),
    /// There is no such ended session, or the caller may not see it.
    #[error("there is no ended session {0:?}")]
    NoEpisode(String),
    /// The text cannot be remembered.
    #[error("cannot remember the text: {0}")]
    Text(&'static str),
    /// The time to live makes no sense.
    #[error("cannot forget after {0} days: use 1 to 3650")]
    Expiry(u32),
    /// The question holds no word.
    #[error("cannot search for {0:?}: it holds no word, or is longer than 500 bytes")]
    NoWords(String),
    /// A caller who is bound to projects names none.
    #[error("the credential is bound to projects, so a learning needs one of them")]
    ProjectNeeded,
    /// Too many at once.
    #[error("cannot import more than {IMPORT_MAX} learnings at once")]
    TooMany,
    /// There are too many.
    #[error("the memory is full")]
    Full,
    /// The project cannot be found.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No id could be drawn.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// Which learnings a caller asks for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Words that must be there.
    pub query: Option<String>,
    /// Only about this.
    pub kind: Option<LearningKind>,
    /// Only with this label.
    pub trust: Option<Trust>,
    /// Only of this project: id, alias or path.
    pub project: Option<String>,
}

/// The memory of this runtime; cheap to clone.
#[derive(Clone, Debug)]
pub struct Memory {
    store: Store,
    registry: Registry,
}

impl Memory {
    /// Builds the memory over a store.
    #[must_use]
    pub const fn new(store: Store, registry: Registry) -> Self {
        Self { store, registry }
    }

    /// Remembers what a person vouches for. Returns whether it is new besides.
    ///
    /// # Errors
    /// See [`MemoryError`].
    pub async fn add(
        &self,
        new: NewLearning,
        caller: &Caller,
    ) -> Result<(LearningView, bool), MemoryError> {
        let learning = self
            .learning(new, caller, (LearningSource::Person, Trust::Trusted))
            .await?;
        match self.store.learn(&learning).await? {
            Learned::Added(view) => Ok((view, true)),
            Learned::Known(view) => Ok((view, false)),
            Learned::Full => Err(MemoryError::Full),
        }
    }

    /// Remembers what another memory held, in quarantine.
    ///
    /// # Errors
    /// When there are too many at once, or the store refuses; single ones that cannot be taken are
    /// in the answer.
    pub async fn import(
        &self,
        learnings: Vec<NewLearning>,
        caller: &Caller,
    ) -> Result<Imported, MemoryError> {
        if learnings.len() > IMPORT_MAX {
            return Err(MemoryError::TooMany);
        }
        let mut imported = Imported::default();
        let mut taken = Vec::with_capacity(learnings.len());
        for (index, new) in learnings.into_iter().enumerate() {
            let whose = (LearningSource::Import, Trust::Quarantined);
            match self.learning(new, caller, whose).await {
                Ok(learning) => taken.push(learning),
                Err(MemoryError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    let why = format!("entry {}: {error}", index + 1);
                    imported.refused.push(why);
                }
            }
        }
        for learned in self.store.learn_all(&taken).await? {
            match learned {
                Learned::Added(_) => imported.added += 1,
                Learned::Known(_) => imported.known += 1,
                Learned::Full => return Err(MemoryError::Full),
            }
        }
        Ok(imported)
    }

    /// Returns a page of the learnings that are asked for and that the caller may see.
    ///
    /// # Errors
    /// When the question makes no sense, or the store refuses.
    pub async fn list(
        &self,
        asked: Asked,
        (limit, offset): (u32, u64),
        caller: &Caller,
    ) -> Result<LearningList, MemoryError> {
        let projects = self.within(asked.project.as_deref(), caller).await?;
        let words = match asked.query {
            Some(query) => Some(expression(&query)?),
            None => None,
        };
        let question = LearningQuestion {
            projects,
            kind: asked.kind,
            trust: asked.trust,
            words,
        };
        self.store.forget_expired(&now()).await?;
        Ok(self.store.learnings(&question, limit, offset).await?)
    }

    /// Returns one learning.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn find(&self, id: &str, caller: &Caller) -> Result<LearningView, MemoryError> {
        let unknown = || MemoryError::Unknown(id.chars().take(64).collect());
        let parsed: LearningId = id.parse().map_err(|_| unknown())?;
        self.store.forget_expired(&now()).await?;
        self.store
            .learning(&parsed)
            .await?
            .filter(|view| may_know(caller, view))
            .ok_or_else(unknown)
    }

    /// Counts the learnings that the caller may see.
    ///
    /// # Errors
    /// When the store refuses.
    pub async fn stats(&self, caller: &Caller) -> Result<LearningStats, MemoryError> {
        self.store.forget_expired(&now()).await?;
        Ok(self.store.learning_stats(caller.projects.clone()).await?)
    }

    /// Trusts a learning that a person has reviewed.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn trust(&self, id: &str, caller: &Caller) -> Result<LearningView, MemoryError> {
        let view = self.find(id, caller).await?;
        self.store.trust_learning(&view.id).await?;
        Ok(LearningView {
            trust: Trust::Trusted,
            expires_at: None,
            ..view
        })
    }

    /// Forgets a learning and returns what it was.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    pub async fn forget(&self, id: &str, caller: &Caller) -> Result<LearningView, MemoryError> {
        let view = self.find(id, caller).await?;
        self.store.forget_learning(&view.id).await?;
        Ok(view)
    }

    async fn learning(
        &self,
        new: NewLearning,
        caller: &Caller,
        (source, trust): (LearningSource, Trust),
    ) -> Result<LearningView, MemoryError> {
        let text = checked(&new.text)?;
        let project = match &new.project {
            Some(named) => Some(self.registry.find(named, caller).await?.path),
            None if caller.projects.is_some() => return Err(MemoryError::ProjectNeeded),
            None => None,
        };
        let now = clock::now();
        let expires_at = new.expires_days.map(|days| expiry(days, now)).transpose()?;
        Ok(LearningView {
            id: identity::learning_id()?,
            text,
            kind: new.kind.unwrap_or(LearningKind::Note),
            trust,
            source,
            project,
            session: None,
            author: caller.user.clone(),
            created_at: clock::written(now),
            expires_at,
        })
    }
}

/// Returns a text that can be remembered: trimmed, bounded, without control characters but line
/// ends and tabs.
///
/// # Errors
/// When it is empty or too long.
pub(crate) fn checked(text: &str) -> Result<String, MemoryError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(MemoryError::Text("it is empty"));
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(MemoryError::Text("it is longer than 4096 bytes"));
    }
    let hidden = |character: char| character.is_control() && !matches!(character, '\n' | '\t');
    Ok(text.replace(hidden, " "))
}

fn expression(query: &str) -> Result<String, MemoryError> {
    let no_words = || MemoryError::NoWords(query.chars().take(64).collect());
    if query.len() > QUERY_BYTES_MAX {
        return Err(no_words());
    }
    store::words(query).ok_or_else(no_words)
}

fn expiry(days: u32, now: DateTime<Utc>) -> Result<String, MemoryError> {
    if days == 0 || days > EXPIRY_DAYS_MAX {
        return Err(MemoryError::Expiry(days));
    }
    let time = now + Duration::from_secs(u64::from(days) * 24 * 60 * 60);
    Ok(clock::written(time))
}

fn may_know(caller: &Caller, view: &LearningView) -> bool {
    match &view.project {
        Some(project) => may_see(caller, project),
        None => caller.projects.is_none(),
    }
}

fn now() -> String {
    clock::written(clock::now())
}

const QUERY_BYTES_MAX: usize = 500;
const EXPIRY_DAYS_MAX: u32 = 3_650;
