//! The loop of stages that learn from fixed rows: epochs follow each other without gaps, each in its own order, and
//! held-out rows are measured now and then. What a row teaches is the lessons' business.

use std::collections::BTreeMap;

use crate::clock::Stopwatch;
use crate::config::Stage;
use crate::data::batch_at;
use crate::error::Result;
use crate::learner::{Learner, Update};
use crate::model::Policy;
use crate::observe::{Event, Observer};
use crate::run_dir::Metrics;
use crate::schedule::Schedule;

/// How much at a time, how fast, and when to measure.
pub(crate) struct Epochs {
    pub(crate) stage: Stage,
    pub(crate) seed: u64,
    pub(crate) num_epochs: usize,
    pub(crate) max_steps: Option<usize>,
    pub(crate) batch_size: usize,
    pub(crate) schedule: Schedule,
    pub(crate) eval_every: usize,
}

/// Sums over rows, by the names their objective gives them.
pub(crate) type Sums = BTreeMap<&'static str, f64>;

/// What a stage does with rows.
pub(crate) trait Lessons {
    /// Rows to learn from.
    fn count(&self) -> usize;

    /// Rows that cannot be used.
    fn left_out(&self) -> usize;

    /// Learns from the rows of these numbers.
    fn learn(&self, learner: &mut Learner, rows: &[usize], rate: f64) -> Result<Option<Update>>;

    /// Loss and sums over the held-out rows; none where there are none.
    fn measure(&self, policy: &Policy) -> Result<Option<(f64, Sums)>>;

    /// What loss and sums come to under the field's names.
    fn figures(&self, loss: f64, sums: &Sums) -> Vec<(&'static str, f64)>;
}

/// Steps of `epochs` passes over the `rows` rows that are learnt from, `max_steps` at most.
pub(crate) fn steps(rows: usize, epochs: usize, batch_size: usize, max_steps: Option<usize>) -> usize {
    (rows * epochs).div_ceil(batch_size).min(max_steps.unwrap_or(usize::MAX)).max(1)
}

impl Epochs {
    /// Takes the steps that remain. Returns the stage's seconds.
    pub(crate) fn run(&self, learner: Learner, lessons: &impl Lessons, observe: Observer) -> Result<f64> {
        let steps = steps(lessons.count(), self.num_epochs, self.batch_size, self.max_steps);
        let mut learner = learner.with_steps(steps);
        observe(Event::StageStarted { stage: self.stage, first_step: learner.remaining().start, steps });
        if lessons.left_out() > 0 {
            observe(Event::LeftOut { stage: self.stage, rows: lessons.left_out() });
        }
        for step in learner.remaining() {
            let mut clock = Stopwatch::new();
            let rows = batch_at(lessons.count(), self.batch_size, self.seed, step);
            let rate = self.schedule.at(step, steps);
            let update = lessons.learn(&mut learner, &rows, rate)?;
            let mut metrics = Metrics::new();
            let mut put = |name: String, value: f64| {
                if value.is_finite() {
                    metrics.insert(name, value.into());
                }
            };
            put("time/total".into(), clock.lap());
            put("optim/lr".into(), rate);
            put("num_rows".into(), rows.len() as f64);
            if let Some(update) = &update {
                put("optim/grad_norm".into(), update.grad_norm);
                let figures = lessons.figures(update.loss, &update.metrics);
                figures.into_iter().for_each(|(name, value)| put(name.into(), value));
            }
            let is_due = self.eval_every != 0 && (step + 1).is_multiple_of(self.eval_every) || step + 1 == steps;
            if is_due && let Some((loss, sums)) = lessons.measure(&learner.policy)? {
                let figures = lessons.figures(loss, &sums);
                figures.into_iter().for_each(|(name, value)| put(format!("test/{name}"), value));
            }
            learner.finish_step(metrics, None, observe)?;
        }
        observe(Event::StageDone { stage: self.stage, seconds: learner.seconds() });
        Ok(learner.seconds())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_cover_the_epochs_or_stop_at_the_limit() {
        for (rows, epochs, batch, limit, expected) in
            [(100, 1, 32, None, 4), (100, 2, 32, None, 7), (100, 2, 32, Some(5), 5), (3, 1, 32, None, 1)]
        {
            assert_eq!(steps(rows, epochs, batch, limit), expected);
        }
    }
}
