//! Rows become examples: a task (what the policy is asked, and the reference answer it never sees) with, where the row
//! has one, the answer a supervised stage imitates. The whole data set is read and checked before the first step.

mod arithmetic;
mod rows;

pub use arithmetic::Arithmetic;
pub use rows::read_jsonl;

use rand::seq::SliceRandom;
use rewarden_runtime::Message;
use std::collections::HashSet;

use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// What a policy is asked, and what only the grader knows.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// Unique within the data set.
    pub id: String,
    /// Where the row comes from (verl's `data_source`), such as `openai/gsm8k`.
    pub data_source: String,
    /// The messages shown to the policy.
    pub prompt: Vec<Message>,
    /// The reference answer; empty when there is none.
    pub ground_truth: String,
    /// Every further column, a JSON object.
    pub extra: String,
}

/// A task and, for supervised training, an answer to it.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The task.
    pub task: Task,
    /// The messages that answer it; empty when the row has none.
    pub answer: Vec<Message>,
}

impl Example {
    /// The whole conversation.
    pub fn messages(&self) -> Vec<Message> {
        self.task.prompt.iter().chain(&self.answer).cloned().collect()
    }
}

/// Examples to learn from, and others to be measured on.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// Training examples, in the file's order.
    pub train: Vec<Example>,
    /// Held-out examples; no prompt of theirs occurs in `train`.
    pub test: Vec<Example>,
}

impl Dataset {
    /// Reads or generates what `config` names.
    pub fn load(config: &DataConfig, seed: u64) -> Result<Self> {
        let dataset = match (&config.path, &config.arithmetic) {
            (Some(path), None) => {
                let examples = read_jsonl(path, config.max_examples.unwrap_or(usize::MAX))?;
                match &config.test_path {
                    Some(test) => Self { train: examples, test: read_jsonl(test, usize::MAX)? }.without_leaks(),
                    None => Self::split(examples, config.test_size, seed),
                }
            }
            (None, Some(arithmetic)) => arithmetic.generate(seed),
            (Some(_), Some(_)) => {
                return Err(Error::config("data", "name either `path` or `[data.arithmetic]`, not both"));
            }
            (None, None) => return Err(Error::config("data", "name a JSONL file as `path`, or `[data.arithmetic]`")),
        };
        match dataset.train.is_empty() {
            true => {
                Err(Error::config("data", "no training example is left; lower `test_size` or raise `max_examples`"))
            }
            false => Ok(dataset),
        }
    }

    /// Holds out `test_size` examples, chosen by `seed`, and every training example that asks the same.
    fn split(mut examples: Vec<Example>, test_size: usize, seed: u64) -> Self {
        let mut order: Vec<usize> = (0..examples.len()).collect();
        order.shuffle(&mut seed::generator(seed, Purpose::Problems, &[]));
        let held_out: HashSet<usize> = order.into_iter().take(test_size).collect();
        let mut indices = 0..;
        let test = examples.extract_if(.., |_| indices.next().is_some_and(|index| held_out.contains(&index))).collect();
        Self { train: examples, test }.without_leaks()
    }

    fn without_leaks(mut self) -> Self {
        let asked = |example: &Example| -> String {
            example.task.prompt.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
        };
        let held_out: HashSet<String> = self.test.iter().map(asked).collect();
        self.train.retain(|example| !held_out.contains(&asked(example)));
        self
    }
}

/// The order in which an epoch visits `count` examples.
pub(crate) fn epoch_order(count: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(&mut seed::generator(seed, Purpose::Order, &[epoch]));
    order
}

/// The `batch_size` examples of `step` (from 0) when epochs follow each other without gaps.
pub(crate) fn batch_at(count: usize, batch_size: usize, seed: u64, step: usize) -> Vec<usize> {
    let first = step * batch_size;
    let mut epoch = usize::MAX;
    let mut order = vec![];
    (first..first + batch_size)
        .map(|place| {
            if place / count != epoch {
                epoch = place / count;
                order = epoch_order(count, seed, epoch as u64);
            }
            order[place % count]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_visit_every_example_once_an_epoch() {
        let mut seen: Vec<usize> = (0..5).flat_map(|step| batch_at(10, 4, 1, step)).collect();
        assert_eq!(seen.len(), 20);
        seen.sort();
        let expected: Vec<usize> = (0..10).flat_map(|index| [index, index]).collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn held_out_prompts_are_not_trained_on() {
        let examples = Arithmetic { train_size: 40, test_size: 0, ..Arithmetic::default() }.generate(1).train;
        let doubled: Vec<Example> = examples.iter().chain(&examples).cloned().collect();
        let split = Dataset::split(doubled, 10, 1);
        assert_eq!(split.test.len(), 10);
        let asked = |e: &Example| e.task.prompt[0].content.clone();
        assert!(split.train.iter().all(|train| split.test.iter().all(|test| asked(test) != asked(train))));
    }
}
