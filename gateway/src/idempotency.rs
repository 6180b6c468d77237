//! Answers that were given under an `Idempotency-Key`, so that asking again does nothing twice.
//!
//! Invariant: a key belongs to one caller and one operation, and stands for one body. Answers are
//! kept in this process's memory alone, for a day, and bounded in number: they hold secrets.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
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

/// What a key stands for: this caller, this operation, this body.
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
        principal: &str,
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
        let mut name = Sha256::new();
        for part in [principal.as_bytes(), operation.as_bytes(), text] {
            name.update((part.len() as u64).to_be_bytes());
            name.update(part);
        }
        Ok(Some(Self {
            name: name.finalize().into(),
            body: Sha256::digest(body).into(),
        }))
    }
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
    use http::HeaderMap;

    use super::{ANSWERS_MAX, Answers, Key};
    use crate::answer::Answer;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time")
    }

    fn key(principal: &str, text: &str, body: &[u8]) -> Key {
        let mut headers = HeaderMap::new();
        headers.insert("idempotency-key", text.parse().expect("a value"));
        let key = Key::of(&headers, principal, "token.generate", body).expect("a good key");
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
