//! The head of a request: request line and fields, checked strictly (RFC 9112, sections 3 to 6).

use super::Fault;

/// Bounds of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Longest head in bytes.
    pub(crate) bytes_max: usize,
    /// Most fields.
    pub(crate) fields_max: usize,
    /// Longest target in bytes.
    pub(crate) target_bytes_max: usize,
}

/// How long the body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// This many bytes.
    Length(u64),
    /// Chunks up to an empty one.
    Chunked,
    /// There is none, and what comes behind it need not be HTTP.
    Upgrade,
}

/// Returns where the first head ends, its empty line included; the bytes before `from` were looked
/// at before.
pub(super) fn end(bytes: &[u8], from: usize) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    // The end may straddle what was looked at and what came now.
    let from = from.saturating_sub(END.len() - 1);
    memchr::memchr_iter(b'\n', &bytes[from..])
        .map(|position| from + position + 1)
        .find(|end| bytes[..*end].ends_with(END))
}

/// Checks what can be told from the bytes of a head that is not whole yet: its size, and from
/// `from` on that every line ends in CR LF and no control character stands inside.
pub(super) fn check_lines(head: &[u8], from: usize, bounds: Bounds) -> Result<(), Fault> {
    if head.len() > bounds.bytes_max {
        return Err(Fault::HeadTooLong);
    }
    if from == 0 && has_plain_lines(head) {
        return Ok(());
    }
    for position in from..head.len() {
        let before = position.checked_sub(1).map(|before| head[before]);
        match head[position] {
            b'\n' if before != Some(b'\r') => {
                return Err(Fault::Malformed("a line ends without carriage return"));
            }
            b'\n' | b'\t' | b'\r' => {}
            0..b' ' | 0x7f => return Err(Fault::Malformed("the head has a control character")),
            byte if before == Some(b'\r') && byte != b'\n' => {
                return Err(Fault::Malformed("a carriage return without line feed"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Returns whether the bytes are whole lines, each ended by CR LF and without a control character
/// inside: what is sound is seen quickly, what is not is then named byte by byte.
fn has_plain_lines(head: &[u8]) -> bool {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', head) {
        let Some(inside) = head[start..end].strip_suffix(b"\r") else {
            return false;
        };
        if has_control(inside) {
            return false;
        }
        start = end + 1;
    }
    start == head.len()
}

/// Returns whether a control character other than the tabulator is among the bytes. It looks at all
/// of them, which is faster than to stop at the first.
pub(crate) fn has_control(bytes: &[u8]) -> bool {
    bytes.iter().fold(false, |found, byte| {
        found | ((*byte < b' ') & (*byte != b'\t')) | (*byte == 0x7f)
    })
}

/// Checks a whole head, which ends in an empty line, and returns how long its body is.
pub(super) fn check(head: &[u8], bounds: Bounds) -> Result<Framing, Fault> {
    let mut lines = head
        .split(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let (method, version) = check_request_line(lines.next().unwrap_or_default(), bounds)?;
    let mut fields = Fields::default();
    for line in lines.take_while(|line| !line.is_empty()) {
        fields.count += 1;
        if fields.count > bounds.fields_max {
            return Err(Fault::HeadTooLong);
        }
        let (name, value) = split_field(line)?;
        fields.take(name, value)?;
    }
    fields.framing(method, version)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http10,
    Http11,
}

fn check_request_line(line: &[u8], bounds: Bounds) -> Result<(&[u8], Version), Fault> {
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(Fault::Malformed("the request line is not three words"));
    };
    if method.is_empty() || !method.iter().all(u8::is_ascii_uppercase) {
        return Err(Fault::Malformed("the method is not a word in capitals"));
    }
    if target.len() > bounds.target_bytes_max {
        return Err(Fault::TargetTooLong);
    }
    if target.first() != Some(&b'/') {
        return Err(Fault::Malformed("the request target is not a path"));
    }
    if !target.iter().all(u8::is_ascii_graphic) || target.contains(&b'#') {
        return Err(Fault::Malformed(
            "the request target has a blank, a fragment, or is not ASCII",
        ));
    }
    match version {
        b"HTTP/1.1" => Ok((method, Version::Http11)),
        b"HTTP/1.0" => Ok((method, Version::Http10)),
        _ => Err(Fault::Malformed(
            "the version is neither HTTP/1.1 nor HTTP/1.0",
        )),
    }
}

fn split_field(line: &[u8]) -> Result<(&[u8], &[u8]), Fault> {
    let colon = line
        .iter()
        .position(|byte| *byte == b':')
        .ok_or(Fault::Malformed("a field has no colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    // A folded line begins with a blank, so its "name" is no token either.
    if name.is_empty() || !name.iter().all(|byte| is_token(*byte)) {
        return Err(Fault::Malformed("a field name is not a token"));
    }
    if name.contains(&b'_') {
        return Err(Fault::Malformed("a field name has an underscore"));
    }
    if value.contains(&b'\r') {
        return Err(Fault::Malformed("a field has a control character"));
    }
    Ok((name, value.trim_ascii()))
}

/// RFC 9110, section 5.6.2.
const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[derive(Debug, Default)]
struct Fields {
    count: usize,
    hosts: usize,
    length: Option<u64>,
    chunked: bool,
    upgrades: usize,
    websocket: bool,
    connection_upgrade: bool,
}

impl Fields {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Fault> {
        if name.eq_ignore_ascii_case(b"host") {
            self.hosts += 1;
        } else if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err(Fault::Malformed("more than one Content-Length"));
            }
            self.length = Some(number(value)?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed("Transfer-Encoding is not chunked, once"));
            }
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.upgrades += 1;
            self.websocket |= words(value).any(|word| word.eq_ignore_ascii_case(b"websocket"));
            if self.websocket && !value.eq_ignore_ascii_case(b"websocket") {
                return Err(Fault::Malformed("Upgrade is not websocket alone"));
            }
        } else if name.eq_ignore_ascii_case(b"connection") {
            self.connection_upgrade |=
                words(value).any(|word| word.eq_ignore_ascii_case(b"upgrade"));
        }
        Ok(())
    }

    fn framing(&self, method: &[u8], version: Version) -> Result<Framing, Fault> {
        if self.hosts != 1 {
            return Err(Fault::Malformed("one Host field is needed"));
        }
        if self.websocket {
            let agreed = self.upgrades == 1 && self.connection_upgrade;
            let bare = self.length.is_none() && !self.chunked;
            return if agreed && bare && method == b"GET" && version == Version::Http11 {
                Ok(Framing::Upgrade)
            } else {
                Err(Fault::Malformed(
                    "a WebSocket needs GET, HTTP/1.1, Connection: upgrade and no body",
                ))
            };
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Fault::Malformed(
                "both Content-Length and Transfer-Encoding",
            )),
            (None, true) if version == Version::Http10 => {
                Err(Fault::Malformed("Transfer-Encoding in HTTP/1.0"))
            }
            (None, true) => Ok(Framing::Chunked),
            (None | Some(0), false) => Ok(Framing::None),
            (Some(length), false) => Ok(Framing::Length(length)),
        }
    }
}

/// The entries of a list, without blanks around them.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

fn number(digits: &[u8]) -> Result<u64, Fault> {
    const WRONG: Fault = Fault::Malformed("Content-Length is not one number");
    if !(1..=18).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(WRONG);
    }
    Ok(digits
        .iter()
        .fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}
