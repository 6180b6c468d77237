//! Answers that were given under an `Idempotency-Key`, so that asking again does nothing twice.
//!
//! Invariant: a key belongs to one caller and one operation, and stands for one body, sent with one
//! binding to projects: what was made for a wider caller is never shown to a narrower one of the same
//! name. Answers are kept in this process's memory alone, for a day, and bounded in number: they hold
//! secrets.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use config::contract::caller::Caller;
use http::HeaderMap;
use sha2::{Digest, Sha256};

use crate::answer::Answer;
use crate::refusal::Refusal;

/// The request header.
const HEADER: &str = "idempotency-key";

/// Longest key in bytes.
const KEY_BYTES_MAX: usize = 255;

/// How long an answer is kept.
const KEPT: TimeDelta = TimeDelta::hours(24);

/// Most answers that are kept; beyond, the oldest goes.
const ANSWERS_MAX: usize = 1_024;

/// Answers by key.
#[derive(Debug, Default)]
pub(crate) struct Answers(Mutex<HashMap<[u8; 32], Given>>);

#[derive(Debug)]
struct Given {
    body: [u8; 32],
    answer: Answer,
    at: DateTime<Utc>,
}

/// What a key stands for: this caller, this operation, this body by whoever is bound so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Key {
    name: [u8; 32],
    body: [u8; 32],
}

impl Key {
    /// Reads the key of a request, if it has one.
    ///
    /// # Errors
    /// When there are several, or it is empty, too long, or not visible ASCII.
    pub(crate) fn of(
        headers: &HeaderMap,
        caller: &Caller,
        operation: &str,
        body: &[u8],
    ) -> Result<Option<Self>, Refusal> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let text = value.as_bytes();
        let fits = (1..=KEY_BYTES_MAX).contains(&text.len())
            && text.iter().all(|byte| (b' '..=b'~').contains(byte));
        if values.next().is_some() || !fits {
            return Err(Refusal::BadParameter(format!(
                "Idempotency-Key: expected one value of 1 to {KEY_BYTES_MAX} visible characters"
            )));
        }
        let name = [caller.principal.as_bytes(), operation.as_bytes(), text];
        let mut projects: Vec<&str> = match &caller.projects {
            None => Vec::new(),
            Some(bound) => bound.iter().map(String::as_str).collect(),
        };
        projects.sort_unstable();
        let bound: &[u8] = if caller.projects.is_some() {
            b"bound"
        } else {
            b""
        };
        let asked = [body, bound];
        let projects = projects.into_iter().map(str::as_bytes);
        Ok(Some(Self {
            name: digest(name.into_iter()),
            body: digest(asked.into_iter().chain(projects)),
        }))
    }
}

/// The digest of parts, each with its length, so that no two lists of parts have the same.
fn digest<'a>(parts: impl Iterator<Item = &'a [u8]>) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part);
    }
    digest.finalize().into()
}

impl Answers {
    /// Returns the answer that was given under a key.
    ///
    /// # Errors
    /// When the key stood for another body.
    pub(crate) fn find(&self, key: &Key, now: DateTime<Utc>) -> Result<Option<Answer>, Refusal> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match answers.get(&key.name).filter(|given| now - given.at < KEPT) {
            None => Ok(None),
            Some(given) if given.body == key.body => Ok(Some(given.answer.clone())),
            Some(_) => Err(Refusal::Conflict {
                detail: "the Idempotency-Key was used for another request".to_owned(),
                candidates: Vec::new(),
            }),
        }
    }

    /// Keeps an answer.
    pub(crate) fn keep(&self, key: &Key, answer: &Answer, now: DateTime<Utc>) {
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= ANSWERS_MAX {
            answers.retain(|_, given| now - given.at < KEPT);
        }
        if answers.len() >= ANSWERS_MAX {
            let oldest = answers
                .iter()
                .min_by_key(|(_, given)| given.at)
                .map(|(name, _)| *name);
            oldest.and_then(|name| answers.remove(&name));
        }
        answers.insert(
            key.name,
            Given {
                body: key.body,
                answer: answer.clone(),
                at: now,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use config::contract::caller::{AuthMethod, Caller};
    use config::contract::scope::Role;
    use http::HeaderMap;

    use super::{ANSWERS_MAX, Answers, Key};
    use crate::answer::Answer;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time")
    }

    fn key(principal: &str, text: &str, body: &[u8]) -> Key {
        bound_key(principal, None, text, body)
    }

    fn bound_key(principal: &str, projects: Option<&[&str]>, text: &str, body: &[u8]) -> Key {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", text.parse().expect("a value"));
        let caller = Caller {
            user: String::new(),
            principal: principal.to_owned(),
            auth_method: AuthMethod::Oidc,
            scopes: Role::Admin.scopes(),
            projects: projects.map(|list| list.iter().map(|path| (*path).to_owned()).collect()),
        };
        let key = Key::of(&headers, &caller, "token.generate", body).expect("a good key");
        key.expect("a key")
    }

    #[test]
    fn a_key_stands_for_one_caller_and_one_body() {
        let answers = Answers::default();
        let answer = Answer::text("text/plain", "first");
        answers.keep(&key("a", "k", b"1"), &answer, now());
        let found = |key: &Key, at| answers.find(key, at).map(|found| found.map(|a| a.body));
        assert_eq!(found(&key("a", "k", b"1"), now()), Ok(Some("first".into())));
        assert_eq!(found(&key("b", "k", b"1"), now()), Ok(None));
        assert!(found(&key("a", "k", b"2"), now()).is_err());
        assert_eq!(
            found(&key("a", "k", b"2"), now() + TimeDelta::hours(24)),
            Ok(None)
        );
    }

    #[test]
    fn a_caller_bound_otherwise_is_not_shown_the_answer() {
        let answers = Answers::default();
        let answer = Answer::text("text/plain", "secret");
        answers.keep(&key("a", "k", b"1"), &answer, now());
        for narrower in [&[][..], &["/a"], &["/a", "/b"]] {
            let key = bound_key("a", Some(narrower), "k", b"1");
            assert!(answers.find(&key, now()).is_err(), "{narrower:?}");
        }
        let ab = bound_key("b", Some(&["/a", "/b"]), "k", b"1");
        answers.keep(&ab, &answer, now());
        let found = |projects| answers.find(&bound_key("b", projects, "k", b"1"), now());
        assert!(found(Some(&["/b", "/a"])).is_ok_and(|found| found.is_some()));
        assert!(found(Some(&["/a"])).is_err() && found(None).is_err());
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_goes() {
        let answers = Answers::default();
        let answer = Answer::text("text/plain", "");
        for number in 0..=ANSWERS_MAX {
            let at = now() + TimeDelta::milliseconds(i64::try_from(number).expect("small"));
            answers.keep(&key("a", &number.to_string(), b""), &answer, at);
        }
        let found = |text: &str| {
            answers
                .find(&key("a", text, b""), now())
                .expect("no conflict")
        };
        assert!(found("0").is_none() && found("1").is_some());
    }
}
