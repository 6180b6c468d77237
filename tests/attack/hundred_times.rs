//! The rule of one hundred: no client makes the gateway spend a hundred times the processor time that
//! it spends itself, nor hold a hundred times the memory that the limits allow it.

use std::time::{Duration, Instant};

use tests::client::{Client, Connection};
use tests::deployment::Deployment;
use tests::http2::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, Http2, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, frame, head,
};
use tests::issuer::Issuer;
use tests::poll;
use tests::process;
use tests::token;

/// How long each flood goes on.
const DURATION: Duration = Duration::from_secs(3);

/// What one request may hold by the default limits: its header, and as much of a body under way.
const ALLOWED_BYTES: u64 = 32 * 1024 + 64 * 1024;

const RULE: f64 = 100.0;

/// Whom a flood reaches.
struct Target {
    client: Client,
    good: Client,
    jwt: String,
    until: Instant,
}

impl Target {
    fn goes_on(&self) -> bool {
        Instant::now() < self.until
    }

    /// Writes pieces on one HTTP/2 connection after the other until the time is over.
    fn frames(&self, begin: &[u8], mut piece: impl FnMut(u32) -> Vec<u8>) -> u64 {
        let mut pieces = 0;
        while self.goes_on() {
            let mut connection = Http2::begin(&self.client, &[]);
            connection.write(begin);
            let mut number = 0;
            while self.goes_on() && connection.try_write(&piece(number)) {
                number += 1;
                pieces += 1;
            }
        }
        pieces
    }

    /// Asks on one connection until the time is over.
    fn requests(&self, client: &Client, bytes: impl Fn(u64) -> Vec<u8>) -> u64 {
        let mut asked = 0;
        while self.goes_on() {
            let mut connection = client.connect();
            let mut open = true;
            while open && self.goes_on() {
                open = ask(&mut connection, &bytes(asked));
                asked += 1;
            }
        }
        asked
    }
}

/// Sends bytes and reads an answer with an announced length; returns whether the connection goes on.
fn ask(connection: &mut Connection, bytes: &[u8]) -> bool {
    connection.write(bytes);
    let mut came = Vec::new();
    loop {
        let more = connection.read();
        if more.is_empty() {
            return false;
        }
        came.extend(more);
        let text = String::from_utf8_lossy(&came).to_ascii_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .and_then(|length| length.parse().ok())
                .unwrap_or(0);
            if body.len() >= length {
                return !head.contains("connection: close");
            }
        }
    }
}

fn request(line: &str, fields: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n").into_bytes()
}

