//! The head of an HTTP/1.1 message, as far as a load test must read it: where it ends, the status,
//! and how long the body is.

/// What stands at the beginning of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of the head, its empty line included.
    pub(crate) length: usize,
    /// The status; 0 in a request.
    pub(crate) status: u16,
    /// Bytes of the body; none if it is chunked.
    pub(crate) body: Option<usize>,
    /// The sender ends the connection after this message.
    pub(crate) closes: bool,
}

impl Head {
    /// Returns the head that `bytes` begins with, if it is whole.
    pub(crate) fn find(bytes: &[u8]) -> Option<Self> {
        let length = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")?
            .checked_add(4)?;
        let mut head = Self {
            length,
            status: status(bytes),
            body: Some(0),
            closes: false,
        };
        for line in bytes[..length].split(|byte| *byte == b'\n').skip(1) {
            if let Some(value) = field(line, b"content-length") {
                head.body = Some(number(value));
            } else if field(line, b"transfer-encoding").is_some() {
                head.body = None;
            } else if let Some(value) = field(line, b"connection") {
                head.closes = value.eq_ignore_ascii_case(b"close");
            }
        }
        Some(head)
    }
}

/// Returns the length of the chunked body that `bytes` begins with, if it is whole.
pub(crate) fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line = bytes[at..].iter().position(|byte| *byte == b'\n')? + 1;
        let digits = std::str::from_utf8(&bytes[at..at + line]).ok()?;
        let size = usize::from_str_radix(digits.trim_end(), 16).ok()?;
        at = at.checked_add(line)?.checked_add(size)?.checked_add(2)?;
        if bytes.len() < at {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

/// Returns the value of a line if it is this field.
fn field<'line>(line: &'line [u8], name: &[u8]) -> Option<&'line [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let value = rest.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> usize {
    digits
        .iter()
        .filter(|digit| digit.is_ascii_digit())
        .fold(0, |sum, digit| {
            usize::from(digit - b'0') + 10_usize.saturating_mul(sum)
        })
}

fn status(bytes: &[u8]) -> u16 {
    let digits = bytes
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| rest.get(2..5));
    digits.map_or(0, |digits| u16::try_from(number(digits)).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::{Head, chunked_length};

    fn check(bytes: &str, expected: Option<(usize, u16, Option<usize>)>) {
        let found = Head::find(bytes.as_bytes());
        let found = found.map(|head| (head.length, head.status, head.body));
        assert_eq!(found, expected, "{bytes:?}");
    }

    #[test]
    fn a_head_is_found_when_it_is_whole() {
        check("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", None);
        check(
            "HTTP/1.1 401 No\r\ncontent-length: 12\r\n\r\nabc",
            Some((39, 401, Some(12))),
        );
        check(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            Some((47, 200, None)),
        );
        check("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Some((27, 0, Some(0))));
    }

    #[test]
    fn a_chunked_body_ends_with_its_last_chunk() {
        assert_eq!(chunked_length(b"3\r\nabc\r\n0\r\n\r\nnext"), Some(13));
        assert_eq!(chunked_length(b"3\r\nabc\r\n0\r\n"), None);
        assert_eq!(chunked_length(b"3\r\nab"), None);
    }
}
