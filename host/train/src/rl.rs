//! Group-based policy gradient, called GRPO by many, with these differences from that paper:
//!
//! 1. No reference model and no KL term; the policy may go wherever the reward leads.
//! 2. Every batch is used once, so there is no clipping: `importance_sampling` (or plain `reinforce`).
//! 3. The advantage is `R - mean(R)` of its group; no division by the deviation, unless the rubric has done that for each
//!    grader (`normalize_then_sum`).
//! 4. The loss is averaged over the tokens of the whole batch (DAPO), not first over each sequence.
//! 5. A trajectory that no grader could judge is left out, never paid 0.

use rewarden_runtime::Graded;
use serde_json::{Value, json};
use std::path::Path;

use crate::advantage::{is_constant, mean_centred};
use crate::batch::Datum;
use crate::clock::Stopwatch;
use crate::config::{RunConfig, Stage};
use crate::data::{Dataset, Task, batch_at};
use crate::error::Result;
use crate::learner::{Learner, Plan, Update};
use crate::observe::{Event, Observer};
use crate::optim::learning_rate;
use crate::plugin_store;
use crate::report;
use crate::rollout::{self, Rollout, roll_out};
use crate::run::Rewards;
use crate::run_dir::{Metrics, ROLLOUTS};
use crate::seed::Purpose;
use crate::start;
use crate::swap::{self, Swaps};

/// Runs the stage, or what is left of it. Returns its seconds.
pub(crate) fn rl(config: &RunConfig, dataset: &Dataset, rewards: &mut Rewards, observe: Observer) -> Result<f64> {
    let Rewards { rubric, runtime, .. } = rewards;
    let options = &config.rl;
    let steps = options.max_steps;
    let plan = Plan { stage: Stage::Rl, steps, save_every: options.save_every, adam: options.adam.clone() };
    plugin_store::check_resumed(&config.log_path, rubric)?;
    let read = |folder: &Path| start::read(config, folder);
    let mut learner = Learner::begin(&config.log_path, plan, read, || start::reinforced(config, dataset))?;
    let tasks = dataset.train.iter().map(|example| &example.task);
    rollout::check_lengths(&learner.policy, &learner.renderer, tasks, options.max_tokens)?;
    rubric.restore(&learner.rubric);
    observe(Event::StageStarted { stage: Stage::Rl, first_step: learner.remaining().start, steps });
    let mut swaps = Swaps::begin(config, runtime, &learner.dir, learner.remaining().start)?;
    for step in learner.remaining() {
        swaps.at_boundary(step, rubric, &learner.dir, observe)?;
        let mut clock = Stopwatch::new();
        let mut metrics = Metrics::new();
        let rollouts = attempt(config, dataset, &learner, step, observe)?;
        let tokens: usize = rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum();
        let seconds = clock.lap();
        metrics.insert("time/sampling".into(), seconds.into());
        metrics.insert("sampled_tokens_per_second".into(), (tokens as f64 / seconds).into());

        let samples = rollouts.iter().map(|rollout| rollout.sample.clone()).collect();
        let graded = pollster::block_on(rubric.grade(samples, step as u32))?;
        metrics.insert("time/scoring".into(), clock.lap().into());

        let advantages = advantages(&graded, options.group_size);
        let data = data(&rollouts, &advantages, config);
        let rate = learning_rate(options.learning_rate, options.lr_schedule, step, steps);
        let update = learner.update(&data, options.micro_batch_size, rate, |log_probs, batch| {
            options.loss_fn.per_token(log_probs, batch)
        })?;
        metrics.insert("time/training".into(), clock.lap().into());

        metrics.insert("optim/lr".into(), rate.into());
        metrics.insert("time/total".into(), clock.total().into());
        if let Some(update) = &update {
            describe_update(update, &data, &mut metrics);
        }
        report::describe(rubric, step as u32, &rollouts, &graded, options.group_size, &mut metrics);
        learner.dir.append_all(ROLLOUTS, &report::rows(rubric, step, &rollouts, &graded, &advantages))?;
        learner.finish_step(metrics, Some(rubric), observe)?;
    }
    swap::refuse_pending(&config.log_path, &learner.dir, steps, "reinforcement learning is over")?;
    observe(Event::StageDone { stage: Stage::Rl, seconds: learner.seconds() });
    Ok(learner.seconds())
}

/// This step's rollouts: `groups_per_batch` tasks, `group_size` attempts at each.
fn attempt(
    config: &RunConfig,
    dataset: &Dataset,
    learner: &Learner,
    step: usize,
    observe: Observer,
) -> Result<Vec<Rollout>> {
    let options = &config.rl;
    let chosen = batch_at(dataset.train.len(), options.groups_per_batch, config.seed, step);
    let tasks: Vec<&Task> = chosen.into_iter().map(|index| &dataset.train[index].task).collect();
    let sampling = options.sampling();
    let plan = rollout::Plan {
        group_size: options.group_size,
        sampling: &sampling,
        seed: config.seed,
        purpose: Purpose::Rollouts,
        step,
        first_task: 0,
    };
    roll_out(&learner.policy, &learner.renderer, &tasks, &plan, |tokens| observe(Event::Sampled { tokens }))
}

/// Each rollout's advantage within its group; `None` where it could not be judged.
fn advantages(graded: &[Graded], group_size: usize) -> Vec<Option<f64>> {
    graded.chunks(group_size).flat_map(|group| mean_centred(&report::rewards(group))).collect()
}

/// What the update learns from.
fn data(rollouts: &[Rollout], advantages: &[Option<f64>], config: &RunConfig) -> Vec<Datum> {
    let size = config.rl.group_size;
    let teaches = |group: &[Option<f64>]| !(config.rl.remove_constant_reward_groups && is_constant(group));
    rollouts
        .chunks(size)
        .zip(advantages.chunks(size))
        .filter(|(_, advantages)| teaches(advantages))
        .flat_map(|(rollouts, advantages)| rollouts.iter().zip(advantages))
        .filter_map(|(rollout, advantage)| advantage.map(|advantage| rollout.datum(advantage as f32)))
        .collect()
}

/// Entropy is estimated from the sampled tokens; the two KL figures are tinker's, between sampler and trainer: they
/// should be rounding errors, and are the first sign when sampler and trainer drift apart.
fn describe_update(update: &Update, data: &[Datum], metrics: &mut Metrics) {
    let sampled = data.iter().flat_map(|datum| datum.sampled_log_probs.iter().copied());
    let difference = || sampled.clone().zip(&update.log_probs).map(|(q, p)| f64::from(q - p));
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / update.log_probs.len() as f64;
    let rows: [(&str, Value); 5] = [
        ("loss", json!(update.loss)),
        ("optim/grad_norm", json!(update.grad_norm)),
        ("optim/entropy", json!(mean(&mut sampled.clone().map(|q| -f64::from(q))))),
        ("optim/kl_sample_train_v1", json!(mean(&mut difference()))),
        ("optim/kl_sample_train_v2", json!(mean(&mut difference().map(|d| 0.5 * d * d)))),
    ];
    metrics.extend(rows.map(|(name, value)| (name.to_owned(), value)));
}
