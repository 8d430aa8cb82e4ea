//! The author's world: this plugin's interface and the host interfaces it asks for, nothing else. Bindings are generated
//! from it, so that a language which imports whatever its world offers still imports nothing that was not asked for.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use wit_parser::{Resolve, SourceMap, WorldId};

use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::sdk::{self, Files};

/// The version of the contract in `wit/`.
pub(crate) const CONTRACT: &str = "0.1.0";

/// Writes `.rewarden/wit`: the contract as a dependency, and the world.
pub(crate) fn write(rewarden: &Path, manifest: &Manifest) -> Result<()> {
    let contract =
        contract(manifest)?.into_iter().map(|(name, text)| (format!("deps/rewarden-plugin/{name}"), text.into_bytes()));
    let mut files: Files = contract.collect();
    files.insert("world.wit".into(), text(manifest).into_bytes());
    sdk::write(&rewarden.join("wit"), &files)
}

/// The same world, parsed.
pub(crate) fn resolve(manifest: &Manifest) -> Result<(Resolve, WorldId)> {
    let (mut resolve, mut map) = (Resolve::default(), SourceMap::default());
    for (name, text) in contract(manifest)? {
        map.push_str(&name, text);
    }
    let contract = map.parse().map_err(|(_, error)| anyhow::Error::from(error)).context("wit/ does not parse")?;
    resolve.push_group(contract)?;
    let author = resolve.push_source("world.wit", &text(manifest))?;
    let world = resolve.select_world(&[author], None)?;
    Ok((resolve, world))
}

/// The contract's files, by their name.
fn contract(manifest: &Manifest) -> Result<BTreeMap<String, String>> {
    let files = sdk::embedded("wit").into_iter().filter(|(name, _)| name.ends_with(".wit"));
    files
        .map(|(name, bytes)| {
            let text = String::from_utf8(bytes)?;
            let types_only = manifest.kind == Kind::GroupReward && name == "reward.wit";
            Ok((name, if types_only { without_function(&text, "score-batch") } else { text }))
        })
        .collect()
}

/// A group reward uses the records of `reward` and must not import its function, which languages that import whatever
/// their world has would do. The function is a line, and so is what it says of itself.
fn without_function(wit: &str, name: &str) -> String {
    let mut lines: Vec<&str> = wit.split_inclusive('\n').collect();
    if let Some(at) = lines.iter().position(|line| line.trim_start().starts_with(&format!("{name}:"))) {
        lines.drain(at.saturating_sub(1)..=at);
    }
    lines.concat()
}

fn text(manifest: &Manifest) -> String {
    let imports = manifest.capabilities.iter().map(|capability| ("import", capability.to_string()));
    let exports = [("export", "plugin".to_owned()), ("export", manifest.kind.to_string())];
    let lines: String = imports
        .chain(exports)
        .map(|(way, interface)| format!("  {way} rewarden:plugin/{interface}@{CONTRACT};\n"))
        .collect();
    format!(
        "package rewarden:author;\n\n/// {id}: its kind and its capabilities, as plugin.toml says them.\nworld plugin \
         {{\n{lines}}}\n",
        id = manifest.id
    )
}
