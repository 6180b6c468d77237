//! Approvals in the store: changed only by steps of their state table, compared with what is stored.

use chrono::{DateTime, Utc};
use config::contract::approval::{ApprovalState, ApprovalView, Outcome};
use config::contract::id::{ApprovalId, SessionId};
use serde_json::Value;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, Sqlite, Transaction};

use super::{Store, StoreError, database, from_stored, malformed};
use crate::approval::state::{Happening, Standing, Step};
use crate::clock;

/// An approval to be asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The session that waits.
    pub session: SessionId,
    /// Where it stands.
    pub gate: &'static str,
    /// Its iteration.
    pub iteration: u32,
    /// One line for people.
    pub summary: String,
    /// Why a person is asked.
    pub why: String,
    /// SHA-256 of the action.
    pub digest: String,
    /// Exactly what will be done.
    pub action: Value,
    /// When it expires.
    pub deadline: DateTime<Utc>,
}

/// An approval as the runtime sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredApproval {
    /// What callers see of it.
    pub view: ApprovalView,
    /// The identity of whoever started the session.
    pub principal: String,
    /// When it expires.
    pub deadline: DateTime<Utc>,
}

impl StoredApproval {
    /// Returns what its state table needs.
    #[must_use]
    pub fn standing(&self) -> Standing<'_> {
        Standing {
            state: self.view.state,
            digest: &self.view.digest,
            deadline: self.deadline,
        }
    }
}

/// Who decides, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decider {
    /// For people to read.
    pub user: String,
    /// The identity.
    pub principal: String,
    /// Why.
    pub reason: Option<String>,
}

impl Store {
    /// Asks for an approval: what a session asked for before at the same place counts as long as it
    /// is exactly the same and can still be decided or used. Returns what counts now.
    ///
    /// # Errors
    /// When the session is not stored, or the database refuses.
    pub async fn ask_approval(
        &self,
        new: &NewApproval,
        now: DateTime<Utc>,
    ) -> Result<StoredApproval, StoreError> {
        const WHAT: &str = "ask for an approval";
        let mut transaction = self.begin(WHAT).await?;
        let counts = settle_earlier(&mut transaction, new, now).await?;
        if counts.is_none() {
            let changed = sqlx::query(
                "INSERT INTO approval (id, session, project, principal, gate, iteration, summary, why, \
                 digest, action, state, requested_at, deadline) \
                 SELECT ?, id, project, principal, ?, ?, ?, ?, ?, ?, 'requested', ?, ? \
                 FROM session WHERE id = ?",
            )
            .bind(new.id.as_str())
            .bind(new.gate)
            .bind(new.iteration)
            .bind(&new.summary)
            .bind(&new.why)
            .bind(&new.digest)
            .bind(new.action.to_string())
            .bind(now.timestamp_millis())
            .bind(new.deadline.timestamp_millis())
            .bind(new.session.as_str())
            .execute(&mut *transaction)
            .await
            .map_err(database(WHAT))?
            .rows_affected();
            if changed != 1 {
                return Err(StoreError::NotInState(new.session.clone()));
            }
        }
        transaction.commit().await.map_err(database(WHAT))?;
        match counts {
            Some(old) => Ok(old),
            None => self
                .approval(&new.id)
                .await?
                .ok_or_else(|| StoreError::NotInState(new.session.clone())),
        }
    }

