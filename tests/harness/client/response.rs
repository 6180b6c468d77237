//! An answer, read by its own framing.

use std::io::{self, BufRead, Read};

use config::contract::problem::{MEDIA_TYPE, Problem};
use serde_json::Value;

/// An HTTP answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// The header fields as they came.
    pub fields: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
}

impl Response {
    /// Returns the only value of a field; none if it is missing.
    ///
    /// # Panics
    /// When it is there twice.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut values = self
            .fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str());
        let value = values.next();
        assert_eq!(values.next(), None, "{name} came twice");
        value
    }

    /// Returns the body as text.
    ///
    /// # Panics
    /// When it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("bodies are UTF-8")
    }

    /// Returns the body as JSON.
    ///
    /// # Panics
    /// When it is something else.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON: {error}: {}", self.text()))
    }

    /// Returns the problem that the body tells of.
    ///
    /// # Panics
    /// When it tells of none, or of another status.
    #[must_use]
    pub fn problem(&self) -> Problem {
        assert_eq!(
            self.field("content-type"),
            Some(MEDIA_TYPE),
            "{}",
            self.text()
        );
        let problem: Problem = serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not a problem: {error}: {}", self.text()));
        assert_eq!(problem.status, self.status);
        problem
    }

    /// Returns itself if the status is `status`.
    ///
    /// # Panics
    /// When it is another.
    #[must_use]
    pub fn with_status(self, status: u16) -> Self {
        assert_eq!(
            self.status,
            status,
            "{}",
            String::from_utf8_lossy(&self.body)
        );
        self
    }

    /// Reads an answer to a request of `method`.
    pub(super) fn read(stream: &mut impl BufRead, method: &str) -> io::Result<Self> {
        let (status, fields) = loop {
            let (status, fields) = head(stream)?;
            if status != 100 {
                break (status, fields);
            }
        };
        let mut response = Self {
            status,
            fields,
            body: Vec::new(),
        };
        if method == "HEAD" || status == 204 || status == 304 {
            return Ok(response);
        }
        response.body = if response.field("transfer-encoding") == Some("chunked") {
            chunked(stream)?
        } else if let Some(length) = response.field("content-length") {
            let mut body = vec![0; length.parse().map_err(io::Error::other)?];
            stream.read_exact(&mut body)?;
            body
        } else {
            let mut body = Vec::new();
            stream.read_to_end(&mut body)?;
            body
        };
        Ok(response)
    }
}

fn head(stream: &mut impl BufRead) -> io::Result<(u16, Vec<(String, String)>)> {
    let first = line(stream)?;
    let status = first
        .strip_prefix("HTTP/1.1 ")
        .and_then(|rest| rest.get(..3)?.parse().ok())
        .ok_or_else(|| io::Error::other(format!("not a status line: {first:?}")))?;
    let mut fields = Vec::new();
    loop {
        let field = line(stream)?;
        if field.is_empty() {
            return Ok((status, fields));
        }
        let (name, value) = field
            .split_once(':')
            .ok_or_else(|| io::Error::other(format!("not a field: {field:?}")))?;
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

fn chunked(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let size = usize::from_str_radix(&line(stream)?, 16).map_err(io::Error::other)?;
        if size == 0 {
            while !line(stream)?.is_empty() {}
            return Ok(body);
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..])?;
        line(stream)?;
    }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut text = String::new();
    if stream.take(64 * 1024).read_line(&mut text)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(text.trim_end_matches(['\r', '\n']).to_owned())
}
