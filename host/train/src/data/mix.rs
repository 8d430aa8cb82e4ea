//! Mixtures: further files beside the first, each with its share of an epoch.
//!
//! Of a file with `ratio` r, every epoch visits `round(r * n)` rows, where n counts the training rows of `path` (or the
//! generated ones), each of which it visits once. Which rows those are, the run's seed decides, once for the run: all of
//! the file's rows come up before any comes up again, as a copy with an id of its own. Held-out rows come from `path` or
//! `test_path` alone, and no mixed row asks what they ask.

use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::Row;
use crate::error::{Error, Result};
use crate::seed::{self, Purpose};

/// A further file of rows, and its share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixConfig {
    /// The file: JSON lines, or Parquet.
    pub path: PathBuf,
    /// Rows of it in an epoch, for every training row of `data.path`.
    #[serde(default = "one")]
    pub ratio: f64,
    /// Rows of it to read at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_examples: Option<usize>,
    /// The source of all its rows, whatever they say: what `data_source` of a reward selects by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<String>,
}

/// Above this a mixture is a mistake, and one that would fill memory with copies.
const RATIO_MAX: f64 = 1000.0;

fn one() -> f64 {
    1.0
}

impl MixConfig {
    /// Refuses a share that is none; `key` is where it stands in the config.
    pub(crate) fn check(&self, key: &str) -> Result<()> {
        match self.ratio > 0.0 && self.ratio <= RATIO_MAX {
            true => Ok(()),
            false => Err(Error::config(format!("{key}.ratio"), format!("must be above 0 and at most {RATIO_MAX}"))),
        }
    }
}

/// The rows of file number `place` (from 1) that every epoch visits beside `count` others.
pub(super) fn share<T: Row>(rows: &[T], ratio: f64, count: usize, (place, seed): (usize, u64)) -> Vec<T> {
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.shuffle(&mut seed::generator(seed, Purpose::Problems, &[place as u64]));
    let wanted = (ratio * count as f64).round() as usize;
    let visits = (1..).flat_map(|visit| order.iter().map(move |&row| (visit, row)));
    let visited = visits.take(if rows.is_empty() { 0 } else { wanted });
    let row = |(visit, row): (usize, usize)| {
        let mut row = rows[row].clone();
        let copy = if visit > 1 { format!("#{visit}") } else { String::new() };
        *row.id() = format!("mix-{place}/{}{copy}", row.id());
        row
    };
    visited.map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Dataset, Example};
    use super::*;
    use crate::config::DataConfig;

    /// A file of questions `from..to`, each its own answer.
    fn file(folder: &tempfile::TempDir, name: &str, questions: std::ops::Range<usize>) -> PathBuf {
        let path = folder.path().join(name);
        let row = |q: usize| format!("{{\"id\":\"{q}\",\"question\":\"What is {q}?\",\"answer\":\"{q}\"}}\n");
        std::fs::write(&path, questions.map(row).collect::<String>()).unwrap();
        path
    }

    /// Ten rows with a mixed file of `rows` others in this ratio: how many of it an epoch visits, how many different ones.
    #[track_caller]
    fn check(rows: usize, ratio: f64, expected: (usize, usize)) {
        let folder = tempfile::tempdir().unwrap();
        let (path, mixed) = (file(&folder, "a.jsonl", 0..10), file(&folder, "b.jsonl", 10..10 + rows));
        let mix = MixConfig { path: mixed, ratio, max_examples: None, data_source: Some("b".into()) };
        let config = DataConfig { path: Some(path), mix: vec![mix], ..DataConfig::default() };
        let train = Dataset::<Example>::load("data", &config, 1).unwrap().train;
        let (first, further) = train.split_at(10);
        assert!(first.iter().all(|row| row.task.data_source == "openai/gsm8k"));
        assert!(further.iter().all(|row| row.task.data_source == "b"));
        let count =
            |of: fn(&Example) -> String| further.iter().map(of).collect::<std::collections::BTreeSet<_>>().len();
        assert_eq!(count(|row| row.task.id.clone()), further.len(), "ids are distinct");
        assert_eq!((further.len(), count(|row| row.task.ground_truth.clone())), expected);
        assert_eq!(train, Dataset::<Example>::load("data", &config, 1).unwrap().train);
        let other = Dataset::<Example>::load("data", &config, 2).unwrap().train;
        assert_eq!((other.len(), other == train), (train.len(), false), "the seed chooses");
    }

    #[test]
    fn a_ratio_is_a_share_of_an_epoch() {
        check(20, 1.0, (10, 10));
        check(20, 0.5, (5, 5));
        check(20, 0.25, (3, 3));
        check(4, 1.0, (10, 4));
        check(4, 0.4, (4, 4));
        check(3, 3.0, (30, 3));
    }

    #[test]
    fn every_row_comes_up_before_any_comes_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<Example> =
            super::super::read_data(&file(&folder, "a.jsonl", 0..3), None, None, &mut vec![]).unwrap();
        let ids: Vec<String> = share(&rows, 0.7, 10, (2, 1)).into_iter().map(|row| row.task.id).collect();
        assert_eq!(ids, ["mix-2/0", "mix-2/1", "mix-2/2", "mix-2/0#2", "mix-2/1#2", "mix-2/2#2", "mix-2/0#3"]);
    }

    #[test]
    fn held_out_questions_are_not_mixed_in() {
        let folder = tempfile::tempdir().unwrap();
        let (path, mixed) = (file(&folder, "a.jsonl", 0..10), file(&folder, "b.jsonl", 0..10));
        let mix = MixConfig { path: mixed, ratio: 1.0, max_examples: Some(8), data_source: None };
        let config = DataConfig { path: Some(path), test_size: 5, mix: vec![mix], ..DataConfig::default() };
        let data = Dataset::<Example>::load("data", &config, 1).unwrap();
        assert_eq!((data.train.len(), data.test.len()), (10, 5));
        let asked = |row: &Example| row.task.ground_truth.clone();
        assert!(data.train.iter().all(|train| data.test.iter().all(|test| asked(test) != asked(train))));
        assert!(data.skipped.iter().any(|skipped| skipped.file.ends_with("b.jsonl") && skipped.count >= 3));
    }

    #[test]
    fn shares_that_are_none_are_refused() {
        for ratio in [0.0, -1.0, f64::NAN, f64::INFINITY, 1001.0] {
            let mix = MixConfig { path: "x".into(), ratio, max_examples: None, data_source: None };
            let error = mix.check("data.mix.0").unwrap_err().to_string();
            assert_eq!(error, "config key `data.mix.0.ratio`: must be above 0 and at most 1000");
        }
    }
}
