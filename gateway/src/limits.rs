//! The strict front: what is wrong with a request header before anybody asks who sent it.
//!
//! Invariant: nothing is repaired. Policy and upstream see the bytes that came, or nobody does.

use std::net::IpAddr;

use config::gateway::Listen;
use config::limit::Limits;
use http::header::{CONTENT_LENGTH, EXPECT, HOST, ORIGIN, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, Version};
use pingora::http::RequestHeader;

use crate::refusal::Refusal;
use crate::wire;

/// Checks size and shape of a request header.
///
/// # Errors
/// The first thing that is wrong.
pub(crate) fn check(header: &RequestHeader, limits: &Limits) -> Result<(), Refusal> {
    check_size(header, limits)?;
    check_target(header)?;
    check_fields(header)?;
    check_framing(header)?;
    check_host(header)
}

fn check_size(header: &RequestHeader, limits: &Limits) -> Result<(), Refusal> {
    if header.raw_path().len() as u64 > u64::from(limits.target_bytes_max) {
        return Err(Refusal::TargetTooLong);
    }
    if header.headers.len() as u64 > u64::from(limits.header_count_max) {
        return Err(Refusal::HeaderTooLong);
    }
    // As on the wire: name, colon, blank, value, line end.
    let bytes: u64 = header
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() as u64 + value.len() as u64 + 4)
        .sum();
    if bytes > u64::from(limits.header_bytes_max) {
        return Err(Refusal::HeaderTooLong);
    }
    Ok(())
}

fn check_target(header: &RequestHeader) -> Result<(), Refusal> {
    let target = header.raw_path();
    let path = target
        .iter()
        .position(|byte| *byte == b'?')
        .map_or(target, |end| &target[..end]);
    if path.first() != Some(&b'/') {
        return Err(Refusal::Malformed("the request target is not a path"));
    }
    if target
        .iter()
        .any(|byte| !byte.is_ascii_graphic() || *byte == b'#')
    {
        return Err(Refusal::Malformed(
            "the request target has a blank, a control character, a fragment, or is not ASCII",
        ));
    }
    // No operation needs an escape in its path, so every one is a disguise.
    if path
        .iter()
        .any(|byte| *byte == b'%' || *byte == b'\\' || *byte == b';')
    {
        return Err(Refusal::Malformed(
            "the path has an escape, a backslash or a semicolon",
        ));
    }
    let mut segments = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(segment) = segments.next() {
        let empty_inside = segment.is_empty() && segments.peek().is_some();
        if segment == b"." || segment == b".." || empty_inside {
            return Err(Refusal::Malformed("the path has a dot or an empty segment"));
        }
    }
    Ok(())
}

fn check_fields(header: &RequestHeader) -> Result<(), Refusal> {
    for (name, value) in &header.headers {
        if name.as_str().contains('_') {
            return Err(Refusal::Malformed("a field name has an underscore"));
        }
        if wire::has_control(value.as_bytes()) {
            return Err(Refusal::Malformed("a field has a control character"));
        }
    }
    Ok(())
}

fn check_framing(header: &RequestHeader) -> Result<(), Refusal> {
    let lengths = header.headers.get_all(CONTENT_LENGTH).iter().count();
    let codings = header.headers.get_all(TRANSFER_ENCODING).iter().count();
    if lengths + codings > 1 {
        return Err(Refusal::Malformed(
            "more than one Content-Length or Transfer-Encoding",
        ));
    }
    if let Some(length) = header.headers.get(CONTENT_LENGTH) {
        let digits = length.as_bytes();
        if !(1..=19).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
            return Err(Refusal::Malformed("Content-Length is not one number"));
        }
    }
    if let Some(coding) = header.headers.get(TRANSFER_ENCODING)
        && !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
    {
        return Err(Refusal::Malformed("Transfer-Encoding is not chunked"));
    }
    Ok(())
}

