//! Two answers to one prompt, one of which is preferred, in the shapes of TRL:
//!
//! | keys | shape |
//! | --- | --- |
//! | `prompt`, `chosen`, `rejected` (`margin`) | texts, or lists of messages |
//!
//! Any further key is left alone.

use rewarden_runtime::{Message, Role};

use super::columns::{Columns, kind, optional_text, spoken};
use super::{Arithmetic, Dataset, Row};

/// A prompt and two answers to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// Unique within the data set.
    pub id: String,
    /// The messages that are answered.
    pub prompt: Vec<Message>,
    /// The messages of the better answer.
    pub chosen: Vec<Message>,
    /// The messages of the other.
    pub rejected: Vec<Message>,
    /// By how much it is better, on the scale of the reward; 0 where the row does not say.
    pub margin: f64,
}

impl Row for Pair {
    fn read(mut row: Columns, id: &str) -> std::result::Result<Vec<Self>, String> {
        let prompt = spoken(&mut row, "prompt", Role::User)?;
        let chosen = spoken(&mut row, "chosen", Role::Assistant)?;
        let rejected = spoken(&mut row, "rejected", Role::Assistant)?;
        for (key, messages) in [("prompt", &prompt), ("chosen", &chosen), ("rejected", &rejected)] {
            if messages.is_empty() {
                return Err(format!("`{key}` is empty"));
            }
        }
        let margin = match row.take("margin")? {
            None => 0.0,
            Some(value) => value.as_f64().ok_or_else(|| format!("`margin` is {}, expected a number", kind(&value)))?,
        };
        let id = optional_text(&mut row, "id")?.unwrap_or_else(|| id.to_owned());
        Ok(vec![Self { id, prompt, chosen, rejected, margin }])
    }

    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self> {
        arithmetic.pairs(seed)
    }

    fn prompt(&self) -> &[Message] {
        &self.prompt
    }
}
