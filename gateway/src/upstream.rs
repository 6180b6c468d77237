//! The way to the runtime: which connection, and which header fields cross.
//!
//! Invariant: every function here demands `&Admitted`. No credential, cookie, forged identity or
//! hop-by-hop field of a caller reaches the runtime; who is calling is stated by us alone.

mod nominated;

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use config::contract::caller;
use config::gateway::Upstream;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType};

use crate::admission::Admitted;
use crate::answer::{self, internal};
use crate::limits;
use crate::request::RequestRecord;
use crate::state::State;

/// The error of an answer whose outcome could not be recorded.
pub(crate) const AUDIT_UNCERTAIN: ErrorType = ErrorType::Custom("audit uncertain");

/// What we tell the runtime: who is calling, and from where.
const CALLER: HeaderName = HeaderName::from_static(caller::HEADER);
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Header fields of a caller that never cross, besides every name in [`FOREIGN_PREFIXES`].
const FOREIGN: [&str; 17] = [
    "authorization",
    "connection",
    "cookie",
    "expect",
    "forwarded",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-cert",
    "x-real-ip",
    "x-request-id",
];

const FOREIGN_PREFIXES: [&str; 4] = ["cf-", "ssl-client-", "x-forwarded-", "x-loki-"];

/// Returns the connection to use. Two principals never share one, so that an answer which strays
/// on a connection can only meet its own principal.
///
/// # Errors
/// When the socket's path cannot be an address.
pub(crate) fn peer(admitted: &Admitted, upstream: &Upstream) -> pingora::Result<Box<HttpPeer>> {
    let Some(path) = upstream.socket.to_str() else {
        return Error::e_explain(ErrorType::InternalError, "socket path is not UTF-8");
    };
    let mut peer = HttpPeer::new_uds(path, false, String::new())?;
    let mut hasher = DefaultHasher::new();
    admitted.caller().principal.hash(&mut hasher);
    peer.group_key = hasher.finish();
    let options = &mut peer.options;
    options.connection_timeout = Some(upstream.connect_timeout);
    options.total_connection_timeout = Some(upstream.connect_timeout);
    options.read_timeout = Some(upstream.read_timeout);
    options.write_timeout = Some(upstream.read_timeout);
    options.idle_timeout = Some(upstream.idle_timeout);
    Ok(Box::new(peer))
}

/// Makes the runtime's request of a caller's that has no body.
///
/// # Errors
/// When the caller's `Connection` names what it may not, or the statement cannot be made.
pub(crate) fn request(
    asked: &RequestHeader,
    admitted: &Admitted,
    record: &RequestRecord,
    state: &State,
) -> pingora::Result<RequestHeader> {
    let left_out = nominated::nominated(&asked.headers)?;
    let crosses = |name: &HeaderName| {
        *name != CONTENT_LENGTH && *name != TRANSFER_ENCODING && !left_out.contains(name)
    };
    let fields = fields(asked, crosses, admitted, record, state)?;
    let mut header = rewritten(asked, fields);
    if !header.headers.contains_key(HOST)
        && let Some(authority) = limits::authority(asked)
    {
        header.insert_header(HOST, authority)?;
    }
    header.set_version(Version::HTTP_11);
    Ok(header)
}

/// Turns the caller's header into ours: foreign fields out, the caller statement in.
///
/// # Errors
/// When the statement cannot be made.
pub(crate) fn prepare(
    header: &mut RequestHeader,
    admitted: &Admitted,
    record: &RequestRecord,
    state: &State,
) -> pingora::Result<()> {
    let fields = fields(header, |_| true, admitted, record, state)?;
    *header = rewritten(header, fields);
    Ok(())
}

