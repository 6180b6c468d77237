//! Which token a person means by an id or a name.
//!
//! Invariant: a name never selects between several tokens by chance; the person is shown the ids.

use std::convert::Infallible;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use config::contract::id::TokenId;

use super::record::{Standing, TokenRecord};

/// An id or a name, as typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// A token id; no name can look like one.
    Id(TokenId),
    /// Anything else.
    Name(String),
}

impl FromStr for Selector {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(match text.parse() {
            Ok(id) => Self::Id(id),
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

/// Why nothing was selected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSelected {
    /// No token has the id or the name.
    #[error("there is no token {0:?}: loki enterprise token list --all shows what there is")]
    Nothing(String),
    /// Several have the name.
    #[error("the name {name:?} fits several tokens, use an id: {}", .candidates.join(", "))]
    Several {
        /// The name.
        name: String,
        /// Their ids, each with its standing.
        candidates: Vec<String>,
    },
}

/// Returns the position of the token to revoke: the active one of the name, else the one that it
/// took the place of, else the only expired one, else the only revoked one.
pub fn for_revocation(
    records: &[TokenRecord],
    selector: &Selector,
    now: DateTime<Utc>,
) -> Result<usize, NotSelected> {
    let fitting = fitting(records, selector)?;
    for (standing, superseded) in [
        (Standing::Active, false),
        (Standing::Active, true),
        (Standing::Expired, false),
        (Standing::Expired, true),
        (Standing::Revoked, false),
        (Standing::Revoked, true),
    ] {
        let positions: Vec<usize> = fitting
            .iter()
            .copied()
            .filter(|position| {
                let record = &records[*position];
                record.standing(now) == standing && record.superseded_by.is_some() == superseded
            })
            .collect();
        if !positions.is_empty() {
            return the_only(records, &positions, selector, now);
        }
    }
    Err(NotSelected::Nothing(shown(selector)))
}

/// Returns the position of the token to delete: the only one of the name, whatever its standing.
pub(crate) fn for_deletion(
    records: &[TokenRecord],
    selector: &Selector,
    now: DateTime<Utc>,
) -> Result<usize, NotSelected> {
    let fitting = fitting(records, selector)?;
    the_only(records, &fitting, selector, now)
}

fn fitting(records: &[TokenRecord], selector: &Selector) -> Result<Vec<usize>, NotSelected> {
    let fits = |record: &TokenRecord| match selector {
        Selector::Id(id) => record.id == *id,
        // All exchanged tokens have one name, which selects nothing.
        Selector::Name(name) => record.name.as_str() == name && record.federated.is_none(),
    };
    let positions: Vec<usize> = (0..records.len())
        .filter(|position| fits(&records[*position]))
        .collect();
    if positions.is_empty() {
        return Err(NotSelected::Nothing(shown(selector)));
    }
    Ok(positions)
}

fn the_only(
    records: &[TokenRecord],
    positions: &[usize],
    selector: &Selector,
    now: DateTime<Utc>,
) -> Result<usize, NotSelected> {
    if let [position] = positions {
        return Ok(*position);
    }
    Err(NotSelected::Several {
        name: shown(selector),
        candidates: positions
            .iter()
            .map(|position| &records[*position])
            .map(|record| format!("{} ({})", record.id, record.standing(now)))
            .collect(),
    })
}

fn shown(selector: &Selector) -> String {
    match selector {
        Selector::Id(id) => id.to_string(),
        Selector::Name(name) => name.clone(),
    }
}