/// One flood: how it is called, how many requests it keeps under way, and what it does.
type Flood = (&'static str, u64, fn(&Target) -> u64);

const FLOODS: &[Flood] = &[
    ("connections that end at once", 1, |target| {
        let mut opened = 0;
        while target.goes_on() {
            drop(target.client.connect());
            opened += 1;
        }
        opened
    }),
    ("handshakes", 1, |target| {
        let mut shaken = 0;
        while target.goes_on() {
            let mut connection = target.client.connect();
            connection.write(b"");
            shaken += 1;
        }
        shaken
    }),
    ("requests without a token", 1, |target| {
        target.requests(&target.client, |_| request("GET /api/status", ""))
    }),
    ("tokens of no shape", 1, |target| {
        target.requests(&target.client, |number| {
            request(
                "GET /api/status",
                &format!("Authorization: Bearer {number}\r\n"),
            )
        })
    }),
    ("tokens that nobody has", 1, |target| {
        target.requests(&target.client, |_| {
            let unknown = token::unknown();
            request(
                "GET /api/status",
                &format!("Authorization: Bearer {unknown}\r\n"),
            )
        })
    }),
    ("identity tokens with a false signature", 1, |target| {
        target.requests(&target.client, |number| {
            // The last characters are of the signature; each token is another one.
            let (signed, _) = target.jwt.split_at(target.jwt.len() - 12);
            let field = format!("Authorization: Bearer {signed}{number:012}\r\n");
            request("GET /api/status", &field)
        })
    }),
    ("denied requests of a good token", 1, |target| {
        target.requests(&target.good, |_| {
            target.good.request("GET", "/api/nothing").to_bytes()
        })
    }),
    ("heads of the longest kind", 1, |target| {
        let field = format!("X-Long: {}\r\n", "x".repeat(31_000));
        target.requests(&target.client, |_| request("GET /health/live", &field))
    }),
    ("heads of most fields", 1, |target| {
        let fields: String = (0..95).map(|number| format!("X-{number}: x\r\n")).collect();
        target.requests(&target.client, |_| request("GET /health/live", &fields))
    }),
    ("heads in pieces of one byte", 1, |target| {
        let mut pieces = 0;
        let bytes = request(
            "GET /health/live",
            &format!("X-Long: {}\r\n", "x".repeat(4_000)),
        );
        while target.goes_on() {
            let mut connection = target.client.connect();
            for byte in &bytes {
                connection.write(&[*byte]);
                pieces += 1;
            }
        }
        pieces
    }),
    ("chunks of one byte", 1, |target| {
        let begin = request(
            "POST /api/auth/report-leak",
            "Transfer-Encoding: chunked\r\n",
        );
        let mut pieces = 0;
        while target.goes_on() {
            let mut connection = target.client.connect();
            connection.write(&begin);
            let mut sent = 0;
            while target.goes_on() && sent < 60_000 && connection.try_write(b"1\r\nx\r\n") {
                sent += 1;
                pieces += 1;
            }
        }
        pieces
    }),
    ("malformed requests", 1, |target| {
        target.requests(&target.client, |_| request("GET  /health/live", ""))
    }),
    ("two hundred silent connections", 200, |target| {
        let held: Vec<_> = (0..200)
            .map(|_| {
                let mut connection = target.client.connect();
                connection.write(b"GET /health/live HTTP/1.1\r\nX-Slow: ");
                connection
            })
            .collect();
        let mut waited = 0;
        poll::within(2 * DURATION, "the time is over", || {
            waited += 1;
            (!target.goes_on()).then_some(())
        });
        drop(held);
        waited
    }),
    ("PING", 1, |target| {
        target.frames(&[], |_| frame(6, 0, 0, &[0; 8]))
    }),
    ("SETTINGS", 1, |target| {
        target.frames(&[], |_| frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]))
    }),
    ("PRIORITY", 1, |target| {
        target.frames(&[], |_| frame(2, 0, 1, &[0, 0, 0, 0, 16]))
    }),
    ("WINDOW_UPDATE", 1, |target| {
        target.frames(&[], |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]))
    }),
    ("frames of an unknown type", 1, |target| {
        target.frames(&[], |_| frame(0xbe, 0, 0, b"greasy"))
    }),
    ("rapid reset", 100, |target| {
        target.frames(&[], |number| {
            let stream = 2 * number + 1;
            let begun = head(stream, true, "GET", "/health/live", &[]);
            [begun, frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
        })
    }),
    ("resets that the gateway is made to send", 100, |target| {
        target.frames(&[], |number| {
            let stream = 2 * number + 1;
            let begun = head(stream, false, "POST", "/api/auth/report-leak", &[]);
            // An update of nothing is an error of the stream.
            [begun, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
        })
    }),
    ("CONTINUATION without end", 1, |target| {
        let begin = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
        let more = block(&[("x-more", "more")]);
        target.frames(&begin, |_| frame(CONTINUATION, 0, 1, &more))
    }),
    ("empty CONTINUATION", 1, |target| {
        let begin = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
        target.frames(&begin, |_| frame(CONTINUATION, 0, 1, &[]))
    }),
    ("empty DATA", 1, |target| {
        let begin = head(1, false, "POST", "/api/auth/report-leak", &[]);
        target.frames(&begin, |_| frame(DATA, 0, 1, &[]))
    }),
    ("padded DATA of one byte", 1, |target| {
        const PADDED: u8 = 8;
        let begin = head(1, false, "POST", "/api/auth/report-leak", &[]);
        let mut payload = vec![255, b'x'];
        payload.extend([0; 255]);
        target.frames(&begin, |_| frame(DATA, PADDED, 1, &payload))
    }),
    ("fields out of the compressor's table", 100, |target| {
        // A long field is put into the table, and every further byte of a block names it.
        let mut first = vec![0x40, 1, b'x', 0x7f, 0xa1, 0x1c];
        first.extend([b'y'; 3_744]);
        let pseudo = block(&[
            (":method", "GET"),
            (":scheme", "https"),
            (":authority", "localhost"),
            (":path", "/health/live"),
        ]);
        target.frames(&[], move |number| {
            let mut fields = pseudo.clone();
            if number == 0 {
                fields.extend(&first);
            }
            fields.extend(vec![0xbe; 12_000]);
            frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &fields)
        })
    }),
    ("a hundred uploads that do not go on", 100, |target| {
        let begin: Vec<u8> = (0..100)
            .flat_map(|number| head(2 * number + 1, false, "POST", "/api/auth/report-leak", &[]))
            .collect();
        target.frames(&begin, |number| {
            let stream = 2 * (number % 100) + 1;
            frame(DATA, 0, stream, b"x")
        })
    }),
    ("requests whose answers are not read", 100, |target| {
        let mut asked = 0;
        while target.goes_on() {
            // A window of nothing: every answer waits for its reader.
            let mut connection = Http2::begin(&target.client, &[0, 4, 0, 0, 0, 0]);
            for number in 0..100 {
                connection.write(&head(2 * number + 1, true, "GET", "/api/openapi.json", &[]));
                asked += 1;
            }
            while target.goes_on() && connection.try_write(&frame(6, 1, 0, &[0; 8])) {}
        }
        asked
    }),
];

