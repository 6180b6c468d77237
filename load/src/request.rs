//! What is asked, and which answer counts as right.

use std::sync::Arc;

/// One request that a load repeats.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// The method.
    pub(crate) method: &'static str,
    /// Path and query.
    pub(crate) path: Arc<str>,
    /// The `Authorization` field.
    pub(crate) authorization: Option<String>,
    /// The body, JSON.
    pub(crate) body: Option<&'static str>,
    /// Statuses that count as right.
    pub(crate) statuses: &'static [u16],
}

impl Request {
    /// Asks for a path with this credential, or none.
    pub(crate) fn read(
        path: &Arc<str>,
        credential: Option<&str>,
        statuses: &'static [u16],
    ) -> Self {
        Self {
            method: "GET",
            path: Arc::clone(path),
            authorization: credential.map(|credential| format!("Bearer {credential}")),
            body: None,
            statuses,
        }
    }

    /// Returns the bytes of the request in HTTP/1.1.
    pub(crate) fn wire(&self, authority: &str) -> Vec<u8> {
        let mut text = format!(
            "{} {} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\nUser-Agent: loki-load/{}\r\n",
            self.method,
            self.path,
            env!("CARGO_PKG_VERSION")
        );
        if let Some(authorization) = &self.authorization {
            text.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        if let Some(body) = self.body {
            text.push_str(&format!(
                "Content-Type: application/json\r\nContent-Length: {}\r\n",
                body.len()
            ));
        }
        text.push_str("\r\n");
        text.push_str(self.body.unwrap_or_default());
        text.into_bytes()
    }
}
