//! The name of a session's branch: `loki/session-<unix seconds>-<pid of the runtime>`.
//!
//! Invariant: a name is given out once per data directory.

use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use config::private;

/// Reserves a name that neither the project nor another session has; on collision the next second.
pub(super) fn reserve(
    reservations: &Path,
    taken: &[String],
    now: DateTime<Utc>,
) -> io::Result<String> {
    private::create_closed_directory(reservations)?;
    let process = std::process::id();
    let first = now.timestamp();
    for second in first..first.saturating_add(SECONDS_MAX) {
        let name = format!("session-{second}-{process}");
        let branch = format!("loki/{name}");
        if taken.contains(&branch) {
            continue;
        }
        match private::create_file(&reservations.join(name)) {
            Ok(_) => return Ok(branch),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => (),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::AlreadyExists,
        format!("the names of {SECONDS_MAX} seconds are taken"),
    ))
}

/// An hour: more sessions than a runtime can have started too early.
const SECONDS_MAX: i64 = 3_600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_give_way_to_the_next_second() {
        let folder = tempfile::tempdir().unwrap();
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let name = |second: i64| format!("loki/session-{second}-{}", std::process::id());
        let taken = [name(1_700_000_001)];
        let got: Vec<_> = (0..3)
            .map(|_| reserve(folder.path(), &taken, now).unwrap())
            .collect();
        let wanted = [1_700_000_000, 1_700_000_002, 1_700_000_003].map(name);
        assert_eq!(got, wanted);
    }
}
