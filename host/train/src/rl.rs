//! Group-based policy gradient, called GRPO by many, with these differences from that paper unless the config says
//! otherwise:
//!
//! 1. No reference model and no KL term; the policy may go wherever the reward leads (`kl_penalty_coef`).
//! 2. Every batch is used once, so there is no clipping (`loss_fn`, `num_substeps`).
//! 3. The advantage is `R - mean(R)` of its group; no division by the deviation, unless the rubric has done that for each
//!    grader (`adv_estimator`, `norm_adv_by_std`, `rubric.combine`).
//! 4. The loss is averaged over the tokens of the whole batch (DAPO), not first over each sequence (`loss_agg_mode`).
//! 5. A trajectory that no grader could judge is left out, never paid 0.

mod collect;
mod lesson;
mod metrics;
mod process;

use rewarden_runtime::Rubric;
use std::path::Path;

use crate::batch::Datum;
use crate::clock::Stopwatch;
use crate::config::{RlConfig, RunConfig, Stage};
use crate::error::{Error, Result};
use crate::eval::{self, Exam};
use crate::learner::{Learner, Plan, Update};
use crate::loss::Experience;
use crate::material::Material;
use crate::model::Policy;
use crate::objective::Objective;
use crate::observe::{Event, Observer};
use crate::plugin_store;
use crate::report;
use crate::reward_model;
use crate::rollout;
use crate::run::Rewards;
use crate::run_dir::{Metrics, ROLLOUTS, Retention};
use crate::start;
use crate::swap::{self, Swaps};
use lesson::Lesson;

/// Runs the stage, or what is left of it. Returns its seconds.
pub(crate) fn rl(config: &RunConfig, material: &Material, rewards: &mut Rewards, observe: Observer) -> Result<f64> {
    let dataset = material.examples()?;
    let Rewards { rubric, runtime, .. } = rewards;
    let options = &config.rl;
    let steps = options.steps(dataset.train.len());
    let plan = Plan {
        stage: Stage::Rl,
        steps,
        save_every: options.save_every,
        retention: Retention::of(config, options.keep_last),
        adam: options.adam.clone(),
        device: config.device,
        gradient_checkpointing: config.gradient_checkpointing,
        about: None,
    };
    plugin_store::check_resumed(&config.log_path, rubric)?;
    let read = |folder: &Path| start::read_policy(config, folder);
    let mut learner = Learner::begin(&config.log_path, plan, read, || start::first(config, material, Stage::Rl))?;
    let reference = reference(config, material, &learner)?;
    let tasks = dataset.train.iter().map(|example| &example.task);
    rollout::check_lengths(learner.policy.config(), &learner.renderer, tasks, options.max_tokens)?;
    let exam = if options.eval_every == 0 { None } else { Exam::prepare(config, material)? };
    exam.as_ref().map_or(Ok(()), |exam| exam.check_lengths(learner.policy.config(), &learner.renderer))?;
    rubric.restore(&learner.rubric);
    observe(Event::StageStarted { stage: Stage::Rl, first_step: learner.remaining().start, steps });
    // What was judged before a resumed stage was interrupted is not known here.
    let (mut judged, mut fault) = (learner.remaining().start > 0, None);
    let mut swaps = Swaps::begin(config, runtime, &learner.dir, learner.remaining().start)?;
    for step in learner.remaining() {
        swaps.at_boundary(step, rubric, &learner.dir, observe)?;
        let mut row = Metrics::new();
        if let Some(exam) = exam.as_ref().filter(|_| step.is_multiple_of(options.eval_every)) {
            examine(exam, &learner, rubric, &mut row, observe)?;
        }
        let mut clock = Stopwatch::new();
        let attempts = collect::collect(config, dataset, &mut learner, rubric, step, observe)?;
        clock.lap();
        if let Some((faults, first)) = report::faults(rubric, &attempts.graded) {
            let answers = attempts.graded.len();
            observe(Event::Faulted { stage: Stage::Rl, faults, answers, first: &first });
            fault = Some(first);
        }
        judged |= attempts.graded.iter().any(|graded| graded.total.is_some());

        let weights = process::weights(rubric, step);
        let (mut advantages, mismatched) = lesson::estimate(&attempts, options, &weights, &learner.renderer)?;
        let lessons = lesson::lessons(&attempts, &mut advantages, options, reference.as_ref())?;
        let rate = options.schedule().at(step, steps);
        let update = update(&mut learner, &lessons, options, rate)?;

        row.insert("time/training".into(), clock.lap().into());
        row.insert("time/total".into(), clock.total().into());
        row.insert("optim/lr".into(), rate.into());
        metrics::describe_attempts(&attempts, options, mismatched, &mut row);
        if let Some(update) = &update {
            metrics::describe_update(update, &lessons, options, &mut row);
        }
        let (rollouts, graded) = (&attempts.rollouts, &attempts.graded);
        report::describe(rubric, step as u32, rollouts, graded, options.group_size, &mut row);
        row.extend(reward_model::sources(config, rubric).map(|(name, value)| (name, value.into())));
        let advantages = metrics::by_trajectory(&advantages);
        learner.dir.append_all(ROLLOUTS, &report::rows(rubric, step, rollouts, graded, &advantages))?;
        learner.finish_step(row, Some(rubric), observe)?;
    }
    if !judged {
        let why = fault.as_deref().unwrap_or("no reward applies to any of them");
        let message = format!("no answer of any step got a reward, so nothing was learnt: {why}");
        return Err(Error::Unjudged { stage: Stage::Rl.name(), message });
    }
    swap::refuse_pending(&config.log_path, &learner.dir, steps, "reinforcement learning is over")?;
    observe(Event::StageDone { stage: Stage::Rl, seconds: learner.seconds() });
    Ok(learner.seconds())
}

/// The reference, if the config charges for leaving one.
fn reference(config: &RunConfig, material: &Material, learner: &Learner) -> Result<Option<Policy>> {
    let named = (Stage::Rl, "rl.kl_reference", config.rl.kl_reference.as_deref());
    match config.rl.kl_penalty_coef == 0.0 {
        true => Ok(None),
        false => start::reference(config, material, named, learner.policy.config()).map(Some),
    }
}

/// How the policy does on held-out tasks, before it learns from this step: as it was when it sampled the step's batch.
fn examine(exam: &Exam, learner: &Learner, rubric: &mut Rubric, row: &mut Metrics, observe: Observer) -> Result<()> {
    let clock = Stopwatch::new();
    eval::describe(&exam.take((&learner.policy, &learner.renderer), rubric, None, observe)?, row);
    row.insert("time/evaluation".into(), clock.total().into());
    Ok(())
}

/// Updates the policy once for each part of the batch. `None` when there was nothing to learn from.
fn update(learner: &mut Learner, lessons: &[Lesson], options: &RlConfig, rate: f64) -> Result<Option<Update>> {
    let loss = options.loss();
    let mut updates = vec![];
    for part in lesson::substeps(lessons, options.num_substeps) {
        let data: Vec<Datum> = part.iter().map(|lesson| lesson.datum.clone()).collect();
        let batch: Vec<Experience> = part.iter().map(|lesson| lesson.experience.clone()).collect();
        let judge = loss.on(&batch);
        let objective = Objective { entropies: loss.entropy_coef != 0.0, ..Objective::each(&judge) };
        updates.extend(learner.update(&data, options.micro_batch_size, rate, objective)?);
    }
    Ok(Update::merge(updates))
}
