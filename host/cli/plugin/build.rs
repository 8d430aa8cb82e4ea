//! `rewarden plugin build`: from a folder of source to a component, and `ensure_built`, which lets a configuration name the
//! folder instead of the file.
//!
//! Cargo knows what must be compiled again and is asked every time; other compilers are asked when the folder, the SDK or
//! this binary has changed since the component was made, which a stamp beside it tells. A component that did not change is
//! not written again.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rewarden_runtime::Digest;

use crate::args::BuildArgs;
use crate::plugin::lang::rust::{self, Crate};
use crate::plugin::lang::{self, Built, Source};
use crate::plugin::manifest::{FILE, Manifest};
use crate::plugin::sdk::write_if_different;
use crate::plugin::{component, sources};

pub(crate) fn run(args: BuildArgs) -> Result<ExitCode> {
    let (mut path, component) = build(&args.dir, args.debug)?;
    if let Some(output) = args.output {
        write_if_different(&output, &component).with_context(|| format!("cannot write {}", output.display()))?;
        path = output;
    }
    outln!("{}\n{} bytes\n{}", path.display(), component.len(), Digest::of(&component));
    if Manifest::of_component(&component)?.is_some_and(|manifest| !manifest.language.is_reproducible()) {
        outln!("another build of the same source has another digest: keep the file that you tested");
    }
    Ok(ExitCode::SUCCESS)
}

/// The component for a path in a configuration: a folder is built if need be, a file is taken as it is.
pub(crate) fn ensure_built(path: &Path) -> Result<PathBuf> {
    if path.is_dir() { Ok(build(path, false)?.0) } else { Ok(path.to_owned()) }
}

/// Builds the folder; returns where the component lies and its bytes.
fn build(dir: &Path, debug: bool) -> Result<(PathBuf, Vec<u8>)> {
    let dir = fs::canonicalize(dir).with_context(|| format!("cannot open {}", dir.display()))?;
    match Manifest::read(&dir)? {
        Some(manifest) => build_described(&Source { dir: &dir, manifest: &manifest, debug }),
        None if dir.join("Cargo.toml").is_file() => build_crate(&dir, debug),
        None => bail!(
            "{} holds no {FILE}: name the folder of a plugin (`rewarden plugin new` makes one), or a .wasm file to \
             `score` and `inspect`",
            dir.display()
        ),
    }
}

fn build_described(source: &Source<'_>) -> Result<(PathBuf, Vec<u8>)> {
    lang::prepare(source)?;
    let path = lang::output_folder(source)?.join(file_name(source.manifest.id.name(), source.debug));
    let inputs = match lang::rebuilds_itself(source.manifest) {
        true => None,
        false => Some(sources::stamp(source)?),
    };
    if let Some(component) = inputs.and_then(|inputs| still_good(&path, inputs)) {
        return Ok((path, component));
    }
    let component = component::described(lang::build(source)?, source.manifest)
        .with_context(|| format!("{} does not become a plugin", source.dir.display()))?;
    write(&path, &component)?;
    if let Some(inputs) = inputs {
        write(&stamp_path(&path), stamp(inputs, &component).as_bytes())?;
    }
    Ok((path, component))
}

/// A crate without plugin.toml: a component without a manifest.
fn build_crate(dir: &Path, debug: bool) -> Result<(PathBuf, Vec<u8>)> {
    let package = Crate::read(dir)?;
    let path = package.own_folder("plugins").join(file_name(&package.name, debug));
    let (Built::Module(bytes) | Built::Component(bytes)) = rust::compile(&package, None, debug)?;
    let component = component::bare(&bytes).with_context(|| {
        format!("{} does not become a component: does it use `rewarden_sdk::reward!`?", dir.display())
    })?;
    write(&path, &component)?;
    Ok((path, component))
}

fn file_name(name: &str, debug: bool) -> String {
    format!("{name}{}.wasm", if debug { "-debug" } else { "" })
}

/// The component that lies there, if it was made of these inputs and is as it was made.
fn still_good(path: &Path, inputs: Digest) -> Option<Vec<u8>> {
    let component = fs::read(path).ok()?;
    let found = fs::read_to_string(stamp_path(path)).ok()?;
    (found == stamp(inputs, &component)).then_some(component)
}

fn stamp(inputs: Digest, component: &[u8]) -> String {
    format!("inputs {inputs}\ncomponent {}\n", Digest::of(component))
}

fn stamp_path(path: &Path) -> PathBuf {
    path.with_added_extension("inputs")
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    write_if_different(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}
