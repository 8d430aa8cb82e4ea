//! The one place that reads the clock. Durations and times go to logs and summaries, never into a computation.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Measures seconds since it was made or last asked. A copy goes on from where the original was.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
    lap: Instant,
}

impl Stopwatch {
    /// Starts now.
    #[allow(clippy::new_without_default, reason = "a default that depends on when it is called is no default")]
    pub(crate) fn new() -> Self {
        let now = now();
        Self { started: now, lap: now }
    }

    /// Seconds since the last lap, which ends here.
    pub(crate) fn lap(&mut self) -> f64 {
        let now = now();
        let seconds = (now - self.lap).as_secs_f64();
        self.lap = now;
        seconds
    }

    /// Seconds since the start.
    pub(crate) fn total(&self) -> f64 {
        (now() - self.started).as_secs_f64()
    }
}

#[allow(clippy::disallowed_methods, reason = "durations for the logs")]
fn now() -> Instant {
    Instant::now()
}

/// What time it is, as event files note it; 0 where the clock is older than its epoch.
#[allow(clippy::disallowed_methods, reason = "times for the logs")]
pub(crate) fn unix_seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}
