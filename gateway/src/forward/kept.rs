//! Connections to the runtime between two requests.
//!
//! Invariant: a connection is used for one principal alone, so that an answer which strays on it can
//! only meet its own principal; how many are kept, and how long, is bounded.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use config::gateway::Upstream;
use pingora::protocols::Stream;

use super::channel::Channel;

/// Most connections that wait; beyond, the one that waits longest goes.
const CONNECTIONS_MAX: usize = 256;

/// The waiting connections.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Shelf>);

#[derive(Debug, Default)]
struct Shelf {
    /// The one that waits longest comes first.
    waiting: BTreeMap<u64, Waiting>,
    /// Their numbers; the one that waits shortest comes last.
    of_principal: HashMap<Arc<str>, VecDeque<u64>>,
    numbered: u64,
}

#[derive(Debug)]
struct Waiting {
    principal: Arc<str>,
    stream: Stream,
    since: Instant,
}

impl Kept {
    /// Takes a connection of a principal. Where a request cannot be repeated, the system is asked
    /// whether the runtime has ended it meanwhile.
    pub(super) fn take(
        &self,
        principal: &str,
        repeatable: bool,
        settings: &Upstream,
    ) -> Option<Stream> {
        loop {
            let waiting = self.lock().take(principal)?;
            let fresh = waiting.since.elapsed() < settings.idle_timeout;
            if fresh && (repeatable || is_quiet(&waiting.stream)) {
                return Some(waiting.stream);
            }
        }
    }

    /// Keeps a connection for its principal's next request.
    pub(super) fn put(&self, principal: &str, stream: Stream) {
        let mut shelf = self.lock();
        let longest = shelf.make_room();
        shelf.put(principal, stream, Instant::now());
        drop(shelf);
        // Closed without the lock.
        drop(longest);
    }

    /// Closes what waited longer than the bound.
    pub(super) fn sweep(&self, idle_timeout: Duration) {
        let over = self.lock().sweep(Instant::now(), idle_timeout);
        drop(over);
    }

    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn take(&mut self, principal: &str) -> Option<Waiting> {
        let number = self.of_principal.get_mut(principal)?.pop_back()?;
        self.waiting.remove(&number)
    }

    fn put(&mut self, principal: &str, stream: Stream, now: Instant) {
        self.numbered += 1;
        let known = self.of_principal.get_key_value(principal);
        let principal = known.map_or_else(|| Arc::from(principal), |(name, _)| Arc::clone(name));
        let waiting = Waiting {
            principal: Arc::clone(&principal),
            stream,
            since: now,
        };
        self.waiting.insert(self.numbered, waiting);
        let numbers = self.of_principal.entry(principal).or_default();
        numbers.push_back(self.numbered);
    }

    /// Takes out the one that waits longest, if there is no room for another.
    fn make_room(&mut self) -> Option<Waiting> {
        if self.waiting.len() < CONNECTIONS_MAX {
            return None;
        }
        self.take_longest()
    }

    fn take_longest(&mut self) -> Option<Waiting> {
        let (_, waiting) = self.waiting.pop_first()?;
        if let Some(numbers) = self.of_principal.get_mut(&waiting.principal) {
            numbers.pop_front();
        }
        Some(waiting)
    }

    /// Takes out what waits too long, and forgets principals of whom nothing waits.
    fn sweep(&mut self, now: Instant, idle_timeout: Duration) -> Vec<Waiting> {
        let mut over = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && now.saturating_duration_since(first.get().since) >= idle_timeout
        {
            over.extend(self.take_longest());
        }
        self.of_principal.retain(|_, numbers| !numbers.is_empty());
        over
    }
}

fn is_quiet(stream: &Stream) -> bool {
    stream
        .as_any()
        .downcast_ref::<Channel>()
        .is_some_and(Channel::is_quiet)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use pingora::protocols::Stream;
    use tokio::net::UnixStream;

    use super::super::channel::Channel;
    use super::{CONNECTIONS_MAX, Shelf};

    fn stream() -> (Stream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        (Box::new(Channel::new(ours)), theirs)
    }

    #[tokio::test]
    async fn a_connection_is_its_principal_s_alone_and_the_newest_is_used_first() {
        let mut shelf = Shelf::default();
        let now = Instant::now();
        let ids: Vec<_> = (0..2)
            .map(|_| {
                let (stream, _) = stream();
                let id = stream.id();
                shelf.put("one", stream, now);
                id
            })
            .collect();
        assert!(shelf.take("two").is_none());
        for id in ids.iter().rev() {
            assert_eq!(shelf.take("one").expect("kept").stream.id(), *id);
        }
        assert!(shelf.take("one").is_none());
    }

    #[tokio::test]
    async fn how_many_wait_and_how_long_is_bounded() {
        let mut shelf = Shelf::default();
        let began = Instant::now();
        for number in 0..=CONNECTIONS_MAX {
            let gone = shelf.make_room();
            assert_eq!(gone.is_some(), number == CONNECTIONS_MAX);
            shelf.put(&number.to_string(), stream().0, began);
        }
        assert!(shelf.take("0").is_none());
        assert!(shelf.take("1").is_some());
        let bound = Duration::from_secs(10);
        assert!(shelf.sweep(began + bound / 2, bound).is_empty());
        assert_eq!(shelf.sweep(began + bound, bound).len(), CONNECTIONS_MAX - 1);
        assert!(shelf.of_principal.is_empty());
    }
}
