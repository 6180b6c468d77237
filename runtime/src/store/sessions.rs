//! Sessions in the store: made once, changed only by legal moves.

use chrono::{DateTime, Utc};
use config::contract::id::{RequestId, SessionId};
use config::contract::session::{AutonomyMode, SessionEvent, SessionState, SessionView};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::{NewEvent, StartKey, Store, StoreError, database, from_stored, malformed, start_keys};
use crate::session::state::Move;
use crate::session::stop;

/// A session to be remembered.
#[derive(Clone, Debug, PartialEq)]
pub struct NewSession {
    /// What callers see of it.
    pub view: SessionView,
    /// The PRD's text.
    pub prd_text: String,
    /// The identity of whoever started it.
    pub principal: String,
    /// The request that started it.
    pub request_id: RequestId,
    /// Whether its work stays on its branch.
    pub branch_protection: bool,
    /// Commands that its starter blocks besides the runtime's.
    pub blocked_commands: Vec<String>,
    /// Whether its programs run in the sandbox.
    pub sandbox: bool,
    /// The only paths that it may write, as its starter has them.
    pub allowed_paths: Option<Vec<String>>,
    /// The projects of which its starter may read; none means all.
    pub readable: Option<Vec<String>>,
    /// The key under which it may be asked for again.
    pub start_key: Option<StartKey>,
}

/// A session that an earlier run of the runtime left behind.
#[derive(Clone, Debug, PartialEq)]
pub struct Unfinished {
    /// The session as it was stored.
    pub session: NewSession,
    /// Who asked it to stop, if anybody did.
    pub stop: Option<stop::Request>,
}

impl Store {
    /// Remembers a new session together with its first event.
    ///
    /// # Errors
    /// When it is stored already, or the database refuses.
    pub async fn create(
        &self,
        session: &NewSession,
        first: NewEvent,
        now: DateTime<Utc>,
    ) -> Result<SessionEvent, StoreError> {
        const WHAT: &str = "record a new session";
        let view = &session.view;
        let mut transaction = self.begin(WHAT).await?;
        sqlx::query(
            "INSERT INTO session (id, state, reason, project, prd_name, prd_text, provider, branch, \
             branch_protection, started_by, principal, request_id, iteration, iterations_max, \
             verification, hand_off, enforcement, cost_usd, events, created_at, ended_at, \
             autonomy_mode, staged_autonomy, blocked_commands, sandbox, allowed_paths, readable, \
             usage, budget_usd, model) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?, \
             ?, ?, ?, ?)",
        )
        .bind(view.id.as_str())
        .bind(view.state.name())
        .bind(&view.reason)
        .bind(&view.project)
        .bind(&view.prd)
        .bind(&session.prd_text)
        .bind(&view.provider)
        .bind(&view.branch)
        .bind(session.branch_protection)
        .bind(&view.started_by)
        .bind(&session.principal)
        .bind(session.request_id.as_str())
        .bind(view.iteration)
        .bind(view.iterations_max)
        .bind(json(&view.verification)?)
        .bind(view.hand_off.as_ref().map(json).transpose()?)
        .bind(json(&view.effective_enforcement)?)
        .bind(view.cost_usd)
        .bind(&view.created_at)
        .bind(&view.ended_at)
        .bind(view.autonomy_mode.name())
        .bind(view.staged_autonomy)
        .bind(json(&session.blocked_commands)?)
        .bind(session.sandbox)
        .bind(session.allowed_paths.as_ref().map(json).transpose()?)
        .bind(session.readable.as_ref().map(json).transpose()?)
        .bind(json(&view.usage)?)
        .bind(view.budget_usd)
        .bind(&view.model)
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?;
        start_keys::insert(&mut transaction, session, now).await?;
        let events = self
            .insert_events(&mut transaction, &view.id, vec![first], now)
            .await?;
        transaction.commit().await.map_err(database(WHAT))?;
        self.count(events.len());
        events
            .into_iter()
            .next()
            .ok_or_else(|| StoreError::NotInState(view.id.clone()))
    }

