//! Asks an issuer's server what time it is, to compare it with this host's clock.
//!
//! Invariant: the server is asked as it is for its keys, with the same guards; nothing that it says is
//! believed for more than this comparison.

use std::io;

use chrono::{DateTime, TimeDelta, Utc};
use config::gateway::oidc::Issuer;

use crate::authn::oidc::fetch::{FetchError, Fetcher};
use crate::clock;

/// A server tells the time to the second, rounded down.
const RESOLUTION: TimeDelta = TimeDelta::seconds(1);

/// Why the clocks cannot be compared.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unasked(String);

impl From<FetchError> for Unasked {
    fn from(error: FetchError) -> Self {
        Self(error.to_string())
    }
}

impl From<io::Error> for Unasked {
    fn from(error: io::Error) -> Self {
        Self(format!("cannot ask the issuer: {error}"))
    }
}

/// Returns how far the server's clock is at least before this host's; negative if it is behind, none
/// if the server tells no time. Blocks.
///
/// # Errors
/// When the server cannot be asked.
pub fn ahead(issuer: &Issuer) -> Result<Option<TimeDelta>, Unasked> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let before = clock::now();
    let told = runtime.block_on(async { Fetcher::new(issuer)?.server_time().await })?;
    Ok(told.map(|told| between(told, before, clock::now())))
}

/// The least difference that explains a time told between two moments.
fn between(told: DateTime<Utc>, before: DateTime<Utc>, after: DateTime<Utc>) -> TimeDelta {
    if told > after {
        told - after
    } else if told + RESOLUTION < before {
        told + RESOLUTION - before
    } else {
        TimeDelta::zero()
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};

    use super::between;

    #[test]
    fn a_difference_is_told_only_where_there_must_be_one() {
        let at = |second: i64, milliseconds: i64| -> DateTime<Utc> {
            let second = DateTime::from_timestamp(1_800_000_000 + second, 0).expect("time");
            second + TimeDelta::milliseconds(milliseconds)
        };
        let check = |told: i64, milliseconds: i64| {
            let found = between(at(told, 0), at(10, 500), at(11, 500));
            assert_eq!(found, TimeDelta::milliseconds(milliseconds), "{told}");
        };
        check(9, -500);
        check(10, 0);
        check(11, 0);
        check(12, 500);
        check(-20, -29_500);
        check(3_611, 3_599_500);
    }
}