#[test]
#[expect(
    clippy::print_stderr,
    reason = "the figures are what people want to see"
)]
fn no_flood_costs_the_gateway_a_hundred_times_what_it_costs_its_sender() {
    let issuer = Issuer::start();
    let mut broken = Vec::new();
    eprintln!("| flood | pieces/s | processor time, gateway to sender | memory, held to allowed |");
    eprintln!("|---|---|---|---|");
    for (name, under_way, flood) in FLOODS {
        let deployment = Deployment::builder()
            .with_tls()
            .with_tokens()
            .with_variable("LOKI_OIDC_ISSUER", &issuer.url())
            .with_variable("LOKI_OIDC_CLIENT_ID", "client")
            .with_gateway_settings(
                "[oidc]\nallow_loopback_http = true\n[limits]\nidle_timeout = \"5m\"\n",
            )
            .start();
        let gateway = deployment.gateway_id();
        let good = deployment.token("viewer", &["--role", "viewer"]);
        let client = deployment.client();
        let health = client.request("GET", "/health/live");
        for _ in 0..100 {
            let _served = client.connect().send(&health).with_status(200);
        }
        process::forget_resident_max(gateway);
        let before = process::usage(gateway);
        let target = Target {
            good: client.with_token(&good.raw),
            client: client.clone(),
            jwt: issuer.token("eve"),
            until: Instant::now() + DURATION,
        };
        let spent = process::thread_time();
        let pieces = flood(&target);
        let spent = process::thread_time().saturating_sub(spent);
        let after = process::usage(gateway);
        let processor = after.processor.saturating_sub(before.processor);
        // Less than a tick cannot be told from none.
        let floor = Duration::from_millis(10);
        let times = processor.as_secs_f64() / spent.max(floor).as_secs_f64();
        let held = after.resident_max.saturating_sub(before.resident);
        let share = ratio(held, under_way * ALLOWED_BYTES);
        eprintln!(
            "| {name} | {} | {times:.1} | {share:.1} ({} KiB) |",
            pieces / DURATION.as_secs(),
            held / 1024
        );
        if times >= RULE || share >= RULE {
            broken.push(*name);
        }
        let _served = client.connect().send(&health).with_status(200);
    }
    assert!(broken.is_empty(), "a hundred times and more: {broken:?}");
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of bytes needs no more digits"
)]
fn ratio(held: u64, allowed: u64) -> f64 {
    held as f64 / allowed as f64
}