    /// Records a session's new view and what happened, if it stands where `step` starts.
    ///
    /// # Errors
    /// When it stands elsewhere, or the database refuses; then nothing is changed.
    pub async fn record(
        &self,
        step: Move,
        view: &SessionView,
        happened: Vec<NewEvent>,
        now: DateTime<Utc>,
    ) -> Result<Vec<SessionEvent>, StoreError> {
        const WHAT: &str = "record a session";
        if view.state != step.to() {
            return Err(StoreError::NotInState(view.id.clone()));
        }
        let mut transaction = self.begin(WHAT).await?;
        let changed = sqlx::query(
            "UPDATE session SET state = ?, reason = ?, branch = ?, iteration = ?, verification = ?, \
             hand_off = ?, enforcement = ?, cost_usd = ?, usage = ?, ended_at = ? WHERE id = ? AND state = ?",
        )
        .bind(view.state.name())
        .bind(&view.reason)
        .bind(&view.branch)
        .bind(view.iteration)
        .bind(json(&view.verification)?)
        .bind(view.hand_off.as_ref().map(json).transpose()?)
        .bind(json(&view.effective_enforcement)?)
        .bind(view.cost_usd)
        .bind(json(&view.usage)?)
        .bind(&view.ended_at)
        .bind(view.id.as_str())
        .bind(step.from().name())
        .execute(&mut *transaction)
        .await
        .map_err(database(WHAT))?
        .rows_affected();
        if changed != 1 {
            return Err(StoreError::NotInState(view.id.clone()));
        }
        let events = self
            .insert_events(&mut transaction, &view.id, happened, now)
            .await?;
        transaction.commit().await.map_err(database(WHAT))?;
        self.count(events.len());
        Ok(events)
    }

    /// Returns a session if it is stored.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn session(&self, id: &SessionId) -> Result<Option<SessionView>, StoreError> {
        sqlx::query("SELECT * FROM session WHERE id = ?")
            .bind(id.as_str())
            .fetch_optional(&self.readers)
            .await
            .map_err(database("read a session"))?
            .map(|row| view(&row))
            .transpose()
    }

    /// Returns the newest `limit` sessions, newest first; with `projects`, only theirs.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn sessions(
        &self,
        projects: Option<&[String]>,
        limit: u32,
    ) -> Result<Vec<SessionView>, StoreError> {
        let asked = match projects {
            None => sqlx::query("SELECT * FROM session ORDER BY number DESC LIMIT ?").bind(limit),
            // The newest of each project are found by the index alone, however many there are.
            Some(projects) => sqlx::query(
                "SELECT * FROM session WHERE number IN ( \
                     SELECT page.number \
                     FROM (SELECT DISTINCT value FROM json_each(?1)) AS wanted \
                     JOIN session AS page ON page.number IN ( \
                         SELECT number FROM session WHERE project = wanted.value \
                         ORDER BY number DESC LIMIT ?2) \
                     ORDER BY page.number DESC LIMIT ?2) \
                 ORDER BY number DESC",
            )
            .bind(json(projects)?)
            .bind(limit),
        };
        asked
            .fetch_all(&self.readers)
            .await
            .map_err(database("list sessions"))?
            .iter()
            .map(view)
            .collect()
    }

    /// Returns the estimated cost of all kept sessions in US dollars, to a millionth, as far as it is
    /// known.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn cost_usd(&self) -> Result<f64, StoreError> {
        sqlx::query_scalar("SELECT microdollars / 1e6 FROM spending")
            .fetch_one(&self.readers)
            .await
            .map_err(database("sum costs"))
    }

    /// Returns the sessions that are not in a final state, oldest first.
    ///
    /// # Errors
    /// When the database refuses or holds what it should not.
    pub async fn unfinished(&self) -> Result<Vec<Unfinished>, StoreError> {
        sqlx::query(
            "SELECT * FROM session \
             WHERE state NOT IN ('completed', 'failed', 'stopped', 'expired') ORDER BY number",
        )
        .fetch_all(&self.writer)
        .await
        .map_err(database("list unfinished sessions"))?
        .iter()
        .map(unfinished)
        .collect()
    }
}