/// Makes the fields that the runtime gets: those of the caller that may cross, and ours.
fn fields(
    asked: &RequestHeader,
    crosses: impl Fn(&HeaderName) -> bool,
    admitted: &Admitted,
    record: &RequestRecord,
    state: &State,
) -> pingora::Result<HeaderMap> {
    let target = asked
        .uri
        .path_and_query()
        .map_or("/", http::uri::PathAndQuery::as_str);
    let statement = state.statements.make(
        &record.id,
        asked.method.as_str(),
        target,
        admitted.caller(),
        record.snapshot.is_sole_approver(admitted),
    );
    let statement = internal(statement, "cannot state the caller")?;
    let mut fields = HeaderMap::with_capacity(asked.headers.len() + OURS);
    for (name, value) in &asked.headers {
        if !is_foreign(name.as_str()) && crosses(name) {
            fields.append(name.clone(), value.clone());
        }
    }
    fields.insert(CALLER, answer::owned_value(statement)?);
    fields.insert(answer::REQUEST_ID, answer::value(record.id.as_str())?);
    let client = record.client.to_string();
    fields.insert(FORWARDED_FOR, answer::owned_value(client)?);
    let scheme = HeaderValue::from_static(record.snapshot.scheme());
    fields.insert(FORWARDED_PROTO, scheme);
    Ok(fields)
}

/// Fields that the runtime gets besides the caller's: four of [`fields`], and the host of HTTP/2.
const OURS: usize = 5;

/// Returns a header with other fields, without the spelling of their names, which the runtime has no use for.
fn rewritten(asked: &RequestHeader, fields: HeaderMap) -> RequestHeader {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method.clone_from(&asked.method);
    parts.uri.clone_from(&asked.uri);
    parts.version = asked.version;
    parts.headers = fields;
    RequestHeader::from(parts)
}

fn is_foreign(name: &str) -> bool {
    FOREIGN.binary_search(&name).is_ok()
        || FOREIGN_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Turns the runtime's answer into the caller's: takes its note, removes internal fields, and makes
/// a mutation's outcome durable before the status line leaves.
///
/// # Errors
/// When the answer makes no sense, or its outcome cannot be recorded.
pub(crate) async fn receive(
    answer: &mut ResponseHeader,
    asked: &RequestHeader,
    record: &mut RequestRecord,
) -> pingora::Result<()> {
    let fields = answer.headers.iter();
    let bytes: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + 4)
        .sum();
    if bytes > ANSWER_HEAD_BYTES_MAX {
        return Err(broken("the header of an answer is too long"));
    }
    record.status = answer.status.as_u16();
    record.answered();
    record.take_note(&answer.headers);
    let loopback_name = limits::authority(asked)
        .is_some_and(|authority| limits::is_loopback_name(answer::host_of(authority)));
    let strict_transport = record.snapshot.tls.is_some() && !loopback_name;
    let mut fields = HeaderMap::with_capacity(answer.headers.len() + answer::PROTECTION_FIELDS_MAX);
    for (name, value) in &answer.headers {
        if !is_internal(name.as_str()) {
            fields.append(name.clone(), value.clone());
        }
    }
    answer::protect(&mut fields, record, strict_transport)?;
    *answer = answer::with_fields(answer, fields);
    if record.mutates() && record.outcome().await.is_err() {
        return Err(Error::new_in(AUDIT_UNCERTAIN));
    }
    Ok(())
}

/// Longest header of an answer in bytes, as far as it crosses.
const ANSWER_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Returns the error of an answer that makes no sense.
fn broken(why: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InvalidHTTPHeader, why).into_up()
}

/// Takes an interim answer of the runtime, of which nothing crosses.
///
/// # Errors
/// When there are too many of them, or one speaks of another protocol: only streams become that.
pub(crate) fn receive_interim(
    answer: &mut ResponseHeader,
    record: &mut RequestRecord,
) -> pingora::Result<()> {
    allow_interim(answer.status, record)?;
    let names: Vec<HeaderName> = answer.headers.keys().cloned().collect();
    for name in names {
        answer.remove_header(&name);
    }
    Ok(())
}

/// Counts an interim answer of the runtime.
///
/// # Errors
/// As [`receive_interim`].
pub(crate) fn allow_interim(status: StatusCode, record: &mut RequestRecord) -> pingora::Result<()> {
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(broken("another protocol that nobody asked for"));
    }
    if record.interim_answer() {
        return Err(broken("interim answers without end"));
    }
    Ok(())
}

