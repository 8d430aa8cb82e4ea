//! `--set key=value`: one override of a config that is still a table.

use super::RunConfig;
use super::nearest::with_hint;
use crate::error::{Error, Result};

/// Sets one dotted key. What does not parse as a TOML value is taken as a string; of a list of tables, an entry is found by
/// its name, or by its number from 0. The error names the key, so each override is tried by itself.
pub(super) fn set(table: &mut toml::Table, pair: &str) -> Result<()> {
    let Some((key, text)) = pair.split_once('=') else {
        return Err(Error::config(pair, "`--set` takes key=value, such as --set rl.max_steps=10"));
    };
    let (key, text) = (key.trim(), text.trim());
    let value = toml::from_str::<toml::Table>(&format!("value = {text}")).ok().and_then(|mut t| t.remove("value"));
    let value = value.unwrap_or_else(|| toml::Value::String(text.to_owned()));
    let mut parts: Vec<&str> = key.split('.').collect();
    let last = parts.pop().unwrap_or(key);
    let mut parts = parts.into_iter();
    let mut place = &mut *table;
    while let Some(part) = parts.next() {
        let entry = place.entry(part).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let entry = match entry {
            toml::Value::Array(list) => {
                let whole = || format!("`{part}` is a list: set one key of `{last}`, or the whole list");
                let name = parts.next().ok_or_else(|| Error::config(key, whole()))?;
                one_of(list, name).map_err(|message| Error::config(key, format!("{message} in `{part}`")))?
            }
            entry => entry,
        };
        place = entry.as_table_mut().ok_or_else(|| Error::config(key, format!("`{part}` is not a table")))?;
    }
    place.insert(last.to_owned(), value);
    let parsed: std::result::Result<RunConfig, _> = table.clone().try_into();
    parsed.map(drop).map_err(|e| Error::config(key, with_hint(e.to_string())))
}

/// The entry of this name or number.
fn one_of<'a>(list: &'a mut [toml::Value], name: &str) -> std::result::Result<&'a mut toml::Value, String> {
    let named = |entry: &toml::Value| entry.get("name").and_then(toml::Value::as_str).map(str::to_owned);
    let names: Vec<String> = list.iter().filter_map(named).collect();
    let place = list.iter().position(|entry| named(entry).is_some_and(|called| called == name));
    let place = place.or_else(|| name.parse().ok()).filter(|&place| place < list.len());
    let there = if names.is_empty() { format!("{} entries, from 0", list.len()) } else { names.join(", ") };
    place.map(|place| &mut list[place]).ok_or_else(|| format!("there is no `{name}`, only {there},"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const TEXT: &str = "log_path = 'runs/x'\n[[data.mix]]\npath = 'm'\n[[reward]]\nname = 'a'\nplugin = 'x'\n[[reward]]\n\
                        name = 'b'\nplugin = 'y'\n[reward.limits]\nfuel = 5\n";

    fn parse(overrides: &[&str]) -> Result<RunConfig> {
        RunConfig::parse(Path::new("a.toml"), TEXT, &overrides.iter().map(|&o| o.to_owned()).collect::<Vec<_>>())
    }

    /// Overrides, and how the error of one of them begins.
    #[track_caller]
    fn check_bad(overrides: &[&str], expected: &str) {
        let error = parse(overrides).unwrap_err().to_string();
        assert!(error.starts_with(&format!("config key `{expected}")), "{error}");
    }

    #[test]
    fn entries_of_a_list_are_set_by_name_or_number() {
        let config =
            parse(&["reward.b.weight=2", "reward.0.weight=3", "reward.b.limits.fuel=7", "data.mix.0.ratio=0.5"]);
        let config = config.unwrap();
        assert_eq!(config.reward.iter().map(|reward| reward.weight.at(0)).collect::<Vec<_>>(), [3.0, 2.0]);
        assert_eq!((config.reward[1].limits.fuel, config.data.mix[0].ratio), (7, 0.5));
    }

    #[test]
    fn an_error_names_the_override_that_is_wrong() {
        check_bad(&["log_path=runs/q", "device=gpu", "seed=3"], "device`: unknown variant `gpu`");
        check_bad(&["seed=3", "rl.max_steps=many"], "rl.max_steps`: invalid type");
        check_bad(&["rl.group_sise=4", "seed=3"], "rl.group_sise`: unknown field `group_sise`");
        check_bad(&["reward.c.weight=2"], "reward.c.weight`: there is no `c`, only a, b, in `reward`");
        check_bad(&["reward.2.weight=2"], "reward.2.weight`: there is no `2`, only a, b,");
        check_bad(&["data.mix.1.ratio=2"], "data.mix.1.ratio`: there is no `1`, only 1 entries, from 0, in `mix`");
        check_bad(&["reward.a.wieght=2"], "reward.a.wieght`: unknown field `wieght`");
        check_bad(&["reward.a=2"], "reward.a`: `reward` is a list: set one key of `a`, or the whole list");
        check_bad(&["seed.x=1"], "seed.x`: invalid type: map");
        check_bad(&["log_path.x=1"], "log_path.x`: `log_path` is not a table");
    }
}
