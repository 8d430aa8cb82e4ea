//! Whose config this is: by the command that starts the trainer, or by keys that only one has.

use anyhow::{Result, bail};

use super::source::Source;
use super::table::Dialect;
use super::{tinker, trl, verl};
use crate::args::{Recipe, System};

/// Every trainer whose configs are read. Where two share a key that marks them, the one with further marks stands first.
fn dialects() -> impl Iterator<Item = &'static Dialect> {
    const VERL: &[Dialect] = &verl::DIALECTS;
    const TINKER: &[Dialect] = &tinker::DIALECTS;
    const TRL: &[Dialect] = &trl::DIALECTS;
    [VERL, TINKER, TRL].into_iter().flatten()
}

/// The trainer that reads this config, among those that were asked for.
pub(super) fn recognise(source: &Source, from: Option<System>, stage: Option<Recipe>) -> Result<&'static Dialect> {
    let fits = |dialect: &&&Dialect| {
        from.is_none_or(|from| dialect.system == from) && stage.is_none_or(|stage| dialect.recipe == stage)
    };
    let candidates: Vec<&Dialect> = dialects().collect::<Vec<_>>().iter().filter(fits).copied().collect();
    let starts = |dialect: &&&Dialect| dialect.programs.iter().any(|part| source.program.contains(part));
    let has_mark = |dialect: &&&Dialect| {
        let mut keys = source.entries.iter();
        keys.any(|entry| dialect.marks.iter().any(|mark| matches(mark, &entry.key)))
    };
    let found = candidates.iter().find(starts).or_else(|| candidates.iter().find(has_mark));
    let names = candidates.iter().map(|dialect| dialect.name).collect::<Vec<_>>().join(", ");
    match (found, candidates.as_slice()) {
        (Some(dialect), _) => Ok(dialect),
        // Asked for by name: then the first will do.
        (None, [first, ..]) if from.is_some() && stage.is_some() => Ok(first),
        (None, []) => bail!("no trainer of that system does that stage; leave out --stage or --from"),
        (None, _) if from.is_some() => bail!("cannot tell which trainer's config this is ({names}): say --stage"),
        (None, _) => bail!("no key tells whose config this is ({names}): say --from, and --stage"),
    }
}

/// Whether a key is named by a pattern, in which `*` stands for any text.
pub(super) fn matches(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = key.strip_prefix(first) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let found = if is_last {
            rest.ends_with(part).then_some(rest.len())
        } else {
            rest.find(part).map(|at| at + part.len())
        };
        let Some(end) = found else { return false };
        rest = &rest[end..];
    }
    true
}
