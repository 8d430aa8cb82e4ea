//! What a step learns from: attempts at a batch of tasks, judged; and, where too few groups differ in reward, attempts at
//! the next batch of tasks as well (DAPO's dynamic sampling, arXiv 2503.14476, which has no bound).

use rewarden_runtime::{Graded, Rubric};

use super::process;
use crate::advantage::is_constant;
use crate::clock::Stopwatch;
use crate::config::{AdvEstimator, RlConfig, RunConfig};
use crate::data::{Dataset, Task, batch_at};
use crate::error::Result;
use crate::learner::Learner;
use crate::observe::{Event, Observer};
use crate::report;
use crate::rollout::{Plan, Rollout, roll_out};
use crate::seed::Purpose;

/// What a step sampled.
#[derive(Default)]
pub(super) struct Attempts {
    /// Every attempt; those at one task are neighbours.
    pub(super) rollouts: Vec<Rollout>,
    /// What the rubric says of each.
    pub(super) graded: Vec<Graded>,
    /// Numbers of the groups to learn from.
    pub(super) groups: Vec<usize>,
    /// Batches of tasks it took.
    pub(super) batches: usize,
    pub(super) sampling_seconds: f64,
    pub(super) scoring_seconds: f64,
}

/// Attempts until there is enough to learn from, or the config's bound is reached.
pub(super) fn collect(
    config: &RunConfig,
    dataset: &Dataset,
    learner: &mut Learner,
    rubric: &mut Rubric,
    step: usize,
    observe: Observer,
) -> Result<Attempts> {
    let options = &config.rl;
    let weights = process::weights(rubric, step);
    let mut attempts = Attempts::default();
    loop {
        let mut clock = Stopwatch::new();
        let rollouts = attempt(config, dataset, learner, (step, attempts.batches), observe)?;
        attempts.sampling_seconds += clock.lap();
        let samples = rollouts.iter().map(|rollout| rollout.sample.clone()).collect();
        let graded = pollster::block_on(rubric.grade(samples, step as u32))?;
        attempts.scoring_seconds += clock.lap();
        learner.batches_drawn += 1;
        attempts.batches += 1;
        attempts.rollouts.extend(rollouts);
        attempts.graded.extend(graded);
        attempts.groups = groups(&attempts.graded, options, &weights);
        if attempts.groups.len() >= options.groups_per_batch || attempts.batches >= options.max_num_gen_batches {
            return Ok(attempts);
        }
    }
}

/// `group_size` attempts at each of the next `groups_per_batch` tasks; `batch` counts within the step.
fn attempt(
    config: &RunConfig,
    dataset: &Dataset,
    learner: &Learner,
    (step, batch): (usize, usize),
    observe: Observer,
) -> Result<Vec<Rollout>> {
    let options = &config.rl;
    let chosen = batch_at(dataset.train.len(), options.groups_per_batch, config.seed, learner.batches_drawn);
    let tasks: Vec<&Task> = chosen.into_iter().map(|index| &dataset.train[index].task).collect();
    let sampling = options.sampling();
    let plan = Plan {
        group_size: options.group_size,
        sampling: &sampling,
        stop: &options.stop,
        seed: config.seed,
        purpose: Purpose::Rollouts,
        step,
        first_task: batch * options.groups_per_batch,
    };
    roll_out(&learner.policy, &learner.renderer, &tasks, &plan, |tokens| observe(Event::Sampled { tokens }))
}

/// The groups to learn from, by number: all, or the first `groups_per_batch` that differ where constant ones are left
/// out.
fn groups(graded: &[Graded], options: &RlConfig, weights: &[f64]) -> Vec<usize> {
    let only_mixed = options.remove_constant_reward_groups || options.max_num_gen_batches > 1;
    let by_step = options.adv_estimator == AdvEstimator::PerStep;
    let is_alike = |group: &[Graded]| {
        let steps = group.iter().flat_map(|graded| process::steps(graded, weights).unwrap_or_default());
        is_constant(&report::rewards(group)) && (!by_step || is_constant(&steps.map(Some).collect::<Vec<_>>()))
    };
    let groups = graded.chunks(options.group_size).enumerate();
    let chosen = groups.filter(|(_, group)| !only_mixed || !is_alike(group));
    chosen.map(|(number, _)| number).take(options.groups_per_batch).collect()
}
