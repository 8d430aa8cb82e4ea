//! Every key of a run's config with its type, default and meaning. Meanings are the doc comments of the types that a config
//! is read into, defaults are what an empty config resolves to: there is no second place where either could go stale.

mod source;

use serde::Serialize;
use std::path::Path;

use super::RunConfig;
use crate::error::{Error, Result};
use source::{Item, Items, Shape};

/// One key.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KeyDoc {
    /// Dotted path; `[]` stands behind a list of tables.
    pub key: String,
    /// What may be written, in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it is where a config does not say, as TOML; nothing where it must say, or means something by not saying.
    pub default: Option<String>,
    /// Whether a config must say it.
    pub required: bool,
    /// What it means.
    pub meaning: String,
    /// The words that may be written, if only certain ones may, each with its meaning.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<(String, String)>,
    /// Whether further keys stand below it.
    pub is_table: bool,
}

/// The sources of the types that are ours; the others are the runtime's.
const SOURCES: [&str; 11] = [
    include_str!("../data.rs"),
    include_str!("../device.rs"),
    include_str!("../mod.rs"),
    include_str!("../preference.rs"),
    include_str!("../rl.rs"),
    include_str!("../../data/arithmetic.rs"),
    include_str!("../../data/mix.rs"),
    include_str!("../../loss/kl.rs"),
    include_str!("../../loss/mean.rs"),
    include_str!("../../loss/mod.rs"),
    include_str!("../../renderer.rs"),
];

/// A config that has each optional table and says no more in it than it must.
const LEAST: &str = "log_path = 'x'
[data]
arithmetic = {}
mix = [{ path = '' }]
[prm.data]
arithmetic = {}
mix = [{ path = '' }]
[dpo.data]
arithmetic = {}
mix = [{ path = '' }]
[eval.data]
arithmetic = {}
mix = [{ path = '' }]
[[reward]]
name = ''
plugin = ''
[[reward_model]]
name = 'a'
";

/// Every key, in the order in which a config is documented: tables follow the keys beside them.
pub fn config_docs() -> Result<Vec<KeyDoc>> {
    let items = Items::of(SOURCES.iter().chain(&rewarden_runtime::CONFIG_SOURCES));
    let broken = |message: String| Error::config("config", message);
    let resolved = RunConfig::parse(Path::new("defaults"), LEAST, &[])?.to_toml()?;
    let resolved: toml::Table = toml::from_str(&resolved).map_err(|e| broken(e.to_string()))?;
    let least: toml::Table = toml::from_str(LEAST).map_err(|e| broken(e.to_string()))?;
    let root = items.named("RunConfig").ok_or_else(|| broken("RunConfig is not documented".into()))?;
    let mut docs = vec![];
    let (resolved, least) = (toml::Value::Table(resolved), toml::Value::Table(least));
    table(&items, root, "", Some(&resolved), Some(&least), &mut docs);
    Ok(docs)
}

/// The keys of one table: first the plain ones, then the tables, each followed by its own keys.
fn table(
    items: &Items,
    item: &Item,
    at: &str,
    resolved: Option<&toml::Value>,
    least: Option<&toml::Value>,
    docs: &mut Vec<KeyDoc>,
) {
    let (tables, plain): (Vec<_>, Vec<_>) = item
        .members
        .iter()
        .filter(|member| !member.is_skipped)
        .partition(|member| items.shape(&member.kind).table.is_some());
    for member in plain.into_iter().chain(tables) {
        let Shape { words, table: inner, is_list, is_optional, choices } = items.shape(&member.kind);
        let key = format!("{at}{}{}", member.name, if is_list && inner.is_some() { "[]" } else { "" });
        let held = resolved.and_then(|held| held.get(&member.name));
        let must = least.and_then(|held| held.get(&member.name));
        let default = held.filter(|_| must.is_none() && inner.is_none());
        docs.push(KeyDoc {
            key: key.clone(),
            kind: words,
            default: default.map(toml::Value::to_string),
            required: must.is_some() && inner.is_none() && !is_optional,
            meaning: member.doc.clone(),
            choices,
            is_table: inner.is_some(),
        });
        if let Some(inner) = inner {
            table(items, inner, &format!("{key}."), held.map(one), must.map(one), docs);
        }
    }
}

