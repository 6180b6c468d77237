//! Changes that touch many tokens: withdrawing all that fit, and forgetting what is long over.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, ChangeError};
use crate::tokens::journal::Target;
use crate::tokens::record::{Standing, TokenRecord};
use crate::tokens::store;
use crate::tokens::withdrawal::{WITHDRAWALS_MAX, Withdrawal};

/// How long the record of an exchanged token is kept after its end.
const FEDERATED_KEPT: TimeDelta = TimeDelta::hours(24);

impl Change {
    /// Withdraws every credential that fits, also those of other issuers, and returns the records
    /// of our own tokens that were in use until now.
    ///
    /// # Errors
    /// When too many withdrawals are kept already.
    pub fn withdraw(
        &mut self,
        withdrawal: &Withdrawal,
        by: &str,
        now: DateTime<Utc>,
    ) -> Result<Vec<TokenRecord>, ChangeError> {
        store::remember(&mut self.stored.withdrawals, withdrawal);
        if self.stored.withdrawals.len() > WITHDRAWALS_MAX {
            return Err(ChangeError::TooMany);
        }
        let mut taken_back = Vec::new();
        for record in &mut self.stored.records {
            if record.standing(now) == Standing::Active && withdrawal.covers(&record.traits()) {
                record.revoked_at = Some(now);
                record.revoked_by = Some(by.to_owned());
                taken_back.push(record.clone());
            }
        }
        self.journal(Target::Credentials(withdrawal.clone()), by, now);
        Ok(taken_back)
    }

    /// Drops the records of exchanged tokens that ended a day ago: jobs make many of them, and the
    /// audit trail keeps who had them.
    pub(super) fn forget_old_exchanges(&mut self, now: DateTime<Utc>) {
        self.stored.records.retain(|record| {
            let over = record
                .expires_at
                .is_some_and(|end| end + FEDERATED_KEPT < now);
            record.federated.is_none() || !over
        });
    }
}
