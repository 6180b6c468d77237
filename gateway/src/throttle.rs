//! Slows down whoever tries credentials that are not good.
//!
//! Invariant: counted by network alone, never by token or user, so that nobody can lock anybody
//! out; exact and bounded; a good credential always passes, whatever its neighbours did.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::suppression::network;

/// The first penalty in seconds; each further failure doubles it.
const PENALTY_SECONDS: (u32, u32) = (1, 300);

/// Time without a failure after which a network is forgotten.
const FORGOTTEN_AFTER: TimeDelta = TimeDelta::minutes(15);

/// Most networks that are told apart.
const NETWORKS_MAX: usize = 16_384;

/// Failures by network.
#[derive(Debug)]
pub(crate) struct Throttle {
    free_failures: u32,
    networks: Mutex<HashMap<IpAddr, Failures>>,
    /// Whether any network was ever blocked: until then, requests take no lock.
    ever_blocked: AtomicBool,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: DateTime<Utc>,
    blocked_until: DateTime<Utc>,
}

impl Throttle {
    /// Begins with nobody blocked; so many failures of a network cost nothing.
    pub(crate) fn new(free_failures: u32) -> Self {
        Self {
            free_failures,
            networks: Mutex::default(),
            ever_blocked: AtomicBool::new(false),
        }
    }

    /// Returns how long failures of this network are still answered with "too many", in seconds;
    /// none if it is not blocked.
    pub(crate) fn blocked_seconds(&self, address: IpAddr, now: DateTime<Utc>) -> Option<u32> {
        if !self.ever_blocked.load(Ordering::Relaxed) {
            return None;
        }
        let networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let left = networks.get(&network(address))?.blocked_until - now;
        let left = left.to_std().ok().filter(|left| *left > Duration::ZERO)?;
        u32::try_from(left.as_millis().div_ceil(1_000)).ok()
    }

    /// Counts a failure; one while blocked is not counted, so that the penalty ends in time.
    pub(crate) fn failed(&self, address: IpAddr, now: DateTime<Utc>) {
        let mut networks = self.networks.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if networks.len() >= NETWORKS_MAX && !networks.contains_key(&network) {
            make_room(&mut networks, now);
        }
        let failures = networks.entry(network).or_insert(Failures {
            count: 0,
            last: now,
            blocked_until: now,
        });
        if failures.blocked_until > now {
            return;
        }
        if now - failures.last > FORGOTTEN_AFTER {
            failures.count = 0;
        }
        failures.count = failures.count.saturating_add(1);
        failures.last = now;
        if let Some(excess) = failures
            .count
            .checked_sub(self.free_failures.saturating_add(1))
        {
            let (first, longest) = PENALTY_SECONDS;
            let seconds = first.saturating_mul(1 << excess.min(16)).min(longest);
            failures.blocked_until = now + TimeDelta::seconds(seconds.into());
            self.ever_blocked.store(true, Ordering::Relaxed);
        }
    }
}

/// Forgets networks that are quiet; if none is, a sixteenth of those that failed longest ago.
fn make_room(networks: &mut HashMap<IpAddr, Failures>, now: DateTime<Utc>) {
    networks.retain(|_, failures| now - failures.last <= FORGOTTEN_AFTER);
    if networks.len() < NETWORKS_MAX {
        return;
    }
    let mut times: Vec<_> = networks.values().map(|failures| failures.last).collect();
    let (_, bound, _) = times.select_nth_unstable(NETWORKS_MAX / 16);
    let bound = *bound;
    let mut surplus = NETWORKS_MAX / 16;
    networks.retain(|_, failures| {
        let goes = surplus > 0 && failures.last <= bound;
        surplus -= usize::from(goes);
        !goes
    });
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use chrono::{DateTime, TimeDelta, Utc};

    use super::{NETWORKS_MAX, Throttle};

    const FREE_FAILURES: u32 = 20;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("time")
    }

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn the_penalty_grows_and_ends_in_time() {
        let throttle = Throttle::new(FREE_FAILURES);
        for _ in 0..FREE_FAILURES {
            throttle.failed(address(1), at(0));
            assert_eq!(throttle.blocked_seconds(address(1), at(0)), None);
        }
        let mut now = at(0);
        for penalty in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
            throttle.failed(address(1), now);
            // Failures meanwhile do not add to it.
            throttle.failed(address(1), now);
            assert_eq!(throttle.blocked_seconds(address(1), now), Some(penalty));
            assert_eq!(throttle.blocked_seconds(address(2), now), None);
            now += TimeDelta::seconds(penalty.into());
            assert_eq!(throttle.blocked_seconds(address(1), now), None);
        }
        throttle.failed(address(1), now + TimeDelta::minutes(16));
        let later = now + TimeDelta::minutes(16);
        assert_eq!(throttle.blocked_seconds(address(1), later), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let throttle = Throttle::new(FREE_FAILURES);
        for number in 0..=FREE_FAILURES {
            let text = format!("2001:db8::{number:x}");
            throttle.failed(text.parse().expect("address"), at(0));
        }
        let blocked = |text: &str| throttle.blocked_seconds(text.parse().expect("address"), at(0));
        assert_eq!(blocked("2001:db8::ffff"), Some(1));
        assert_eq!(blocked("2001:db8:0:1::1"), None);
    }

    #[test]
    fn memory_is_bounded_and_the_newest_are_kept() {
        let throttle = Throttle::new(FREE_FAILURES);
        let last = u32::try_from(2 * NETWORKS_MAX).expect("small") - 1;
        for number in 0..=last {
            throttle.failed(address(number), at(i64::from(number / 1_000)));
        }
        let networks = throttle.networks.lock().expect("networks");
        assert!(networks.len() <= NETWORKS_MAX);
        assert!(networks.contains_key(&address(last)));
    }
}
