//! The shapes of the memory's API: learnings and how far they are trusted.

use serde::{Deserialize, Serialize};

use crate::contract::id::{LearningId, SessionId};

/// Longest learning in bytes.
pub const TEXT_BYTES_MAX: usize = 4 * 1024;

/// Most learnings in one import.
pub const IMPORT_MAX: usize = 200;

/// Most matches of a search that are ranked; a search with more is answered newest first.
pub const RANKED_MAX: u64 = 10_000;

/// What a learning is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningKind {
    /// Something that is done in a certain way.
    Pattern,
    /// Something that went wrong, and perhaps its fix.
    Mistake,
    /// Something that worked.
    Success,
    /// Something that was decided.
    Decision,
    /// Anything else.
    Note,
}

impl LearningKind {
    /// Every kind.
    pub const EVERY: [Self; 5] = [
        Self::Pattern,
        Self::Mistake,
        Self::Success,
        Self::Decision,
        Self::Note,
    ];

    /// Returns the name as written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pattern => "pattern",
            Self::Mistake => "mistake",
            Self::Success => "success",
            Self::Decision => "decision",
            Self::Note => "note",
        }
    }
}

/// How far a learning is trusted, which decides whose prompts it can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// A person wrote or reviewed it: it can reach prompts of other projects.
    Trusted,
    /// The runtime observed it, but its text came from a workspace: it stays in its project.
    Untrusted,
    /// An agent or an import brought it: it reaches no prompt until a person trusts it.
    Quarantined,
}

impl Trust {
    /// Every label.
    pub const EVERY: [Self; 3] = [Self::Trusted, Self::Untrusted, Self::Quarantined];

    /// Returns the name as written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
            Self::Quarantined => "quarantined",
        }
    }
}

/// Where a learning came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningSource {
    /// Somebody with a credential.
    Person,
    /// The runtime, at the end of a session.
    Session,
    /// An agent's own note.
    Agent,
    /// A file of another memory.
    Import,
}

impl LearningSource {
    /// Every source.
    pub const EVERY: [Self; 4] = [Self::Person, Self::Session, Self::Agent, Self::Import];

    /// Returns the name as written.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Person => "person",
            Self::Session => "session",
            Self::Agent => "agent",
            Self::Import => "import",
        }
    }
}

/// The body of `POST /api/registry/learnings`, and one entry of an import.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewLearning {
    /// What was learned; at most [`TEXT_BYTES_MAX`].
    pub text: String,
    /// What it is about; none means a note.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<LearningKind>,
    /// Id, alias or path of a registered project; none means all projects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Days until it is forgotten; none means never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_days: Option<u32>,
}

/// The body of `POST /api/registry/learnings/import`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportLearnings {
    /// At most [`IMPORT_MAX`]; they are quarantined.
    pub learnings: Vec<NewLearning>,
}

/// Answer of `POST /api/registry/learnings/import`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// Learnings that are new.
    pub added: u64,
    /// Learnings that were there already.
    pub known: u64,
    /// Learnings that were not taken, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
}

/// A learning as callers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearningView {
    /// Its id.
    pub id: LearningId,
    /// What was learned.
    pub text: String,
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: LearningKind,
    /// How far it is trusted.
    pub trust: Trust,
    /// Where it came from.
    pub source: LearningSource,
    /// Path of its project; none means all projects.
    pub project: Option<String>,
    /// The session that it came from.
    pub session: Option<SessionId>,
    /// Who brought it, for people to read.
    pub author: String,
    /// When it was remembered (RFC 3339, UTC).
    pub created_at: String,
    /// When it is forgotten.
    pub expires_at: Option<String>,
}

/// In which order learnings are answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Best match first.
    Best,
    /// Newest first.
    Newest,
}

/// Answer of `GET /api/registry/learnings`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearningList {
    /// The page.
    pub learnings: Vec<LearningView>,
    /// How many fit the question; of a search with more than [`RANKED_MAX`] matches, that number.
    pub total: u64,
    /// The order.
    pub order: Order,
    /// Says so if there were too many matches to rank or count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// How many learnings have one type and one label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearningCount {
    /// What they are about.
    #[serde(rename = "type")]
    pub kind: LearningKind,
    /// How far they are trusted.
    pub trust: Trust,
    /// How many.
    pub count: u64,
}

/// Answer of `GET /api/registry/learnings/stats`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearningStats {
    /// How many the caller may see.
    pub total: u64,
    /// By type and label.
    pub counts: Vec<LearningCount>,
}