    /// Lets something happen to an approval; the step and what it led to, in one transaction.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn approval_happens(
        &self,
        id: &ApprovalId,
        happening: Happening<'_>,
        decider: Option<&Decider>,
        now: DateTime<Utc>,
    ) -> Result<Option<(Step, StoredApproval)>, StoreError> {
        const WHAT: &str = "change an approval";
        let mut transaction = self.begin(WHAT).await?;
        let row = sqlx::query("SELECT * FROM approval WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&mut *transaction)
            .await
            .map_err(database(WHAT))?;
        let Some(row) = row else {
            return Ok(None);
        };
        let mut approval = stored(&row)?;
        let step = approval.standing().after(happening, now);
        if let Step::To(state) = step {
            let decides = matches!(state, ApprovalState::Approved | ApprovalState::Rejected);
            let decider = decider.filter(|_| decides);
            let changed = sqlx::query(
                "UPDATE approval SET state = ?, decided_at = coalesce(?, decided_at), \
                 decided_by = coalesce(?, decided_by), \
                 decided_principal = coalesce(?, decided_principal), \
                 reason = coalesce(?, reason), consumed_at = coalesce(?, consumed_at) \
                 WHERE id = ? AND state = ?",
            )
            .bind(state.name())
            .bind(decider.map(|_| now.timestamp_millis()))
            .bind(decider.map(|decider| &decider.user))
            .bind(decider.map(|decider| &decider.principal))
            .bind(decider.and_then(|decider| decider.reason.as_ref()))
            .bind((state == ApprovalState::Consumed).then(|| now.timestamp_millis()))
            .bind(id.as_str())
            .bind(approval.view.state.name())
            .execute(&mut *transaction)
            .await
            .map_err(database(WHAT))?
            .rows_affected();
            if changed != 1 {
                return Err(malformed("an approval", id.as_str()));
            }
            let row = sqlx::query("SELECT * FROM approval WHERE id = ?")
                .bind(id.as_str())
                .fetch_one(&mut *transaction)
                .await
                .map_err(database(WHAT))?;
            approval = stored(&row)?;
        }
        transaction.commit().await.map_err(database(WHAT))?;
        Ok(Some((step, approval)))
    }

    /// Returns an approval if it is stored.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn approval(&self, id: &ApprovalId) -> Result<Option<StoredApproval>, StoreError> {
        sqlx::query("SELECT * FROM approval WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.writer)
            .await
            .map_err(database("read an approval"))?
            .map(|row| stored(&row))
            .transpose()
    }

    /// Returns the newest `limit` approvals, newest first: of these projects, of this session, only
    /// those that wait.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn approvals(
        &self,
        projects: Option<&[String]>,
        session: Option<&SessionId>,
        only_waiting: bool,
        limit: u32,
    ) -> Result<Vec<StoredApproval>, StoreError> {
        let wanted = projects
            .map(serde_json::to_string)
            .transpose()
            .map_err(|error| malformed("a list of projects", error.to_string()))?;
        sqlx::query(
            "SELECT * FROM approval \
             WHERE (?1 IS NULL OR project IN (SELECT value FROM json_each(?1))) \
             AND (?2 IS NULL OR session = ?2) AND (NOT ?3 OR state = 'requested') \
             ORDER BY number DESC LIMIT ?4",
        )
        .bind(wanted)
        .bind(session.map(SessionId::as_str))
        .bind(only_waiting)
        .bind(limit)
        .fetch_all(&self.readers)
        .await
        .map_err(database("list approvals"))?
        .iter()
        .map(stored)
        .collect()
    }

    /// Settles at start-up what an earlier run of the runtime left: says of every action that was let
    /// through for an unfinished session and of which nobody knows whether it was carried out that a
    /// person has to look, and lets every approval lapse that was not used, so that a person is asked
    /// anew; takes back what programs asked for that have ended since. Returns how many actions a person has to look at.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn mark_indeterminate(&self) -> Result<u64, StoreError> {
        const WHAT: &str = "look for actions under way";
        let mut transaction = self.begin(WHAT).await?;
        let marked = sqlx::query(
            "UPDATE approval SET outcome = 'indeterminate' \
             WHERE state = 'consumed' AND outcome IS NULL AND session IN (SELECT id FROM session \
             WHERE state NOT IN ('completed', 'failed', 'stopped', 'expired'))",
        )
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?
        .rows_affected();
        for settled in [
            "UPDATE approval SET state = 'lapsed' WHERE state = 'approved'",
            // The program that asked for it has ended with the runtime.
            "UPDATE approval SET state = 'cancelled' WHERE state = 'requested' AND gate = 'operation'",
        ] {
            sqlx::query(settled)
                .execute(&mut *transaction)
                .await
                .map_err(database(WHAT))?;
        }
        transaction.commit().await.map_err(database(WHAT))?;
        Ok(marked)
    }

    /// Ends the approvals of a session that has ended, or of all that have.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn end_approvals(&self, session: Option<&SessionId>) -> Result<u64, StoreError> {
        const WHAT: &str = "end approvals";
        const ENDED: &str = "(?1 IS NULL OR session = ?1) AND session NOT IN (SELECT id FROM session \
                             WHERE state NOT IN ('completed', 'failed', 'stopped', 'expired'))";
        let mut transaction = self.begin(WHAT).await?;
        let mut ended = 0;
        for change in [
            "state = 'cancelled' WHERE state = 'requested'",
            "state = 'lapsed' WHERE state = 'approved'",
            "outcome = 'done' WHERE state = 'consumed' AND outcome IS NULL",
        ] {
            let text = format!("UPDATE approval SET {change} AND {ENDED}");
            ended += sqlx::query(sqlx::AssertSqlSafe(text))
                .bind(session.map(SessionId::as_str))
                .execute(&mut *transaction)
                .await
                .map_err(database(WHAT))?
                .rows_affected();
        }
        transaction.commit().await.map_err(database(WHAT))?;
        Ok(ended)
    }
}

