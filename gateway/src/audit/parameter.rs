//! Reads the query parameters of the audit operations.
//!
//! Invariant: a parameter that is unknown, given twice or out of bounds is an error that names it
//! and says what is allowed; nothing is silently ignored.

use std::borrow::Cow;

/// Why a query parameter was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use query parameter {name:?}: {allowed}")]
pub struct BadParameter {
    /// The parameter, as given, cut at 64 bytes.
    pub name: String,
    /// What is allowed.
    pub allowed: String,
}

impl BadParameter {
    pub(crate) fn new(name: &str, allowed: impl Into<String>) -> Self {
        Self {
            name: name[..name.floor_char_boundary(64)].to_owned(),
            allowed: allowed.into(),
        }
    }
}

/// Longest value of a text parameter in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// Calls `take` with each name and value of a query string (`application/x-www-form-urlencoded`).
/// `take` returns false for a name that it does not know; `known` lists those that it does.
pub(crate) fn each(
    query: Option<&str>,
    known: &[&str],
    mut take: impl FnMut(&str, &str) -> Result<(), BadParameter>,
) -> Result<(), BadParameter> {
    let mut seen = Vec::new();
    for pair in query
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let malformed = || BadParameter::new(name, "it is not percent-encoded UTF-8");
        let name = decode(name).ok_or_else(malformed)?;
        let value = decode(value).ok_or_else(malformed)?;
        let Some(position) = known.iter().position(|known| *known == name) else {
            return Err(BadParameter::new(
                &name,
                format!("unknown; there are {}", known.join(", ")),
            ));
        };
        if seen.contains(&position) {
            return Err(BadParameter::new(&name, "give it once"));
        }
        seen.push(position);
        take(&name, &value)?;
    }
    Ok(())
}

/// Reads a whole number within bounds.
pub(crate) fn number(name: &str, value: &str, min: u32, max: u32) -> Result<u32, BadParameter> {
    // `parse` would take a plus sign as well.
    let digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { value.parse().ok() } else { None };
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| BadParameter::new(name, format!("give a whole number from {min} to {max}")))
}

/// Reads a text that is to be found exactly.
pub(crate) fn text(name: &str, value: &str) -> Result<String, BadParameter> {
    if value.is_empty() || value.len() > TEXT_BYTES_MAX {
        let allowed = format!("give a text of 1 to {TEXT_BYTES_MAX} bytes");
        return Err(BadParameter::new(name, allowed));
    }
    Ok(value.to_owned())
}

fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains(['%', '+']) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => bytes.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = tail else {
                    return None;
                };
                bytes.push(hex(*high)? << 4 | hex(*low)?);
                rest = tail;
            }
            other => bytes.push(*other),
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
