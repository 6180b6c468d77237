//! The fields that a caller's `Connection` names as meant for the next hop alone (RFC 9110, section 7.6.1).

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};
use pingora::{Error, ErrorType};

/// Most names.
const NAMES_MAX: usize = 16;

/// What everybody on the way needs.
const NEEDED: [&str; 4] = [
    "content-length",
    "content-type",
    "host",
    "transfer-encoding",
];

/// Returns the names.
///
/// # Errors
/// When there are too many, one is no name, or is of a field that the runtime cannot do without.
pub(super) fn nominated(headers: &HeaderMap) -> pingora::Result<Vec<HeaderName>> {
    let values = headers.get_all(CONNECTION).iter();
    let mut names = Vec::new();
    for word in values
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|word| !word.is_empty() && !is_option(word))
    {
        let name = HeaderName::from_bytes(word).map_err(|_| refused())?;
        if names.len() == NAMES_MAX || NEEDED.contains(&name.as_str()) {
            return Err(refused());
        }
        names.push(name);
    }
    Ok(names)
}

/// Returns whether a word is an option of the connection and no field.
fn is_option(word: &[u8]) -> bool {
    [b"close".as_slice(), b"keep-alive", b"upgrade"]
        .iter()
        .any(|option| word.eq_ignore_ascii_case(option))
}

fn refused() -> Box<Error> {
    let why = "Connection names what is no field of one hop";
    Error::explain(ErrorType::InvalidHTTPHeader, why).into_down()
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::{NAMES_MAX, nominated};

    fn names(values: &[&str]) -> Option<Vec<String>> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append("connection", HeaderValue::from_str(value).expect("value"));
        }
        let names = nominated(&headers).ok()?;
        Some(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn fields_of_one_hop_are_found_and_needed_ones_refused() {
        assert_eq!(
            names(&["keep-alive, Close", " upgrade ,"]),
            Some(Vec::new())
        );
        let expected = vec!["x-one".to_owned(), "x-two".to_owned()];
        assert_eq!(names(&["X-One, close", "x-two"]), Some(expected));
        for wrong in ["host", "Content-Length", "x y", "\"x\"", ":authority"] {
            assert_eq!(names(&[wrong]), None, "{wrong}");
        }
        let many = vec!["x"; NAMES_MAX + 1].join(",");
        assert_eq!(names(&[&many]), None);
    }
}
