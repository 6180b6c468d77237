//! An admitted request that the gateway answers itself.

use std::sync::Arc;

use config::contract::audit::Note;
use http::HeaderMap;
use pingora::proxy::Session;

use crate::admission::Admitted;
use crate::body;
use crate::credential::Credential;
use crate::refusal::Refusal;
use crate::request::RequestRecord;
use crate::state::State;
use crate::tokens::select::Selector;

/// The request, its record, and what it may look at.
pub(crate) struct Request<'a> {
    /// The proof of admission.
    pub(crate) admitted: &'a Admitted,
    /// The connection's side of it.
    pub(crate) session: &'a mut Session,
    /// What is known about it so far.
    pub(crate) record: &'a mut RequestRecord,
    /// Everything that it may look at.
    pub(crate) state: &'a State,
}

impl Request<'_> {
    /// Reads the whole body, as long as the operation allows.
    ///
    /// # Errors
    /// When it is longer, or breaks off.
    pub(crate) async fn body(&mut self) -> Result<Vec<u8>, Refusal> {
        let bytes_max = self.admitted.operation().body_bytes_max;
        body::read(self.session, self.record, bytes_max).await
    }

    /// Returns the query.
    pub(crate) fn query(&self) -> Option<&str> {
        self.session.req_header().uri.query()
    }

    /// Returns the header fields.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.session.req_header().headers
    }

    /// Returns who asks, and with what.
    pub(crate) fn credential(&self) -> &Arc<Credential> {
        self.admitted.credential()
    }

    /// Returns the only value of the path.
    pub(crate) fn captured(&self) -> &str {
        let path = self.session.req_header().uri.path();
        self.admitted
            .operation()
            .captures(path)
            .and_then(|values| values.first().copied())
            .unwrap_or_default()
    }

    /// Returns the token that the path names.
    pub(crate) fn selector(&self) -> Selector {
        let Ok(selector) = self.captured().parse();
        selector
    }

    /// Tells the audit trail what was touched.
    pub(crate) fn note(&mut self, note: Note) {
        self.record.note(note);
    }
}
