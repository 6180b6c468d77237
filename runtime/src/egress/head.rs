//! The head of a request to the proxy, read strictly.
//!
//! Invariant: a head that two programs could read differently is refused; nothing is repaired.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// A request's head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) fields: Vec<(String, String)>,
}

/// What came before and after the end of the head.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) head: Head,
    /// The beginning of the body.
    pub(super) rest: Vec<u8>,
}

/// Reads a head of at most [`HEAD_BYTES_MAX`] bytes; none if it is not one.
pub(super) async fn take(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Taken>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let rest = bytes.split_off(end + 4);
            return Ok(Head::read(&bytes[..end]).map(|head| Taken { head, rest }));
        }
        if bytes.len() >= HEAD_BYTES_MAX || stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}

impl Head {
    /// Reads the lines of a head, the empty one left out.
    fn read(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let (method, target, version) = (words.next()?, words.next()?, words.next()?);
        let visible =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        if words.next().is_some() || version != "HTTP/1.1" || !is_token(method) || !visible(target)
        {
            return None;
        }
        let fields = lines.map(field).collect::<Option<Vec<_>>>()?;
        let head = Self {
            method: method.to_owned(),
            target: target.to_owned(),
            fields,
        };
        head.is_framed_once().then_some(head)
    }

    /// Returns whether at most one field says where the body ends.
    fn is_framed_once(&self) -> bool {
        let framing = self.fields.iter().filter(|(name, _)| {
            name.eq_ignore_ascii_case("content-length")
                || name.eq_ignore_ascii_case("transfer-encoding")
        });
        framing.count() <= 1
    }

    /// Writes the head for another server: what belongs to one connection is left out, and so are
    /// `without`; `with` is added. The connection ends with its answer.
    pub(super) fn written(
        &self,
        target: &str,
        host: &str,
        without: &[&str],
        with: Option<(&str, &str)>,
    ) -> String {
        let mut text = format!(
            "{} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n",
            self.method
        );
        let dropped = |name: &str| {
            CONNECTION_FIELDS
                .iter()
                .chain(without)
                .any(|dropped| name.eq_ignore_ascii_case(dropped))
        };
        let kept = self.fields.iter().filter(|(name, _)| !dropped(name));
        for (name, value) in kept {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some((name, value)) = with {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text
    }
}

fn field(line: &str) -> Option<(String, String)> {
    let (name, value) = line.split_once(':')?;
    let value = value.trim_matches([' ', '\t']);
    let lawful = |byte: u8| byte == b'\t' || (byte >= b' ' && byte != 0x7f);
    (is_token(name) && value.bytes().all(lawful)).then(|| (name.to_owned(), value.to_owned()))
}

fn is_token(text: &str) -> bool {
    let lawful = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(lawful)
}

/// Fields that speak of one connection alone.
const CONNECTION_FIELDS: &[&str] = &[
    "host",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "proxy-authenticate",
    "te",
    "trailer",
    "upgrade",
    "expect",
];

/// Longest head.
const HEAD_BYTES_MAX: usize = 32 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "",
            "GET / HTTP/1.0",
            "GET  / HTTP/1.1",
            "GET / HTTP/1.1 x",
            "GET /\t HTTP/1.1",
            "G\0T / HTTP/1.1",
            "GET / HTTP/1.1\r\nA : b",
            "GET / HTTP/1.1\r\n folded",
            "GET / HTTP/1.1\r\nA: b\nC: d",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            "GET / HTTP/1.1\r\nContent-Length: 1\r\ncontent-length: 1",
            "CONNECT a\0b:443 HTTP/1.1",
            "CONNECT \u{430}.com:443 HTTP/1.1",
            "GET / HTTP/1.1\r\nnothing",
        ] {
            assert_eq!(Head::read(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_head_is_written_without_what_belongs_to_one_connection() {
        let text = "POST http://a/b HTTP/1.1\r\nHost: evil\r\nProxy-Authorization: x\r\nX-Api-Key: mine\r\nA: b";
        let head = Head::read(text.as_bytes()).unwrap();
        assert_eq!(
            head.written("/b", "a", &["x-api-key"], Some(("X-Api-Key", "real"))),
            "POST /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\nA: b\r\nX-Api-Key: real\r\n\r\n"
        );
    }
}
