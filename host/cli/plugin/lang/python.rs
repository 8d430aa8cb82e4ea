//! Python: CPython itself in a component, made by componentize-py from the author's `plugin.py` and our SDK beside it.
//!
//! componentize-py runs the author's imports and keeps the memory they leave, hash seeds included: two builds of one
//! source differ.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::plugin::lang::program::{self, Program, Way};
use crate::plugin::lang::{Built, Source};
use crate::plugin::manifest::Manifest;
use crate::plugin::sdk;

const COMPONENTIZE: Program = Program {
    name: "componentize-py",
    ways: &[Way::Venv("componentize-py"), Way::Path("componentize-py")],
    package: "the Python package componentize-py; in the plugin's folder or one above it",
    install: "python3 -m venv .venv && .venv/bin/pip install componentize-py==0.25.1",
};

/// What the author writes.
const ENTRY: &str = "plugin.py";

/// Writes the SDK, and what it answers when asked to describe the plugin.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    let mut files = sdk::embedded("host/sdk/python");
    files.retain(|name, _| !name.starts_with("tests/"));
    files.insert("rewarden_manifest.py".into(), manifest(source.manifest).into_bytes());
    sdk::write(&source.rewarden().join("sdk"), &files)
}

pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    if !source.dir.join(ENTRY).is_file() {
        bail!("a plugin in Python is a file {ENTRY}, and {} has none", source.dir.display());
    }
    let scratch = tempfile::tempdir()?;
    let component = scratch.path().join("component.wasm");
    let mut command = COMPONENTIZE.command(source.dir)?;
    command.args(["--quiet", "--wit-path", ".rewarden/wit", "--world", "plugin", "componentize", "--stub-wasi"]);
    command.args(["--python-path", ".", "--python-path", ".rewarden/sdk", "rewarden_component", "--output"]);
    command.arg(&component);
    let output = program::output(command, source.manifest.id.name()).context("cannot run componentize-py")?;
    if !output.status.success() {
        bail!("{} does not build:\n{}", source.dir.join(ENTRY).display(), complaint(&program::said(&output)));
    }
    let bytes = fs::read(&component).context("cannot read what componentize-py built")?;
    Ok(Built::Component(bytes))
}

/// A module of constants. JSON's texts are Python's too.
fn manifest(manifest: &Manifest) -> String {
    let text = |text: &str| serde_json::Value::from(text).to_string();
    format!(
        "\"\"\"plugin.toml, for the SDK; written by `rewarden plugin build`.\"\"\"\n\nKIND = {}\nNAME = {}\nVERSION = \
         {}\nSUMMARY = {}\nSETTINGS_SCHEMA = {}\n",
        text(&manifest.kind.to_string()),
        text(&manifest.id.to_string()),
        text(&manifest.version.to_string()),
        text(&manifest.summary),
        text(&manifest.schema_text()),
    )
}

/// The author's part of what componentize-py says: without its own stack, and without our frames in the traceback.
fn complaint(said: &str) -> String {
    let traceback = said.split_once("AssertionError: ").map_or(said, |(_, traceback)| traceback);
    let traceback = traceback.split("\nCaused by:").next().unwrap_or(traceback).trim_end();
    let mut ours = false;
    let mut kept = vec![];
    for line in traceback.lines() {
        ours = line.starts_with("  File \"/1/") || (ours && line.starts_with("    "));
        if !ours {
            kept.push(line.replace("File \"/0/", "File \""));
        }
    }
    // A heading with nothing below it says nothing.
    if let [heading, what] = &kept[..]
        && heading.starts_with("Traceback")
    {
        return what.clone();
    }
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use super::complaint;

    #[track_caller]
    fn check(said: &str, expected: &str) {
        assert_eq!(complaint(said), expected);
    }

    #[test]
    fn authors_see_their_own_part_of_a_traceback() {
        check("no such option", "no such option");
        check(
            "Traceback (most recent call last):\n  File \"/x/bin/componentize-py\", line 8\nAssertionError: Traceback (most \
             recent call last):\n  File \"/1/rewarden/guest.py\", line 17, in <module>\n    import plugin\n    ^^^^\n  File \
             \"/0/plugin.py\", line 1, in <module>\n    import numpy\nModuleNotFoundError: No module named \
             'numpy'\n\n\nCaused by:\n    ModuleNotFoundError",
            "Traceback (most recent call last):\n  File \"plugin.py\", line 1, in <module>\n    import \
             numpy\nModuleNotFoundError: No module named 'numpy'",
        );
        check(
            "AssertionError: Traceback (most recent call last):\n  File \"/1/rewarden/guest.py\", line 29, in \
             _plugins\nTypeError: plugin.py declares nothing\n\n\nCaused by:\n    TypeError",
            "TypeError: plugin.py declares nothing",
        );
    }
}