/// A table, or the first of a list of them.
fn one(value: &toml::Value) -> &toml::Value {
    value.as_array().and_then(|list| list.first()).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::loss::LossFn;

    /// The dotted keys of a value, lists of tables by their first.
    fn keys(value: &toml::Value, at: &str, all: &mut Vec<(String, toml::Value)>) {
        for (name, held) in value.as_table().into_iter().flatten() {
            let is_list = held.as_array().is_some_and(|list| list.first().is_some_and(toml::Value::is_table));
            let key = format!("{at}{name}{}", if is_list { "[]" } else { "" });
            match is_list || held.is_table() && name != "settings" {
                true => keys(one(held), &format!("{key}."), all),
                false => all.push((key, held.clone())),
            }
        }
    }

    fn resolved(text: &str) -> Vec<(String, toml::Value)> {
        let config = RunConfig::parse(Path::new("a.toml"), text, &[]).unwrap();
        let table: toml::Table = toml::from_str(&config.to_toml().unwrap()).unwrap();
        let mut all = vec![];
        keys(&toml::Value::Table(table), "", &mut all);
        all
    }

    fn doc(key: &str) -> KeyDoc {
        config_docs()
            .unwrap()
            .into_iter()
            .find(|doc| doc.key == key)
            .unwrap_or_else(|| panic!("{key} is not documented"))
    }

    #[test]
    fn every_key_of_a_resolved_config_has_a_meaning() {
        for (key, _) in resolved(LEAST) {
            assert!(doc(&key).meaning.len() > 5, "{key} has no meaning: give its field a doc comment");
        }
    }

    /// A type whose source is not among `SOURCES` would be called by its Rust name.
    #[test]
    fn every_type_is_said_in_words() {
        for doc in config_docs().unwrap() {
            assert!(!doc.kind.contains(char::is_uppercase), "{} is called {}: add its source", doc.key, doc.kind);
            assert!(!doc.meaning.is_empty(), "{} has no meaning", doc.key);
        }
    }

    #[test]
    fn a_default_is_what_resolves() {
        let plain: Vec<(String, toml::Value)> = resolved("log_path = 'runs/x'");
        assert!(plain.len() > 80, "{}", plain.len());
        let tables: Vec<String> = config_docs().unwrap().into_iter().map(|doc| doc.key).collect();
        // An empty list of tables resolves to itself; its keys are documented, not it.
        let is_key = |key: &String| key != "log_path" && !tables.contains(&format!("{key}[]"));
        for (key, value) in plain.iter().filter(|(key, _)| is_key(key)) {
            assert_eq!(doc(key).default, Some(value.to_string()), "{key}");
        }
        for doc in config_docs().unwrap().iter().filter(|doc| !doc.is_table && !doc.required) {
            let says = resolved(LEAST).into_iter().find(|(key, _)| *key == doc.key);
            assert_eq!(doc.default, says.map(|(_, value)| value.to_string()), "{}", doc.key);
        }
    }

    /// The bounds of a loss that has some are said in words; the code has the numbers.
    #[test]
    fn the_bounds_of_every_loss_are_said() {
        let said = |key: &str| doc(&format!("rl.loss_fn_config.{key}")).meaning;
        let (low, high) = (said("clip_low_threshold"), said("clip_high_threshold"));
        for (name, _) in doc("rl.loss_fn").choices {
            let loss: LossFn = toml::Value::String(name.clone()).try_into().unwrap();
            for (bound, said) in loss.thresholds().into_iter().flat_map(|bounds| [(bounds.0, &low), (bounds.1, &high)])
            {
                let number = said.split(&[' ', ',']).position(|word| word == bound.to_string());
                let name = said.split(&[' ', ',', '.']).position(|word| word == format!("`{name}`"));
                assert!(number.is_some() && number < name, "{bound} of {name:?} in {said:?}");
            }
        }
    }

    #[test]
    fn keys_are_as_people_know_them() {
        assert_eq!(
            (doc("sft.learning_rate").kind.as_str(), doc("sft.learning_rate").default),
            ("number", Some("0.0001".into()))
        );
        assert_eq!(doc("rl.loss_fn").choices[5].0, "dr_grpo");
        assert_eq!(doc("rl.loss_agg_mode").choices[0].0, "token-mean");
        assert_eq!(doc("reward[].limits.fuel").default, Some("1000000000".into()));
        assert_eq!(doc("reward[].weight").kind, "number, or list of [integer, number]");
        assert_eq!(doc("reward[].grants").kind, "list of text");
        assert_eq!(doc("rubric.on_fault").choices[2].0, "{ fixed = number }");
        assert!(doc("log_path").required && doc("data.mix[].path").required && !doc("data.path").required);
        assert_eq!(doc("sft.max_steps").default, None);
    }
}
