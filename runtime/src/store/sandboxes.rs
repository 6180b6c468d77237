//! Long-lived sandboxes in the store: one row for each name on each project.

use config::contract::id::SessionId;
use config::contract::sandbox::SandboxView;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{Store, StoreError, database, malformed};

impl Store {
    /// Records a sandbox, or what has become of it; false if there are too many of others.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_sandbox(&self, view: &SandboxView) -> Result<bool, StoreError> {
        let text = serde_json::to_string(view)
            .map_err(|error| malformed("a sandbox", error.to_string()))?;
        let put = sqlx::query(
            "INSERT INTO sandbox (id, project, view) SELECT ?, ?, ? \
             WHERE (SELECT count(*) FROM sandbox) < ? OR EXISTS (SELECT 1 FROM sandbox WHERE id = ?) \
             ON CONFLICT (id) DO UPDATE SET view = excluded.view",
        )
        .bind(view.id.as_str())
        .bind(&view.project)
        .bind(text)
        .bind(SANDBOXES_MAX)
        .bind(view.id.as_str())
        .execute(&self.writer)
        .await
        .map_err(database("record a sandbox"))?;
        Ok(put.rows_affected() == 1)
    }

    /// Returns a sandbox.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn sandbox(&self, id: &SessionId) -> Result<Option<SandboxView>, StoreError> {
        sqlx::query("SELECT view FROM sandbox WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.writer)
            .await
            .map_err(database("read a sandbox"))?
            .map(|row| read(&row))
            .transpose()
    }

    /// Returns all sandboxes, the last made first.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn sandboxes(&self) -> Result<Vec<SandboxView>, StoreError> {
        sqlx::query("SELECT view FROM sandbox ORDER BY number DESC")
            .fetch_all(&self.writer)
            .await
            .map_err(database("list sandboxes"))?
            .iter()
            .map(read)
            .collect()
    }

    /// Forgets a sandbox.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn remove_sandbox(&self, id: &SessionId) -> Result<(), StoreError> {
        sqlx::query("DELETE FROM sandbox WHERE id = ?")
            .bind(id.as_str())
            .execute(&self.writer)
            .await
            .map(drop)
            .map_err(database("forget a sandbox"))
    }
}

fn read(row: &SqliteRow) -> Result<SandboxView, StoreError> {
    let text: String = row.try_get("view").map_err(database("read a sandbox"))?;
    serde_json::from_str(&text).map_err(|_| malformed("a sandbox", text))
}

/// Most sandboxes that are kept, those that run included.
const SANDBOXES_MAX: u32 = 64;

#[cfg(test)]
mod tests {
    use config::contract::id::SessionId;
    use config::contract::sandbox::{SandboxState, SandboxView};

    use super::super::Store;
    use super::SANDBOXES_MAX;

    fn sandbox(number: u8) -> SandboxView {
        SandboxView {
            id: SessionId::from_random([number; 12]),
            name: "default".to_owned(),
            project: "/app".to_owned(),
            state: SandboxState::Running,
            reason: None,
            command: None,
            started_by: "me".to_owned(),
            branch: String::new(),
            shells: 0,
            hand_off: None,
            effective_enforcement: Vec::new(),
            started_at: "2026-02-02T12:00:00.000Z".to_owned(),
            ended_at: None,
        }
    }

    #[tokio::test]
    async fn no_more_than_the_bound_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("store/runtime.db"))
            .await
            .unwrap();
        // The alphabet of ids has 36 letters; two of them differ by the second half.
        let of = |number: u32| {
            let number = u8::try_from(number).unwrap();
            let mut random = [number % 36; 12];
            random[11] = number / 36;
            SandboxView {
                id: SessionId::from_random(random),
                ..sandbox(0)
            }
        };
        for number in 0..SANDBOXES_MAX {
            assert!(store.put_sandbox(&of(number)).await.unwrap(), "{number}");
        }
        assert!(!store.put_sandbox(&of(SANDBOXES_MAX)).await.unwrap());
        let ended = SandboxView {
            state: SandboxState::Ended,
            ..of(0)
        };
        assert!(store.put_sandbox(&ended).await.unwrap());
        assert_eq!(store.sandbox(&ended.id).await.unwrap(), Some(ended.clone()));
        store.remove_sandbox(&ended.id).await.unwrap();
        assert_eq!(store.sandbox(&ended.id).await.unwrap(), None);
        assert!(store.put_sandbox(&of(SANDBOXES_MAX)).await.unwrap());
    }
}
