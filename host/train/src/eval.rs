//! Evaluation: `num_samples` answers to every held-out task, graded by the run's own rubric; pass@k without bias.

use rewarden_runtime::{Graded, Rubric, RubricState};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::clock::Stopwatch;
use crate::config::{RunConfig, Stage};
use crate::data::{Dataset, Task};
use crate::error::{Error, Result};
use crate::material::Material;
use crate::model::Policy;
use crate::observe::{Event, Observer};
use crate::pass_at_k::pass_at_k;
use crate::renderer::Renderer;
use crate::report;
use crate::rollout::{Plan, check_lengths, roll_out};
use crate::run_dir::{METRICS, Metrics, ROLLOUTS, StageDir};
use crate::seed::Purpose;
use crate::start;

/// Tasks answered as one batch: memory, never a result, since each sample has its own seed.
const TASKS_AT_ONCE: usize = 32;

/// How well one model does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// `pass@k` for each k asked for.
    #[serde(flatten)]
    pub pass_at: BTreeMap<String, f64>,
    /// Mean reward of the answers that could be judged; none when none could.
    pub reward: Option<f64>,
    /// Tasks.
    pub problems: usize,
    /// Answers that no grader could judge; they count as not passed.
    pub faults: usize,
}

/// Evaluates every finished stage of the run, or the model that `eval.load_checkpoint_path` names. Returns the results
/// by the model's name, and the seconds it took.
pub(crate) fn eval(
    config: &RunConfig,
    material: &Material,
    rubric: &mut Rubric,
    observe: Observer,
) -> Result<(BTreeMap<String, Evaluation>, f64)> {
    let dataset = material.examples()?;
    if dataset.test.is_empty() {
        return Err(Error::config("data", "evaluation needs held-out rows: set `data.test_size` or `data.test_path`"));
    }
    // Weights are those that training ends with, and faults are counted anew: what happened to a plugin in training
    // must not depend on whether evaluation runs in the same process.
    rubric.restore(&RubricState::default());
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
        let evaluation = evaluate(config, dataset, rubric, (&policy, &renderer), (&dir, name), observe)?;
        let metrics = row(name, folder.as_deref(), rubric, &evaluation);
        dir.append(METRICS, &metrics)?;
        observe(Event::Step { stage: Stage::Eval, done: done + 1, steps: models.len(), metrics: &metrics });
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

fn evaluate(
    config: &RunConfig,
    dataset: &Dataset,
    rubric: &mut Rubric,
    (policy, renderer): (&Policy, &Renderer),
    (dir, name): (&StageDir, &str),
    observe: Observer,
) -> Result<Evaluation> {
    let options = &config.eval;
    let tasks: Vec<&Task> = dataset.test.iter().take(options.max_examples).map(|example| &example.task).collect();
    check_lengths(policy, renderer, tasks.iter().copied(), options.max_tokens)?;
    let sampling = options.sampling();
    let mut graded: Vec<Graded> = vec![];
    let mut before = 0;
    for (chunk, tasks) in tasks.chunks(TASKS_AT_ONCE).enumerate() {
        let plan = Plan {
            group_size: options.num_samples,
            sampling: &sampling,
            seed: config.seed,
            purpose: Purpose::Evaluation,
            step: 0,
            first_task: chunk * TASKS_AT_ONCE,
        };
        let rollouts = roll_out(policy, renderer, tasks, &plan, |t| observe(Event::Sampled { tokens: before + t }))?;
        before += rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum::<usize>();
        let samples = rollouts.iter().map(|rollout| rollout.sample.clone()).collect();
        let scores = pollster::block_on(rubric.grade(samples, config.rl.max_steps as u32))?;
        let rows = report::rows(rubric, 0, &rollouts, &scores, &[]);
        dir.append_all(&format!("{name}-{ROLLOUTS}"), &rows)?;
        graded.extend(scores);
    }
    Ok(summarise(&graded, options.num_samples, &options.k, options.pass_threshold))
}

fn summarise(graded: &[Graded], samples: usize, ks: &[usize], threshold: f64) -> Evaluation {
    let rewards = report::totals(graded);
    let passed = |group: &[Option<f64>]| group.iter().flatten().filter(|&&reward| reward >= threshold).count();
    let passed: Vec<usize> = rewards.chunks(samples).map(passed).collect();
    let mean = |k: usize| passed.iter().map(|&c| pass_at_k(samples, c, k)).sum::<f64>() / passed.len() as f64;
    let judged: Vec<f64> = rewards.iter().flatten().copied().collect();
    Evaluation {
        pass_at: ks.iter().map(|&k| (format!("pass@{k}"), mean(k))).collect(),
        reward: (!judged.is_empty()).then(|| judged.iter().sum::<f64>() / judged.len() as f64),
        problems: passed.len(),
        faults: rewards.len() - judged.len(),
    }
}

fn row(name: &str, folder: Option<&Path>, rubric: &Rubric, evaluation: &Evaluation) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.insert("model".into(), name.into());
    metrics.insert("path".into(), json!(folder));
    let scores = evaluation.pass_at.iter().map(|(k, value)| (format!("test/{k}"), Value::from(*value)));
    metrics.extend(scores);
    metrics.insert("test/env/all/reward/total".into(), evaluation.reward.into());
    metrics.insert("test/problems".into(), evaluation.problems.into());
    metrics.insert("test/faults".into(), evaluation.faults.into());
    for (plugin, digest) in rubric.digests() {
        metrics.insert(format!("plugin/{plugin}/digest"), digest.to_string().into());
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_judgement_is_no_reward() {
        let evaluation = summarise(&[Graded::default()], 1, &[1], 1.0);
        assert_eq!((evaluation.reward, evaluation.faults), (None, 1));
    }

    #[test]
    fn faults_do_not_pass_and_do_not_weigh_on_the_mean_reward() {
        let graded = |total| Graded { total, ..Graded::default() };
        let rewards = [Some(1.0), Some(0.0), None, Some(1.0), Some(0.1), Some(0.1)];
        let evaluation = summarise(&rewards.map(graded), 2, &[1, 2], 1.0);
        assert_eq!(evaluation.pass_at["pass@1"], 1.0 / 3.0);
        assert_eq!(evaluation.pass_at["pass@2"], 2.0 / 3.0);
        assert_eq!((evaluation.problems, evaluation.faults), (3, 1));
        assert!(evaluation.reward.is_some_and(|reward| (reward - 2.2 / 5.0).abs() < 1e-12));
    }
}
