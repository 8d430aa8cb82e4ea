//! TypeScript and JavaScript: esbuild makes one file of the author's `plugin.ts` and our SDK, componentize-qjs puts it into
//! a component with QuickJS.
//!
//! componentize-qjs runs the file's top level and keeps the memory it leaves, hash seeds included: two builds of one source
//! differ.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::json;
use tempfile::{Builder, TempDir};

use crate::plugin::lang::program::{self, Program, Way};
use crate::plugin::lang::source_map::Lines;
use crate::plugin::lang::{Built, Source};
use crate::plugin::manifest::{Kind, Manifest};
use crate::plugin::{sdk, world};

const INSTALL: &str = "npm install --save-dev componentize-qjs@0.4.5 esbuild@0.28.2";

const ESBUILD: Program = Program {
    name: "esbuild",
    ways: &[Way::Npm("esbuild"), Way::Path("esbuild")],
    package: "the npm package esbuild; in the plugin's folder",
    install: INSTALL,
};

const COMPONENTIZE: Program = Program {
    name: "componentize-qjs",
    ways: &[Way::Npm("componentize-qjs"), Way::Path("componentize-qjs")],
    package: "the npm package componentize-qjs; in the plugin's folder",
    install: INSTALL,
};

/// What the author writes: the first of these that is there.
const ENTRIES: [&str; 3] = ["plugin.ts", "plugin.js", "plugin.mjs"];

/// Writes the SDK, and the module that binds the author's to the exports of its world.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    let mut files = sdk::embedded("host/sdk/ts");
    files.retain(|name, _| !name.starts_with("tests/"));
    files.insert("entry.js".into(), entry(source.manifest, author(source.dir)).into_bytes());
    sdk::write(&source.rewarden().join("sdk"), &files)
}

pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    let author = author(source.dir);
    if !source.dir.join(author).is_file() {
        bail!("a plugin in TypeScript is a file plugin.ts (or plugin.js), and {} has none", source.dir.display());
    }
    // Both are asked for before either runs: who lacks one lacks the other.
    let (mut esbuild, mut componentize) = (ESBUILD.command(source.dir)?, COMPONENTIZE.command(source.dir)?);
    let scratch = scratch(source)?;
    let (bundle, component) = (scratch.path().join("bundle.js"), scratch.path().join("component.wasm"));
    esbuild.args([".rewarden/sdk/entry.js", "--bundle", "--format=esm", "--platform=neutral", "--target=es2023"]);
    esbuild.args(["--main-fields=module,main", "--charset=utf8", "--sourcemap=external", "--external:rewarden:*"]);
    esbuild.args(["--alias:rewarden=./.rewarden/sdk/rewarden.ts", "--loader:.txt=text", "--log-level=warning"]);
    esbuild.args(["--color=false", "--log-limit=20"]).arg(format!("--outfile={}", bundle.display()));
    let output = program::output(esbuild, source.manifest.id.name()).context("cannot run esbuild")?;
    if !output.status.success() {
        bail!("{} does not build:\n{}", source.dir.join(author).display(), program::said(&output));
    }
    let lines = Lines::read(&fs::read(bundle.with_extension("js.map"))?).context("esbuild's source map")?;
    let text = fs::read_to_string(&bundle)?;
    fs::write(&bundle, format!("{text}\nglobalThis.rewardenLines = {};\n", lines.to_json()))?;
    // The runtime that is optimised for size is a third smaller and takes twice as long for loops: not that one.
    componentize.args(["--wit", ".rewarden/wit", "--world", "plugin", "--sync", "--stub-wasi"]);
    componentize.arg("--module-root").arg(scratch.path()).arg("--js").arg(&bundle).arg("--output").arg(&component);
    let output = program::output(componentize, source.manifest.id.name()).context("cannot run componentize-qjs")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} does not build:\n{}", source.dir.join(author).display(), lines.translate(said.trim_end()));
    }
    let bytes = fs::read(&component).context("cannot read what componentize-qjs built")?;
    Ok(Built::Component(bytes))
}

/// A folder for the bundle, gone when the build ends. It is two levels below the plugin's, as `Lines` expects.
fn scratch(source: &Source<'_>) -> Result<TempDir> {
    let target = source.dir.join("target");
    let made = fs::create_dir_all(&target).and_then(|()| Builder::new().prefix("build-").tempdir_in(&target));
    made.with_context(|| format!("cannot write to {}", target.display()))
}

/// The author's file; the first name where none is there yet.
fn author(dir: &Path) -> &'static str {
    ENTRIES.into_iter().find(|name| dir.join(name).is_file()).unwrap_or(ENTRIES[0])
}

/// The module that the bundle begins with. The sandbox comes before the author, whose top level runs in it.
fn entry(manifest: &Manifest, author: &str) -> String {
    let names: Vec<String> = manifest.capabilities.iter().map(ToString::to_string).collect();
    let variable = |name: &String| name.replace('-', "_");
    let contract = world::CONTRACT;
    let imports: String = names
        .iter()
        .map(|name| format!("import * as {} from \"rewarden:plugin/{name}@{contract}\";\n", variable(name)))
        .collect();
    let bound: Vec<String> = names.iter().map(|name| format!("\"{name}\": {}", variable(name))).collect();
    let export = match manifest.kind {
        Kind::Reward => "reward",
        Kind::GroupReward => "groupReward",
        Kind::Environment => "environment",
        Kind::Tool => "tool",
    };
    let description = json!({
        "kind": manifest.kind,
        "name": manifest.id,
        "version": manifest.version,
        "summary": manifest.summary,
        "settingsSchema": manifest.schema_text(),
    });
    format!(
        "// plugin.toml, for the SDK; written by `rewarden plugin build`.\n\nimport \"./sandbox\";\nimport {{ bind }} from \
         \"./host\";\nimport author from \"../../{author}\";\nimport {{ component }} from \"./guest\";\n{imports}\nbind({{ \
         {bound} }});\n\nexport const {{ plugin, {export} }} = component(author, {description});\n",
        bound = bound.join(", ")
    )
}
