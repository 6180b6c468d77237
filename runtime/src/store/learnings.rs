//! Learnings in the store, and the search for their words.
//!
//! Invariant: a question that is bound to projects is answered from these alone; learnings of no
//! project belong to nobody who is bound.

use aws_lc_rs::digest::{Context, SHA256};
use config::contract::id::LearningId;
use config::contract::learning::{
    LearningCount, LearningKind, LearningList, LearningSource, LearningStats, LearningView, Order,
    RANKED_MAX, Trust,
};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, Transaction};

use super::{Store, StoreError, database, from_stored, malformed, to_stored};

/// Which learnings are wanted.
#[derive(Clone, Debug, Default)]
pub struct LearningQuestion {
    /// Only of these projects, by path.
    pub projects: Option<Vec<String>>,
    /// Only about this.
    pub kind: Option<LearningKind>,
    /// Only with this label.
    pub trust: Option<Trust>,
    /// Only with these words: an expression made by [`words`].
    pub words: Option<String>,
}

impl LearningQuestion {
    /// Returns whether the index's labels narrow by all that is asked.
    fn is_labelled(&self) -> bool {
        let some = |paths: &Vec<String>| !paths.is_empty() && paths.len() <= LABELS_MAX;
        self.trust.is_none() && self.projects.as_ref().is_none_or(some)
    }
}

/// What remembering a learning did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is new.
    Added(LearningView),
    /// The project has it already.
    Known(LearningView),
    /// There are too many.
    Full,
}

impl Store {
    /// Remembers a learning. A person who vouches for a known one makes it trusted.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn learn(&self, learning: &LearningView) -> Result<Learned, StoreError> {
        let all = self.learn_all(std::slice::from_ref(learning)).await?;
        Ok(all.into_iter().next().unwrap_or(Learned::Full))
    }

    /// Remembers learnings, all in one step, and says of each what became of it.
    ///
    /// # Errors
    /// When the database refuses; then none is remembered.
    pub async fn learn_all(&self, learnings: &[LearningView]) -> Result<Vec<Learned>, StoreError> {
        const WHAT: &str = "record learnings";
        let mut transaction = self.begin(WHAT).await?;
        let mut learned = Vec::with_capacity(learnings.len());
        for learning in learnings {
            learned.push(insert(&mut transaction, learning).await?);
        }
        transaction.commit().await.map_err(database(WHAT))?;
        Ok(learned)
    }

    /// Returns a page of the wanted learnings: a search best first, anything else newest first.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn learnings(
        &self,
        question: &LearningQuestion,
        limit: u32,
        offset: u64,
    ) -> Result<LearningList, StoreError> {
        const WHAT: &str = "list learnings";
        let total = self.learnings_total(question).await?;
        let too_many = question.words.is_some() && total > RANKED_MAX;
        let order = if question.words.is_some() && !too_many {
            Order::Best
        } else {
            Order::Newest
        };
        let mut query = QueryBuilder::<Sqlite>::new("SELECT learning.* ");
        conditions(&mut query, question);
        query.push(match order {
            Order::Best => " ORDER BY learning_words.rank",
            Order::Newest if too_many => " ORDER BY learning_words.rowid DESC",
            Order::Newest => " ORDER BY learning.number DESC",
        });
        query.push(" LIMIT ").push_bind(limit);
        query.push(" OFFSET ").push_bind(to_stored(offset));
        let rows = query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database(WHAT))?;
        Ok(LearningList {
            learnings: rows.iter().map(view).collect::<Result<_, _>>()?,
            total: if too_many { RANKED_MAX } else { total },
            order,
            note: too_many.then(|| {
                format!("more than {RANKED_MAX} learnings match: answered newest first, not ranked")
            }),
        })
    }

    /// Counts the wanted learnings; of a search at most one more than [`RANKED_MAX`].
    async fn learnings_total(&self, question: &LearningQuestion) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT count(*) ");
        if question.words.is_some() {
            query.push("FROM (SELECT 1 ");
            match (&question.words, question.is_labelled()) {
                // The index alone knows; reading every match in the table would take long.
                (Some(words), true) => {
                    query.push("FROM learning_words WHERE learning_words MATCH ");
                    query.push_bind(expression(words, question));
                }
                (Some(_) | None, _) => conditions(&mut query, question),
            }
            query.push(" LIMIT ").push_bind(to_stored(RANKED_MAX + 1));
            query.push(")");
        } else {
            conditions(&mut query, question);
        }
        let total: i64 = query
            .build_query_scalar()
            .fetch_one(&self.readers)
            .await
            .map_err(database("count learnings"))?;
        from_stored("the number of learnings", total)
    }

    /// Returns a learning.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn learning(&self, id: &LearningId) -> Result<Option<LearningView>, StoreError> {
        sqlx::query("SELECT * FROM learning WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("read a learning"))?
            .map(|row| view(&row))
            .transpose()
    }

    /// Counts learnings by type and label; with `projects`, theirs.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn learning_stats(
        &self,
        projects: Option<Vec<String>>,
    ) -> Result<LearningStats, StoreError> {
        const WHAT: &str = "count learnings";
        let question = LearningQuestion {
            projects,
            ..LearningQuestion::default()
        };
        let mut query = QueryBuilder::<Sqlite>::new("SELECT kind, trust, count(*) AS count ");
        conditions(&mut query, &question);
        query.push(" GROUP BY kind, trust ORDER BY kind, trust");
        let rows = query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database(WHAT))?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in &rows {
            counts.push(LearningCount {
                kind: kind(row)?,
                trust: trust(row)?,
                count: from_stored("a count", column(row, "count")?)?,
            });
        }
        Ok(LearningStats {
            total: counts.iter().map(|count| count.count).sum(),
            counts,
        })
    }

    /// Trusts a learning, which then does not expire.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn trust_learning(&self, id: &LearningId) -> Result<(), StoreError> {
        sqlx::query("UPDATE learning SET trust = 'trusted', expires_at = NULL WHERE id = ?")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(database("trust a learning"))
            .map(drop)
    }

    /// Forgets a learning.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_learning(&self, id: &LearningId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM learning WHERE id = ?")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(database("forget a learning"))
            .map(drop)
    }

    /// Forgets the learnings whose time has come by `now`.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn forget_expired(&self, now: &str) -> Result<(), StoreError> {
        const WHAT: &str = "forget expired learnings";
        // Most often there is none; then the one writer is not waited for.
        let some: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM learning WHERE expires_at <= ?)")
                .bind(now)
                .fetch_one(&self.readers)
                .await
                .map_err(database(WHAT))?;
        if some {
            sqlx::query("DELETE FROM learning WHERE expires_at <= ?")
                .bind(now)
                .execute(&self.writer)
                .await
                .map_err(database(WHAT))?;
        }
        Ok(())
    }
}

