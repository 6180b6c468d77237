//! Token operations over HTTP: what the command line does offline, for whoever holds `*`.
//!
//! Invariant: a change answers when every gateway on this host has applied it, and a caller that is
//! bound to projects neither sees nor touches tokens that are not bound to those.

mod asked;
mod leak;

pub(super) use leak::report as report_leak;

use chrono::{DateTime, Utc};
use config::contract::audit::Note;
use config::home::Home;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::Request;
use crate::answer::Answer;
use crate::body;
use crate::clock;
use crate::credential::Credential;
use crate::idempotency::Key;
use crate::refusal::{CredentialFault, Refusal};
use crate::snapshot::Snapshot;
use crate::state::State;
use crate::tokens::acknowledge::{self, Awaited};
use crate::tokens::bounds::{Bounds, Wider};
use crate::tokens::change::{Change, ChangeError, Rotation};
use crate::tokens::format::FreshToken;
use crate::tokens::record::{Standing, TokenRecord};
use crate::tokens::select::{NotSelected, Selector};
use crate::tokens::store;
use crate::tokens::usage;
use crate::tokens::view::TokenView;
use asked::{Generate, Page, Revoke, Rotate};

/// One change at a time per process: each takes the lock of the token file.
static ONE_AT_A_TIME: Semaphore = Semaphore::const_new(1);

/// Makes a token and shows it, this once.
pub(super) async fn generate(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let body = request.body().await?;
    let now = clock::now();
    let maker = request.credential().clone();
    let key = Key::of(request.headers(), &maker.caller, "token.generate", &body)?;
    let own = own_bounds(&request.record.snapshot, &maker);
    let wanted = body::json::<Generate>(&body)?.wanted(&maker, &own, now)?;
    let _turn = turn().await?;
    if let Some(key) = &key
        && let Some(answer) = request.state.idempotency.find(key, now)?
    {
        request.note(Note::default().with("repeated", true));
        return Ok(answer);
    }
    let (token, record) = change(request.state, move |home| {
        let mut change = begin(home, &maker)?;
        let made = change.add(wanted, &maker.caller.user, now)?;
        let generation = change.commit().map_err(ChangeError::from)?;
        Ok((made, vec![Awaited::Addition(generation)]))
    })
    .await?;
    request.note(note(&record));
    let answer = secret(201, &token, &record, now)?;
    if let Some(key) = &key {
        request.state.idempotency.keep(key, &answer, now);
    }
    Ok(answer)
}

/// Lists tokens, oldest first.
pub(super) async fn list(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let page = Page::parse(request.query())?;
    let now = clock::now();
    let caller = request.credential().clone();
    let (total, tokens) = read(request.state, move |home| {
        let stored = store::load(home)?;
        let last_used = usage::load(home).unwrap_or_default();
        let fitting: Vec<&TokenRecord> = stored
            .records
            .iter()
            .filter(|record| page.revoked_too || record.standing(now) == Standing::Active)
            .filter(|record| may_touch(&caller, record))
            .collect();
        let views: Vec<TokenView> = fitting
            .iter()
            .skip(page.offset)
            .take(page.limit)
            .map(|record| TokenView::new(record, last_used.get(&record.id).copied(), now))
            .collect();
        Ok((fitting.len(), views))
    })
    .await?;
    Answer::json(200, &json!({ "tokens": tokens, "total": total }))
}

/// Tells everything that is kept of one token.
pub(super) async fn show(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let selector = request.selector();
    let now = clock::now();
    let caller = request.credential().clone();
    let shown = read(request.state, move |home| {
        let stored = store::load(home)?;
        let found = crate::tokens::select::for_revocation(&stored.records, &selector, now);
        Ok(found.map(|position| {
            let record = &stored.records[position];
            let last_used = usage::load(home).unwrap_or_default();
            may_touch(&caller, record)
                .then(|| TokenView::new(record, last_used.get(&record.id).copied(), now))
        }))
    })
    .await?
    .map_err(|error| refusal(ChangeError::NotSelected(error)))?
    .ok_or_else(|| not_found(request.captured()))?;
    request.note(Note::about("token", &shown.id));
    Answer::json(200, &shown)
}

