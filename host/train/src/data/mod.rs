//! Rows become something to learn from: tasks with answers ([`Example`]), pairs of answers one of which is preferred
//! ([`Pair`]), or answers in steps that are labelled ([`Chain`]). The whole data set is read and checked before the first
//! step.

mod arithmetic;
mod chain;
mod columns;
mod example;
mod file;
mod messages;
mod mix;
mod pair;
mod parquet;
mod prm800k;
mod skipped;

pub use arithmetic::Arithmetic;
pub use chain::Chain;
pub use columns::Columns;
pub use example::{Example, Task};
pub(crate) use file::BYTE_ORDER_MARK;
pub use file::read_data;
pub use mix::MixConfig;
pub use pair::Pair;
pub use skipped::Skipped;

use rand::seq::SliceRandom;
use rewarden_runtime::Message;
use std::collections::HashSet;
use std::path::Path;

use crate::config::DataConfig;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// One kind of thing to learn from, and where it comes from.
pub trait Row: Clone {
    /// What one row of a file comes to. `id` is its name where it has none; the error says what is wrong with it.
    fn read(row: Columns, id: &str) -> std::result::Result<Outcome<Self>, String>;

    /// Generated arithmetic of this kind.
    fn generate(arithmetic: &Arithmetic, seed: u64) -> Dataset<Self>;

    /// Its name, unique within the data set.
    fn id(&mut self) -> &mut String;

    /// What is asked: held-out rows ask nothing that is trained on.
    fn prompt(&self) -> &[Message];
}

/// What a row that is well formed comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    /// Something to learn from; mostly one.
    Rows(Vec<T>),
    /// Nothing, and why; such rows are counted.
    Skipped(&'static str),
}

/// Examples to learn from, and others to be measured on.
#[derive(Clone, Debug)]
pub struct Dataset<T = Example> {
    /// Training rows, in the files' order.
    pub train: Vec<T>,
    /// Held-out rows; no prompt of theirs occurs in `train`.
    pub test: Vec<T>,
    /// Rows that were read and left out.
    pub skipped: Vec<Skipped>,
}

impl<T: Row> Dataset<T> {
    /// Reads or generates what `config` names; `key` is where it stands in the run's config.
    pub fn load(key: &str, config: &DataConfig, seed: u64) -> Result<Self> {
        let dataset = Self::read(key, config, seed)?;
        match dataset.train.is_empty() {
            true => Err(Error::config(key, "no training row is left; lower `test_size` or raise `max_examples`")),
            false => Ok(dataset),
        }
    }

    /// The same for a data set that is only there to be measured on: without held-out rows, all are.
    pub(crate) fn to_examine(key: &str, config: &DataConfig, seed: u64) -> Result<Self> {
        let mut dataset = Self::read(key, config, seed)?;
        if dataset.test.is_empty() {
            std::mem::swap(&mut dataset.train, &mut dataset.test);
        }
        Ok(dataset)
    }

    fn read(key: &str, config: &DataConfig, seed: u64) -> Result<Self> {
        let refuse = |message: &str| Err(Error::config(key, message));
        let mut dataset = match (&config.path, &config.arithmetic) {
            (Some(path), None) => {
                let (mut skipped, source) = (vec![], config.data_source.as_deref());
                let train = read_data(path, config.max_examples, source, &mut skipped)?;
                let mut dataset = match &config.test_path {
                    Some(test) => Self { train, test: read_data(test, None, source, &mut skipped)?, skipped },
                    None => Self::split(train, config.test_size, seed, skipped),
                };
                let train = std::mem::take(&mut dataset.train);
                dataset.train = dataset.without_leaks(train, path);
                dataset
            }
            (None, Some(arithmetic)) => T::generate(arithmetic, seed),
            (Some(_), Some(_)) => return refuse("name either `path` or a table `arithmetic`, not both"),
            (None, None) => return refuse("name a file of rows as `path`, or set the table `arithmetic`"),
        };
        let count = dataset.train.len();
        for (place, mix) in (1..).zip(&config.mix) {
            let rows = read_data(&mix.path, mix.max_examples, mix.data_source.as_deref(), &mut dataset.skipped)?;
            let rows = dataset.without_leaks(rows, &mix.path);
            dataset.train.extend(mix::share(&rows, mix.ratio, count, (place, seed)));
        }
        Ok(dataset)
    }

    /// Holds out `test_size` rows, chosen by `seed`.
    fn split(mut rows: Vec<T>, test_size: usize, seed: u64, skipped: Vec<Skipped>) -> Self {
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut seed::generator(seed, Purpose::Problems, &[]));
        let held_out: HashSet<usize> = order.into_iter().take(test_size).collect();
        let mut indices = 0..;
        let test = rows.extract_if(.., |_| indices.next().is_some_and(|index| held_out.contains(&index))).collect();
        Self { train: rows, test, skipped }
    }

    /// Drops every row that asks what a held-out row asks.
    fn without_leaks(&mut self, mut rows: Vec<T>, file: &Path) -> Vec<T> {
        let asked = |row: &T| -> String {
            row.prompt().iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
        };
        let held_out: HashSet<String> = self.test.iter().map(asked).collect();
        let count = rows.len();
        rows.retain(|row| !held_out.contains(&asked(row)));
        skipped::count(&mut self.skipped, file, "asks what a held-out row asks", count - rows.len());
        rows
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
        let mut split = Dataset::split(doubled, 10, 1, vec![]);
        split.train = split.without_leaks(split.train.clone(), Path::new("rows.jsonl"));
        assert_eq!((split.test.len(), split.train.len() + split.skipped[0].count), (10, 70));
        assert_eq!(split.skipped[0].reason, "asks what a held-out row asks");
        let asked = |e: &Example| e.task.prompt[0].content.clone();
        assert!(split.train.iter().all(|train| split.test.iter().all(|test| asked(test) != asked(train))));
    }
}
