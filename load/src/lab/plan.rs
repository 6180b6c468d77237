//! What a lab measures, in which order.

use clap::ValueEnum;

use super::site::Conditions;
use super::subject::Subject;
use crate::scenario::Scenario;
use crate::target::{KeyExchange, Protocol};

/// What is asked of proxies that know no operations, and an operation that reads.
const READ: &str = "/api/status";

/// An operation that changes something.
const CHANGE: &str = "/api/control/stop";

/// An operation whose answer is a stream.
const STREAM: &str = "/api/sessions/load/events";

/// A set of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// What the budgets are about
    Speed,
    /// How cost grows with tokens, connections and readers
    Scale,
}

/// One proxy under some conditions, and what is measured of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The proxy.
    pub(crate) subject: Subject,
    /// The gateway's conditions.
    pub(crate) conditions: Conditions,
    /// Left out if the program is not installed.
    pub(crate) optional: bool,
    /// The measurements.
    pub(crate) items: Vec<Item>,
}

/// One measurement.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    /// The name in the figure.
    pub(crate) label: &'static str,
    /// What is asked.
    pub(crate) scenario: Scenario,
    /// Where.
    pub(crate) path: &'static str,
    /// In which protocol.
    pub(crate) protocol: Protocol,
    /// Connections that are kept open.
    pub(crate) connections: u32,
    /// Streams on each.
    pub(crate) streams: u32,
    /// Which key exchange is offered.
    pub(crate) exchange: KeyExchange,
    /// The figure at half of whose rate requests are due.
    pub(crate) half_of: Option<&'static str>,
    /// How often the settings change meanwhile.
    pub(crate) reloads: u32,
}

impl Item {
    const fn new(label: &'static str, scenario: Scenario) -> Self {
        Self {
            label,
            scenario,
            path: READ,
            protocol: Protocol::Http1,
            connections: 64,
            streams: 1,
            exchange: KeyExchange::Any,
            half_of: None,
            reloads: 0,
        }
    }

