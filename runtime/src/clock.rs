//! The wall clock: the only place in the runtime that reads it.
//!
//! Everything else is given the time, so that rules can be tested at any moment.

use chrono::{DateTime, SecondsFormat, Utc};

/// Returns the time now.
#[must_use]
#[expect(
    clippy::disallowed_methods,
    reason = "this is the runtime's clock module"
)]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Returns a time as written in records and answers: RFC 3339 in UTC, with milliseconds.
#[must_use]
pub fn written(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::written;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds() {
        let check = |millis: i64, expected: &str| {
            let time = DateTime::<Utc>::from_timestamp_millis(millis).expect("a time");
            assert_eq!(written(time), expected);
        };
        check(0, "1970-01-01T00:00:00.000Z");
        check(1_770_033_600_007, "2026-02-02T12:00:00.007Z");
    }
}