/// Makes a token in the place of another.
pub(super) async fn rotate(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let body = request.body().await?;
    let now = clock::now();
    let asked = body::json::<Rotate>(&body)?;
    let rotation: Rotation = asked.rotation()?;
    let caller = request.credential().clone();
    let own = own_bounds(&request.record.snapshot, &caller);
    let selector = request.selector();
    let text = request.captured().to_owned();
    let _turn = turn().await?;
    let (token, record, old) = change(request.state, move |home| {
        let mut change = begin(home, &caller)?;
        touchable(&change, &caller, &selector, &text, now)?;
        let made = change.rotate(&selector, rotation, &caller.caller.user, now)?;
        // Whoever rotates gets to see the new token. Nothing is written yet.
        not_wider(&made.1, &caller, &own)?;
        let generation = change.commit().map_err(ChangeError::from)?;
        let mut awaited = vec![Awaited::Addition(generation)];
        if made.2.revoked_at.is_some() {
            awaited.push(Awaited::Revocation(generation));
        }
        Ok((made, awaited))
    })
    .await?;
    request.note(note(&record).with("replaces", old.id.as_str()));
    let mut answer = json!(TokenView::new(&record, None, now));
    answer["token"] = token.raw().expose().into();
    answer["replaces"] = json!(TokenView::new(&old, None, now));
    Answer::json(201, &answer)
}

/// Takes a token back; with `permanent=true` its record goes too.
pub(super) async fn withdraw(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let permanent = asked::permanent(request.query())?;
    let now = clock::now();
    let caller = request.credential().clone();
    let selector = request.selector();
    let text = request.captured().to_owned();
    let _turn = turn().await?;
    let record = change(request.state, move |home| {
        let mut change = begin(home, &caller)?;
        touchable(&change, &caller, &selector, &text, now)?;
        let by = &caller.caller.user;
        let record = if permanent {
            change.delete(&selector, by, now)?
        } else {
            change.revoke(&selector, by, now)?
        };
        let generation = change.commit().map_err(ChangeError::from)?;
        Ok((record, vec![Awaited::Revocation(generation)]))
    })
    .await?;
    request.note(note(&record).with("permanent", permanent));
    let action = if permanent { "delete" } else { "revoke" };
    let answer = json!({ "status": "ok", "action": action, "identifier": record.id });
    Answer::json(200, &answer)
}

/// Withdraws every credential that fits.
pub(super) async fn withdraw_many(request: &mut Request<'_>) -> Result<Answer, Refusal> {
    let body = request.body().await?;
    let now = clock::now();
    let withdrawal = body::json::<Revoke>(&body)?.withdrawal(now)?;
    let caller = request.credential().clone();
    if caller.caller.projects.is_some() {
        return Err(Refusal::Conflict {
            detail: "a credential that is bound to projects cannot withdraw all others".to_owned(),
            candidates: Vec::new(),
        });
    }
    let _turn = turn().await?;
    let all = withdrawal.clone();
    let records = change(request.state, move |home| {
        let mut change = begin(home, &caller)?;
        let records = change.withdraw(&all, &caller.caller.user, now)?;
        let generation = change.commit().map_err(ChangeError::from)?;
        Ok((records, vec![Awaited::Revocation(generation)]))
    })
    .await?;
    let note = Note::about("token", "*")
        .with("withdrawn", withdrawal.to_string())
        .with("tokens", records.len());
    request.note(note);
    let tokens: Vec<&str> = records.iter().map(|record| record.id.as_str()).collect();
    Answer::json(
        200,
        &json!({ "status": "ok", "withdrawn": withdrawal, "tokens": tokens }),
    )
}

/// Begins a change for somebody whose credential is still good: the body may have taken its time, and
/// what was taken back meanwhile makes nothing new.
pub(super) fn begin(home: &Home, by: &Credential) -> Result<Change, Undone> {
    let change = Change::begin(home).map_err(ChangeError::from)?;
    if change.holds(by, clock::now()) {
        return Ok(change);
    }
    Err(Undone::Withdrawn(by.kind.withdrawn()))
}

/// Why a change could not be made.
pub(super) enum Undone {
    Withdrawn(CredentialFault),
    Change(ChangeError),
    NotFound(String),
    Wider(Wider),
}

impl From<Wider> for Undone {
    fn from(wider: Wider) -> Self {
        Self::Wider(wider)
    }
}

impl From<ChangeError> for Undone {
    fn from(error: ChangeError) -> Self {
        Self::Change(error)
    }
}

impl From<store::StoreError> for Undone {
    fn from(error: store::StoreError) -> Self {
        Self::Change(error.into())
    }
}

pub(super) async fn turn() -> Result<tokio::sync::SemaphorePermit<'static>, Refusal> {
    ONE_AT_A_TIME.acquire().await.map_err(|_| Refusal::Internal)
}

