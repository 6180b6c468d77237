//! The open streams, counted by principal.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use config::gateway::streams;

/// Counts the open streams.
#[derive(Debug, Default)]
pub(crate) struct Streams(Arc<Mutex<HashMap<String, Count>>>);

#[derive(Debug, Default)]
struct Count {
    all: u32,
    websockets: u32,
}

/// A stream's place; given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    streams: Arc<Mutex<HashMap<String, Count>>>,
    principal: String,
    websocket: bool,
}

impl Streams {
    /// Takes a place, if the principal has one left.
    pub(super) fn take(
        &self,
        principal: &str,
        websocket: bool,
        bounds: &streams::Streams,
    ) -> Option<Place> {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = streams.get(principal) {
            let full = count.all >= bounds.per_principal_max
                || (websocket && count.websockets >= bounds.websockets_per_principal_max);
            if full {
                return None;
            }
        } else if bounds.per_principal_max == 0
            || (websocket && bounds.websockets_per_principal_max == 0)
        {
            return None;
        }
        let count = streams.entry(principal.to_owned()).or_default();
        count.all += 1;
        count.websockets += u32::from(websocket);
        Some(Place {
            streams: Arc::clone(&self.0),
            principal: principal.to_owned(),
            websocket,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut count) = streams.entry(std::mem::take(&mut self.principal)) {
            count.get_mut().all -= 1;
            count.get_mut().websockets -= u32::from(self.websocket);
            if count.get().all == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use config::gateway::streams;

    use super::Streams;

    #[test]
    fn one_principal_cannot_take_every_place() {
        let bounds = streams::Streams {
            per_principal_max: 3,
            websockets_per_principal_max: 1,
            frame_bytes_max: 0,
            idle_timeout: Duration::ZERO,
            duration_max: Duration::ZERO,
        };
        let streams = Streams::default();
        let socket = streams.take("one", true, &bounds);
        assert!(socket.is_some());
        assert!(streams.take("one", true, &bounds).is_none());
        let events: Vec<_> = (0..2)
            .map(|_| streams.take("one", false, &bounds))
            .collect();
        assert!(events.iter().all(Option::is_some));
        assert!(streams.take("one", false, &bounds).is_none());
        assert!(streams.take("two", true, &bounds).is_some());
        drop(socket);
        assert!(streams.take("one", true, &bounds).is_some());
        drop(events);
        assert!(streams.0.lock().expect("lock").is_empty());
    }
}
