//! Another plugin's opinion of a run's rollouts, against the stored scores of one reward.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use rewarden_runtime::{Message, Runtime, Sample, Scorer, printable};
use rewarden_train::{RewardConfig, RunConfig, Stage, StoredRollout};
use serde::Serialize;
use serde_json::json;

use super::{StageFiles, Unreadable, rank::spearman};
use crate::args::RescoreArgs;
use crate::launch::loaded;
use crate::plugin::build::ensure_built;
use crate::runtime;

/// Bytes of a prompt or an answer that are shown.
const EXCERPT_BYTES: usize = 300;

/// What was compared so far.
pub(super) struct Comparison {
    runtime: Runtime,
    component: PathBuf,
    name: String,
    top: usize,
    judges: BTreeMap<Stage, Scorer>,
    /// The stored score and the plugin's, where both gave one.
    pairs: Vec<(f64, f64)>,
    rows: usize,
    only_stored: usize,
    only_new: usize,
    faults: usize,
    /// Those that differ most, the largest difference first.
    differing: Vec<Differing>,
}

/// A rollout on which the two differ.
#[derive(Serialize)]
struct Differing {
    id: String,
    stored: f64,
    new: f64,
    prompt: String,
    answer: String,
}

impl Comparison {
    pub(super) fn new(args: &RescoreArgs, plugin: &Path, config: &RunConfig) -> Result<Self> {
        let name = name(args, config)?;
        Ok(Self {
            runtime: runtime::start(args.jobs)?,
            component: ensure_built(plugin)?,
            name,
            top: args.top,
            judges: BTreeMap::new(),
            pairs: vec![],
            rows: 0,
            only_stored: 0,
            only_new: 0,
            faults: 0,
            differing: vec![],
        })
    }

    pub(super) fn add(&mut self, stage: &StageFiles, rollouts: Vec<StoredRollout>) -> Result<()> {
        let stored = |rollout: StoredRollout| {
            let stored = rollout.scores.get(&self.name)?.result.as_ref().ok().and_then(|score| score.value);
            Some((rollout.sample, stored))
        };
        let (samples, stored): (Vec<Sample>, Vec<Option<f64>>) = rollouts.into_iter().filter_map(stored).unzip();
        let judge = self.judge(stage)?;
        let judgements = runtime::block_on(judge.judge_batch(samples.clone()))?;
        let results = judgements.into_iter().map(|judgement| judgement.result);
        for ((sample, stored), result) in samples.iter().zip(stored).zip(results) {
            self.rows += 1;
            self.faults += usize::from(result.is_err());
            match (stored, result.ok().and_then(|score| score.value)) {
                (Some(stored), Some(new)) => self.pair(sample, stored, new),
                (Some(_), None) => self.only_stored += 1,
                (None, Some(_)) => self.only_new += 1,
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// The plugin under the settings that the reward had in this stage.
    fn judge(&mut self, stage: &StageFiles) -> Result<Scorer> {
        if let Some(judge) = self.judges.get(&stage.stage) {
            return Ok(judge.clone());
        }
        let reward: &RewardConfig = stage.config.reward_named(&self.name)?;
        let judge = loaded(&self.runtime, &stage.config, reward, self.component.clone()).with_context(|| {
            format!("{} cannot judge as the reward `{}` of this run", self.component.display(), self.name)
        })?;
        self.judges.insert(stage.stage, judge.clone());
        Ok(judge)
    }

    fn pair(&mut self, sample: &Sample, stored: f64, new: f64) {
        self.pairs.push((stored, new));
        let distance = (stored - new).abs();
        let place = self
            .differing
            .partition_point(|other| (other.stored - other.new).abs().partial_cmp(&distance) != Some(Ordering::Less));
        if distance > 0.0 && place < self.top {
            self.differing.truncate(self.top - 1);
            let excerpt = |message: Option<&Message>| {
                printable(message.map_or("", |message| message.content.as_str()), EXCERPT_BYTES)
            };
            let (prompt, answer) = (excerpt(sample.prompt.last()), excerpt(sample.completion.last()));
            self.differing.insert(place, Differing { id: printable(&sample.id, 200), stored, new, prompt, answer });
        }
    }

    pub(super) fn print(&self, unreadable: &Unreadable, json: bool) -> Result<ExitCode> {
        if self.rows == 0 {
            bail!("no rollout of this run was scored by `{}`", self.name);
        }
        let both = self.pairs.len();
        let share = |count: usize| (both > 0).then(|| count as f64 / both as f64);
        let agreement = share(self.pairs.iter().filter(|(stored, new)| stored == new).count());
        let mean =
            |side: fn(&(f64, f64)) -> f64| (both > 0).then(|| self.pairs.iter().map(side).sum::<f64>() / both as f64);
        let means = [mean(|pair| pair.0), mean(|pair| pair.1)];
        let spearman = spearman(&self.pairs);
        if json {
            let figures = json!({
                "name": self.name, "rows": self.rows, "both": both, "only_stored": self.only_stored,
                "only_new": self.only_new, "faults": self.faults, "agreement": agreement, "mean_stored": means[0],
                "mean_new": means[1], "spearman": spearman, "differing_most": self.differing, "unreadable": unreadable,
            });
            outln!("{figures}");
            return Ok(ExitCode::SUCCESS);
        }
        let shown = |figure: Option<f64>| figure.map_or("-".to_owned(), |figure| format!("{figure:.4}"));
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["rollouts", "both scored", "agreement", "mean stored", "mean new", "Spearman"]);
        let counts = [self.rows, both].map(|count| count.to_string());
        table.add_row(counts.into_iter().chain([agreement, means[0], means[1], spearman].map(shown)));
        outln!("`{}` as stored, and as {} scores it\n{table}", self.name, self.component.display());
        outln!("scored only before: {}; only now: {}; faults now: {}", self.only_stored, self.only_new, self.faults);
        for Differing { id, stored, new, prompt, answer } in &self.differing {
            outln!("\n{id}: stored {stored}, now {new}\n  prompt: {prompt}\n  answer: {answer}");
        }
        unreadable.print();
        Ok(ExitCode::SUCCESS)
    }
}

/// The reward to compare with: the one that was named, or the only one there is.
fn name(args: &RescoreArgs, config: &RunConfig) -> Result<String> {
    match (&args.name, config.reward.as_slice()) {
        (Some(name), _) => Ok(config.reward_named(name)?.name.clone()),
        (None, [only]) => Ok(only.name.clone()),
        (None, several) => {
            let names: Vec<&str> = several.iter().map(|reward| reward.name.as_str()).collect();
            bail!("this run has the rewards {}: say with --name which one to compare with", names.join(", "))
        }
    }
}
