//! The operations listener: probes and metrics for whoever can reach it.

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;

use super::plain;
use crate::admin;
use crate::answer::Answer;
use crate::state::State;

/// Answers health and metrics; nothing else is found.
pub(super) async fn answer(request: &Request<Incoming>, state: &State) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return plain(
            405,
            TEXT,
            Bytes::from_static(b"only GET is answered here\n"),
        );
    }
    match admin::for_operators(request.uri().path(), state).await {
        Some(Ok(Answer {
            status,
            content_type,
            body,
            ..
        })) => plain(status, content_type, body),
        Some(Err(refusal)) => plain(refusal.status(), TEXT, Bytes::from(refusal.reason())),
        None => plain(
            404,
            TEXT,
            Bytes::from_static(b"health and metrics are here\n"),
        ),
    }
}

const TEXT: &str = "text/plain; charset=utf-8";