/// Settles what a session asked for before, and returns what of it still counts.
async fn settle_earlier(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewApproval,
    now: DateTime<Utc>,
) -> Result<Option<StoredApproval>, StoreError> {
    const WHAT: &str = "settle earlier approvals";
    let open = sqlx::query(
        "SELECT * FROM approval WHERE session = ? AND state IN ('requested', 'approved') \
         ORDER BY number DESC",
    )
    .bind(new.session.as_str())
    .fetch_all(&mut **transaction)
    .await
    .map_err(database(WHAT))?;
    let mut counts = rejected(transaction, new).await?;
    for row in &open {
        let old = stored(row)?;
        let same_place = old.view.gate == new.gate && old.view.iteration == new.iteration;
        // A session waits at one gate at a time.
        let digest = if same_place { new.digest.as_str() } else { "" };
        match old.standing().after(Happening::AskAgain(digest), now) {
            Step::Stay => counts = Some(old),
            Step::To(state) => {
                sqlx::query("UPDATE approval SET state = ? WHERE id = ?")
                    .bind(state.name())
                    .bind(old.view.id.as_str())
                    .execute(&mut **transaction)
                    .await
                    .map_err(database(WHAT))?;
            }
            Step::Refused => {}
        }
    }
    // The session went on, so what it was allowed before is done.
    sqlx::query(
        "UPDATE approval SET outcome = 'done' \
         WHERE session = ? AND state = 'consumed' AND outcome IS NULL",
    )
    .bind(new.session.as_str())
    .execute(&mut **transaction)
    .await
    .map_err(database(WHAT))?;
    Ok(counts)
}

/// Returns the rejection of exactly this, if that was the last word at this place: a session that asks
/// again has not heard of it, because the runtime ended before.
async fn rejected(
    transaction: &mut Transaction<'_, Sqlite>,
    new: &NewApproval,
) -> Result<Option<StoredApproval>, StoreError> {
    let last = sqlx::query(
        "SELECT * FROM approval WHERE session = ? AND gate = ? AND iteration = ? \
         ORDER BY number DESC LIMIT 1",
    )
    .bind(new.session.as_str())
    .bind(new.gate)
    .bind(new.iteration)
    .fetch_optional(&mut **transaction)
    .await
    .map_err(database("look for a rejection"))?
    .map(|row| stored(&row))
    .transpose()?;
    Ok(last.filter(|last| {
        last.view.state == ApprovalState::Rejected && last.view.digest == new.digest
    }))
}

fn stored(row: &SqliteRow) -> Result<StoredApproval, StoreError> {
    let id: String = column(row, "id")?;
    let session: String = column(row, "session")?;
    let state: String = column(row, "state")?;
    let action: String = column(row, "action")?;
    let outcome: Option<String> = column(row, "outcome")?;
    let deadline = time(column(row, "deadline")?)?;
    let principal: String = column(row, "principal")?;
    let decided_principal: Option<String> = column(row, "decided_principal")?;
    let moment = |millis: Option<i64>| -> Result<Option<String>, StoreError> {
        Ok(millis.map(time).transpose()?.map(clock::written))
    };
    let view = ApprovalView {
        state: ApprovalState::EVERY
            .into_iter()
            .find(|known| known.name() == state)
            .ok_or_else(|| malformed("an approval's state", state))?,
        session: session
            .parse()
            .map_err(|_| malformed("a session id", session))?,
        project: column(row, "project")?,
        gate: column(row, "gate")?,
        iteration: from_stored("an iteration", column(row, "iteration")?)?,
        summary: column(row, "summary")?,
        why: column(row, "why")?,
        digest: column(row, "digest")?,
        action: serde_json::from_str(&action).map_err(|_| malformed("an action", action))?,
        requested_at: clock::written(time(column(row, "requested_at")?)?),
        deadline: clock::written(deadline),
        decided_at: moment(column(row, "decided_at")?)?,
        decided_by: column(row, "decided_by")?,
        self_decided: decided_principal.is_some_and(|decided| decided == principal),
        reason: column(row, "reason")?,
        consumed_at: moment(column(row, "consumed_at")?)?,
        outcome: match outcome.as_deref() {
            None => None,
            Some("done") => Some(Outcome::Done),
            Some("indeterminate") => Some(Outcome::Indeterminate),
            Some(other) => return Err(malformed("an outcome", other)),
        },
        id: id.parse().map_err(|_| malformed("an approval id", id))?,
    };
    Ok(StoredApproval {
        view,
        principal,
        deadline,
    })
}

fn time(millis: i64) -> Result<DateTime<Utc>, StoreError> {
    DateTime::from_timestamp_millis(millis).ok_or_else(|| malformed("a time", millis.to_string()))
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(database("read an approval"))
}

#[cfg(test)]
mod tests;
