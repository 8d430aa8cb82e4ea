//! Rows that are well formed and still not learnt from are counted by reason, and whoever watches hears of them.

use std::path::{Path, PathBuf};

/// Rows of a file that were left out for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub file: PathBuf,
    /// Why, to follow "skipped:".
    pub reason: &'static str,
    /// How many.
    pub count: usize,
}

/// Adds `count` rows of a file that were left out for this reason.
pub(super) fn count(all: &mut Vec<Skipped>, file: &Path, reason: &'static str, count: usize) {
    match all.iter_mut().find(|skipped| skipped.file == file && skipped.reason == reason) {
        Some(skipped) => skipped.count += count,
        None if count > 0 => all.push(Skipped { file: file.to_owned(), reason, count }),
        None => (),
    }
}
