//! Evaluation: `num_samples` answers to every held-out task, graded by the run's own rubric; pass@k without bias, avg@n,
//! maj@k. A stage of its own for what the others made, and an exam (`eval/exam.rs`) that reinforcement learning takes as
//! it goes.

mod exam;
mod marks;
mod pass_at_k;

use rewarden_runtime::Rubric;
use serde_json::json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::Stopwatch;
use crate::config::{RunConfig, Stage};
use crate::error::{Error, Result};
use crate::material::Material;
use crate::observe::{Event, Observer};
use crate::run_dir::{METRICS, Metrics, ROLLOUTS, StageDir};
use crate::start;
pub(crate) use exam::{Exam, describe};
pub use marks::Evaluation;
pub use pass_at_k::pass_at_k;

/// Evaluates every finished stage of the run, or the model that `eval.load_checkpoint_path` names. Returns the results
/// by the model's name, and the seconds it took.
pub(crate) fn eval(
    config: &RunConfig,
    material: &Material,
    rubric: &mut Rubric,
    observe: Observer,
) -> Result<(BTreeMap<String, Evaluation>, f64)> {
    let exam = Exam::prepare(config, material)?.ok_or_else(Exam::no_tasks)?;
    let clock = Stopwatch::new();
    let models = models(config)?;
    let dir = StageDir::open(&config.log_path, Stage::Eval)?;
    observe(Event::StageStarted { stage: Stage::Eval, first_step: 0, steps: models.len() });
    let mut results = BTreeMap::new();
    for (done, (name, folder)) in models.iter().enumerate() {
        let (policy, renderer) = match folder {
            Some(folder) => start::read_policy(config, folder)?,
            None => start::named(config, material)?,
        };
        let policy = config.device.place(policy)?;
        exam.check_lengths(policy.config(), &renderer)?;
        let evaluation = exam.take((&policy, &renderer), rubric, Some((&dir, name)), observe)?;
        let metrics = row(name, folder.as_deref(), rubric, &evaluation);
        dir.append(METRICS, &metrics)?;
        observe(Event::Step { stage: Stage::Eval, done: done + 1, steps: models.len(), metrics: &metrics });
        if evaluation.reward.is_none() {
            return Err(unjudged(name, &dir, &evaluation));
        }
        results.insert(name.clone(), evaluation);
    }
    observe(Event::StageDone { stage: Stage::Eval, seconds: clock.total() });
    Ok((results, clock.total()))
}

/// What to evaluate: a name, and a folder unless it is the untrained `model_name`.
fn models(config: &RunConfig) -> Result<Vec<(String, Option<PathBuf>)>> {
    if let Some(folder) = &config.eval.load_checkpoint_path {
        return Ok(vec![("checkpoint".into(), Some(folder.clone()))]);
    }
    let mut models = vec![];
    for stage in [Stage::Sft, Stage::Dpo, Stage::Rl] {
        if let Some(folder) = start::finished(config, stage)? {
            models.push((stage.name().to_owned(), Some(folder)));
        }
    }
    if models.is_empty() {
        models.push(("base".into(), None));
    }
    Ok(models)
}

/// What an evaluation says in which no answer got a reward: its pass@k would be 0 whatever the model is worth.
fn unjudged(name: &str, dir: &StageDir, evaluation: &Evaluation) -> Error {
    let file = dir.file(&format!("{name}-{ROLLOUTS}"));
    let why = evaluation.first_fault.as_deref().unwrap_or("no reward applies to any of them");
    let message = format!("no answer of `{name}` got a reward: {why} (every answer stands in {})", file.display());
    Error::Unjudged { stage: Stage::Eval.name(), message }
}

fn row(name: &str, folder: Option<&Path>, rubric: &Rubric, evaluation: &Evaluation) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.insert("model".into(), name.into());
    metrics.insert("path".into(), json!(folder));
    describe(evaluation, &mut metrics);
    for (plugin, digest) in rubric.digests() {
        metrics.insert(format!("plugin/{plugin}/digest"), digest.to_string().into());
    }
    metrics
}
