//! Bounds how often one caller may ask: a bucket for each class of operation, and one for a token
//! that has a rate of its own.
//!
//! Invariant: counted by principal, so that nobody spends another's; exact (a generic cell rate) and
//! bounded; stopping something is never refused for having asked too often.

use std::collections::HashMap;
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use config::contract::operation::{Access, Operation};
use config::contract::scope::Scope;
use config::gateway::rates::Rates as Settings;
use config::rate::Rate;

use crate::credential::{Credential, Kind};

/// Parts of the table, each with its own lock.
const SHARDS: usize = 16;

/// Most callers in one part.
const CALLERS_MAX: usize = 4_096;

/// The buckets of all callers.
#[derive(Debug)]
pub(crate) struct Rates {
    hasher: RandomState,
    shards: [Mutex<HashMap<String, Buckets>>; SHARDS],
}

/// For each bucket of a caller, the nanosecond at which it is full again.
type Buckets = [i64; Class::COUNT];

/// A class of operations with a bucket of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Read,
    Change,
    Audit,
    /// All together, for a token that has its own rate.
    Token,
}

impl Class {
    const COUNT: usize = 4;

    /// Returns the class of an operation; none for what must never be refused.
    fn of(operation: &Operation) -> Option<Self> {
        if operation.name.ends_with(".stop") {
            return None;
        }
        Some(match operation.access {
            // Who asks is known once the token in the body was judged.
            Access::Public if operation.name == "auth.exchange" => Self::Change,
            Access::Public => return None,
            Access::Scoped(Scope::Audit) => Self::Audit,
            Access::Scoped(_) if operation.mutates() => Self::Change,
            Access::Scoped(_) => Self::Read,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Change => "change",
            Self::Audit => "audit",
            Self::Token => "token",
        }
    }

    const fn rate(self, settings: &Settings, credential: &Credential) -> Option<Rate> {
        match self {
            Self::Read => settings.read,
            Self::Change => settings.change,
            Self::Audit => settings.audit,
            Self::Token => credential.rate,
        }
    }
}

/// How a caller stands with the buckets of one request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Standing([Option<Bucket>; 2]);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Bucket {
    name: &'static str,
    rate: Rate,
    remaining: u32,
    reset_seconds: u32,
}

/// A caller asked too often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Seconds until the next request is taken.
    pub(crate) seconds: u32,
    /// How the caller stands.
    pub(crate) standing: Standing,
}

impl Default for Rates {
    fn default() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }
}

