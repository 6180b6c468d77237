//! Registered projects in the store: one entry for each path, found by id, alias or path.

use config::contract::id::ProjectId;
use config::contract::registry::{ProjectStatus, ProjectView};
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, StoreError, database, from_stored, malformed};

/// A project to be remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewProject {
    /// The id that it gets if its path is new.
    pub id: ProjectId,
    /// Canonical path.
    pub path: String,
    /// Name for people; one that is not given never replaces one that is.
    pub name: Option<String>,
    /// Short name; none leaves what there is.
    pub alias: Option<String>,
    /// When.
    pub now: String,
}

/// What remembering a project did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remembered {
    /// Its path is new.
    Added(ProjectView),
    /// It was there; name, alias or status changed.
    Updated(ProjectView),
    /// It was there, and just so.
    Same(ProjectView),
    /// The alias belongs to another project, and nothing was done.
    AliasTaken,
}

impl Store {
    /// Remembers a project, or brings its entry up to date.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remember_project(&self, new: &NewProject) -> Result<Remembered, StoreError> {
        const WHAT: &str = "record a project";
        let mut transaction = self.begin(WHAT).await?;
        if let Some(alias) = &new.alias {
            let taken: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM project WHERE alias = ? AND path <> ?)",
            )
            .bind(alias)
            .bind(&new.path)
            .fetch_one(&mut *transaction)
            .await
            .map_err(database(WHAT))?;
            if taken {
                return Ok(Remembered::AliasTaken);
            }
        }
        let name = new
            .name
            .as_deref()
            .unwrap_or_else(|| folder_name(&new.path));
        let added = sqlx::query(
            "INSERT INTO project (id, path, name, alias, status, registered_at, updated_at) \
             VALUES (?, ?, ?, ?, 'active', ?, ?) ON CONFLICT (path) DO NOTHING",
        )
        .bind(new.id.as_str())
        .bind(&new.path)
        .bind(name)
        .bind(&new.alias)
        .bind(&new.now)
        .bind(&new.now)
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?
        .rows_affected();
        let updated = sqlx::query(
            "UPDATE project SET name = coalesce(?1, name), alias = coalesce(?2, alias), \
             status = 'active', updated_at = ?3 WHERE path = ?4 AND (status <> 'active' \
             OR name <> coalesce(?1, name) OR alias IS NOT coalesce(?2, alias))",
        )
        .bind(&new.name)
        .bind(&new.alias)
        .bind(&new.now)
        .bind(&new.path)
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?
        .rows_affected();
        let row = sqlx::query("SELECT * FROM project WHERE path = ?")
            .bind(&new.path)
            .fetch_one(&mut *transaction)
            .await
            .map_err(database(WHAT))?;
        let view = view(&row)?;
        transaction.commit().await.map_err(database(WHAT))?;
        Ok(match (added, updated) {
            (1.., _) => Remembered::Added(view),
            (0, 1..) => Remembered::Updated(view),
            (0, 0) => Remembered::Same(view),
        })
    }

    /// Returns the project of an id, an alias or a path.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn project(&self, named: &str) -> Result<Option<ProjectView>, StoreError> {
        sqlx::query(
            "SELECT * FROM project WHERE id = ?1 OR alias = ?1 OR path = ?1 \
             ORDER BY id = ?1 DESC LIMIT 1",
        )
        .bind(named)
        .fetch_optional(&self.readers)
        .await
        .map_err(database("read a project"))?
        .map(|row| view(&row))
        .transpose()
    }

    /// Returns projects by path: with `bound` only those, from `offset`, at most `limit`.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn projects(
        &self,
        bound: Option<&[String]>,
        limit: u32,
        offset: u64,
    ) -> Result<Vec<ProjectView>, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT * FROM project");
        within(&mut query, "path", bound);
        query.push(" ORDER BY path LIMIT ").push_bind(limit);
        query.push(" OFFSET ").push_bind(super::to_stored(offset));
        query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database("list projects"))?
            .iter()
            .map(view)
            .collect()
    }

    /// Returns how many projects there are; with `bound`, of those.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn projects_total(&self, bound: Option<&[String]>) -> Result<u64, StoreError> {
        let mut query = QueryBuilder::<Sqlite>::new("SELECT count(*) FROM project");
        within(&mut query, "path", bound);
        let total: i64 = query
            .build_query_scalar()
            .fetch_one(&self.readers)
            .await
            .map_err(database("count projects"))?;
        from_stored("the number of projects", total)
    }

    /// Notes whether a project's folder is there; returns whether that is news.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn note_project(
        &self,
        id: &ProjectId,
        status: ProjectStatus,
        now: &str,
    ) -> Result<bool, StoreError> {
        let changed = sqlx::query(
            "UPDATE project SET status = ?1, updated_at = ?2 WHERE id = ?3 AND status <> ?1",
        )
        .bind(status.name())
        .bind(now)
        .bind(id.as_str())
        .execute(&self.writer)
        .await
        .map_err(database("record a project's status"))?
        .rows_affected();
        Ok(changed > 0)
    }

    /// Notes that a project is worked on or opened at `now`; returns it if it is there.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn access_project(
        &self,
        path: &str,
        now: &str,
    ) -> Result<Option<ProjectView>, StoreError> {
        sqlx::query("UPDATE project SET last_accessed = ? WHERE path = ? RETURNING *")
            .bind(now)
            .bind(path)
            .fetch_optional(&self.writer)
            .await
            .map_err(database("record the opening of a project"))?
            .map(|row| view(&row))
            .transpose()
    }

    /// Forgets a project; its sessions stay.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_project(&self, id: &ProjectId) -> Result<bool, StoreError> {
        let changed = sqlx::query("DELETE FROM project WHERE id = ?")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map_err(database("remove a project"))?
            .rows_affected();
        Ok(changed > 0)
    }

    /// Returns the number of sessions that have not ended in each project that has some.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn live_by_project(&self) -> Result<Vec<(String, u64)>, StoreError> {
        const WHAT: &str = "count live sessions";
        let rows = sqlx::query(
            "SELECT project, count(*) AS live FROM session \
             WHERE state NOT IN ('completed', 'failed', 'stopped', 'expired') GROUP BY project",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(database(WHAT))?;
        let mut counts = Vec::with_capacity(rows.len());
        for row in rows {
            let live: i64 = row.try_get("live").map_err(database(WHAT))?;
            let project = row.try_get("project").map_err(database(WHAT))?;
            counts.push((project, from_stored("a count", live)?));
        }
        Ok(counts)
    }

    /// Returns which of these paths have ever had a session.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn had_session(&self, project: &str) -> Result<bool, StoreError> {
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM session WHERE project = ?)")
            .bind(project)
            .fetch_one(&self.readers)
            .await
            .map_err(database("look for sessions"))
    }
}

