//! Sessions as tasks: what the store tells about the work in registered projects.

use config::contract::registry::{TaskSource, TaskStatus, TaskView};
use config::contract::session::SessionState;
use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite};

use super::{Store, StoreError, database, from_stored, malformed, sessions, to_stored};

/// Which sessions are wanted as tasks.
#[derive(Clone, Copy, Debug)]
pub struct TaskQuestion<'question> {
    /// Only in this status.
    pub status: Option<TaskStatus>,
    /// Only in these projects, by path.
    pub projects: Option<&'question [String]>,
}

impl Store {
    /// Returns sessions of registered projects as tasks, newest first, and how many there are in all.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn session_tasks(
        &self,
        question: TaskQuestion<'_>,
        limit: u32,
        offset: u64,
    ) -> Result<(Vec<TaskView>, u64), StoreError> {
        const WHAT: &str = "list tasks";
        let mut count = QueryBuilder::<Sqlite>::new("SELECT count(*) ");
        conditions(&mut count, question);
        let total: i64 = count
            .build_query_scalar()
            .fetch_one(&self.readers)
            .await
            .map_err(database(WHAT))?;
        let mut query = QueryBuilder::<Sqlite>::new(
            "SELECT session.id, session.state, session.prd_name, session.created_at, \
             session.ended_at, project.id AS project_id, project.name, project.path ",
        );
        conditions(&mut query, question);
        query
            .push(" ORDER BY session.number DESC LIMIT ")
            .push_bind(limit);
        query.push(" OFFSET ").push_bind(to_stored(offset));
        let rows = query
            .build()
            .fetch_all(&self.readers)
            .await
            .map_err(database(WHAT))?;
        let tasks = rows.iter().map(task).collect::<Result<_, _>>()?;
        Ok((tasks, from_stored("the number of tasks", total)?))
    }
}

fn conditions(query: &mut QueryBuilder<Sqlite>, question: TaskQuestion<'_>) {
    query.push("FROM session JOIN project ON project.path = session.project WHERE TRUE");
    if let Some(projects) = question.projects {
        query.push(" AND session.project IN (");
        let mut separated = query.separated(", ");
        for path in projects {
            separated.push_bind(path.clone());
        }
        query.push(")");
    }
    if let Some(status) = question.status {
        query.push(" AND session.state IN (");
        let mut separated = query.separated(", ");
        for state in SessionState::EVERY {
            if status_of(state) == status {
                separated.push_bind(state.name());
            }
        }
        query.push(")");
    }
}

/// Returns the status that a session has as a task.
#[must_use]
pub const fn status_of(state: SessionState) -> TaskStatus {
    match state {
        SessionState::Created => TaskStatus::Pending,
        SessionState::Preparing
        | SessionState::Running
        | SessionState::Paused
        | SessionState::WaitingApproval
        | SessionState::Verifying => TaskStatus::InProgress,
        SessionState::Completed => TaskStatus::Completed,
        SessionState::Failed | SessionState::Stopped | SessionState::Expired => TaskStatus::Failed,
    }
}

fn task(row: &SqliteRow) -> Result<TaskView, StoreError> {
    let state: String = column(row, "state")?;
    let project_id: String = column(row, "project_id")?;
    Ok(TaskView {
        id: column(row, "id")?,
        title: column(row, "prd_name")?,
        status: status_of(sessions::state(&state)?),
        source: TaskSource::Session,
        kind: "session".to_owned(),
        project_id: project_id
            .parse()
            .map_err(|_| malformed("a project id", project_id))?,
        project_name: column(row, "name")?,
        project_path: column(row, "path")?,
        started_at: Some(column(row, "created_at")?),
        ended_at: column(row, "ended_at")?,
    })
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, Sqlite> + sqlx::Type<Sqlite>,
{
    row.try_get(name).map_err(database("read a task"))
}