    const fn on(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    const fn http2(self) -> Self {
        Self {
            protocol: Protocol::Http2,
            connections: 4,
            streams: 16,
            ..self
        }
    }

    const fn connections(self, connections: u32) -> Self {
        Self {
            connections,
            ..self
        }
    }

    const fn x25519(self) -> Self {
        Self {
            exchange: KeyExchange::X25519,
            ..self
        }
    }

    const fn reloads(self, reloads: u32) -> Self {
        Self { reloads, ..self }
    }

    const fn at_half(self) -> Self {
        Self {
            half_of: Some("gateway/cached-jwt"),
            ..self
        }
    }
}

/// Returns the steps of a set, without the figures that nobody asked for.
pub(crate) fn steps(set: Set, only: &[String]) -> Vec<Step> {
    let mut steps = match set {
        Set::Speed => speed(),
        Set::Scale => scale(),
    };
    if !only.is_empty() {
        for step in &mut steps {
            let subject = step.subject.name();
            step.items.retain(|item| {
                let key = format!("{subject}/{}", item.label);
                only.iter().any(|wanted| is_wanted(&key, wanted))
            });
        }
        steps.retain(|step| !step.items.is_empty());
    }
    steps
}

/// Returns whether a figure is the one that is wanted, or of those of which the beginning is given.
fn is_wanted(key: &str, wanted: &str) -> bool {
    key == wanted || (wanted.ends_with(['/', '=']) && key.starts_with(wanted))
}

fn step(subject: Subject, items: Vec<Item>) -> Step {
    Step {
        subject,
        conditions: Conditions::default(),
        optional: !matches!(subject, Subject::Gateway | Subject::Bare),
        items,
    }
}

fn gateway(conditions: Conditions, items: Vec<Item>) -> Step {
    Step {
        conditions,
        ..step(Subject::Gateway, items)
    }
}

fn speed() -> Vec<Step> {
    use Scenario as S;
    let mut steps = vec![
        step(
            Subject::Bare,
            [
                vec![
                    Item::new("open", S::Open),
                    Item::new("open-http2", S::Open).http2(),
                ],
                handshakes(),
            ]
            .concat(),
        ),
        gateway(
            Conditions::default(),
            [
                vec![Item::new("idle", S::Idle).connections(1_000)],
                accepted(),
                refused(),
                handshakes(),
                streams(),
            ]
            .concat(),
        ),
        gateway(
            Conditions {
                tokens: 100_000,
                used: 64,
                ..Conditions::default()
            },
            vec![Item::new("many-tokens", S::ManyTokens)],
        ),
        gateway(
            Conditions {
                tokens: 100_000,
                ..Conditions::default()
            },
            vec![Item::new("many-principals", S::ManyTokens)],
        ),
        gateway(
            Conditions {
                throttled: true,
                ..Conditions::default()
            },
            vec![Item::new("unknown-throttled", S::Unknown)],
        ),
    ];
    steps.extend(peers());
    steps.extend([
        gateway(
            Conditions::default(),
            vec![Item::new("cached-jwt-at-half", S::CachedJwt).at_half()],
        ),
        step(
            Subject::Bare,
            vec![Item::new("open-at-half", S::Open).at_half()],
        ),
    ]);
    steps
}

fn accepted() -> Vec<Item> {
    use Scenario as S;
    vec![
        Item::new("opaque", S::Opaque),
        Item::new("cached-jwt", S::CachedJwt),
        Item::new("cached-jwt-http2", S::CachedJwt).http2(),
        Item::new("fresh-jwt", S::FreshJwt),
        Item::new("mix", S::Mix),
        Item::new("mutations", S::Mutations).on(CHANGE),
    ]
}

fn refused() -> Vec<Item> {
    use Scenario as S;
    vec![
        Item::new("malformed", S::Malformed),
        Item::new("unknown", S::Unknown),
        Item::new("expired", S::Expired),
        Item::new("too-little-scope", S::TooLittleScope).on(CHANGE),
    ]
}

fn handshakes() -> Vec<Item> {
    let all = |label| Item::new(label, Scenario::Handshakes).connections(16);
    vec![all("handshakes"), all("handshakes-x25519").x25519()]
}

fn streams() -> Vec<Item> {
    use Scenario as S;
    vec![
        Item::new("sse", S::Sse).on(STREAM).connections(100),
        Item::new("web-socket", S::WebSocket)
            .on(STREAM)
            .connections(100),
        Item::new("reloads", S::Opaque).reloads(100),
        // Last: from then on the issuer has two keys.
        Item::new("rotation", S::Rotation),
    ]
}

/// Other proxies.
fn peers() -> Vec<Step> {
    use Scenario as S;
    let open = Item::new("open", S::Open);
    let (cached, fresh) = (
        Item::new("cached-jwt", S::CachedJwt),
        Item::new("fresh-jwt", S::FreshJwt),
    );
    vec![
        step(Subject::Haproxy, vec![open.clone()]),
        step(Subject::HaproxyJwt, vec![cached.clone(), fresh.clone()]),
        step(Subject::Nginx, [vec![open.clone()], handshakes()].concat()),
        step(Subject::Envoy, vec![open]),
        step(Subject::EnvoyJwt, vec![fresh]),
        step(Subject::EnvoyJwtCache, vec![cached]),
    ]
}

fn scale() -> Vec<Step> {
    use Scenario as S;
    let stored = |tokens, used, label| {
        let conditions = Conditions {
            tokens,
            used,
            ..Conditions::default()
        };
        gateway(conditions, vec![Item::new(label, S::ManyTokens)])
    };
    let issuers = |others, label| {
        let conditions = Conditions {
            other_issuers: others,
            ..Conditions::default()
        };
        gateway(conditions, vec![Item::new(label, S::CachedJwt)])
    };
    let tokens = |count, label| stored(count, 10, label);
    let principals = |count, label| stored(count, count, label);
    vec![
        tokens(10, "tokens=10"),
        tokens(1_000, "tokens=1000"),
        tokens(10_000, "tokens=10000"),
        tokens(100_000, "tokens=100000"),
        principals(10, "principals=10"),
        principals(1_000, "principals=1000"),
        principals(100_000, "principals=100000"),
        issuers(0, "issuers=1"),
        issuers(9, "issuers=10"),
        issuers(49, "issuers=50"),
        // One gateway: each figure leaves its records to the next.
        gateway(
            Conditions::default(),
            [
                "history=1",
                "history=2",
                "history=3",
                "history=4",
                "history=5",
            ]
            .map(|label| Item::new(label, S::Opaque))
            .into(),
        ),
        gateway(
            Conditions::default(),
            vec![
                Item::new("connections=8", S::Opaque).connections(8),
                Item::new("connections=64", S::Opaque).connections(64),
                Item::new("connections=512", S::Opaque).connections(512),
                Item::new("connections=2048", S::Opaque).connections(2_048),
            ],
        ),
        gateway(
            Conditions::default(),
            vec![
                Item::new("readers=10", S::Sse).on(STREAM).connections(10),
                Item::new("readers=100", S::Sse).on(STREAM).connections(100),
                Item::new("readers=500", S::Sse).on(STREAM).connections(500),
            ],
        ),
    ]
}
