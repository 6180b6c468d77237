//! How quiet the machine is: what a measurement on it can tell.

use std::time::{Duration, Instant};

use super::process;

/// How long to look.
const LOOK: Duration = Duration::from_secs(1);

/// A pause that no program makes which only asks for the time.
const PAUSE: Duration = Duration::from_micros(100);

/// How long a processor was away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Away {
    all: Duration,
    longest: Duration,
}

/// Asks for the time on a processor again and again, and sees how long it was away meanwhile: taken by other
/// programs, by interrupts, or by the host of a virtual machine.
///
/// # Errors
/// When the processor does not exist.
pub(super) fn look(processor: Option<usize>) -> anyhow::Result<Away> {
    process::on_processor(processor, || {
        let start = Instant::now();
        let times = std::iter::repeat_with(|| start.elapsed());
        Away::between(times.take_while(|passed| *passed < LOOK))
    })
}

impl Away {
    fn between(times: impl Iterator<Item = Duration>) -> Self {
        let mut away = Self::default();
        let mut before = Duration::ZERO;
        for now in times {
            let pause = now.saturating_sub(before);
            if pause > PAUSE {
                away.all += pause;
                away.longest = away.longest.max(pause);
            }
            before = now;
        }
        away
    }

    /// Says what follows from it, for people.
    pub(super) fn says(self) -> String {
        let percent = self.all.as_secs_f64() / LOOK.as_secs_f64() * 100.0;
        format!(
            "the proxy's processor was away for {percent:.2} % of a second, at longest {} µs: latencies of \
             that share of the requests are the machine's",
            self.longest.as_micros()
        )
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Away;

    #[test]
    fn only_pauses_count_that_no_program_makes() {
        let times = [1, 90, 100, 1_100, 1_150, 1_450].map(Duration::from_micros);
        let expected = Away {
            all: Duration::from_micros(1_300),
            longest: Duration::from_micros(1_000),
        };
        assert_eq!(Away::between(times.into_iter()), expected);
        assert!(
            expected
                .says()
                .contains("0.13 % of a second, at longest 1000 µs")
        );
    }
}
