//! The redirect listener: the same is found by HTTPS.

use bytes::Bytes;
use http::header::{HOST, LOCATION};
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::plain;
use crate::limits;
use crate::state::State;

/// Answers 308 to the same path on the main listener, for a name that is ours.
pub(super) fn answer(
    request: &Request<Incoming>,
    state: &State,
    main_port: u16,
) -> Response<Full<Bytes>> {
    let snapshot = state.snapshot();
    let hosts = request.headers().get_all(HOST);
    let host = hosts.iter().next().and_then(|host| host.to_str().ok());
    let target = request
        .uri()
        .path_and_query()
        .map(http::uri::PathAndQuery::as_str);
    let proper = hosts.iter().count() == 1 && request.uri().authority().is_none();
    let (Some(host), Some(target), true) = (host, target, proper) else {
        return refused();
    };
    let Some(name) = limits::our_name(host, &snapshot.settings.listen) else {
        return refused();
    };
    let port = if main_port == 443 {
        String::new()
    } else {
        format!(":{main_port}")
    };
    let location = format!("https://{name}{port}{target}");
    let Ok(location) = HeaderValue::try_from(location) else {
        return refused();
    };
    let mut answer = plain(
        308,
        "text/plain; charset=utf-8",
        Bytes::from_static(b"use HTTPS\n"),
    );
    answer.headers_mut().insert(LOCATION, location);
    answer
}

fn refused() -> Response<Full<Bytes>> {
    plain(
        400,
        "text/plain; charset=utf-8",
        Bytes::from_static(b"one Host with a name of ours, and a path, are needed\n"),
    )
}
