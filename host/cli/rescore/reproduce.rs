//! Every stored score again, by the component that gave it: equal to the last bit, or the reason why that cannot be.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Result;
use comfy_table::Table;
use rewarden_runtime::{CacheScores, Digest, Fault, PluginSpec, Runtime, Sample, Score, Scorer};
use rewarden_train::{PluginStore, Stage, StoredRollout, StoredScore};
use serde::Serialize;
use serde_json::json;

use super::{StageFiles, Unreadable};
use crate::runtime;

/// Ids of differing rollouts that are shown; all are counted.
const IDS_MAX: usize = 5;

/// All that was scored again so far.
pub(super) struct Reproduction {
    runtime: Runtime,
    judges: BTreeMap<(Stage, Judge), Result<Scorer, String>>,
    tallies: BTreeMap<Judge, Tally>,
}

/// A component in one role.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Judge {
    /// The reward's name in the config.
    name: String,
    shadow: bool,
    plugin: Digest,
}

/// What became of one component's scores.
#[derive(Default, Serialize)]
struct Tally {
    rows: usize,
    reproduced: usize,
    differing: usize,
    /// The first few.
    differing_ids: Vec<String>,
    /// Rows by the reason why they were not compared.
    not_reproducible: BTreeMap<String, usize>,
}

/// One component's rows of a chunk.
#[derive(Default)]
struct Batch {
    samples: Vec<Sample>,
    stored: Vec<std::result::Result<Score, Fault>>,
}

/// How a score came out.
enum Verdict {
    Same,
    Different,
    Incomparable(String),
}

impl Reproduction {
    pub(super) fn new(jobs: usize) -> Result<Self> {
        Ok(Self { runtime: runtime::start(jobs)?, judges: BTreeMap::new(), tallies: BTreeMap::new() })
    }

    pub(super) fn add(&mut self, stage: &StageFiles, rollouts: Vec<StoredRollout>) -> Result<()> {
        for (judge, batch) in batches(rollouts) {
            let reward = self.reward(stage, &judge)?;
            let tally = self.tallies.entry(judge).or_default();
            tally.rows += batch.samples.len();
            match reward {
                Err(reason) => *tally.not_reproducible.entry(reason).or_default() += batch.samples.len(),
                Ok(reward) => {
                    let ids: Vec<String> = batch.samples.iter().map(|sample| sample.id.clone()).collect();
                    let judgements = runtime::block_on(reward.judge_batch(batch.samples))?;
                    for ((id, stored), again) in ids.into_iter().zip(&batch.stored).zip(&judgements) {
                        tally.count(id, verdict(stored, &again.result));
                    }
                }
            }
        }
        Ok(())
    }

    /// The component from the run's store, under the settings of the stage; or why it cannot be had.
    fn reward(&mut self, stage: &StageFiles, judge: &Judge) -> Result<Result<Scorer, String>> {
        let key = (stage.stage, judge.clone());
        if let Some(known) = self.judges.get(&key) {
            return Ok(known.clone());
        }
        let reward = load(&self.runtime, stage, judge)?.map_err(|error| error.to_string());
        self.judges.insert(key, reward.clone());
        Ok(reward)
    }

    /// The table, or JSON; the exit code says whether all was reproduced.
    pub(super) fn print(&self, unreadable: &Unreadable, json: bool) -> Result<ExitCode> {
        let all = self.tallies.values().all(|tally| tally.reproduced == tally.rows) && unreadable.rows == 0;
        if json {
            let row = |(judge, tally): (&Judge, &Tally)| {
                let mut row = serde_json::to_value(judge)?;
                if let (Some(row), serde_json::Value::Object(tally)) = (row.as_object_mut(), json!(tally)) {
                    row.extend(tally);
                }
                Ok(row)
            };
            let rewards = self.tallies.iter().map(row).collect::<Result<Vec<_>>>()?;
            outln!("{}", json!({"all_reproduced": all, "rewards": rewards, "unreadable": unreadable}));
        } else {
            self.print_table();
            unreadable.print();
        }
        Ok(if all { ExitCode::SUCCESS } else { ExitCode::from(1) })
    }

    fn print_table(&self) {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::ASCII_MARKDOWN);
        table.set_header(["reward", "component", "rows", "reproduced", "differing", "not reproducible"]);
        for (judge, tally) in &self.tallies {
            let not: usize = tally.not_reproducible.values().sum();
            let counts = [tally.rows, tally.reproduced, tally.differing, not].map(|count| count.to_string());
            table.add_row([judge.shown(), judge.plugin.to_string()].into_iter().chain(counts));
        }
        outln!("{table}");
        for (judge, tally) in &self.tallies {
            if tally.differing > 0 {
                outln!("\n{} {} differs on {}", judge.shown(), judge.plugin, tally.differing_ids.join(", "));
                if tally.differing > tally.differing_ids.len() {
                    outln!("  and {} more", tally.differing - tally.differing_ids.len());
                }
            }
            for (reason, rows) in &tally.not_reproducible {
                outln!("\n{} {}: {rows} rows cannot be reproduced: {reason}", judge.shown(), judge.plugin);
            }
        }
    }
}

impl Judge {
    fn shown(&self) -> String {
        if self.shadow { format!("{} (shadow)", self.name) } else { self.name.clone() }
    }
}

impl Tally {
    fn count(&mut self, id: String, verdict: Verdict) {
        match verdict {
            Verdict::Same => self.reproduced += 1,
            Verdict::Different => {
                self.differing += 1;
                if self.differing_ids.len() < IDS_MAX {
                    self.differing_ids.push(rewarden_runtime::printable(&id, 200));
                }
            }
            Verdict::Incomparable(reason) => *self.not_reproducible.entry(reason).or_default() += 1,
        }
    }
}