/// Adds the condition that a column names one of the bound projects.
pub(super) fn within(query: &mut QueryBuilder<Sqlite>, column: &str, bound: Option<&[String]>) {
    let Some(bound) = bound else {
        return;
    };
    query.push(format!(" WHERE {column} IN ("));
    let mut separated = query.separated(", ");
    for path in bound {
        separated.push_bind(path.clone());
    }
    query.push(")");
}

/// Returns the last part of a path.
#[must_use]
pub fn folder_name(path: &str) -> &str {
    path.rsplit('/')
        .find(|part| !part.is_empty())
        .unwrap_or(path)
}

fn view(row: &SqliteRow) -> Result<ProjectView, StoreError> {
    let id: String = column(row, "id")?;
    let status: String = column(row, "status")?;
    Ok(ProjectView {
        id: id.parse().map_err(|_| malformed("a project id", id))?,
        path: column(row, "path")?,
        name: column(row, "name")?,
        alias: column(row, "alias")?,
        status: ProjectStatus::EVERY
            .into_iter()
            .find(|known| known.name() == status)
            .ok_or_else(|| malformed("a project's status", status))?,
        registered_at: column(row, "registered_at")?,
        updated_at: column(row, "updated_at")?,
        last_accessed: column(row, "last_accessed")?,
    })
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(name).map_err(database("read a project"))
}
