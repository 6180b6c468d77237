//! Sessions that have ended, and what was learned beside them, in the order in which it happened.

use config::contract::memory::{EpisodeList, TimelineEntry, TimelineKind};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, StoreError, database, from_stored, malformed, sessions, to_stored};

impl Store {
    /// Returns a page of the sessions that have ended, the last first; with `projects`, only theirs.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn episodes(
        &self,
        projects: Option<&[String]>,
        (limit, offset): (u32, u64),
    ) -> Result<EpisodeList, StoreError> {
        const WHAT: &str = "list ended sessions";
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM session ");
        ended(&mut query, projects);
        query
            .push(" ORDER BY ended_at DESC, number DESC LIMIT ")
            .push_bind(limit);
        query.push(" OFFSET ").push_bind(to_stored(offset));
        let rows = query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database(WHAT))?;
        let mut count = QueryBuilder::<Sqlite>::new("SELECT count(*) FROM session ");
        ended(&mut count, projects);
        let total: i64 = count
            .build_query_scalar()
            .fetch_one(&self.readers)
            .await
            .map_err(database(WHAT))?;
        Ok(EpisodeList {
            episodes: rows.iter().map(sessions::view).collect::<Result<_, _>>()?,
            total: from_stored("the number of ended sessions", total)?,
        })
    }

    /// Returns what happened last, newest first: ended sessions and learnings. With `projects`, only
    /// theirs.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn timeline(
        &self,
        projects: Option<&[String]>,
        limit: u32,
    ) -> Result<Vec<TimelineEntry>, StoreError> {
        const WHAT: &str = "read the timeline";
        // Learnings are numbered in the order of their time, so each half reads no more than a page.
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT * FROM (SELECT ended_at AS timestamp, 'episode' AS kind, id, project, \
             prd_name AS text FROM session ",
        );
        ended(&mut query, projects);
        query
            .push(" ORDER BY ended_at DESC LIMIT ")
            .push_bind(limit);
        query.push(
            ") UNION ALL SELECT * FROM (SELECT created_at, 'learning', id, project, text \
             FROM learning WHERE TRUE",
        );
        among(&mut query, projects);
        query.push(" ORDER BY number DESC LIMIT ").push_bind(limit);
        query
            .push(") ORDER BY 1 DESC LIMIT ")
            .push_bind(limit)
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database(WHAT))?
            .iter()
            .map(entry)
            .collect()
    }
}

fn ended(query: &mut QueryBuilder<Sqlite>, projects: Option<&[String]>) {
    query.push("WHERE ended_at IS NOT NULL");
    among(query, projects);
}

fn among(query: &mut QueryBuilder<Sqlite>, projects: Option<&[String]>) {
    let Some(projects) = projects else {
        return;
    };
    query.push(" AND project IN (");
    let mut separated = query.separated(", ");
    for path in projects {
        separated.push_bind(path.clone());
    }
    query.push(")");
}

fn entry(row: &SqliteRow) -> Result<TimelineEntry, StoreError> {
    let kind: String = column(row, "kind")?;
    let text: String = column(row, "text")?;
    Ok(TimelineEntry {
        timestamp: column(row, "timestamp")?,
        kind: match kind.as_str() {
            "episode" => TimelineKind::Episode,
            "learning" => TimelineKind::Learning,
            _ => return Err(malformed("an entry's kind", kind)),
        },
        id: column(row, "id")?,
        project: column(row, "project")?,
        text: text.lines().next().unwrap_or_default().to_owned(),
    })
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(name).map_err(database("read the timeline"))
}
