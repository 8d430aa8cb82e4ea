//! The course of the learning rate over a stage: a rise from 0 in a straight line, then the schedule, as transformers
//! computes them.

use std::f64::consts::PI;

use crate::config::LrSchedule;
use crate::error::{Error, Result};

/// A learning rate over the steps of a stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest.
    pub learning_rate: f64,
    /// How it falls.
    pub lr_schedule: LrSchedule,
    /// Steps in which it rises.
    pub warmup_steps: usize,
    /// Or their share of all steps, rounded up; only where `warmup_steps` is 0.
    pub warmup_ratio: f64,
}

impl Schedule {
    /// The learning rate of `step` (from 0) out of `steps`.
    pub fn at(&self, step: usize, steps: usize) -> f64 {
        let warmup = match self.warmup_steps {
            0 => (self.warmup_ratio * steps as f64).ceil() as usize,
            warmup => warmup,
        };
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        let done = (step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64;
        self.learning_rate
            * match self.lr_schedule {
                LrSchedule::Linear => 1.0 - done,
                LrSchedule::Cosine => 0.5 * (1.0 + (PI * done).cos()),
                LrSchedule::Constant => 1.0,
            }
    }

    /// Refuses values that cannot work; `table` is where they stand in the config.
    pub(crate) fn check(&self, table: &str) -> Result<()> {
        let refuse = |key: &str, message: &str| Err(Error::config(format!("{table}.{key}"), message));
        if !self.learning_rate.is_finite() || self.learning_rate < 0.0 {
            return refuse("learning_rate", "must be a number of at least 0");
        }
        if !(0.0..=1.0).contains(&self.warmup_ratio) {
            return refuse("warmup_ratio", "must be between 0 and 1");
        }
        match self.warmup_steps > 0 && self.warmup_ratio > 0.0 {
            true => refuse("warmup_ratio", "set either `warmup_steps` or `warmup_ratio`, not both"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against get_{linear,cosine,constant}_schedule_with_warmup of transformers 5.23.
    #[test]
    fn courses_equal_transformers() {
        for (lr_schedule, warmup_steps, steps, step, expected) in [
            (LrSchedule::Linear, 0, 10, 0, 1.0),
            (LrSchedule::Linear, 0, 10, 5, 0.5),
            (LrSchedule::Linear, 0, 10, 9, 0.1),
            (LrSchedule::Linear, 3, 10, 0, 0.0),
            (LrSchedule::Linear, 3, 10, 1, 0.3333333333333333),
            (LrSchedule::Linear, 3, 10, 3, 1.0),
            (LrSchedule::Linear, 3, 10, 6, 0.5714285714285714),
            (LrSchedule::Linear, 3, 10, 9, 0.14285714285714285),
            (LrSchedule::Linear, 10, 10, 9, 0.9),
            (LrSchedule::Linear, 20, 10, 9, 0.45),
            (LrSchedule::Cosine, 0, 10, 0, 1.0),
            (LrSchedule::Cosine, 0, 10, 5, 0.5),
            (LrSchedule::Cosine, 0, 10, 9, 0.024471741852423234),
            (LrSchedule::Cosine, 3, 10, 0, 0.0),
            (LrSchedule::Cosine, 3, 10, 1, 0.3333333333333333),
            (LrSchedule::Cosine, 3, 10, 3, 1.0),
            (LrSchedule::Cosine, 3, 10, 6, 0.6112604669781572),
            (LrSchedule::Cosine, 3, 10, 9, 0.04951556604879048),
            (LrSchedule::Cosine, 10, 10, 9, 0.9),
            (LrSchedule::Cosine, 20, 10, 9, 0.45),
            (LrSchedule::Constant, 0, 10, 0, 1.0),
            (LrSchedule::Constant, 0, 10, 5, 1.0),
            (LrSchedule::Constant, 0, 10, 9, 1.0),
            (LrSchedule::Constant, 3, 10, 0, 0.0),
            (LrSchedule::Constant, 3, 10, 1, 0.3333333333333333),
            (LrSchedule::Constant, 3, 10, 3, 1.0),
            (LrSchedule::Constant, 3, 10, 6, 1.0),
            (LrSchedule::Constant, 3, 10, 9, 1.0),
            (LrSchedule::Constant, 10, 10, 9, 0.9),
            (LrSchedule::Constant, 20, 10, 9, 0.45),
        ] {
            let schedule = Schedule { learning_rate: 2.0, lr_schedule, warmup_steps, warmup_ratio: 0.0 };
            let got = schedule.at(step, steps);
            assert!((got - 2.0 * expected).abs() < 1e-12, "{schedule:?} at {step} of {steps}: {got}");
        }
    }

    /// Share of the steps, all steps: and the step from which it falls.
    #[test]
    fn a_share_of_the_steps_is_rounded_up() {
        for (warmup_ratio, steps, highest) in [(0.0, 10, 0), (0.1, 10, 1), (0.11, 10, 2), (0.5, 3, 2), (1.0, 4, 4)] {
            let schedule =
                Schedule { learning_rate: 1.0, lr_schedule: LrSchedule::Constant, warmup_steps: 0, warmup_ratio };
            let first = (0..=steps).find(|&step| schedule.at(step, steps) == 1.0);
            assert_eq!(first, Some(highest), "{warmup_ratio} of {steps}");
        }
    }
}
