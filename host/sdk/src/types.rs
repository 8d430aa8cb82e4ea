//! Short ways to write the contract's records, so that a reward reads as its rule.

use serde::de::DeserializeOwned;

use crate::{Fault, Message, Metric, Role, Sample, Score, StopReason};

/// The longest note that a host takes, in bytes.
const NOTE_BYTES_MAX: usize = 4096;

/// Further columns as the author's type.
pub(crate) fn parse_extra<T: DeserializeOwned>(extra: &str) -> Result<T, Fault> {
    serde_json::from_str(extra).map_err(|error| Fault::invalid_input(format!("the extra columns: {error}")))
}

impl Score {
    /// A score that is this number and nothing else.
    pub fn of(value: f64) -> Score {
        Score {
            value: Some(value),
            steps: Vec::new(),
            components: Vec::new(),
            metrics: Vec::new(),
            note: String::new(),
        }
    }

    /// "This reward does not apply to this sample": its weight drops out for it.
    pub fn none() -> Score {
        Score { value: None, ..Score::of(0.0) }
    }

    /// With credit per reasoning step or assistant message, for process rewards.
    pub fn steps(mut self, steps: impl Into<Vec<f64>>) -> Score {
        self.steps = steps.into();
        self
    }

    /// With one line for a person who reads the rollout. What is longer than a host takes is cut off, so that an answer of a
    /// megabyte may be quoted without a thought.
    pub fn note(mut self, note: impl Into<String>) -> Score {
        self.note = note.into();
        self.note.truncate(self.note.floor_char_boundary(NOTE_BYTES_MAX));
        self
    }

    /// With a number for the logs that never enters the objective.
    pub fn metric(mut self, name: impl Into<String>, value: f64) -> Score {
        self.metrics.push(Metric { name: name.into(), value });
        self
    }

    /// With a named part of the value.
    pub fn component(mut self, name: impl Into<String>, value: f64) -> Score {
        self.components.push(Metric { name: name.into(), value });
        self
    }
}

impl From<f64> for Score {
    fn from(value: f64) -> Score {
        Score::of(value)
    }
}

impl Fault {
    /// "This sample cannot be judged", with the reason.
    pub fn invalid_input(reason: impl Into<String>) -> Fault {
        Fault::InvalidInput(reason.into())
    }

    /// "My settings are wrong", with the reason.
    pub fn misconfigured(reason: impl Into<String>) -> Fault {
        Fault::Misconfigured(reason.into())
    }

    /// "A service of the host that I need is not there", with the reason.
    pub fn unavailable(reason: impl Into<String>) -> Fault {
        Fault::Unavailable(reason.into())
    }

    /// "I failed", with the reason.
    pub fn internal(reason: impl Into<String>) -> Fault {
        Fault::Internal(reason.into())
    }
}

impl Message {
    /// A message with text and nothing else.
    pub fn new(role: Role, content: impl Into<String>) -> Message {
        Message { role, content: content.into(), name: None, tool_calls: Vec::new(), tool_call_id: None }
    }

    /// What the user says.
    pub fn user(content: impl Into<String>) -> Message {
        Message::new(Role::User, content)
    }

    /// What the policy says.
    pub fn assistant(content: impl Into<String>) -> Message {
        Message::new(Role::Assistant, content)
    }

    /// What frames the conversation.
    pub fn system(content: impl Into<String>) -> Message {
        Message::new(Role::System, content)
    }
}

impl Sample {
    /// A single-turn sample for tests: what the policy answered, and what was right.
    pub fn new(response: impl Into<String>, ground_truth: impl Into<String>) -> Sample {
        Sample {
            id: String::new(),
            group: String::new(),
            data_source: String::new(),
            prompt: Vec::new(),
            completion: vec![Message::new(Role::Assistant, response)],
            ground_truth: ground_truth.into(),
            extra: "{}".into(),
            stop_reason: StopReason::Completed,
            turn_scores: Vec::new(),
            completion_tokens: 0,
            step: 0,
        }
    }

    /// The text of the policy's last message; empty when it said nothing.
    pub fn response(&self) -> &str {
        let last = self.completion.iter().rev().find(|message| message.role == Role::Assistant);
        last.map_or("", |message| &message.content)
    }

    /// The row's further columns as a type of yours; the fault names the column.
    pub fn parse_extra<T: DeserializeOwned>(&self) -> Result<T, Fault> {
        parse_extra(&self.extra)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_cut_between_characters() {
        let note = |text: String| Score::of(1.0).note(text).note.len();
        assert_eq!((note("x".repeat(4096)), note("x".repeat(4097)), note("x".repeat(4095) + "ü")), (4096, 4096, 4095));
    }

    #[test]
    fn the_response_is_the_last_thing_the_policy_said() {
        let mut sample = Sample::new("first", "");
        assert_eq!(sample.response(), "first");
        sample.completion.push(Message::new(Role::Assistant, "second"));
        sample.completion.push(Message::new(Role::Tool, "third"));
        assert_eq!(sample.response(), "second");
        sample.completion.clear();
        assert_eq!(sample.response(), "");
    }
}