impl Rates {
    /// Takes one request out of the caller's buckets: of all of them, or of none.
    ///
    /// # Errors
    /// When one of them is empty.
    pub(crate) fn take(
        &self,
        operation: &Operation,
        credential: &Credential,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Standing, Exceeded> {
        match Class::of(operation) {
            Some(class) => self.take_of(class, credential, settings, now),
            None => Ok(Standing::default()),
        }
    }

    /// Takes a request that asked for what does not exist or is not granted: it counts as one that
    /// shows something.
    ///
    /// # Errors
    /// When a bucket is empty.
    pub(crate) fn take_denial(
        &self,
        credential: &Credential,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<(), Exceeded> {
        let taken = self.take_of(Class::Read, credential, settings, now);
        taken.map(|_| ())
    }

    fn take_of(
        &self,
        class: Class,
        credential: &Credential,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Standing, Exceeded> {
        if credential.kind == Kind::Nothing {
            return Ok(Standing::default());
        }
        let due = [class, Class::Token]
            .map(|class| class.rate(settings, credential).map(|rate| (class, rate)));
        if due.iter().all(Option::is_none) {
            return Ok(Standing::default());
        }
        let now = now.timestamp_nanos_opt().unwrap_or(i64::MAX);
        let principal = credential.caller.principal.as_str();
        let mut shard = self.shard(principal);
        let held = shard.get(principal).copied().unwrap_or_default();
        let mut next = held;
        let mut longest_wait = 0;
        for (class, rate) in due.iter().flatten() {
            let place = &mut next[*class as usize];
            let full_at = (*place).max(now) + increment(*rate);
            longest_wait = longest_wait.max(full_at - window(*rate) - now);
            *place = full_at;
        }
        if longest_wait > 0 {
            let standing = standing(&due, &held, now);
            return Err(Exceeded {
                seconds: seconds(longest_wait),
                standing,
            });
        }
        match shard.get_mut(principal) {
            Some(buckets) => *buckets = next,
            None => {
                make_room(&mut shard, now);
                shard.insert(principal.to_owned(), next);
            }
        }
        drop(shard);
        Ok(standing(&due, &next, now))
    }

    fn shard(&self, principal: &str) -> std::sync::MutexGuard<'_, HashMap<String, Buckets>> {
        let hash = self.hasher.hash_one(principal).to_le_bytes();
        let shard = &self.shards[usize::from(hash[0]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Standing {
    /// Returns the fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers);
    /// none where no rate holds.
    pub(crate) fn fields(&self) -> Option<(String, String)> {
        if self.0.iter().all(Option::is_none) {
            return None;
        }
        let mut policy = String::with_capacity(FIELD_BYTES);
        let mut limit = String::with_capacity(FIELD_BYTES);
        for (position, bucket) in self.0.iter().flatten().enumerate() {
            let comma = if position == 0 { "" } else { ", " };
            let Bucket {
                name,
                rate,
                remaining,
                reset_seconds,
            } = bucket;
            let (count, window) = (rate.count(), rate.window_seconds());
            // Writing into a String cannot fail.
            write!(policy, "{comma}\"{name}\";q={count};w={window}").unwrap_or_default();
            write!(limit, "{comma}\"{name}\";r={remaining};t={reset_seconds}").unwrap_or_default();
        }
        Some((policy, limit))
    }
}

fn standing(due: &[Option<(Class, Rate)>; 2], buckets: &Buckets, now: i64) -> Standing {
    let bucket = |(class, rate): (Class, Rate)| {
        let used = (buckets[class as usize] - now).max(0);
        let left = (window(rate) - used) / increment(rate);
        Bucket {
            name: class.name(),
            rate,
            remaining: u32::try_from(left).unwrap_or(0).min(rate.count()),
            reset_seconds: seconds(used),
        }
    };
    Standing(due.map(|due| due.map(bucket)))
}

/// Room for a field with both buckets, so that writing it asks for memory once.
const FIELD_BYTES: usize = 64;

fn window(rate: Rate) -> i64 {
    i64::from(rate.window_seconds()) * 1_000_000_000
}

fn increment(rate: Rate) -> i64 {
    (window(rate) / i64::from(rate.count())).max(1)
}

fn seconds(nanoseconds: i64) -> u32 {
    u32::try_from((nanoseconds + 999_999_999) / 1_000_000_000).unwrap_or(u32::MAX)
}

/// A caller whose buckets are full is forgotten without a difference; if there is none, a sixteenth
/// of those whose are the fullest go.
fn make_room(shard: &mut HashMap<String, Buckets>, now: i64) {
    if shard.len() < CALLERS_MAX {
        return;
    }
    shard.retain(|_, buckets| buckets.iter().any(|full_at| *full_at > now));
    if shard.len() < CALLERS_MAX {
        return;
    }
    let full_at = |buckets: &Buckets| buckets.iter().max().copied().unwrap_or_default();
    let mut times: Vec<i64> = shard.values().map(full_at).collect();
    let (_, bound, _) = times.select_nth_unstable(CALLERS_MAX / 16);
    let bound = *bound;
    let mut surplus = CALLERS_MAX / 16;
    shard.retain(|_, buckets| {
        let goes = surplus > 0 && full_at(buckets) <= bound;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::{DateTime, TimeDelta, Utc};
    use config::contract::caller::{AuthMethod, Caller};
    use config::contract::id::TokenId;
    use config::contract::operation;
    use config::contract::scope::Role;
    use config::gateway::rates::Rates as Settings;
    use config::rate::Rate;

    use super::{CALLERS_MAX, Rates, SHARDS};
    use crate::credential::{Credential, Kind};

    fn at(ms: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).expect("time") + TimeDelta::milliseconds(ms)
    }

    fn rate(text: &str) -> Option<Rate> {
        Some(text.parse().expect("a rate"))
    }

    fn settings() -> Settings {
        Settings {
            read: rate("3/s"),
            change: rate("1/s"),
            audit: None,
        }
    }

    fn caller(principal: &str, own: Option<&str>) -> Credential {
        Credential {
            caller: Arc::new(Caller {
                user: "token:a".to_owned(),
                principal: principal.to_owned(),
                auth_method: AuthMethod::Token,
                scopes: Role::Admin.scopes(),
                projects: None,
            }),
            kind: Kind::Token(TokenId::from_random([0; 8])),
            expires_at: None,
            rate: own.and_then(rate),
        }
    }

    fn ask(rates: &Rates, name: &str, who: &Credential, ms: i64) -> Result<String, u32> {
        let operation = operation::named(name).expect("an operation");
        match rates.take(operation, who, &settings(), at(ms)) {
            Ok(standing) => Ok(standing
                .fields()
                .map_or_else(String::new, |(_, limit)| limit)),
            Err(exceeded) => Err(exceeded.seconds),
        }
    }

    #[test]
    fn a_bucket_is_emptied_exactly_and_fills_again() {
        let rates = Rates::default();
        let who = caller("a", None);
        for left in [2, 1, 0] {
            let found = ask(&rates, "status.show", &who, 0).expect("taken");
            assert!(
                found.starts_with(&format!("\"read\";r={left};t=")),
                "{found}"
            );
        }
        assert_eq!(ask(&rates, "status.show", &who, 0), Err(1));
        assert_eq!(ask(&rates, "status.show", &who, 333), Err(1));
        assert!(ask(&rates, "status.show", &who, 334).is_ok());
        assert_eq!(ask(&rates, "status.show", &who, 334), Err(1));
    }

    #[test]
    fn classes_and_callers_do_not_spend_each_others() {
        let rates = Rates::default();
        let (a, b) = (caller("a", None), caller("b", None));
        assert!(ask(&rates, "session.start", &a, 0).is_ok());
        assert_eq!(ask(&rates, "session.start", &a, 0), Err(1));
        assert!(ask(&rates, "status.show", &a, 0).is_ok());
        assert!(ask(&rates, "session.start", &b, 0).is_ok());
        for _ in 0..100 {
            assert_eq!(ask(&rates, "session.stop", &a, 0), Ok(String::new()));
            assert_eq!(ask(&rates, "control.stop", &a, 0), Ok(String::new()));
            assert_eq!(ask(&rates, "audit.query", &a, 0), Ok(String::new()));
        }
    }

    #[test]
    fn asking_in_vain_empties_the_same_bucket_as_reading() {
        let rates = Rates::default();
        let who = caller("a", Some("4/m"));
        for _ in 0..3 {
            assert_eq!(rates.take_denial(&who, &settings(), at(0)), Ok(()));
        }
        let refused = rates.take_denial(&who, &settings(), at(0));
        assert_eq!(refused.map_err(|exceeded| exceeded.seconds), Err(1));
        assert_eq!(ask(&rates, "status.show", &who, 0), Err(1));
        assert!(ask(&rates, "session.start", &who, 0).is_ok());
        let nobody = Credential::without(Arc::clone(&who.caller));
        for _ in 0..10 {
            assert_eq!(rates.take_denial(&nobody, &settings(), at(0)), Ok(()));
        }
    }

    #[test]
    fn a_tokens_own_rate_counts_all_and_a_refusal_takes_nothing() {
        let rates = Rates::default();
        let who = caller("a", Some("2/m"));
        let first = ask(&rates, "status.show", &who, 0).expect("taken");
        assert_eq!(first, "\"read\";r=2;t=1, \"token\";r=1;t=30");
        assert!(ask(&rates, "session.start", &who, 0).is_ok());
        for _ in 0..10 {
            assert_eq!(ask(&rates, "status.show", &who, 0), Err(30));
        }
        // The refused requests took nothing of the class's bucket either.
        assert!(ask(&rates, "status.show", &who, 30_000).is_ok());
        assert_eq!(ask(&rates, "session.stop", &who, 0), Ok(String::new()));
    }

    #[test]
    fn memory_is_bounded_and_whoever_asked_most_is_kept() {
        let rates = Rates::default();
        let busy = caller("busy", None);
        while ask(&rates, "status.show", &busy, 0).is_ok() {}
        for number in 0..3 * SHARDS * CALLERS_MAX {
            assert!(ask(&rates, "status.show", &caller(&number.to_string(), None), 0).is_ok());
        }
        let held: usize = rates
            .shards
            .iter()
            .map(|shard| shard.lock().expect("shard").len())
            .sum();
        assert!(held <= SHARDS * CALLERS_MAX, "{held}");
        assert_eq!(ask(&rates, "status.show", &busy, 0), Err(1));
    }
}
