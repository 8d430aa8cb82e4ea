//! What every training stage shares: a policy, its optimizer, how far it has come, and the folder that remembers all
//! three. The order within a step is fixed - update, metrics row, checkpoint - so a crash between any two is repaired by
//! going back to the last checkpoint and dropping the rows after it.

use rewarden_runtime::{Rubric, RubricState};
use std::collections::BTreeMap;
use std::path::Path;

use crate::batch::Datum;
use crate::clock::Stopwatch;
use crate::config::{AdamConfig, Device, Stage};
use crate::error::Result;
use crate::events::EventFile;
use crate::gradient::gradients;
use crate::layout::Layout;
use crate::model::Policy;
use crate::objective::Objective;
use crate::observe::{Event, Observer};
use crate::optim::Optimizer;
use crate::renderer::Renderer;
use crate::reward_model::About;
use crate::run_dir::{Checkpoint, METRICS, Metrics, OPTIMIZER, Parts, Retention, StageDir};

/// A stage in progress.
pub(crate) struct Learner {
    pub(crate) policy: Policy,
    pub(crate) renderer: Renderer,
    pub(crate) dir: StageDir,
    /// Batches of tasks that were attempted so far; more than steps where sampling is dynamic.
    pub(crate) batches_drawn: usize,
    /// What the graders' counts were at the checkpoint this goes on from.
    pub(crate) rubric: RubricState,
    optimizer: Optimizer,
    events: EventFile,
    plan: Plan,
    step: usize,
    clock: Stopwatch,
    earlier_seconds: f64,
}

/// The fixed facts of a stage.
pub(crate) struct Plan {
    pub(crate) stage: Stage,
    /// Steps in all; see [`Learner::with_steps`].
    pub(crate) steps: usize,
    pub(crate) save_every: usize,
    pub(crate) retention: Retention,
    pub(crate) adam: AdamConfig,
    pub(crate) device: Device,
    pub(crate) gradient_checkpointing: bool,
    /// What a reader of the checkpoint has to know about the model beside its own files.
    pub(crate) about: Option<About>,
}

/// What an update reports.
pub(crate) struct Update {
    pub(crate) loss: f64,
    pub(crate) grad_norm: f64,
    pub(crate) metrics: BTreeMap<&'static str, f64>,
    pub(crate) log_probs: Vec<f32>,
}

impl Update {
    /// Several updates of one step as one: means of loss and norm, the rest together. `None` when there was none.
    pub(crate) fn merge(updates: Vec<Update>) -> Option<Update> {
        let count = updates.len() as f64;
        let merged = updates.into_iter().reduce(|mut sum, update| {
            sum.loss += update.loss;
            sum.grad_norm += update.grad_norm;
            update.metrics.into_iter().for_each(|(name, value)| *sum.metrics.entry(name).or_default() += value);
            sum.log_probs.extend(update.log_probs);
            sum
        })?;
        Some(Update { loss: merged.loss / count, grad_norm: merged.grad_norm / count, ..merged })
    }
}

