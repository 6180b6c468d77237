//! Plain listeners beside the main one: operations, and the way to HTTPS.

use std::net::SocketAddr;

use crate::load::{Key, Reader};

/// The listeners that the operator switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Side {
    /// Answers health and metrics without credentials, and nothing else.
    pub operations: Option<SocketAddr>,
    /// Answers only that the same is found by HTTPS.
    pub redirect: Option<SocketAddr>,
}

impl Side {
    /// Reads `operations.listen` and `redirect.listen`.
    pub(crate) fn read(reader: &mut Reader, tls: bool) -> Self {
        let operations =
            reader.optional(&Key::new("operations.listen").variables(&["LOKI_OPERATIONS_LISTEN"]));
        let redirect = reader.optional(&Key::new("redirect.listen"));
        if redirect.is_some() && !tls {
            reader.mistake(
                "redirect.listen",
                "needs TLS, or there is nothing to redirect to: set tls.certificate and tls.key",
            );
        }
        Self {
            operations,
            redirect,
        }
    }
}
