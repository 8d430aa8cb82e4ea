//! `rewarden plugin inspect`: what a plugin is and what it asks for, found out the way a run would.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_runtime::{Plugin, PluginSpec, Wasi, printable};
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::plugin::build::ensure_built;
use crate::runtime;

/// Of a plugin's own words, on one line of the page.
const SCHEMA_LINE_BYTES_MAX: usize = 4096;

pub(crate) fn run(args: InspectArgs) -> Result<ExitCode> {
    let path = ensure_built(&args.plugin)?;
    // Looking grants nothing and refuses nothing: a plugin is shown together with what it wants.
    let spec = PluginSpec { wasi: Wasi::Virtual, ..PluginSpec::path(&path) };
    let plugin = runtime::block_on(runtime::start(1)?.load(&spec))??;
    match args.json {
        true => println!("{}", as_json(&plugin)),
        false => print!("{}", as_text(&plugin)),
    }
    Ok(ExitCode::SUCCESS)
}

fn as_json(plugin: &Plugin) -> Value {
    let manifest = plugin.manifest();
    json!({
        "digest": plugin.digest(),
        "world": plugin.world(),
        "exports": plugin.exports(),
        "imports": plugin.imports(),
        "sealed": plugin.sealed(),
        "snapshot": plugin.no_snapshot().is_none(),
        "no_snapshot": plugin.no_snapshot(),
        "size_bytes": plugin.size_bytes(),
        "name": manifest.name,
        "version": manifest.version,
        "summary": manifest.summary,
        "settings_schema": schema(plugin),
    })
}

/// The schema as JSON where it is JSON, as text where it is not, null where there is none.
fn schema(plugin: &Plugin) -> Value {
    let text = &plugin.manifest().settings_schema;
    if text.is_empty() { Value::Null } else { serde_json::from_str(text).unwrap_or_else(|_| json!(text)) }
}

fn as_text(plugin: &Plugin) -> String {
    let manifest = plugin.manifest();
    let sealed = match plugin.sealed() {
        true => "yes: it imports nothing, so equal input gives equal scores".to_owned(),
        false => format!("no: it imports {}", plugin.imports().join(", ")),
    };
    let snapshot = match plugin.no_snapshot() {
        None => "yes: instances start configured".to_owned(),
        Some(reason) => format!("no: {reason}; every instance runs configure"),
    };
    let settings = match schema(plugin) {
        Value::Null => "no schema".to_owned(),
        schema => format!("{schema:#}")
            .lines()
            .map(|line| printable(line, SCHEMA_LINE_BYTES_MAX))
            .collect::<Vec<_>>()
            .join("\n          "),
    };
    let lines = [
        ("name", manifest.name.clone()),
        ("version", manifest.version.clone()),
        ("summary", manifest.summary.clone()),
        ("digest", plugin.digest().to_string()),
        ("size", format!("{} bytes", plugin.size_bytes())),
        ("world", plugin.world().to_string()),
        ("exports", plugin.exports().join(", ")),
        ("sealed", sealed),
        ("snapshot", snapshot),
        ("settings", settings),
    ];
    lines.iter().map(|(key, value)| format!("{key:<9} {value}\n")).collect()
}
