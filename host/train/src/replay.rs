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
            stop_reason: StopReason::named(&row.stop_reason)
                .ok_or_else(|| format!("{:?} is no stop reason", row.stop_reason))?,
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
        let role = Role::named(&said.role).ok_or_else(|| format!("{:?} is no role", said.role))?;
        let Said { content, name, tool_calls, tool_call_id, .. } = said;
        Ok(Message { role, content, name, tool_calls, tool_call_id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report;
    use serde_json::{Value, json};

    fn line() -> Value {
        json!({
            "step": 7, "id": "7/a/0", "group": "a", "data_source": "d", "prompt": [{"role": "user", "content": "p"}],
            "completion": [{"role": "assistant", "content": "c"}], "ground_truth": "g", "extra": "{\"k\":1}",
            "stop_reason": "max_tokens", "turn_scores": [0.1, -0.0], "completion_tokens": 3, "reward": 0.3,
            "advantage": null, "scores": {
                "one": {"plugin": Digest::of(b"1"), "fuel": 5, "score": {
                    "value": 0.1, "steps": [1e-320], "components": [], "metrics": [{"name": "m", "value": 2.0}], "note": "n",
                }},
                "two": {"plugin": Digest::of(b"2"), "fault": {"kind": "trap", "detail": "t"}},
            },
        })
    }

    #[test]
    fn every_column_that_a_reward_sees_comes_back() {
        let rollout = StoredRollout::parse(line().to_string().as_bytes()).unwrap();
        let message = |role, content: &str| Message {
            role,
            content: content.into(),
            name: None,
            tool_calls: vec![],
            tool_call_id: None,
        };
        let expected = Sample {
            id: "7/a/0".into(),
            group: "a".into(),
            data_source: "d".into(),
            prompt: vec![message(Role::User, "p")],
            completion: vec![message(Role::Assistant, "c")],
            ground_truth: "g".into(),
            extra: "{\"k\":1}".into(),
            stop_reason: StopReason::MaxTokens,
            turn_scores: vec![0.1, -0.0],
            completion_tokens: 3,
            step: 7,
        };
        assert_eq!(rollout.sample, expected);
        assert!(rollout.sample.turn_scores[1].is_sign_negative());
        assert_eq!(rollout.scores["one"].plugin, Digest::of(b"1"));
        assert_eq!(rollout.scores["one"].result.as_ref().unwrap().steps, [1e-320]);
        assert_eq!(rollout.scores["two"].result, Err(Fault::Trap("t".into())));
        assert_eq!((rollout.reward, rollout.shadows.len()), (Some(0.3), 0));
    }

    #[track_caller]
    fn check_refused(spoil: impl Fn(&mut Value), expected: &str) {
        let mut line = line();
        spoil(&mut line);
        let reason = StoredRollout::parse(line.to_string().as_bytes()).unwrap_err();
        assert!(reason.contains(expected), "{reason}");
    }

    #[test]
    fn rows_that_are_none_say_why() {
        check_refused(|row| row["prompt"][0]["role"] = json!("wizard"), "wizard");
        check_refused(|row| row["stop_reason"] = json!("tired"), "tired");
        check_refused(|row| row["scores"]["one"]["plugin"] = json!("sha256:12"), "is not a digest");
        check_refused(|row| row["scores"]["two"]["fault"] = Value::Null, "`two`");
        check_refused(|row| drop(row.as_object_mut().unwrap().remove("extra")), "extra");
        assert!(StoredRollout::parse(b"{\"step\": 5, \"lo").is_err());
    }

    /// What `report.rs` writes is what is read here.
    #[test]
    fn messages_and_endings_survive_a_round_trip() {
        let calls = vec![ToolCall { id: "1".into(), name: "f".into(), arguments: "{".into() }];
        for role in [Role::System, Role::User, Role::Assistant, Role::Tool] {
            for (name, tool_calls, tool_call_id) in
                [(None, vec![], None), (Some("n".to_owned()), calls.clone(), Some("1".to_owned()))]
            {
                let message = Message { role, content: "\u{0}\u{2028}ü".into(), name, tool_calls, tool_call_id };
                let written = serde_json::to_string(&report::Said::from(&message)).unwrap();
                let said: Said = serde_json::from_str(&written).unwrap();
                assert_eq!(Message::try_from(said), Ok(message));
            }
        }
        use StopReason::*;
        for ending in [Completed, MaxTokens, MaxTurns, MaxToolCalls, ParseError, TimedOut, StoppedByEnvironment] {
            assert_eq!(StopReason::named(ending.name()), Some(ending));
        }
    }
}