async fn insert(
    transaction: &mut Transaction<'_, Sqlite>,
    learning: &LearningView,
) -> Result<Learned, StoreError> {
    const WHAT: &str = "record a learning";
    let digest = digest(learning);
    if is_full(transaction).await? {
        return Ok(Learned::Full);
    }
    let added = sqlx::query(
        "INSERT INTO learning (id, text, kind, trust, source, project, session, author, \
         created_at, expires_at, digest, labels) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
         ON CONFLICT (digest) DO NOTHING",
    )
    .bind(learning.id.as_str())
    .bind(&learning.text)
    .bind(learning.kind.name())
    .bind(learning.trust.name())
    .bind(learning.source.name())
    .bind(&learning.project)
    .bind(learning.session.as_ref().map(|id| id.as_str().to_owned()))
    .bind(&learning.author)
    .bind(&learning.created_at)
    .bind(&learning.expires_at)
    .bind(&digest)
    .bind(labels(learning))
    .execute(&mut **transaction)
    .await
    .map_err(database(WHAT))?
    .rows_affected();
    if added == 0 && learning.trust == Trust::Trusted {
        sqlx::query("UPDATE learning SET trust = 'trusted', expires_at = ? WHERE digest = ?")
            .bind(&learning.expires_at)
            .bind(&digest)
            .execute(&mut **transaction)
            .await
            .map_err(database(WHAT))?;
    }
    let row = sqlx::query("SELECT * FROM learning WHERE digest = ?")
        .bind(&digest)
        .fetch_one(&mut **transaction)
        .await
        .map_err(database(WHAT))?;
    let view = view(&row)?;
    Ok(if added == 0 {
        Learned::Known(view)
    } else {
        Learned::Added(view)
    })
}

