//! Makes the caller statement for each attempt to reach the runtime.

use std::sync::atomic::{AtomicU64, Ordering};

use config::contract::caller::{Caller, StatementError, StatementKey, StatementParts, VERSION};
use config::contract::id::{InstanceId, RequestId};

use crate::clock;

/// The newest key and the counter of this run.
#[derive(Debug)]
pub(crate) struct Statements {
    key: StatementKey,
    instance: InstanceId,
    counter: AtomicU64,
}

impl Statements {
    /// Begins a run with a fresh instance id.
    pub(crate) const fn new(key: StatementKey, instance: InstanceId) -> Self {
        Self {
            key,
            instance,
            counter: AtomicU64::new(0),
        }
    }

    /// Returns the header value that tells the runtime who is calling.
    ///
    /// # Errors
    /// When the statement cannot be put into JSON.
    pub(crate) fn make(
        &self,
        request_id: &RequestId,
        method: &str,
        target: &str,
        caller: &Caller,
        sole_approver: bool,
    ) -> Result<String, StatementError> {
        self.key.sign(StatementParts {
            version: VERSION,
            instance: &self.instance,
            counter: self.counter.fetch_add(1, Ordering::Relaxed) + 1,
            issued_at_ms: clock::now().timestamp_millis(),
            request_id,
            method,
            target,
            caller,
            sole_approver,
        })
    }
}
