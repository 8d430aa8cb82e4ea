//! The languages: how each prepares a folder, and how its own compiler makes WebAssembly of it. What all share comes
//! after: `component.rs`.

pub(crate) mod c;
pub(crate) mod go;
pub(crate) mod program;
mod python;
pub(crate) mod rust;
mod source_map;
mod ts;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use wasmparser::Parser;

use crate::plugin::manifest::{BuildCommand, FILE, Manifest};
use crate::plugin::world;

/// A language that plugins are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Language {
    /// Compiled by cargo
    Rust,
    /// Compiled by componentize-py
    Python,
    /// TypeScript or JavaScript, compiled by componentize-qjs
    Ts,
    /// Compiled by zig cc or clang
    C,
    /// Compiled by the standard Go toolchain
    Go,
}

impl Language {
    /// Whether equal sources give equal bytes. Components with an interpreter hold its memory as it was once started, and
    /// the seeds it drew then.
    pub(crate) fn is_reproducible(self) -> bool {
        !matches!(self, Language::Python | Language::Ts)
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "rust",
            Language::Python => "python",
            Language::Ts => "ts",
            Language::C => "c",
            Language::Go => "go",
        })
    }
}

/// What a driver gets.
pub(crate) struct Source<'a> {
    /// The plugin's folder, canonical.
    pub(crate) dir: &'a Path,
    pub(crate) manifest: &'a Manifest,
    /// Without optimisation and with names, where the language has that.
    pub(crate) debug: bool,
}

/// What a compiler made.
pub(crate) enum Built {
    Module(Vec<u8>),
    Component(Vec<u8>),
}

impl Source<'_> {
    /// The folder that is ours: generated, ignored by git.
    pub(crate) fn rewarden(&self) -> PathBuf {
        self.dir.join(".rewarden")
    }
}

/// Brings `.rewarden/` up to date.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    world::write(&source.rewarden(), source.manifest)?;
    match source.manifest.language {
        Language::Rust => rust::prepare(source),
        Language::Python => python::prepare(source),
        Language::Ts => ts::prepare(source),
        Language::C => c::prepare(source),
        Language::Go => go::prepare(source),
    }
}

/// Compiles: by the plugin's own command where it has one, else as its language does.
pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    if let Some(build) = &source.manifest.build {
        return by_command(source.dir, build);
    }
    match source.manifest.language {
        Language::Rust => rust::build(source),
        Language::Python => python::build(source),
        Language::Ts => ts::build(source),
        Language::C => c::build(source),
        Language::Go => go::build(source),
    }
}

/// Where components of this source lie.
pub(crate) fn output_folder(source: &Source<'_>) -> Result<PathBuf> {
    match source.manifest.language {
        Language::Rust if source.manifest.build.is_none() => rust::output_folder(source.dir),
        _ => Ok(source.dir.join("target").join("plugins")),
    }
}

/// Whether the compiler itself knows what must be done again: then it is asked every time. Others are slow to find out,
/// and are asked when the sources have changed.
pub(crate) fn rebuilds_itself(manifest: &Manifest) -> bool {
    manifest.build.is_some() || manifest.language == Language::Rust
}

/// `[build]` of plugin.toml.
fn by_command(dir: &Path, build: &BuildCommand) -> Result<Built> {
    let (name, arguments) = build.command.split_first().expect("checked when plugin.toml was read");
    let mut command = program::quiet(name, dir);
    command.args(arguments);
    let shown = build.command.join(" ");
    let output = program::output(command, &shown)
        .with_context(|| format!("`{shown}`, the `[build] command` of {}, cannot be run", dir.join(FILE).display()))?;
    if !output.status.success() {
        bail!("`{shown}` failed in {}:\n{}", dir.display(), program::said(&output));
    }
    let path = dir.join(&build.output);
    let bytes = fs::read(&path).with_context(|| format!("`{shown}` did not make its `output` {}", path.display()))?;
    Ok(if Parser::is_component(&bytes) { Built::Component(bytes) } else { Built::Module(bytes) })
}
