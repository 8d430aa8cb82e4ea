//! The one place that reads the clock. Durations go to logs and summaries, never into a computation.

use std::time::Instant;

/// Measures seconds since it was made or last asked.
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