fn check_host(header: &RequestHeader) -> Result<(), Refusal> {
    let hosts = header.headers.get_all(HOST).iter().count();
    let wanted = if header.version == Version::HTTP_2 {
        0..=1
    } else {
        1..=1
    };
    if !wanted.contains(&hosts) {
        return Err(Refusal::Malformed("one Host field is needed"));
    }
    match authority(header) {
        Some(text) if is_authority(text) => Ok(()),
        Some(_) | None => Err(Refusal::Malformed("Host is not a name or address")),
    }
}

/// Returns the authority that the request names.
pub(crate) fn authority(header: &RequestHeader) -> Option<&str> {
    if header.version == Version::HTTP_2
        && let Some(authority) = header.uri.authority()
    {
        return Some(authority.as_str());
    }
    header.headers.get(HOST)?.to_str().ok()
}

/// Returns whether `text` is a host, or a host and a port (RFC 3986, section 3.2.2).
fn is_authority(text: &str) -> bool {
    let (host, port) = split_port(text);
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let host_fits = host.strip_prefix('[').map_or_else(
        || {
            !host.is_empty()
                && host
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-')
        },
        |inner| {
            inner
                .strip_suffix(']')
                .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
        },
    );
    port_fits && host_fits
}

/// Returns the name in an authority if it is one of ours: listed, or if none is listed any.
pub(crate) fn our_name<'a>(authority: &'a str, listen: &Listen) -> Option<&'a str> {
    if !is_authority(authority) {
        return None;
    }
    let (name, _) = split_port(authority);
    let listed = listen
        .host_names
        .iter()
        .any(|known| known.eq_ignore_ascii_case(name));
    (listed || listen.host_names.is_empty() || is_loopback_name(name)).then_some(name)
}

fn split_port(text: &str) -> (&str, Option<&str>) {
    let from = text.rfind(']').unwrap_or(0);
    match text[from..].rfind(':') {
        Some(colon) => (&text[..from + colon], Some(&text[from + colon + 1..])),
        None => (text, None),
    }
}

/// Checks that the request names us and does not come from a foreign page.
///
/// # Errors
/// A foreign `Host`, a foreign `Origin`, or a cross-site page without an `Origin`.
pub(crate) fn check_site(
    header: &RequestHeader,
    listen: &Listen,
    tokens_required: bool,
    scheme: &str,
) -> Result<(), Refusal> {
    let authority = authority(header).unwrap_or_default();
    let (host, _) = split_port(authority);
    let named = listen
        .host_names
        .iter()
        .any(|name| name.eq_ignore_ascii_case(host));
    let known = if listen.host_names.is_empty() && tokens_required {
        true
    } else {
        named || is_loopback_name(host)
    };
    if !known {
        return Err(Refusal::ForeignHost);
    }
    let field = |name: &HeaderName| header.headers.get(name).map(http::HeaderValue::as_bytes);
    match field(&ORIGIN) {
        Some(origin) => {
            let own = origin
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_prefix(b"://"))
                .is_some_and(|rest| rest.eq_ignore_ascii_case(authority.as_bytes()));
            let listed = listen
                .origins
                .iter()
                .any(|known| known.as_bytes() == origin);
            if own || listed {
                Ok(())
            } else {
                Err(Refusal::ForeignOrigin)
            }
        }
        None => match field(&HeaderName::from_static("sec-fetch-site")) {
            None | Some(b"same-origin" | b"none") => Ok(()),
            Some(_) => Err(Refusal::ForeignOrigin),
        },
    }
}

/// Returns whether the request asks for a WebSocket; the wire has checked that it does so properly.
pub(crate) fn asks_for_websocket(header: &RequestHeader) -> bool {
    header.version == Version::HTTP_11
        && header
            .headers
            .get(UPGRADE)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Returns whether the caller waits to be asked before it sends the body.
pub(crate) fn expects_to_be_asked(header: &RequestHeader) -> bool {
    header.version == Version::HTTP_11
        && header
            .headers
            .get(EXPECT)
            .is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Returns whether a host name can only mean this machine.
pub(crate) fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests;
