//! What a batch of graded rollouts looks like in `metrics.jsonl` and `rollouts.jsonl`. Metric names are tinker's where
//! it has one (`env/all/...`, `env/<data_source>/...`, `stop/...`), TRL's for single rewards (`rewards/<name>/mean`).

mod graders;

use rewarden_runtime::{Digest, Fault, Graded, Judgement, Message, Role, Rubric, Score, ToolCall};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::advantage::is_constant;
use crate::rollout::Rollout;
use crate::run_dir::Metrics;
use crate::sampler::End;

/// One line of `rollouts.jsonl`: enough to see what the policy said and why it was paid, and to score it again.
#[derive(Serialize)]
pub(crate) struct Row<'a> {
    step: usize,
    id: &'a str,
    group: &'a str,
    data_source: &'a str,
    prompt: Vec<Said<'a>>,
    completion: Vec<Said<'a>>,
    ground_truth: &'a str,
    extra: &'a str,
    stop_reason: &'static str,
    turn_scores: &'a [f64],
    completion_tokens: u32,
    reward: Option<f64>,
    total: Option<f64>,
    advantage: Option<f64>,
    scores: BTreeMap<&'a str, Opinion<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    shadows: BTreeMap<&'a str, Opinion<'a>>,
}

/// What one plugin said, and what that took.
#[derive(Serialize)]
struct Opinion<'a> {
    plugin: Digest,
    #[serde(flatten)]
    judged: Judged<'a>,
    fuel: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Judged<'a> {
    Score(&'a Score),
    Fault(&'a Fault),
}

/// A message as chat data sets write it.
#[derive(Serialize)]
pub(crate) struct Said<'a> {
    role: &'static str,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "<[ToolCall]>::is_empty")]
    tool_calls: &'a [ToolCall],
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<&'a str>,
}

impl<'a> From<&'a Message> for Said<'a> {
    fn from(message: &'a Message) -> Self {
        Self {
            role: message.role.name(),
            content: &message.content,
            name: message.name.as_deref(),
            tool_calls: &message.tool_calls,
            tool_call_id: message.tool_call_id.as_deref(),
        }
    }
}

impl<'a> Opinion<'a> {
    fn new(plugin: Digest, judgement: &'a Judgement) -> Self {
        let judged = match &judgement.result {
            Ok(score) => Judged::Score(score),
            Err(fault) => Judged::Fault(fault),
        };
        Self { plugin, judged, fuel: judgement.receipt.fuel }
    }
}

/// The rewards of graded rollouts, as the update sees them.
pub(crate) fn rewards(graded: &[Graded]) -> Vec<Option<f64>> {
    graded.iter().map(|graded| graded.reward).collect()
}

/// The same before any normalisation.
pub(crate) fn totals(graded: &[Graded]) -> Vec<Option<f64>> {
    graded.iter().map(|graded| graded.total).collect()
}

/// Rows for `rollouts.jsonl`, in order. `advantages` is empty where there are none, in evaluation.
pub(crate) fn rows<'a>(
    rubric: &'a Rubric,
    step: usize,
    rollouts: &'a [Rollout],
    graded: &'a [Graded],
    advantages: &[Option<f64>],
) -> Vec<Row<'a>> {
    let (digests, shadows) = (rubric.digests(), rubric.shadows());
    let scores = |graded: &'a Graded| {
        let parts = rubric.names().zip(&graded.parts);
        parts.filter_map(|(name, part)| Some((name, Opinion::new(digests[name], part.as_ref()?)))).collect()
    };
    let shadows = |graded: &'a Graded| {
        let opinions = graded.shadows.iter();
        opinions.map(|(name, judgement)| (name.as_str(), Opinion::new(shadows[name], judgement))).collect()
    };
    let row = |(index, (rollout, graded)): (usize, (&'a Rollout, &'a Graded))| Row {
        step,
        id: &rollout.sample.id,
        group: &rollout.sample.group,
        data_source: &rollout.sample.data_source,
        prompt: rollout.sample.prompt.iter().map(Said::from).collect(),
        completion: rollout.sample.completion.iter().map(Said::from).collect(),
        ground_truth: &rollout.sample.ground_truth,
        extra: &rollout.sample.extra,
        stop_reason: rollout.sample.stop_reason.name(),
        turn_scores: &rollout.sample.turn_scores,
        completion_tokens: rollout.sample.completion_tokens,
        reward: graded.reward,
        total: graded.total,
        advantage: advantages.get(index).copied().flatten(),
        scores: scores(graded),
        shadows: shadows(graded),
    };
    rollouts.iter().zip(graded).enumerate().map(row).collect()
}

