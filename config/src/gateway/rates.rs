//! How often one caller may ask, by class of operation.

use crate::load::{Key, Reader};
use crate::rate::Rate;

/// The rates; none means as often as the caller likes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Operations that show something.
    pub read: Option<Rate>,
    /// Operations that change something.
    pub change: Option<Rate>,
    /// Operations that read the audit trail's files.
    pub audit: Option<Rate>,
}

impl Rates {
    /// Reads the `[rates]` table.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let mut rate =
            |name: &'static str, default: Rate| reader.value(&Key::new(name), Some(default));
        Self {
            read: rate("rates.read", Rate::per_minute(60_000)),
            change: rate("rates.change", Rate::per_minute(6_000)),
            audit: rate("rates.audit", Rate::per_minute(600)),
        }
    }
}
