//! Endurance: under everything at once, for minutes, memory and descriptors stay flat and nothing fails.
//!
//! `make soak` runs it for ten minutes, or for `SOAK_SECONDS`.

use std::env;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tests::client::Client;
use tests::deployment::Deployment;
use tests::http2::{self, Http2, frame};
use tests::poll;
use tests::process::{self, Usage};
use tests::token;

/// How long it goes on unless `SOAK_SECONDS` says otherwise.
const SECONDS: u64 = 60;

/// The time between two looks at memory and descriptors.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How much more memory the last quarter may have than the second: as much as an allocator moves
/// between two looks.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// How many more descriptors.
const GROWTH_DESCRIPTORS_MAX: u64 = 16;

fn seconds() -> u64 {
    let wanted = env::var("SOAK_SECONDS").ok();
    wanted.map_or(SECONDS, |text| {
        text.parse().expect("SOAK_SECONDS is a number of seconds")
    })
}

/// Everybody who uses the gateway.
struct Crowd<'a> {
    deployment: &'a Deployment,
    viewer: Client,
    admin: Client,
    ended: AtomicBool,
    done: AtomicU64,
}

impl Crowd<'_> {
    fn goes_on(&self) -> bool {
        !self.ended.load(Ordering::Relaxed)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Reads on one connection.
    fn read(&self) {
        let mut connection = self.viewer.connect();
        while self.goes_on() {
            let asked = self.viewer.request("GET", "/api/status");
            let _served = connection.send(&asked).with_status(200);
            self.count();
        }
    }

    /// Shakes hands for every request.
    fn visit(&self) {
        while self.goes_on() {
            let _served = self.viewer.get("/api/sessions").with_status(200);
            self.count();
        }
    }

    /// Attempts a change, and what is refused.
    fn change(&self) {
        while self.goes_on() {
            let stopped = self.admin.post("/api/control/stop", &json!({}));
            // Nothing runs that could be stopped; the attempt is in the trail all the same.
            assert_eq!(stopped.status, 409, "{}", stopped.text());
            let unknown = self.deployment.client().with_token(&token::unknown());
            let refused = unknown.get("/api/status").status;
            assert!(matches!(refused, 401 | 429), "{refused}");
            let _missing = self.viewer.get("/api/nothing").with_status(404);
            self.count();
        }
    }

    /// Asks many things over one connection of HTTP/2, and cancels some.
    fn share(&self) {
        while self.goes_on() {
            let mut connection = Http2::begin(&self.viewer, &[]);
            for number in 0..50 {
                let stream = 4 * number + 1;
                let cancelled = http2::head(stream, true, "GET", "/health", &[]);
                connection.write(&cancelled);
                connection.write(&frame(http2::RST_STREAM, 0, stream, &[0, 0, 0, 8]));
                let served = stream + 2;
                connection.write(&http2::head(served, true, "GET", "/health", &[]));
                connection.until("an answer", |frame| {
                    frame.stream == served && frame.ends_stream()
                });
                self.count();
            }
        }
    }

    /// Leaves things unfinished.
    fn break_off(&self) {
        while self.goes_on() {
            let client = self.deployment.client();
            client.connect().write(b"GET /health HTTP/1.1\r\nHost: ");
            client.connect().write(b"POST /api/auth/report-leak HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{");
            client.connect().write(b"\x00\x01\x02 nonsense\r\n\r\n");
            drop(client.connect());
            self.count();
        }
    }

    /// Reads figures and records, and has the settings read anew.
    fn operate(&self) {
        while self.goes_on() {
            let _figures = self.admin.get("/metrics").with_status(200);
            let records = "/api/enterprise/audit?limit=100";
            let _records = self.admin.get(records).with_status(200);
            let reload = self.admin.request("POST", "/api/config/reload");
            let _done = reload.send().with_status(200);
            self.count();
        }
    }
}

#[test]
#[expect(
    clippy::print_stderr,
    reason = "the figures are what people want to see"
)]
fn memory_and_descriptors_stay_flat() {
    let deployment = Deployment::builder()
        .with_tls()
        .with_tokens()
        .with_gateway_settings("[rates]\nread = \"off\"\nchange = \"off\"\naudit = \"off\"\n")
        .start();
    let client = |name: &str, role: &str| {
        let token = deployment.token(name, &["--role", role]);
        deployment.client().with_token(&token.raw)
    };
    let crowd = Crowd {
        viewer: client("viewer", "viewer"),
        admin: client("admin", "admin"),
        deployment: &deployment,
        ended: AtomicBool::new(false),
        done: AtomicU64::new(0),
    };
    let duration = Duration::from_secs(seconds());
    let mut looks: Vec<Usage> = Vec::new();
    thread::scope(|scope| {
        let running = [
            scope.spawn(|| crowd.read()),
            scope.spawn(|| crowd.visit()),
            scope.spawn(|| crowd.change()),
            scope.spawn(|| crowd.share()),
            scope.spawn(|| crowd.break_off()),
            scope.spawn(|| crowd.operate()),
        ];
        let began = Instant::now();
        while began.elapsed() < duration && running.iter().all(|worker| !worker.is_finished()) {
            let due = began + LOOK_INTERVAL * u32::try_from(looks.len()).expect("a few");
            poll::until("the next look", || (Instant::now() >= due).then_some(()));
            looks.push(process::usage(deployment.gateway_id()));
        }
        crowd.ended.store(true, Ordering::Relaxed);
    });
    let quarter = looks.len() / 4;
    let (early, late) = (&looks[quarter..2 * quarter], &looks[3 * quarter..]);
    let resident = [early, late].map(|looks| median(looks, |usage| usage.resident));
    let descriptors = [early, late].map(|looks| median(looks, |usage| usage.descriptors));
    eprintln!(
        "{} s, {} things done; resident {} KiB in the second quarter, {} KiB in the last; \
         descriptors {} and {}",
        duration.as_secs(),
        crowd.done.load(Ordering::Relaxed),
        resident[0] / 1024,
        resident[1] / 1024,
        descriptors[0],
        descriptors[1]
    );
    assert!(resident[1] <= resident[0] + GROWTH_BYTES_MAX, "{looks:#?}");
    let most = descriptors[0] + GROWTH_DESCRIPTORS_MAX;
    assert!(descriptors[1] <= most, "{looks:#?}");
}

fn median(looks: &[Usage], of: impl Fn(&Usage) -> u64) -> u64 {
    let mut figures: Vec<u64> = looks.iter().map(of).collect();
    figures.sort_unstable();
    figures[figures.len() / 2]
}
