//! What a batch of graded rollouts looks like in `metrics.jsonl` and `rollouts.jsonl`. Metric names are tinker's where
//! it has one (`env/all/...`, `stop/...`), TRL's for single rewards (`rewards/<name>/mean`).

use rewarden_runtime::{Digest, Fault, Message, Role, Score, StopReason, ToolCall};
use serde::Serialize;
use std::collections::BTreeMap;

use crate::advantage::is_constant;
use crate::rollout::Rollout;
use crate::rubric::{Graded, Rubric};
use crate::run_dir::Metrics;

/// One line of `rollouts.jsonl`: enough to see what the policy said and why it was paid.
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
    completion_tokens: u32,
    reward: Option<f64>,
    advantage: Option<f64>,
    scores: BTreeMap<&'a str, Opinion<'a>>,
}

/// What one reward said.
#[derive(Serialize)]
struct Opinion<'a> {
    plugin: Digest,
    #[serde(flatten)]
    judged: Judged<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Judged<'a> {
    Score(&'a Score),
    Fault(&'a Fault),
}

/// A message as chat data sets write it.
#[derive(Serialize)]
struct Said<'a> {
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
            role: match message.role {
                Role::System => "system",
                Role::User => "user",
                Role::Assistant => "assistant",
                Role::Tool => "tool",
            },
            content: &message.content,
            name: message.name.as_deref(),
            tool_calls: &message.tool_calls,
            tool_call_id: message.tool_call_id.as_deref(),
        }
    }
}

/// The name of a way to end, as in the `stop/...` metrics.
fn stop_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Completed => "completed",
        StopReason::MaxTokens => "max_tokens",
        StopReason::MaxTurns => "max_turns",
        StopReason::MaxToolCalls => "max_tool_calls",
        StopReason::ParseError => "parse_error",
        StopReason::TimedOut => "timed_out",
        StopReason::StoppedByEnvironment => "stopped_by_environment",
    }
}

/// The rewards of graded rollouts.
pub(crate) fn rewards(graded: &[Graded]) -> Vec<Option<f64>> {
    graded.iter().map(|graded| graded.reward).collect()
}

/// Rows for `rollouts.jsonl`, in order. `advantages` is empty where there are none, in evaluation.
pub(crate) fn rows<'a>(
    rubric: &'a Rubric,
    step: usize,
    rollouts: &'a [Rollout],
    graded: &'a [Graded],
    advantages: &[Option<f64>],
) -> Vec<Row<'a>> {
    let digests = rubric.digests();
    let opinions = |graded: &'a Graded| {
        let opinion = |(name, part): (&'a str, &'a Result<Score, Fault>)| {
            let judged = match part {
                Ok(score) => Judged::Score(score),
                Err(fault) => Judged::Fault(fault),
            };
            (name, Opinion { plugin: digests[name], judged })
        };
        rubric.names().zip(&graded.parts).map(opinion).collect()
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
        stop_reason: stop_reason(rollout.sample.stop_reason),
        completion_tokens: rollout.sample.completion_tokens,
        reward: graded.reward,
        advantage: advantages.get(index).copied().flatten(),
        scores: opinions(graded),
    };
    rollouts.iter().zip(graded).enumerate().map(row).collect()
}

/// Adds the metrics of a graded batch.
pub(crate) fn describe(
    rubric: &Rubric,
    rollouts: &[Rollout],
    graded: &[Graded],
    group_size: usize,
    into: &mut Metrics,
) {
    let count = rollouts.len() as f64;
    let tokens: usize = rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum();
    let judged: Vec<f64> = graded.iter().filter_map(|graded| graded.reward).collect();
    let mut put = |name: String, value: f64| {
        if value.is_finite() {
            into.insert(name, value.into());
        }
    };
    put("env/all/reward/total".into(), mean(&judged));
    put("env/all/total_episodes".into(), count);
    put("env/all/ac_tokens_per_turn".into(), tokens as f64 / count);
    put("env/all/total_ac_tokens".into(), tokens as f64);
    let stopped = rollouts.iter().filter(|rollout| rollout.sampled.stopped).count() as f64;
    put("stop/completed".into(), stopped / count);
    put("stop/max_tokens".into(), (count - stopped) / count);
    for (share, groups) in group_kinds(graded, group_size) {
        put(format!("env/all/by_group/{share}"), groups);
    }
    for (index, name) in rubric.names().enumerate() {
        let parts: Vec<&Result<Score, Fault>> = graded.iter().map(|graded| &graded.parts[index]).collect();
        let values: Vec<f64> = parts.iter().filter_map(|part| part.as_ref().ok()?.value).collect();
        put(format!("rewards/{name}/mean"), mean(&values));
        put(format!("rewards/{name}/std"), deviation(&values));
        put(format!("plugin/{name}/calls"), parts.len() as f64);
        put(format!("plugin/{name}/faults"), parts.iter().filter(|part| part.is_err()).count() as f64);
    }
    for (name, digest) in rubric.digests() {
        into.insert(format!("plugin/{name}/digest"), digest.to_string().into());
    }
}

/// Shares of groups whose rewards differ, are all equal and above 0, or are all equal and not.
fn group_kinds(graded: &[Graded], group_size: usize) -> [(&'static str, f64); 3] {
    let groups: Vec<Vec<Option<f64>>> = graded.chunks(group_size).map(rewards).collect();
    let share = |wanted: &dyn Fn(&[Option<f64>]) -> bool| {
        groups.iter().filter(|group| wanted(group)).count() as f64 / groups.len() as f64
    };
    let good = |group: &[Option<f64>]| group.iter().flatten().next().is_some_and(|&reward| reward > 0.0);
    [
        ("frac_mixed", share(&|group| !is_constant(group))),
        ("frac_all_good", share(&|group| is_constant(group) && good(group))),
        ("frac_all_bad", share(&|group| is_constant(group) && !good(group))),
    ]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn deviation(values: &[f64]) -> f64 {
    let centre = mean(values);
    mean(&values.iter().map(|value| (value - centre).powi(2)).collect::<Vec<_>>()).sqrt()
}
