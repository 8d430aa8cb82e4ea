//! What a step learns from: attempts at a batch of tasks, judged; and, where too few groups differ in reward, attempts at
//! the next batch of tasks as well (DAPO's dynamic sampling, arXiv 2503.14476, which has no bound).

use rewarden_runtime::{Graded, Rubric};

use super::process;
use crate::advantage::is_constant;
use crate::attempt::{Attempted, Timing, attempt};
use crate::config::{AdvEstimator, RlConfig, RunConfig};
use crate::data::{Dataset, Task, batch_at};
use crate::error::Result;
use crate::learner::Learner;
use crate::observe::{Event, Observer};
use crate::report;
use crate::rollout::{Plan, Rollout};
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
    pub(super) seconds: Timing,
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
        let batch = attempt_batch((config, dataset, learner), rubric, (step, attempts.batches), observe)?;
        let Attempted { rollouts, graded, seconds } = batch;
        attempts.seconds += seconds;
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
fn attempt_batch(
    (config, dataset, learner): (&RunConfig, &Dataset, &Learner),
    rubric: &mut Rubric,
    (step, batch): (usize, usize),
    observe: Observer,
) -> Result<Attempted> {
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
    let progress = |tokens| observe(Event::Sampled { tokens });
    attempt((&learner.policy, &learner.renderer), (&tasks, &plan), (rubric, step as u32), progress)
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
