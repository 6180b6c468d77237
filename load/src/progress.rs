//! A bar while a measurement runs, if a terminal is there.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::task::AbortHandle;
use tokio::time::interval;

const TICK: Duration = Duration::from_millis(200);

/// A bar that moves with the time.
#[derive(Debug)]
pub(crate) struct Progress {
    bar: ProgressBar,
    ticking: AbortHandle,
}

impl Progress {
    /// Shows a bar that is full after `duration`. Without a terminal nothing is shown.
    pub(crate) fn begin(name: &str, duration: Duration) -> Self {
        let ticks = u64::try_from(duration.as_millis() / TICK.as_millis()).unwrap_or(1);
        let bar = ProgressBar::with_draw_target(Some(ticks), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {elapsed}/{duration}")
        {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        let moving = bar.clone();
        let ticking = tokio::spawn(async move {
            let mut ticks = interval(TICK);
            loop {
                ticks.tick().await;
                moving.inc(1);
            }
        });
        Self {
            bar,
            ticking: ticking.abort_handle(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn end(self) {
        self.ticking.abort();
        self.bar.finish_and_clear();
    }
}