/// Adds the metrics of a batch graded at a training step.
pub(crate) fn describe(
    rubric: &Rubric,
    step: u32,
    rollouts: &[Rollout],
    graded: &[Graded],
    group_size: usize,
    into: &mut Metrics,
) {
    let count = rollouts.len() as f64;
    let tokens: usize = rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum();
    let judged: Vec<f64> = totals(graded).into_iter().flatten().collect();
    let mut put = |name: String, value: f64| graders::put(into, name, value);
    for (source, rewards) in by_data_source(rollouts, graded) {
        put(format!("env/{source}/reward/total"), mean(&rewards));
    }
    put("env/all/reward/total".into(), mean(&judged));
    put("env/all/total_episodes".into(), count);
    put("env/all/turns_per_episode".into(), rollouts.iter().map(turns).sum::<usize>() as f64 / count);
    put("env/all/ac_tokens_per_turn".into(), tokens as f64 / count);
    put("env/all/total_ac_tokens".into(), tokens as f64);
    // nanochat's names of the same.
    put("reward".into(), mean(&judged));
    put("sequence_length".into(), tokens as f64 / count);
    let stopped = rollouts.iter().filter(|rollout| rollout.sampled.end == End::Stopped).count() as f64;
    put("stop/completed".into(), stopped / count);
    put("stop/max_tokens".into(), (count - stopped) / count);
    for (share, groups) in group_kinds(graded, group_size) {
        put(format!("env/all/by_group/{share}"), groups);
    }
    graders::describe(rubric, step, graded, into);
}

/// How many answers some grader failed on, and the first such fault with the grader's name.
pub(crate) fn faults(rubric: &Rubric, graded: &[Graded]) -> Option<(usize, String)> {
    let fault = |graded: &Graded| {
        let parts = rubric.names().zip(&graded.parts);
        let mut faults = parts.filter_map(|(name, part)| Some((name, part.as_ref()?.result.as_ref().err()?)));
        faults.next().map(|(name, fault)| format!("reward `{name}`: {fault}"))
    };
    let mut faults = graded.iter().filter_map(fault);
    let first = faults.next()?;
    Some((1 + faults.count(), first))
}

/// What the model said in a rollout, in messages.
fn turns(rollout: &Rollout) -> usize {
    rollout.sample.completion.iter().filter(|message| message.role == Role::Assistant).count()
}

/// Total rewards by where the tasks are from; nothing where they are all from one place.
fn by_data_source<'a>(rollouts: &'a [Rollout], graded: &[Graded]) -> BTreeMap<&'a str, Vec<f64>> {
    let mut sources: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for (rollout, graded) in rollouts.iter().zip(graded) {
        sources.entry(&rollout.sample.data_source).or_default().extend(graded.total);
    }
    if sources.len() > 1 { sources } else { BTreeMap::new() }
}

/// Shares of groups whose rewards differ, and so teach something, and of the others by their total: above 0, or not.
fn group_kinds(graded: &[Graded], group_size: usize) -> [(&'static str, f64); 3] {
    let share = |wanted: &dyn Fn(&[Graded]) -> bool| {
        let groups = graded.chunks(group_size);
        groups.clone().filter(|group| wanted(group)).count() as f64 / groups.len() as f64
    };
    let constant = |group: &[Graded]| is_constant(&rewards(group));
    let good = |group: &[Graded]| totals(group).into_iter().flatten().next().is_some_and(|total| total > 0.0);
    [
        ("frac_mixed", share(&|group| !constant(group))),
        ("frac_all_good", share(&|group| constant(group) && good(group))),
        ("frac_all_bad", share(&|group| constant(group) && !good(group))),
    ]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    mean(&values.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>()).sqrt()
}
