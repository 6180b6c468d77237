//! How many connections a listener has, in all and from one address.
//!
//! Invariant: a connection holds a [`Place`] from accept to close; what is counted is what is open.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Most connections at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// In all.
    pub(crate) all: u32,
    /// From one address.
    pub(crate) per_address: u32,
}

/// The live connections, counted in all and by address.
#[derive(Debug, Default)]
pub(crate) struct Places {
    taken: Mutex<Taken>,
    emptied: Notify,
}

#[derive(Debug, Default)]
struct Taken {
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Places {
    /// Takes a place, if there is one left.
    pub(crate) fn take(places: &Arc<Self>, address: IpAddr, bounds: Bounds) -> Option<Place> {
        let mut taken = places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let here = taken.by_address.get(&address).copied().unwrap_or_default();
        if taken.all >= bounds.all || here >= bounds.per_address {
            return None;
        }
        taken.by_address.insert(address, here + 1);
        taken.all += 1;
        Some(Place {
            places: Arc::clone(places),
            address,
        })
    }

    fn live(&self) -> u32 {
        self.taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .all
    }

    /// Waits until the last connection is gone; returns how many are left after `timeout`.
    pub(crate) async fn drained(&self, timeout: Duration) -> u32 {
        let emptied = async {
            loop {
                let notified = self.emptied.notified();
                if self.live() == 0 {
                    return;
                }
                notified.await;
            }
        };
        match tokio::time::timeout(timeout, emptied).await {
            Ok(()) => 0,
            Err(_) => self.live(),
        }
    }
}

/// A connection's place among the live ones; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    address: IpAddr,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self
            .places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Entry::Occupied(mut here) = taken.by_address.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
        if taken.all == 0 {
            self.places.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::{Bounds, Place, Places};

    #[test]
    fn one_address_cannot_take_every_place() {
        let bounds = Bounds {
            all: 3,
            per_address: 2,
        };
        let places: Arc<Places> = Arc::default();
        let take = |address: IpAddr| -> Option<Place> { Places::take(&places, address, bounds) };
        let (one, two): (IpAddr, IpAddr) = ([127, 0, 0, 1].into(), [127, 0, 0, 2].into());
        let held: Vec<_> = (0..2).map(|_| take(one)).collect();
        assert!(held.iter().all(Option::is_some));
        assert!(take(one).is_none());
        let other = take(two);
        assert!(other.is_some());
        assert!(take(two).is_none());
        drop(held);
        assert!(take(one).is_some());
        assert_eq!(places.live(), 1);
        drop(other);
        assert!(places.taken.lock().expect("lock").by_address.is_empty());
    }
}