impl Learner {
    /// Starts the stage from `start`, or goes on from its last checkpoint. Both read a policy with its tokenizer;
    /// `start` is asked only when there is no checkpoint.
    pub(crate) fn begin(
        run: &Path,
        plan: Plan,
        read: impl Fn(&Path) -> Result<(Policy, Renderer)>,
        start: impl FnOnce() -> Result<(Policy, Renderer)>,
    ) -> Result<Self> {
        let dir = StageDir::open(run, plan.stage)?;
        let checkpoint = dir.latest()?;
        let step = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.batch);
        dir.rewind(step)?;
        let (policy, renderer) = match &checkpoint {
            Some(checkpoint) => read(&dir.folder(checkpoint))?,
            None => start()?,
        };
        let policy = plan.device.place(policy)?;
        let policy = policy.with_gradient_checkpointing(plan.gradient_checkpointing);
        let optimizer = match &checkpoint {
            Some(checkpoint) => Optimizer::read(&policy, &plan.adam, &dir.folder(checkpoint).join(OPTIMIZER))?,
            None => Optimizer::new(&policy, &plan.adam)?,
        };
        let batches_drawn = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.batches_drawn);
        let earlier_seconds = checkpoint.as_ref().map_or(0.0, |checkpoint| checkpoint.seconds);
        let rubric = checkpoint.and_then(|checkpoint| checkpoint.rubric).unwrap_or_default();
        let (events, clock) = (dir.events(step)?, Stopwatch::new());
        Ok(Self { policy, renderer, dir, batches_drawn, rubric, optimizer, events, plan, step, clock, earlier_seconds })
    }

    /// Plans for another number of steps: how many there are may depend on which rows are fit to learn from, and that
    /// on the tokens of the model that was read.
    pub(crate) fn with_steps(mut self, steps: usize) -> Self {
        self.plan.steps = steps;
        self
    }

    /// The steps still to do.
    pub(crate) fn remaining(&self) -> std::ops::Range<usize> {
        self.step..self.plan.steps
    }

    /// Updates the policy on `data` against `objective`. `None` when there is nothing to learn from: then nothing moves,
    /// moments included.
    pub(crate) fn update(
        &mut self,
        data: &[Datum],
        layout: impl Into<Layout>,
        learning_rate: f64,
        objective: Objective,
    ) -> Result<Option<Update>> {
        if data.iter().all(|datum| datum.trained_tokens() == 0) {
            return Ok(None);
        }
        let found = gradients(&self.policy, data, layout, objective)?;
        let grad_norm = self.optimizer.step(&mut self.policy, &found, learning_rate)?;
        Ok(Some(Update { loss: found.loss, grad_norm, metrics: found.metrics, log_probs: found.log_probs }))
    }

    /// Logs the step that is now finished, and saves it when due, with what the rubric has to remember.
    pub(crate) fn finish_step(
        &mut self,
        mut metrics: Metrics,
        rubric: Option<&Rubric>,
        observe: Observer,
    ) -> Result<()> {
        metrics.insert("step".into(), self.step.into());
        metrics.insert("progress/batch".into(), self.step.into());
        self.step += 1;
        metrics.insert("progress/done_frac".into(), (self.step as f64 / self.plan.steps as f64).into());
        self.dir.append(METRICS, &metrics)?;
        self.events.append(self.step - 1, &metrics)?;
        if self.is_due() {
            self.save(rubric)?;
        }
        let Plan { stage, steps, .. } = self.plan;
        observe(Event::Step { stage, done: self.step, steps, metrics: &metrics });
        Ok(())
    }

    /// Seconds of this stage, earlier parts included.
    pub(crate) fn seconds(&self) -> f64 {
        self.earlier_seconds + self.clock.total()
    }

    fn is_due(&self) -> bool {
        let regular = self.plan.save_every != 0 && self.step.is_multiple_of(self.plan.save_every);
        regular || self.step == self.plan.steps
    }

    fn save(&self, rubric: Option<&Rubric>) -> Result<()> {
        let name = format!("{:06}", self.step);
        let folder = Path::new("checkpoints").join(&name);
        let checkpoint = Checkpoint {
            name,
            state_path: folder.clone(),
            sampler_path: folder,
            batch: self.step,
            batches_drawn: self.batches_drawn,
            is_final: self.step == self.plan.steps,
            seconds: self.seconds(),
            plugins: rubric.map(Rubric::digests).unwrap_or_default(),
            shadows: rubric.map(Rubric::shadows).unwrap_or_default(),
            rubric: rubric.map(Rubric::state),
        };
        let parts = Parts {
            policy: &self.policy,
            tokenizer: self.renderer.tokenizer(),
            optimizer: &self.optimizer,
            about: self.plan.about.as_ref(),
        };
        self.dir.save(&checkpoint, &parts)?;
        self.dir.remove_old(&self.plan.retention)
    }
}