fn unfinished(row: &SqliteRow) -> Result<Unfinished, StoreError> {
    let request_id: String = column(row, "request_id")?;
    let readable: Option<String> = column(row, "readable")?;
    let stop: Option<String> = column(row, "stop")?;
    let allowed_paths: Option<String> = column(row, "allowed_paths")?;
    let blocked_commands: String = column(row, "blocked_commands")?;
    Ok(Unfinished {
        session: NewSession {
            view: view(row)?,
            prd_text: column(row, "prd_text")?,
            principal: column(row, "principal")?,
            request_id: request_id
                .parse()
                .map_err(|_| malformed("a request id", request_id))?,
            branch_protection: column(row, "branch_protection")?,
            blocked_commands: parsed("a list of commands", &blocked_commands)?,
            sandbox: column(row, "sandbox")?,
            allowed_paths: allowed_paths
                .map(|text| parsed("a list of paths", &text))
                .transpose()?,
            readable: readable
                .map(|text| parsed("a list of projects", &text))
                .transpose()?,
            // It has served when the session was stored.
            start_key: None,
        },
        stop: stop
            .map(|text| parsed("a request to stop", &text))
            .transpose()?,
    })
}

/// Reads what callers see of a session.
pub(super) fn view(row: &SqliteRow) -> Result<SessionView, StoreError> {
    let id: String = column(row, "id")?;
    let hand_off: Option<String> = column(row, "hand_off")?;
    Ok(SessionView {
        id: id.parse().map_err(|_| malformed("a session id", id))?,
        state: state(&column::<String>(row, "state")?)?,
        reason: column(row, "reason")?,
        project: column(row, "project")?,
        prd: column(row, "prd_name")?,
        provider: column(row, "provider")?,
        started_by: column(row, "started_by")?,
        autonomy_mode: mode(column(row, "autonomy_mode")?)?,
        staged_autonomy: column(row, "staged_autonomy")?,
        iteration: from_stored("an iteration", column(row, "iteration")?)?,
        iterations_max: from_stored("an iteration", column(row, "iterations_max")?)?,
        branch: column(row, "branch")?,
        verification: parsed("a verification", &column::<String>(row, "verification")?)?,
        hand_off: hand_off
            .map(|text| parsed("a hand-off", &text))
            .transpose()?,
        effective_enforcement: parsed("an enforcement", &column::<String>(row, "enforcement")?)?,
        cost_usd: column(row, "cost_usd")?,
        usage: parsed("a usage", &column::<String>(row, "usage")?)?,
        budget_usd: column(row, "budget_usd")?,
        model: column(row, "model")?,
        created_at: column(row, "created_at")?,
        ended_at: column(row, "ended_at")?,
    })
}

fn mode(name: String) -> Result<AutonomyMode, StoreError> {
    name.parse()
        .map_err(|_| malformed("an autonomy mode", name))
}

/// Reads a state by its stored name.
pub(super) fn state(name: &str) -> Result<SessionState, StoreError> {
    SessionState::EVERY
        .into_iter()
        .find(|state| state.name() == name)
        .ok_or_else(|| malformed("a state", name))
}

fn column<'row, T>(row: &'row SqliteRow, name: &'static str) -> Result<T, StoreError>
where
    T: sqlx::Decode<'row, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
{
    row.try_get(name).map_err(database("read a session"))
}

fn json<T: Serialize + ?Sized>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| malformed("a value to store", error.to_string()))
}

fn parsed<T: DeserializeOwned>(what: &'static str, text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| malformed(what, text))
}
