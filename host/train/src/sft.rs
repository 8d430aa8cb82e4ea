//! Supervised fine-tuning: next-token likelihood, with these differences from pre-training.
//!
//! 1. A row is a conversation; only its last answer is learnt, unless `train_on_what` says otherwise. Rows of which nothing
//!    would be learnt are left out, and counted.
//! 2. The loss is the mean over trained tokens of the whole batch, not over sequences.
//! 3. Nothing is padded and no conversation sees another; `packing` makes passes of equal size of them. Epochs follow each other
//!    without gaps, each in its own order.
//! 4. AdamW, clipping by global norm, learning rate linear to zero (`lr_schedule`).

use std::path::Path;

use crate::batch::Datum;
use crate::clock::Stopwatch;
use crate::config::{RunConfig, SftConfig, Stage};
use crate::data::{Example, batch_at};
use crate::epochs::steps;
use crate::error::{Error, Result};
use crate::gradient::mean_nll;
use crate::learner::{Learner, Plan};
use crate::loss::nll;
use crate::material::Material;
use crate::objective::Objective;
use crate::observe::{Event, Observer};
use crate::renderer::{Conversation, Renderer, TrainOnWhat};
use crate::run_dir::{Metrics, Retention};
use crate::start;

/// Runs the stage, or what is left of it. Returns its seconds.
pub(crate) fn sft(config: &RunConfig, material: &Material, observe: Observer) -> Result<f64> {
    let (options, dataset) = (&config.sft, material.examples()?);
    let plan = Plan {
        stage: Stage::Sft,
        steps: 0, // as many as the rows that are left take
        save_every: options.save_every,
        retention: Retention::of(config, options.keep_last),
        adam: options.adam.clone(),
        device: config.device,
        gradient_checkpointing: config.gradient_checkpointing,
        about: None,
    };
    let read = |folder: &Path| start::read_policy(config, folder);
    let learner = Learner::begin(&config.log_path, plan, read, || start::first(config, material, Stage::Sft))?;
    let train = data(&learner.renderer, &dataset.train, options)?;
    let test = data(&learner.renderer, &dataset.test, options)?;
    if train.is_empty() {
        return Err(Error::config("data", "no row has an assistant message to learn from within `sft.max_length`"));
    }
    let steps = steps(train.len(), options.num_epochs, options.batch_size, options.max_steps);
    let mut learner = learner.with_steps(steps);
    observe(Event::StageStarted { stage: Stage::Sft, first_step: learner.remaining().start, steps });
    let left_out = dataset.train.len() + dataset.test.len() - train.len() - test.len();
    if left_out > 0 {
        observe(Event::LeftOut { stage: Stage::Sft, rows: left_out });
    }
    for step in learner.remaining() {
        let mut clock = Stopwatch::new();
        let batch: Vec<Datum> = batch_at(train.len(), options.batch_size, config.seed, step)
            .into_iter()
            .map(|i| train[i].clone())
            .collect();
        let rate = options.schedule().at(step, steps);
        let update = learner.update(&batch, options.layout(), rate, Objective::each(&nll(&batch)))?;
        let tokens: usize = batch.iter().map(|datum| datum.tokens.len()).sum();
        let seconds = clock.lap();
        let mut metrics = Metrics::new();
        if let Some(update) = update {
            metrics.insert("train_mean_nll".into(), update.loss.into());
            metrics.insert("optim/grad_norm".into(), update.grad_norm.into());
        }
        metrics.insert("optim/lr".into(), rate.into());
        metrics.insert("num_sequences".into(), batch.len().into());
        metrics.insert("num_tokens".into(), tokens.into());
        metrics.insert("num_loss_tokens".into(), batch.iter().map(Datum::trained_tokens).sum::<usize>().into());
        metrics.insert("time/total".into(), seconds.into());
        metrics.insert("tokens_per_second".into(), (tokens as f64 / seconds).into());
        let measured = options.eval_every != 0 && (step + 1).is_multiple_of(options.eval_every) || step + 1 == steps;
        if measured && !test.is_empty() {
            metrics.insert("test/nll".into(), mean_nll(&learner.policy, &test, options.batch_size)?.into());
        }
        learner.finish_step(metrics, None, observe)?;
    }
    observe(Event::StageDone { stage: Stage::Sft, seconds: learner.seconds() });
    Ok(learner.seconds())
}

/// Whether there is something to learn from an example: an answer, unless more than answers is learnt.
fn is_learnt(example: &Example, what: TrainOnWhat) -> bool {
    use TrainOnWhat::*;
    let any_message = matches!(what, AllMessages | AllTokens | AllUserAndSystemMessages | Customized);
    any_message || !example.answer.is_empty()
}

/// As tinker does: rows that mark their messages are for `customized`, and only they are.
fn check_trainable(example: &Example, what: TrainOnWhat) -> Result<()> {
    let refuse = |message: String| Err(Error::config("sft.train_on_what", message));
    match (what == TrainOnWhat::Customized, example.trainable.is_empty()) {
        (true, true) => refuse(format!(
            "\"customized\" needs messages that say `trainable`; those of row {} do not",
            example.task.id
        )),
        (false, false) => refuse(format!(
            "the messages of row {} say `trainable`: set \"customized\" to heed it, or remove it from them",
            example.task.id
        )),
        _ => Ok(()),
    }
}

/// Every example as tokens, cut where it is too long; those with nothing to learn, or nothing before the cut, left out.
fn data(renderer: &Renderer, examples: &[Example], options: &SftConfig) -> Result<Vec<Datum>> {
    let what = options.train_on_what;
    let rendered = examples.iter().filter(|example| is_learnt(example, what)).map(|example| {
        check_trainable(example, what)?;
        let messages = example.messages();
        let conversation = Conversation { messages: &messages, tools: &example.task.tools };
        let mut rendered = renderer.supervised(conversation, what, &example.trainable)?;
        rendered.tokens.truncate(options.max_length);
        rendered.trained.truncate(options.max_length);
        Ok(Datum { tokens: rendered.tokens, trained: rendered.trained })
    });
    let teaches = |datum: &Result<Datum>| datum.as_ref().map_or(true, |datum| datum.trained_tokens() > 0);
    rendered.filter(teaches).collect()
}
