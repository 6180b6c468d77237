//! Resource limits of each process.
//!
//! Invariant: a limit is only ever lowered, soft and hard together, so the program cannot raise it.

use rustix::io;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::policy::Limits;

/// Turns core dumps off, since they hold the memory of a process, and lowers what the policy names.
///
/// # Errors
/// The kernel's error, which cannot happen for a limit that is lowered.
pub(crate) fn lower(limits: &Limits) -> io::Result<()> {
    lower_one(Resource::Core, Some(0))?;
    lower_one(Resource::Nofile, limits.open_files)?;
    lower_one(Resource::Fsize, limits.file_size_bytes)?;
    lower_one(Resource::Data, limits.memory_bytes)?;
    lower_one(Resource::Nproc, limits.processes)
}

fn lower_one(resource: Resource, limit: Option<u64>) -> io::Result<()> {
    let Some(limit) = limit else { return Ok(()) };
    // `None` is unlimited.
    let value = getrlimit(resource)
        .maximum
        .map_or(limit, |maximum| maximum.min(limit));
    setrlimit(
        resource,
        Rlimit {
            current: Some(value),
            maximum: Some(value),
        },
    )
}