/// Makes a change on a thread that may wait for the disk and for the gateways to apply it.
pub(super) async fn change<T: Send + 'static>(
    state: &State,
    act: impl FnOnce(&Home) -> Result<(T, Vec<Awaited>), Undone> + Send + 'static,
) -> Result<T, Refusal> {
    let home = state.home.clone();
    let work = move || {
        let (made, awaited) = act(&home)?;
        for awaited in awaited {
            if let Err(silent) = acknowledge::wait(&home, awaited) {
                tracing::error!(%silent, "a change of the tokens is not applied everywhere yet");
            }
        }
        Ok(made)
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(made)) => Ok(made),
        Ok(Err(Undone::Withdrawn(fault))) => Err(Refusal::BadCredential(fault)),
        Ok(Err(Undone::NotFound(text))) => Err(not_found(&text)),
        Ok(Err(Undone::Wider(wider))) => Err(Refusal::Wider(wider)),
        Ok(Err(Undone::Change(error))) => Err(refusal(error)),
        Err(error) => {
            tracing::error!(%error, "changing tokens failed");
            Err(Refusal::Internal)
        }
    }
}

async fn read<T: Send + 'static>(
    state: &State,
    work: impl FnOnce(&Home) -> Result<T, store::StoreError> + Send + 'static,
) -> Result<T, Refusal> {
    let home = state.home.clone();
    match tokio::task::spawn_blocking(move || work(&home)).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(refusal(error.into())),
        Err(error) => {
            tracing::error!(%error, "reading tokens failed");
            Err(Refusal::Internal)
        }
    }
}

fn refusal(error: ChangeError) -> Refusal {
    let detail = error.to_string();
    match error {
        ChangeError::NotSelected(NotSelected::Nothing(text)) => not_found(&text),
        ChangeError::NotSelected(NotSelected::Several { candidates, .. }) => Refusal::Conflict {
            detail: "several tokens have this name".to_owned(),
            candidates,
        },
        ChangeError::NameTaken { .. }
        | ChangeError::NotRotatable { .. }
        | ChangeError::TooMany
        | ChangeError::TooManyExchanged => Refusal::Conflict {
            detail,
            candidates: Vec::new(),
        },
        ChangeError::Store(_) | ChangeError::NoRandomness(_) => {
            tracing::error!(error = detail, "cannot change tokens");
            Refusal::Internal
        }
    }
}

fn not_found(text: &str) -> Refusal {
    Refusal::NotFound(format!("there is no token {text:?}"))
}

/// Whether a caller may see and change a token: always, unless the caller is bound to projects.
fn may_touch(caller: &Credential, record: &TokenRecord) -> bool {
    let Some(own) = &caller.caller.projects else {
        return true;
    };
    record.bounds.projects.as_ref().is_some_and(|bound| {
        bound
            .iter()
            .all(|path| own.iter().any(|own| own == path.as_str()))
    })
}

fn touchable(
    change: &Change,
    caller: &Credential,
    selector: &Selector,
    text: &str,
    now: DateTime<Utc>,
) -> Result<(), Undone> {
    let record = change.find(selector, now).map_err(ChangeError::from)?;
    if may_touch(caller, record) {
        Ok(())
    } else {
        Err(Undone::NotFound(text.to_owned()))
    }
}

/// What the maker's own token is bound to; other credentials are bound to projects alone.
fn own_bounds(snapshot: &Snapshot, maker: &Credential) -> Bounds {
    let index = snapshot.tokens.load();
    let own = maker.token_id().and_then(|id| index.record(id));
    own.map_or_else(
        || Bounds {
            projects: maker
                .caller
                .projects
                .as_ref()
                .map(|paths| paths.iter().filter_map(|path| path.parse().ok()).collect()),
            ..Bounds::default()
        },
        |record| record.bounds.clone(),
    )
}

/// Checks that a token which a caller gets to see is no wider than the caller's own.
fn not_wider(made: &TokenRecord, maker: &Credential, own: &Bounds) -> Result<(), Wider> {
    if !made.scopes.within(maker.caller.scopes) {
        return Err(Wider::Scopes);
    }
    let end = maker.expires_at.filter(|_| maker.token_id().is_some());
    if let Some(end) = end
        && made.expires_at.is_none_or(|later| later > end)
    {
        return Err(Wider::Life);
    }
    made.bounds.within(own)
}

/// What the audit trail says of a token.
fn note(record: &TokenRecord) -> Note {
    let mut note = Note::about("token", record.id.as_str())
        .with("name", record.name.as_str())
        .with("scopes", record.shown_scopes());
    if let Some(expiry) = record.expires_at {
        note = note.with("expires", expiry.to_rfc3339());
    }
    note
}

fn secret(
    status: u16,
    token: &FreshToken,
    record: &TokenRecord,
    now: DateTime<Utc>,
) -> Result<Answer, Refusal> {
    let mut answer: Value = json!(TokenView::new(record, None, now));
    answer["token"] = token.raw().expose().into();
    Answer::json(status, &answer)
}