/// Returns whether no more can be remembered. Numbers only rise, so their span is at least the count;
/// counting is left for when the span is too long.
async fn is_full(transaction: &mut Transaction<'_, Sqlite>) -> Result<bool, StoreError> {
    let span = "SELECT coalesce((SELECT max(number) FROM learning) \
                - (SELECT min(number) FROM learning) + 1, 0)";
    for question in [span, "SELECT count(*) FROM learning"] {
        let number: i64 = sqlx::query_scalar(question)
            .fetch_one(&mut **transaction)
            .await
            .map_err(database("count learnings"))?;
        if number < LEARNINGS_MAX {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns the index's expression for a search: every word must be there, `word*` stands for all
/// that begin so. None if the text holds no word.
#[must_use]
pub fn words(text: &str) -> Option<String> {
    joined(text.split_whitespace(), " AND ")
}

/// Returns the index's expression for texts that hold any of these words.
#[must_use]
pub fn any_word<'word>(list: impl Iterator<Item = &'word str>) -> Option<String> {
    joined(list, " OR ")
}

fn joined<'word>(list: impl Iterator<Item = &'word str>, by: &str) -> Option<String> {
    let phrases: Vec<String> = list
        .filter(|word| word.contains(char::is_alphanumeric))
        .take(WORDS_MAX)
        .map(|word| {
            let (stem, star) = match word.strip_suffix('*') {
                Some(stem) => (stem, " *"),
                None => (word, ""),
            };
            format!("\"{}\"{star}", stem.replace('"', "\"\"").replace('\0', " "))
        })
        .collect();
    (!phrases.is_empty()).then(|| phrases.join(by))
}

fn conditions(query: &mut QueryBuilder<Sqlite>, question: &LearningQuestion) {
    match &question.words {
        Some(words) => {
            query.push(
                "FROM learning_words JOIN learning ON learning.number = learning_words.rowid \
                 WHERE learning_words MATCH ",
            );
            query.push_bind(expression(words, question));
        }
        None => {
            query.push("FROM learning WHERE TRUE");
        }
    }
    // The labels of the index only narrow; what may be seen is decided here.
    if let Some(projects) = &question.projects {
        query.push(" AND learning.project IN (");
        let mut separated = query.separated(", ");
        for path in projects {
            separated.push_bind(path.clone());
        }
        query.push(")");
    }
    if let Some(kind) = question.kind {
        query.push(" AND learning.kind = ").push_bind(kind.name());
    }
    if let Some(trust) = question.trust {
        query.push(" AND learning.trust = ").push_bind(trust.name());
    }
}

fn expression(words: &str, question: &LearningQuestion) -> String {
    let mut text = format!("({{text}} : ({words}))");
    if let Some(kind) = question.kind {
        text.push_str(&format!(" AND ({{labels}} : {})", kind_label(kind)));
    }
    if let Some(projects) = &question.projects
        && !projects.is_empty()
        && projects.len() <= LABELS_MAX
    {
        let labels: Vec<String> = projects.iter().map(|path| project_label(path)).collect();
        text.push_str(&format!(" AND ({{labels}} : ({}))", labels.join(" OR ")));
    }
    text
}

fn labels(learning: &LearningView) -> String {
    let kind = kind_label(learning.kind);
    match &learning.project {
        Some(path) => format!("{kind} {}", project_label(path)),
        None => kind,
    }
}

fn kind_label(kind: LearningKind) -> String {
    format!("kind{}", kind.name())
}

fn project_label(path: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&SHA256, path.as_bytes());
    let hex: Vec<_> = digest
        .as_ref()
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("project{}", hex.concat())
}

/// The same for the same text about the same thing in the same project, however it is spaced.
fn digest(learning: &LearningView) -> Vec<u8> {
    let mut hash = Context::new(&SHA256);
    hash.update(learning.project.as_deref().unwrap_or_default().as_bytes());
    hash.update(&[0]);
    hash.update(learning.kind.name().as_bytes());
    for word in learning.text.to_lowercase().split_whitespace() {
        hash.update(&[0]);
        hash.update(word.as_bytes());
    }
    hash.finish().as_ref().to_vec()
}

fn view(row: &SqliteRow) -> Result<LearningView, StoreError> {
    let id: String = column(row, "id")?;
    let source: String = column(row, "source")?;
    let session: Option<String> = column(row, "session")?;
    Ok(LearningView {
        id: id.parse().map_err(|_| malformed("a learning id", id))?,
        text: column(row, "text")?,
        kind: kind(row)?,
        trust: trust(row)?,
        source: LearningSource::EVERY
            .into_iter()
            .find(|known| known.name() == source)
            .ok_or_else(|| malformed("a learning's source", source))?,
        project: column(row, "project")?,
        session: session
            .map(|id| id.parse().map_err(|_| malformed("a session id", id)))
            .transpose()?,
        author: column(row, "author")?,
        created_at: column(row, "created_at")?,
        expires_at: column(row, "expires_at")?,
    })
}

fn kind(row: &SqliteRow) -> Result<LearningKind, StoreError> {
    let name: String = column(row, "kind")?;
    LearningKind::EVERY
        .into_iter()
        .find(|known| known.name() == name)
        .ok_or_else(|| malformed("a learning's type", name))
}

fn trust(row: &SqliteRow) -> Result<Trust, StoreError> {
    let name: String = column(row, "trust")?;
    Trust::EVERY
        .into_iter()
        .find(|known| known.name() == name)
        .ok_or_else(|| malformed("a learning's label", name))
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(name).map_err(database("read a learning"))
}

/// Most learnings that are kept.
const LEARNINGS_MAX: i64 = 500_000;
/// Most words of a search that count.
const WORDS_MAX: usize = 16;
/// Most projects by which the index narrows a search; beyond, the table alone does.
const LABELS_MAX: usize = 50;
