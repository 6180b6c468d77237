//! Keeps refused callers from filling the audit disk.
//!
//! Invariant: every refusal of a caller without a credential is either a record or counted in one
//! that says `suppressed: n`; memory and records per second are bounded whatever outsiders do.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

/// Records of refusals that one address (IPv4 /32, IPv6 /64) gets each second.
pub(crate) const RECORDS_PER_SECOND: u64 = 5;

/// Addresses that are told apart within one second; further ones share one count.
const ADDRESSES_MAX: usize = 1_024;

/// What becomes of one refusal.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is recorded.
    Record,
    /// It is counted for the second's summary.
    Suppress,
}

/// Refusals of the current second, by address.
#[derive(Debug, Default)]
pub(crate) struct Suppression {
    second: Mutex<Second>,
}

#[derive(Debug, Default)]
struct Second {
    seen: HashMap<IpAddr, u64>,
    others: u64,
}

/// What was suppressed in one second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// Suppressed refusals by address.
    pub(crate) by_address: Vec<(IpAddr, u64)>,
    /// Suppressed refusals of addresses that were not told apart.
    pub(crate) others: u64,
}

impl Suppression {
    /// Judges one refusal of a caller at `address`.
    pub(crate) fn judge(&self, address: IpAddr) -> Verdict {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let network = network(address);
        if second.seen.len() >= ADDRESSES_MAX && !second.seen.contains_key(&network) {
            second.others += 1;
            return Verdict::Suppress;
        }
        let count = second.seen.entry(network).or_default();
        *count += 1;
        if *count > RECORDS_PER_SECOND {
            Verdict::Suppress
        } else {
            Verdict::Record
        }
    }

    /// Ends the second and begins the next.
    pub(crate) fn turn(&self) -> Summary {
        let mut second = self.second.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = std::mem::take(&mut *second);
        drop(second);
        let mut by_address: Vec<_> = ended
            .seen
            .into_iter()
            .filter(|(_, count)| *count > RECORDS_PER_SECOND)
            .map(|(address, count)| (address, count - RECORDS_PER_SECOND))
            .collect();
        by_address.sort_unstable();
        Summary {
            by_address,
            others: ended.others,
        }
    }
}

/// One customer's addresses count as one: /32 in IPv4, /64 in IPv6.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::{ADDRESSES_MAX, RECORDS_PER_SECOND, Summary, Suppression, Verdict};

    fn address(number: u32) -> IpAddr {
        IpAddr::V4(Ipv4Addr::from(number))
    }

    #[test]
    fn a_flood_of_one_address_becomes_a_count() {
        let suppression = Suppression::default();
        let recorded = (0..1_000)
            .filter(|_| suppression.judge(address(1)) == Verdict::Record)
            .count();
        assert_eq!(recorded as u64, RECORDS_PER_SECOND);
        assert_eq!(suppression.judge(address(2)), Verdict::Record);
        let by_address = vec![(address(1), 1_000 - RECORDS_PER_SECOND)];
        assert_eq!(
            suppression.turn(),
            Summary {
                by_address,
                others: 0
            }
        );
        assert_eq!(suppression.turn(), Summary::default());
        assert_eq!(suppression.judge(address(1)), Verdict::Record);
    }

    #[test]
    fn a_flood_of_many_addresses_stays_bounded() {
        let suppression = Suppression::default();
        for number in 0..10_000 {
            let verdict = suppression.judge(address(number));
            let expected = if (number as usize) < ADDRESSES_MAX {
                Verdict::Record
            } else {
                Verdict::Suppress
            };
            assert_eq!(verdict, expected);
        }
        let others = 10_000 - ADDRESSES_MAX as u64;
        assert_eq!(
            suppression.turn(),
            Summary {
                by_address: Vec::new(),
                others
            }
        );
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let suppression = Suppression::default();
        let recorded = (0..100)
            .filter(|number| {
                let text = format!("2001:db8::{number:x}");
                suppression.judge(text.parse().expect("address")) == Verdict::Record
            })
            .count();
        assert_eq!(recorded as u64, RECORDS_PER_SECOND);
    }
}