/// Returns whether no caller may see a field: the runtime's words to the gateway.
fn is_internal(name: &str) -> bool {
    name.starts_with("x-loki-") || name == "server" || name == "keep-alive"
}

/// Returns the client's address: the peer's, or behind trusted proxies the first hop from the
/// right that is not one of them. A hop that cannot be read ends the search at the peer.
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trusts: impl Fn(IpAddr) -> bool,
) -> IpAddr {
    const HOPS_MAX: usize = 16;
    let peer = peer.to_canonical();
    if !trusts(peer) {
        return peer;
    }
    let mut client = peer;
    let fields: Vec<&str> = headers
        .get_all("x-forwarded-for")
        .iter()
        .map(|value| value.to_str().unwrap_or("unreadable"))
        .collect();
    let hops = fields.iter().flat_map(|field| field.split(',')).rev();
    for hop in hops.take(HOPS_MAX) {
        let Some(address) = hop_address(hop.trim()) else {
            return peer;
        };
        client = address;
        if !trusts(client) {
            return client;
        }
    }
    client
}

/// Returns the address that a proxy wrote, with or without the port of its peer.
fn hop_address(hop: &str) -> Option<IpAddr> {
    let bare = hop
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(hop);
    bare.parse::<IpAddr>()
        .or_else(|_| hop.parse::<SocketAddr>().map(|address| address.ip()))
        .map(|address| address.to_canonical())
        .ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use http::{HeaderMap, HeaderValue};

    use super::{FOREIGN, client_address, is_foreign};

    #[test]
    fn identity_and_hop_by_hop_fields_never_cross() {
        assert!(FOREIGN.is_sorted());
        for name in [
            "authorization",
            "cookie",
            "x-loki-caller",
            "x-loki-anything",
            "x-forwarded-for",
            "x-forwarded-uri",
            "forwarded",
            "x-real-ip",
            "connection",
            "upgrade",
            "te",
            "proxy-authorization",
            "ssl-client-verify",
            "x-request-id",
            "expect",
        ] {
            assert!(is_foreign(name), "{name}");
        }
        for name in [
            "accept",
            "content-type",
            "content-length",
            "idempotency-key",
            "host",
        ] {
            assert!(!is_foreign(name), "{name}");
        }
    }

    #[test]
    fn a_forwarded_address_is_believed_from_trusted_proxies_alone() {
        let check = |peer: &str, field: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(
                "x-forwarded-for",
                HeaderValue::from_str(field).expect("field"),
            );
            let address = |text: &str| text.parse::<IpAddr>().expect("address");
            let trusts = |candidate: IpAddr| candidate.to_string().starts_with("10.");
            assert_eq!(
                client_address(address(peer), &headers, trusts),
                address(expected),
                "{peer} {field}"
            );
        };
        check("192.0.2.1", "203.0.113.9", "192.0.2.1");
        check("10.0.0.1", "nonsense", "10.0.0.1");
        check("10.0.0.1", "203.0.113.9, nonsense", "10.0.0.1");
        check("10.0.0.1", "203.0.113.9", "203.0.113.9");
        check(
            "10.0.0.1",
            "198.51.100.7, 203.0.113.9, 10.0.0.2",
            "203.0.113.9",
        );
        check("::ffff:192.0.2.1", "203.0.113.9", "192.0.2.1");
        for hop in [
            "203.0.113.9:",
            "203.0.113.9:99999",
            "[203.0.113.9",
            ":80",
            "[]",
        ] {
            check("10.0.0.1", hop, "10.0.0.1");
        }
        check("10.0.0.1", "203.0.113.9:4711", "203.0.113.9");
        check("10.0.0.1", "203.0.113.9:4711, 10.0.0.2:80", "203.0.113.9");
        check("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1");
        check("10.0.0.1", "[2001:db8::1]", "2001:db8::1");
        check("10.0.0.1", "2001:db8::1", "2001:db8::1");
    }
}
