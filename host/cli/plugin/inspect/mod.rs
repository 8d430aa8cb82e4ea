//! `rewarden plugin inspect`: one page of what a plugin is and what it asks for. What can be read from its bytes is read
//! from them; the rest is found out the way a run would, and when that fails the page says why.

mod live;

use std::process::ExitCode;

use anyhow::Result;
use rewarden_runtime::printable;
use serde_json::{Value, json};

use crate::args::InspectArgs;
use crate::plugin::build::ensure_built;
use crate::plugin::component_file::ComponentFile;
use crate::plugin::test::cases_path;
use live::{Fuel, Live};

/// Of a plugin's own words, on one line of the page.
const LINE_BYTES_MAX: usize = 4096;

/// What the page is made of.
struct Page {
    file: ComponentFile,
    /// None where nothing was to be run; else what running it showed, or why it does not load.
    live: Option<Result<Live, String>>,
}

pub(crate) fn run(args: InspectArgs) -> Result<ExitCode> {
    let file = ComponentFile::read(&ensure_built(&args.plugin)?)?;
    let live = match args.no_run {
        true => None,
        false => Some(live::look(&file, &cases_path(&args.plugin, None))?),
    };
    let page = Page { file, live };
    match args.json {
        true => outln!("{}", page.json()),
        false => out!("{}", page.text()),
    }
    let does_not_load = matches!(page.live, Some(Err(_)));
    Ok(if does_not_load { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Page {
    fn running(&self) -> Option<&Live> {
        self.live.as_ref()?.as_ref().ok()
    }

    fn load_error(&self) -> Option<&str> {
        self.live.as_ref()?.as_ref().err().map(String::as_str)
    }

    /// What it is called, its version and what it does: by its manifest, else in its own words.
    fn names(&self) -> [Option<String>; 3] {
        match (self.file.manifest(), self.running()) {
            (Some(manifest), _) => {
                [manifest.id.to_string(), manifest.version.to_string(), manifest.summary.clone()].map(Some)
            }
            (None, Some(live)) => {
                [&live.described.name, &live.described.version, &live.described.summary].map(|text| Some(text.clone()))
            }
            (None, None) => [None, None, None],
        }
    }

    /// As JSON where it is JSON, as text where it is not, null where there is none.
    fn schema(&self) -> Value {
        if let Some(schema) = self.file.manifest().and_then(|manifest| manifest.settings_schema.clone()) {
            return schema;
        }
        match self.running().map(|live| live.described.settings_schema.as_str()) {
            None | Some("") => Value::Null,
            Some(text) => serde_json::from_str(text).unwrap_or_else(|_| json!(text)),
        }
    }

    fn json(&self) -> Value {
        let [name, version, summary] = self.names();
        let manifest = self.file.manifest();
        json!({
            "file": self.file.path.display().to_string(),
            "digest": self.file.digest,
            "size_bytes": self.file.size_bytes,
            "name": name,
            "version": version,
            "summary": summary,
            "kind": manifest.map(|manifest| manifest.kind),
            "language": manifest.map(|manifest| manifest.language),
            "license": manifest.map(|manifest| manifest.license.as_str()),
            "source": manifest.and_then(|manifest| manifest.source.as_deref()),
            "capabilities": manifest.map(|manifest| &manifest.capabilities),
            "manifest_error": self.file.manifest.as_ref().err(),
            "world": self.file.interfaces.world,
            "exports": self.file.interfaces.exports,
            "imports": self.file.interfaces.imports,
            "sealed": self.file.interfaces.imports.is_empty(),
            "producers": self.file.parts.producers,
            "features": self.file.parts.features,
            "loads": self.live.as_ref().map(Result::is_ok),
            "load_error": self.load_error(),
            "snapshot": self.running().map(|live| live.no_snapshot.is_none()),
            "no_snapshot": self.running().and_then(|live| live.no_snapshot.as_deref()),
            "fuel": self.running().and_then(|live| live.fuel.as_ref().ok()),
            "fuel_error": self.running().and_then(|live| live.fuel.as_ref().err()),
            "settings_schema": self.schema(),
        })
    }

    fn text(&self) -> String {
        let [name, version, summary] = self.names();
        let manifest = self.file.manifest();
        let mut lines: Vec<(&str, String)> = vec![];
        let mut add = |key, value: Option<String>| lines.extend(value.map(|value| (key, value)));
        add("name", name);
        add("version", version);
        add("summary", summary);
        add("kind", manifest.map(|manifest| manifest.kind.to_string()));
        add("license", manifest.map(|manifest| manifest.license.clone()));
        add("source", manifest.and_then(|manifest| manifest.source.clone()));
        add("manifest", self.file.manifest.as_ref().err().cloned());
        add("file", Some(self.file.path.display().to_string()));
        add("digest", Some(self.file.digest.to_string()));
        add("size", Some(format!("{} bytes", self.file.size_bytes)));
        let world = self.file.interfaces.world.map(|world| world.to_string());
        add("world", Some(world.unwrap_or_else(|| "none: it is a component of another kind".into())));
        add("exports", Some(listed(&self.file.interfaces.exports)));
        add("imports", Some(listed(&self.file.interfaces.imports)));
        add("asks for", manifest.map(|manifest| listed(&manifest.capabilities)));
        add("sealed", Some(self.file.sealed()));
        add("language", manifest.map(|manifest| manifest.language.to_string()));
        for (field, names) in &self.file.parts.producers {
            add("made by", Some(format!("{field}: {}", listed(names))));
        }
        add("features", Some(listed(&self.file.parts.features)));
        add(
            "loads",
            self.live.as_ref().map(|live| live.as_ref().map_or_else(|why| format!("NO: {why}"), |_| "yes".into())),
        );
        add("snapshot", self.running().map(snapshot));
        add("fuel", self.running().map(|live| live.fuel.as_ref().map_or_else(|why| format!("not known: {why}"), fuel)));
        let shown = |(key, value): &(&str, String)| format!("{key:<9} {}\n", printable(value, LINE_BYTES_MAX));
        let settings = settings(&self.schema());
        lines.iter().map(shown).chain([format!("{:<9} {settings}\n", "settings")]).collect()
    }
}

fn listed<T: ToString>(names: impl IntoIterator<Item = T>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| name.to_string()).collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn snapshot(live: &Live) -> String {
    match &live.no_snapshot {
        None => "yes: instances start configured".to_owned(),
        Some(reason) => format!("no: {reason}; every instance runs configure"),
    }
}

fn fuel(fuel: &Fuel) -> String {
    format!("{} in the middle, {} at most, over {}", fuel.p50, fuel.most, fuel.of)
}

fn settings(schema: &Value) -> String {
    match schema {
        Value::Null => "no schema".to_owned(),
        schema => {
            let lines: Vec<String> =
                format!("{schema:#}").lines().map(|line| printable(line, LINE_BYTES_MAX)).collect();
            lines.join("\n          ")
        }
    }
}
