//! Random ids.

use std::cell::RefCell;

use aws_lc_rs::rand;

/// The system gave no randomness; nothing that needs an id can go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no randomness")]
pub struct NoRandomness;

/// Bytes that a thread draws at once for ids.
const DRAWN: usize = 1024;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; DRAWN], used: DRAWN }) };
}

/// Random bytes that were drawn and not given out yet.
struct Pool {
    bytes: [u8; DRAWN],
    used: usize,
}

/// Returns random bytes for an id that is no secret, of which many are needed: the system is asked for many at once.
///
/// # Errors
/// When the system gives none.
pub(crate) fn id_bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], NoRandomness> {
    const { assert!(LENGTH <= DRAWN) };
    POOL.with_borrow_mut(|pool| {
        if pool.used + LENGTH > DRAWN {
            rand::fill(&mut pool.bytes).map_err(|_| NoRandomness)?;
            pool.used = 0;
        }
        let mut bytes = [0; LENGTH];
        bytes.copy_from_slice(&pool.bytes[pool.used..pool.used + LENGTH]);
        pool.used += LENGTH;
        Ok(bytes)
    })
}

/// Returns random bytes.
///
/// # Errors
/// When the system gives none.
pub fn bytes<const LENGTH: usize>() -> Result<[u8; LENGTH], NoRandomness> {
    let mut bytes = [0; LENGTH];
    rand::fill(&mut bytes).map_err(|_| NoRandomness)?;
    Ok(bytes)
}
