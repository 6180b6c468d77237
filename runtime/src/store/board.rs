//! The task board in the store.

use config::contract::board::BoardTask;
use config::contract::id::TaskId;
use config::contract::registry::TaskStatus;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, database, from_stored, malformed};

/// How many tasks of one project are in one status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoardCount {
    /// The project; none for tasks of no project.
    pub project: Option<String>,
    /// The status.
    pub status: TaskStatus,
    /// How many.
    pub count: u64,
}

impl Store {
    /// Puts a task on the board, or changes the one of its id; false if the board is full.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_task(&self, task: &BoardTask) -> Result<bool, StoreError> {
        let put = sqlx::query(
            "INSERT INTO task (id, title, description, project, priority, status, created_by, \
             created_at, updated_at) SELECT ?, ?, ?, ?, ?, ?, ?, ?, ? \
             WHERE (SELECT count(*) FROM task) < ? OR EXISTS (SELECT 1 FROM task WHERE id = ?) \
             ON CONFLICT (id) DO UPDATE SET title = excluded.title, \
             description = excluded.description, project = excluded.project, \
             priority = excluded.priority, status = excluded.status, \
             updated_at = excluded.updated_at",
        )
        .bind(task.id.as_str())
        .bind(&task.title)
        .bind(&task.description)
        .bind(&task.project)
        .bind(task.priority)
        .bind(task.status.name())
        .bind(&task.created_by)
        .bind(&task.created_at)
        .bind(&task.updated_at)
        .bind(TASKS_MAX)
        .bind(task.id.as_str())
        .execute(&self.writer)
        .await
        .map_err(database("record a task"))?;
        Ok(put.rows_affected() == 1)
    }

    /// Returns a task of the board.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn task(&self, id: &TaskId) -> Result<Option<BoardTask>, StoreError> {
        sqlx::query("SELECT * FROM task WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.writer)
            .await
            .map_err(database("read a task"))?
            .map(|row| read(&row))
            .transpose()
    }

    /// Returns the tasks of the board, most pressing first.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn board(&self) -> Result<Vec<BoardTask>, StoreError> {
        sqlx::query("SELECT * FROM task ORDER BY priority DESC, number")
            .fetch_all(&self.readers)
            .await
            .map_err(database("list tasks"))?
            .iter()
            .map(read)
            .collect()
    }

    /// Returns how many tasks of the board there are, by project and status.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn board_counts(&self) -> Result<Vec<BoardCount>, StoreError> {
        const WHAT: &str = "count tasks";
        let rows = sqlx::query(
            "SELECT project, status, count(*) AS count FROM task GROUP BY project, status",
        )
        .fetch_all(&self.readers)
        .await
        .map_err(database(WHAT))?;
        rows.iter()
            .map(|row| {
                let status: String = row.try_get("status").map_err(database(WHAT))?;
                let count: i64 = row.try_get("count").map_err(database(WHAT))?;
                Ok(BoardCount {
                    project: row.try_get("project").map_err(database(WHAT))?,
                    status: named(status)?,
                    count: from_stored("a number of tasks", count)?,
                })
            })
            .collect()
    }

    /// Takes a task off the board.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_task(&self, id: &TaskId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM task WHERE id = ?")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map(drop)
            .map_err(database("remove a task"))
    }
}

fn read(row: &SqliteRow) -> Result<BoardTask, StoreError> {
    let text = |name: &'static str| -> Result<String, StoreError> {
        row.try_get(name).map_err(database("read a task"))
    };
    let (id, status) = (text("id")?, text("status")?);
    let priority: i64 = row.try_get("priority").map_err(database("read a task"))?;
    Ok(BoardTask {
        id: id.parse().map_err(|_| malformed("a task id", id))?,
        title: text("title")?,
        description: text("description")?,
        project: row.try_get("project").map_err(database("read a task"))?,
        priority: from_stored("a priority", priority)?,
        status: named(status)?,
        created_by: text("created_by")?,
        created_at: text("created_at")?,
        updated_at: text("updated_at")?,
    })
}

fn named(status: String) -> Result<TaskStatus, StoreError> {
    STATUSES
        .into_iter()
        .find(|known| known.name() == status)
        .ok_or_else(|| malformed("a status", status))
}

const STATUSES: [TaskStatus; 4] = [
    TaskStatus::Pending,
    TaskStatus::InProgress,
    TaskStatus::Completed,
    TaskStatus::Failed,
];

/// Most tasks on the board.
const TASKS_MAX: u32 = 10_000;
