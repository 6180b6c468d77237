//! This terminal: how large it is, and that every key goes through.
//!
//! Invariant: what was changed is put back when the value goes.

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

/// A terminal that hands on every key; put back when dropped.
#[derive(Debug)]
pub(super) struct Raw(Option<Termios>);

impl Raw {
    /// Has every key handed on; where standard input is no terminal there is nothing to do.
    pub(super) fn enter() -> Self {
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Self(None);
        };
        let mut raw = before.clone();
        raw.make_raw();
        match tcsetattr(&stdin, OptionalActions::Now, &raw) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            match tcsetattr(std::io::stdin(), OptionalActions::Now, before) {
                // There is nobody to tell, and nothing else to try.
                Ok(()) | Err(_) => (),
            }
        }
    }
}

/// Returns columns and rows.
pub(super) fn size() -> (u16, u16) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col, size.ws_row),
        Ok(_) | Err(_) => (80, 24),
    }
}
