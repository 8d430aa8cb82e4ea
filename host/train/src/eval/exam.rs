//! An exam: the same held-out tasks, answered and graded in the same way for every policy that takes it, and without a
//! trace in whatever goes on around it.

use rewarden_runtime::{Rubric, RubricState};
use serde_json::{Value, json};

use super::marks::{Evaluation, Mark, summarise};
use crate::attempt::{Attempted, attempt};
use crate::config::{RunConfig, Stage};
use crate::data::{Example, Task};
use crate::error::{Error, Result};
use crate::material::Material;
use crate::model::{ModelConfig, Policy};
use crate::observe::{Event, Observer};
use crate::renderer::Renderer;
use crate::report;
use crate::rollout::{Plan, check_lengths};
use crate::run_dir::{Metrics, ROLLOUTS, StageDir};
use crate::seed::Purpose;

/// Tasks answered as one batch: memory, never a result, since each sample has its own seed.
const TASKS_AT_ONCE: usize = 32;

/// What is asked.
pub(crate) struct Exam<'a> {
    config: &'a RunConfig,
    examples: &'a [Example],
    /// The step that training ends with.
    last_step: usize,
}

impl<'a> Exam<'a> {
    /// An exam in the tasks that the run has for it. `None` when there are none.
    pub(crate) fn prepare(config: &'a RunConfig, material: &'a Material) -> Result<Option<Self>> {
        let examples = material.held_out()?;
        let last_step = config.rl.steps(material.examples().map_or(0, |dataset| dataset.train.len()));
        Ok((!examples.is_empty()).then_some(Self { config, examples, last_step }))
    }

    /// What a stage that cannot do without an exam says.
    pub(crate) fn no_tasks() -> Error {
        let message = "evaluation needs held-out rows: set `data.test_size` or `data.test_path`, or name a file as \
                       `eval.data.path`";
        Error::config("data", message)
    }

    fn tasks(&self) -> Vec<&Task> {
        self.examples.iter().take(self.config.eval.max_examples).map(|example| &example.task).collect()
    }

    /// Refuses tasks that the model has no room to answer, before the first is asked.
    pub(crate) fn check_lengths(&self, model: &ModelConfig, renderer: &Renderer) -> Result<()> {
        check_lengths(model, renderer, self.tasks().into_iter(), self.config.eval.max_tokens)
    }

    /// Examines a policy. Rewards weigh what they weigh when training ends, and faults are counted apart: what happens to
    /// a plugin here must not change what happens to it in training, nor the other way round. Rollouts are appended to
    /// `<name>-rollouts.jsonl` if a folder and a name are given.
    pub(crate) fn take(
        &self,
        (policy, renderer): (&Policy, &Renderer),
        rubric: &mut Rubric,
        kept: Option<(&StageDir, &str)>,
        observe: Observer,
    ) -> Result<Evaluation> {
        let before = rubric.state();
        rubric.restore(&RubricState::default());
        let evaluation = self.examine((policy, renderer), rubric, kept, observe);
        rubric.restore(&before);
        evaluation
    }

    fn examine(
        &self,
        (policy, renderer): (&Policy, &Renderer),
        rubric: &mut Rubric,
        kept: Option<(&StageDir, &str)>,
        observe: Observer,
    ) -> Result<Evaluation> {
        let (config, options) = (self.config, &self.config.eval);
        let tasks = self.tasks();
        let sampling = options.sampling();
        let judge = options.graded_by.as_ref().and_then(|judge| rubric.names().position(|name| name == judge));
        let mut marks: Vec<Mark> = vec![];
        let (mut before, mut first_fault) = (0, None);
        for (chunk, tasks) in tasks.chunks(TASKS_AT_ONCE).enumerate() {
            let plan = Plan {
                group_size: options.num_samples,
                sampling: &sampling,
                stop: &options.stop,
                seed: config.seed,
                purpose: Purpose::Evaluation,
                step: 0,
                first_task: chunk * TASKS_AT_ONCE,
            };
            let progress = |tokens| observe(Event::Sampled { tokens: before + tokens });
            let grading = (&mut *rubric, self.last_step as u32);
            let Attempted { rollouts, graded, .. } = attempt((policy, renderer), (tasks, &plan), grading, progress)?;
            before += rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum::<usize>();
            first_fault = first_fault.or_else(|| Some(report::faults(rubric, &graded)?.1));
            if let Some((dir, name)) = kept {
                dir.append_all(&format!("{name}-{ROLLOUTS}"), &report::rows(rubric, 0, &rollouts, &graded, &[]))?;
            }
            marks.extend(
                rollouts.iter().zip(&graded).map(|(rollout, graded)| Mark::new(&rollout.sample, graded, judge)),
            );
        }
        let sources: Vec<&str> = tasks.iter().map(|task| task.data_source.as_str()).collect();
        let evaluation = Evaluation { first_fault, ..summarise(&marks, &sources, options) };
        if let Some(first) = &evaluation.first_fault {
            let (stage, answers) = (if kept.is_some() { Stage::Eval } else { Stage::Rl }, marks.len());
            observe(Event::Faulted { stage, faults: evaluation.faults, answers, first });
        }
        Ok(evaluation)
    }
}

/// Adds an evaluation to a row of metrics: `test/...` of all tasks, `test/<data_source>/...` of some.
pub(crate) fn describe(evaluation: &Evaluation, into: &mut Metrics) {
    put("test", evaluation, into);
    for (source, part) in &evaluation.by_data_source {
        put(&format!("test/{source}"), part, into);
    }
}

fn put(prefix: &str, evaluation: &Evaluation, into: &mut Metrics) {
    let scores = evaluation.scores.iter();
    into.extend(scores.map(|(score, value)| (format!("{prefix}/{score}"), Value::from(*value))));
    into.insert(format!("{prefix}/env/all/reward/total"), json!(evaluation.reward));
    into.insert(format!("{prefix}/problems"), evaluation.problems.into());
    into.insert(format!("{prefix}/faults"), evaluation.faults.into());
}
