//! `rewarden plugin build`: from a folder of Rust to a component, and `ensure_built`, which lets a configuration name the
//! folder instead of the file.
//!
//! Whether anything must be compiled is cargo's to decide; wrapping the result is done every time, in milliseconds, and a
//! component that did not change is not written again. The result depends on the source and the toolchain, not on where
//! either lies.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use rewarden_runtime::Digest;
use wit_component::ComponentEncoder;

use crate::args::BuildArgs;
use crate::plugin::cargo::{Crate, compile};

pub(crate) fn run(args: BuildArgs) -> Result<ExitCode> {
    let (path, component) = build(&args.dir, args.output.as_deref(), args.debug)?;
    println!("{}\n{} bytes\n{}", path.display(), component.len(), Digest::of(&component));
    Ok(ExitCode::SUCCESS)
}

/// The component for a path in a configuration: a folder is built if need be, a file is taken as it is.
pub(crate) fn ensure_built(path: &Path) -> Result<PathBuf> {
    if path.is_dir() { Ok(build(path, None, false)?.0) } else { Ok(path.to_owned()) }
}

/// Builds the folder's crate; returns where the component lies and its bytes.
fn build(dir: &Path, output: Option<&Path>, debug: bool) -> Result<(PathBuf, Vec<u8>)> {
    if !dir.join("Cargo.toml").is_file() {
        bail!(
            "{} holds no Cargo.toml: name the folder of a Rust plugin, or a .wasm file to `score` and `inspect`",
            dir.display()
        );
    }
    let package = Crate::read(dir)?;
    let module = compile(&package, debug)?;
    let core = fs::read(&module).with_context(|| format!("cannot read what cargo built, {}", module.display()))?;
    let component = encode(&core).with_context(|| {
        format!("{} does not become a component: does it use `rewarden_sdk::reward!`?", dir.display())
    })?;
    let suffix = if debug { "-debug" } else { "" };
    let default = || package.own_folder("plugins").join(format!("{}{suffix}.wasm", package.name));
    let path = output.map_or_else(default, Path::to_owned);
    write(&path, &component).with_context(|| format!("cannot write {}", path.display()))?;
    Ok((path, component))
}

/// Wraps a core module as the component that its own custom sections describe.
fn encode(core: &[u8]) -> Result<Vec<u8>> {
    let (_, declared) = wit_component::metadata::decode(core)?;
    if declared.resolve.worlds[declared.world].exports.is_empty() {
        bail!("it exports nothing of wit/");
    }
    ComponentEncoder::default().validate(true).module(core)?.encode()
}

/// Written aside and renamed, so that a run which loads the file meanwhile sees the old one or the new one.
fn write(path: &Path, component: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == component) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = shareable(&mut tempfile::Builder::new()).tempfile_in(folder)?;
    file.write_all(component)?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are private; a component is made to be handed on.
#[cfg(unix)]
fn shareable<'a, 'b>(builder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn shareable<'a, 'b>(builder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    builder
}
