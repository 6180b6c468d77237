//! How fast a body must come that is forwarded from an HTTP/2 stream; in HTTP/1 the front sees to it.
//!
//! Invariant: a stream whose body comes too slowly is reset, and no other stream of its connection
//! notices.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use config::limit::Limits;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::proxy::Proxy;

tokio::task_local! {
    /// The pace of the stream that the running task serves.
    static UPLOAD: Arc<Upload>;
}

/// Serves streams, each until its body is late.
pub(crate) struct Paced(Arc<HttpProxy<Proxy>>);

impl Paced {
    /// Wraps what serves them.
    pub(crate) const fn new(proxy: Arc<HttpProxy<Proxy>>) -> Self {
        Self(proxy)
    }
}

#[async_trait]
impl HttpServerApp for Paced {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let upload = Arc::new(Upload::default());
        let serving = UPLOAD.scope(
            Arc::clone(&upload),
            self.0.process_new_http(session, shutdown),
        );
        tokio::select! {
            biased;
            served = serving => served,
            // What serves the stream is dropped, which resets it and ends its record.
            () = upload.late() => None,
        }
    }

    fn h2_options(&self) -> Option<H2Options> {
        self.0.h2_options()
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        self.0.server_options()
    }

    async fn http_cleanup(&self) {
        self.0.http_cleanup().await;
    }
}

/// The pace of one body.
#[derive(Debug, Default)]
pub(crate) struct Upload {
    pace: Mutex<Option<Pace>>,
    begun: Notify,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    due: Instant,
    bytes_per_second_min: u32,
    is_late: bool,
}

/// Returns the pace of the stream that the running task serves; none in HTTP/1.
pub(crate) fn current() -> Option<Arc<Upload>> {
    UPLOAD.try_with(Arc::clone).ok()
}

impl Upload {
    /// Begins to wait for a body.
    pub(crate) fn begin(&self, limits: &Limits) {
        self.set(Some(Pace {
            due: Instant::now() + limits.header_timeout,
            bytes_per_second_min: limits.body_bytes_per_second_min.max(1),
            is_late: false,
        }));
        self.begun.notify_one();
    }

    /// Takes note of bytes that came; each puts the end off by the time that it may take.
    pub(crate) fn came(&self, bytes: usize) {
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pace) = &mut *pace {
            let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
            let earned = f64::from(bytes) / f64::from(pace.bytes_per_second_min);
            // No body that an operation allows earns more than a day.
            pace.due += Duration::from_secs_f64(earned.min(DAY_SECONDS));
        }
    }

    /// Takes note that the body is whole.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    /// Returns whether the body was too slow.
    pub(crate) fn is_late(&self) -> bool {
        self.pace().is_some_and(|pace| pace.is_late)
    }

    /// Waits until the body is late.
    async fn late(&self) {
        loop {
            let Some(pace) = self.pace() else {
                self.begun.notified().await;
                continue;
            };
            if pace.due <= Instant::now() {
                self.set(Some(Pace {
                    is_late: true,
                    ..pace
                }));
                return;
            }
            sleep_until(pace.due).await;
        }
    }

    fn pace(&self) -> Option<Pace> {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, pace: Option<Pace>) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }
}

const DAY_SECONDS: f64 = 86_400.0;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::gateway::GatewaySettings;
    use config::limit::Limits;
    use config::load::Sources;
    use tokio::time::Instant;

    use super::Upload;

    fn limits() -> Limits {
        let defaults = GatewaySettings::load(Sources::default()).expect("defaults");
        Limits {
            header_timeout: Duration::from_millis(20),
            body_bytes_per_second_min: 1_000,
            ..defaults.settings.limits
        }
    }

    #[tokio::test]
    async fn a_silent_body_is_late_and_each_byte_earns_its_time() {
        let upload = Upload::default();
        upload.begin(&limits());
        let begun = Instant::now();
        upload.came(50);
        upload.late().await;
        assert!(begun.elapsed() >= Duration::from_millis(70));
        assert!(upload.is_late());
    }

    #[tokio::test]
    async fn nothing_is_late_before_it_begins_or_once_it_is_whole() {
        let upload = Upload::default();
        let waiting = tokio::time::timeout(Duration::from_millis(60), upload.late());
        let whole = async {
            tokio::task::yield_now().await;
            upload.begin(&limits());
            tokio::task::yield_now().await;
            upload.end();
        };
        let (waited, ()) = tokio::join!(waiting, whole);
        assert!(waited.is_err());
        assert!(!upload.is_late());
    }

    #[tokio::test]
    async fn a_huge_piece_puts_the_end_off_without_an_overflow() {
        let upload = Upload::default();
        upload.begin(&limits());
        for _ in 0..10 {
            upload.came(usize::MAX);
        }
        assert!(!upload.is_late());
    }
}
