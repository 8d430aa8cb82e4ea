//! `rollouts.jsonl` read back: the samples exactly as the rewards got them, and what each of them said.

use rewarden_runtime::{Digest, Fault, Message, Role, Sample, Score, StopReason, ToolCall};
use serde::Deserialize;
use std::collections::BTreeMap;

/// One row of a rollout file.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredRollout {
    /// What was judged.
    pub sample: Sample,
    /// What the rubric made of it; `None` when there was nothing to learn.
    pub reward: Option<f64>,
    /// What each reward said, by its name.
    pub scores: BTreeMap<String, StoredScore>,
    /// What each shadow said, by the name of its reward.
    pub shadows: BTreeMap<String, StoredScore>,
}

/// What one reward said of one rollout.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredScore {
    /// The component that said it.
    pub plugin: Digest,
    /// The score, or why there is none.
    pub result: Result<Score, Fault>,
}

impl StoredRollout {
    /// Reads one line of a rollout file. The error says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice::<Row>(line).map_err(|error| error.to_string())?.try_into()
    }
}

/// The row as `report.rs` writes it; columns that say nothing about the sample are skipped.
#[derive(Deserialize)]
struct Row {
    step: u32,
    id: String,
    group: String,
    data_source: String,
    prompt: Vec<Said>,
    completion: Vec<Said>,
    ground_truth: String,
    extra: String,
    stop_reason: String,
    #[serde(default)]
    turn_scores: Vec<f64>,
    completion_tokens: u32,
    reward: Option<f64>,
    scores: BTreeMap<String, Opinion>,
    #[serde(default)]
    shadows: BTreeMap<String, Opinion>,
}

#[derive(Deserialize)]
struct Opinion {
    plugin: Digest,
    score: Option<Score>,
    fault: Option<Fault>,
}

#[derive(Deserialize)]
struct Said {
    role: String,
    content: String,
    name: Option<String>,
    #[serde(default)]
    tool_calls: Vec<ToolCall>,
    tool_call_id: Option<String>,
}

impl TryFrom<Row> for StoredRollout {
    type Error = String;

    fn try_from(row: Row) -> Result<Self, String> {
        let messages = |said: Vec<Said>| said.into_iter().map(Message::try_from).collect::<Result<Vec<_>, _>>();
        let sample = Sample {
            id: row.id,
            group: row.group,
            data_source: row.data_source,
            prompt: messages(row.prompt)?,
            completion: messages(row.completion)?,
            ground_truth: row.ground_truth,
            extra: row.extra,
            stop_reason: stop_reason(&row.stop_reason)?,
            turn_scores: row.turn_scores,
            completion_tokens: row.completion_tokens,
            step: row.step,
        };
        let stored = |opinions: BTreeMap<String, Opinion>| opinions.into_iter().map(score).collect::<Result<_, _>>();
        Ok(Self { sample, reward: row.reward, scores: stored(row.scores)?, shadows: stored(row.shadows)? })
    }
}
/// One of the two must be there, and not both.
fn score((name, opinion): (String, Opinion)) -> Result<(String, StoredScore), String> {
    let Opinion { plugin, score, fault } = opinion;
    let result = match (score, fault) {
        (Some(score), None) => Ok(score),
        (None, Some(fault)) => Err(fault),
        _ => return Err(format!("the score of `{name}` needs either `score` or `fault`")),
    };
    Ok((name, StoredScore { plugin, result }))
}

impl TryFrom<Said> for Message {
    type Error = String;

    fn try_from(said: Said) -> Result<Message, String> {
        let role = match said.role.as_str() {
            "system" => Role::System,
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "tool" => Role::Tool,
            other => return Err(format!("{other:?} is no role")),
        };
        let Said { content, name, tool_calls, tool_call_id, .. } = said;
        Ok(Message { role, content, name, tool_calls, tool_call_id })
    }
}

/// The inverse of the names that `report.rs` writes.
fn stop_reason(name: &str) -> Result<StopReason, String> {
    match name {
        "completed" => Ok(StopReason::Completed),
        "max_tokens" => Ok(StopReason::MaxTokens),
        "max_turns" => Ok(StopReason::MaxTurns),
        "max_tool_calls" => Ok(StopReason::MaxToolCalls),
        "parse_error" => Ok(StopReason::ParseError),
        "timed_out" => Ok(StopReason::TimedOut),
        "stopped_by_environment" => Ok(StopReason::StoppedByEnvironment),
        other => Err(format!("{other:?} is no stop reason")),
    }
}
