//! Random bytes.

use rustls::crypto::aws_lc_rs;

use crate::failure::Failure;

/// Returns random bytes from the system.
pub(crate) fn bytes<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut bytes)
        .map_err(|_| Failure::failed("the system gave no randomness"))?;
    Ok(bytes)
}