/// The rows of a chunk by the component that judged them.
fn batches(rollouts: Vec<StoredRollout>) -> BTreeMap<Judge, Batch> {
    let mut batches: BTreeMap<Judge, Batch> = BTreeMap::new();
    for StoredRollout { sample, scores, shadows, .. } in rollouts {
        let role = |shadow| move |(name, score)| (name, shadow, score);
        let opinions = scores.into_iter().map(role(false)).chain(shadows.into_iter().map(role(true)));
        for (name, shadow, StoredScore { plugin, result }) in opinions {
            let batch = batches.entry(Judge { name, shadow, plugin }).or_default();
            batch.samples.push(sample.clone());
            batch.stored.push(result);
        }
    }
    batches
}

/// The outer error is ours, the inner one a reason to go on without this component.
fn load(runtime: &Runtime, stage: &StageFiles, judge: &Judge) -> Result<Result<Scorer>> {
    let config = &stage.config;
    let component = PluginStore::of(&config.log_path).component(judge.plugin);
    let model = config.reward_model.iter().find(|model| model.name == judge.name);
    if model.is_some() && component.is_err() {
        return Ok(Err(anyhow::anyhow!("a trained reward model's: models are not in the run's store")));
    }
    // In a reward model's place sits the plugin it names.
    let name = model.and_then(|model| model.fallback.as_ref()).unwrap_or(&judge.name);
    let found = config.reward_named(name).and_then(|reward| config.plugin_spec(reward, component?));
    let spec = match found {
        // A score from the disk would reproduce itself; one that this process judged before is an honest one.
        Ok(spec) if spec.cache == CacheScores::Disk => PluginSpec { cache: CacheScores::Memory, ..spec },
        Ok(spec) => spec,
        Err(reason) => return Ok(Err(reason.into())),
    };
    let reward = || {
        let plugin = runtime::block_on(runtime.load(&spec))??;
        match plugin.reproducible() {
            true => Ok(plugin.scorer()?),
            false => {
                anyhow::bail!("not sealed: it may ask {}, and the answers are not stored", plugin.imports().join(", "))
            }
        }
    };
    Ok(reward())
}

/// Compares a stored result with the new one.
fn verdict(stored: &std::result::Result<Score, Fault>, again: &std::result::Result<Score, Fault>) -> Verdict {
    let incomparable = |when: &str, fault: &Fault| match fault {
        Fault::Quarantined { .. } => Some("the plugin was quarantined and not asked".to_owned()),
        fault if !fault.is_reproducible() => Some(format!("{when} a fault that depends on the machine: {fault}")),
        _ => None,
    };
    let reason = |when, result: &std::result::Result<Score, Fault>| incomparable(when, result.as_ref().err()?);
    match reason("stored is", stored).or_else(|| reason("now there is", again)) {
        Some(reason) => Verdict::Incomparable(reason),
        None if same(stored, again) => Verdict::Same,
        None => Verdict::Different,
    }
}

fn same(stored: &std::result::Result<Score, Fault>, again: &std::result::Result<Score, Fault>) -> bool {
    match (stored, again) {
        // `==` first, for the texts; then the bits, because 0 equals -0.
        (Ok(stored), Ok(again)) => stored == again && bits(stored).eq(bits(again)),
        (Err(stored), Err(again)) => stored == again,
        _ => false,
    }
}

/// The bits of every number of a score, in a fixed order.
fn bits(score: &Score) -> impl Iterator<Item = u64> {
    let named = score.components.iter().chain(&score.metrics).map(|metric| metric.value);
    score.value.into_iter().chain(score.steps.iter().copied()).chain(named).map(f64::to_bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(value: Option<f64>, note: &str) -> std::result::Result<Score, Fault> {
        Ok(Score { value, steps: vec![], components: vec![], metrics: vec![], note: note.into() })
    }

    #[track_caller]
    fn check(
        stored: std::result::Result<Score, Fault>,
        again: std::result::Result<Score, Fault>,
        expected: std::result::Result<bool, &str>,
    ) {
        match (verdict(&stored, &again), expected) {
            (Verdict::Same, Ok(true)) | (Verdict::Different, Ok(false)) => {}
            (Verdict::Incomparable(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            _ => panic!("{stored:?} and {again:?} are not {expected:?}"),
        }
    }

    #[test]
    fn equal_to_the_bit_or_a_reason() {
        let trap = || Err(Fault::Trap("t".into()));
        let deadline = || Err(Fault::Deadline { timeout_ms: 5, at: String::new() });
        check(score(Some(0.1), "n"), score(Some(0.1), "n"), Ok(true));
        check(score(Some(0.1), "n"), score(Some(0.1 + f64::EPSILON), "n"), Ok(false));
        check(score(Some(0.0), ""), score(Some(-0.0), ""), Ok(false));
        check(score(Some(0.1), "n"), score(Some(0.1), "m"), Ok(false));
        check(score(None, ""), score(None, ""), Ok(true));
        check(score(None, ""), score(Some(0.0), ""), Ok(false));
        check(score(Some(0.0), ""), trap(), Ok(false));
        check(trap(), trap(), Ok(true));
        check(trap(), Err(Fault::Trap("u".into())), Ok(false));
        check(deadline(), deadline(), Err("stored is a fault that depends on the machine"));
        check(score(Some(0.0), ""), deadline(), Err("now there is a fault that depends on the machine"));
        check(Err(Fault::Quarantined { since_step: 1, faults: 2 }), score(Some(0.0), ""), Err("quarantined"));
    }
}
