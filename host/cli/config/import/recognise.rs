//! Whose config this is: by the command that starts the trainer, or by keys that only one has.

use anyhow::{Result, bail};

use super::source::Source;
use super::table::Dialect;
use super::{tinker, trl, verl};
use crate::args::{Recipe, System};

/// Every trainer whose configs are read. Where two share a key that marks them, the one with further marks stands first.
pub(super) fn dialects() -> impl Iterator<Item = &'static Dialect> {
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

#[cfg(test)]
mod tests {
    use super::super::table::{How, literal};
    use super::*;
    use rewarden_train::RunConfig;
    use std::path::Path;

    #[track_caller]
    fn check(pattern: &str, key: &str, expected: bool) {
        assert_eq!(matches(pattern, key), expected, "{pattern} and {key}");
    }

    #[test]
    fn patterns_name_keys() {
        check("a.b", "a.b", true);
        check("a.b", "a.bc", false);
        check("a.*", "a.b.c", true);
        check("a.*", "b.a.c", false);
        check("*.b", "a.b", true);
        check("*.b", "a.b.c", false);
        check("*b*d", "abcd", true);
        check("*b*", "acd", false);
        check("a*a", "a", false);
    }

    /// A table with a slip in one of our keys, or words, would leave its line out without a word.
    #[test]
    fn every_row_says_something_that_a_config_may_say() {
        let keys: Vec<String> = rewarden_train::config_docs().unwrap().into_iter().map(|doc| doc.key).collect();
        for dialect in dialects() {
            let ours = |key: &str| key.replacen('*', dialect.recipe.name(), 1);
            for row in dialect.rows.iter().copied().flatten() {
                assert!(keys.contains(&ours(row.to)), "{} is no key of a config", ours(row.to));
                let How::Words(words) = row.how else { continue };
                for (_, value) in words.iter().filter(|(_, value)| !value.is_empty() && !value.starts_with('!')) {
                    assert_ne!(literal(value), Ok(None), "{value} is no TOML");
                    let setting = format!("{}={value}", ours(row.to));
                    let parsed = RunConfig::parse(Path::new("x"), "log_path = 'x'", std::slice::from_ref(&setting));
                    let error = parsed.err().map_or(String::new(), |error| error.to_string());
                    assert!(
                        !error.contains("unknown variant") && !error.contains("invalid type"),
                        "{setting}: {error}"
                    );
                }
            }
        }
    }
}
