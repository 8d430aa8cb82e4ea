//! Rust: which crate a folder holds, and its compilation by cargo for the sandbox.
//!
//! The build must come out the same wherever it is started, also from inside another cargo: variables that would change
//! it are taken away, paths are mapped to fixed ones, and it has a target folder of its own, because the outer cargo
//! holds the lock on its own.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use rewarden_runtime::Digest;
use serde_json::Value;

use crate::plugin::lang::program::{self, Program, Way};
use crate::plugin::lang::{Built, Source};
use crate::plugin::manifest::Manifest;
use crate::plugin::sdk::{self, Files};

const TARGET: &str = "wasm32-unknown-unknown";

const CARGO: Program = Program {
    name: "cargo",
    ways: &[Way::Path("cargo")],
    package: "Rust's toolchain (https://rustup.rs, or your system's `rustup`)",
    install: "curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh",
};

/// Where a plugin outside this repository has the SDK from, as its Cargo.toml says it.
const SDK: &str = ".rewarden/sdk";

/// Writes the SDK's crate where the plugin's Cargo.toml asks for it there; one in a workspace may have it from elsewhere.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    let manifest = source.dir.join("Cargo.toml");
    let text = fs::read_to_string(&manifest)
        .with_context(|| format!("a plugin in Rust needs a crate: cannot read {}", manifest.display()))?;
    if text.contains(SDK) { sdk::write(&source.rewarden().join("sdk"), &sdk_crate()?) } else { Ok(()) }
}

pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    compile(&Crate::read(source.dir)?, Some(source.manifest), source.debug)
}

/// Where the crate's components lie.
pub(crate) fn output_folder(dir: &Path) -> Result<PathBuf> {
    Ok(Crate::read(dir)?.own_folder("plugins"))
}

/// The crate `rewarden-sdk` as one that stands alone: what it inherits from this repository's workspace is written out,
/// and the contract is where `.rewarden/` has it.
fn sdk_crate() -> Result<Files> {
    let mut files = sdk::embedded("host/sdk");
    files.retain(|name, _| name == "Cargo.toml" || name.starts_with("src/"));
    let cargo = files.get_mut("Cargo.toml").context("the SDK has no Cargo.toml")?;
    *cargo = stand_alone(std::str::from_utf8(cargo)?, include_str!("../../../../Cargo.toml"))?.into_bytes();
    for source in files.iter_mut().filter_map(|(name, bytes)| name.ends_with(".rs").then_some(bytes)) {
        *source = std::str::from_utf8(source)?.replace("\"../../wit\"", "\"../wit/deps/rewarden-plugin\"").into_bytes();
    }
    Ok(files)
}

/// A member's manifest with every `workspace = true` replaced by what the workspace has there, and without its lints.
fn stand_alone(member: &str, workspace: &str) -> Result<String> {
    let (mut member, workspace): (toml::Table, toml::Table) = (member.parse()?, workspace.parse()?);
    member.remove("lints");
    inherit(member.get_mut("package"), &workspace["workspace"]["package"]);
    inherit(member.get_mut("dependencies"), &workspace["workspace"]["dependencies"]);
    Ok(member.to_string())
}

fn inherit(table: Option<&mut toml::Value>, from: &toml::Value) {
    for (key, value) in table.and_then(toml::Value::as_table_mut).into_iter().flatten() {
        if value.get("workspace").is_some() {
            value.clone_from(&from[key.as_str()]);
        }
    }
}

/// The crate of a folder, as cargo sees it.
pub(crate) struct Crate {
    pub(crate) name: String,
    target_directory: PathBuf,
    dir: PathBuf,
    workspace_root: PathBuf,
    /// The library's name, which is the module's file name.
    library: String,
}

impl Crate {
    /// Asks `cargo metadata`; the folder is canonical.
    pub(crate) fn read(dir: &Path) -> Result<Crate> {
        let mut command = CARGO.command(dir)?;
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let output = command.output().context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cargo cannot read {}:\n{}", dir.join("Cargo.toml").display(), text(&output.stderr));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("`cargo metadata` printed no JSON")?;
        Crate::find(&metadata, dir).ok_or_else(|| {
            anyhow!(
                "{} is no plugin: its Cargo.toml needs a package with `[lib] crate-type = [\"cdylib\", \"rlib\"]`",
                dir.display()
            )
        })
    }

    fn find(metadata: &Value, dir: &Path) -> Option<Crate> {
        let manifest = dir.join("Cargo.toml");
        let packages = metadata["packages"].as_array()?;
        let package =
            packages.iter().find(|package| package["manifest_path"].as_str().map(Path::new) == Some(&manifest))?;
        let is_cdylib =
            |target: &&Value| target["crate_types"].as_array().is_some_and(|t| t.contains(&"cdylib".into()));
        let library = package["targets"].as_array()?.iter().find(is_cdylib)?;
        Some(Crate {
            name: package["name"].as_str()?.to_owned(),
            target_directory: metadata["target_directory"].as_str()?.into(),
            dir: dir.to_owned(),
            workspace_root: metadata["workspace_root"].as_str()?.into(),
            library: library["name"].as_str()?.replace('-', "_"),
        })
    }

    /// Where this crate's builds lie below a folder of that name. A target folder outside the workspace may be shared
    /// (`CARGO_TARGET_DIR`), and two workspaces may each have a plugin of one name: there the path tells them apart.
    pub(crate) fn own_folder(&self, name: &str) -> PathBuf {
        let folder = self.target_directory.join(name);
        if self.target_directory.starts_with(&self.workspace_root) {
            return folder;
        }
        folder.join(&Digest::of(self.workspace_root.as_os_str().as_encoded_bytes()).hex()[..16])
    }

    /// `guest` where the workspace has that profile, `release` elsewhere; without optimisation `dev`.
    fn profile(&self, debug: bool) -> &'static str {
        if debug {
            return "dev";
        }
        let manifest = fs::read_to_string(self.workspace_root.join("Cargo.toml")).unwrap_or_default();
        let manifest: toml::Table = manifest.parse().unwrap_or_default();
        let has_guest = manifest.get("profile").and_then(|profiles| profiles.get("guest")).is_some();
        if has_guest { "guest" } else { "release" }
    }
}

/// Compiles the crate to a core module. Quiet unless it takes long or fails. With a manifest, what the plugin says about
/// itself is what its plugin.toml says.
pub(crate) fn compile(package: &Crate, manifest: Option<&Manifest>, debug: bool) -> Result<Built> {
    ensure_target(&package.dir)?;
    let guests = package.own_folder("guests");
    let profile = package.profile(debug);
    let mut command = CARGO.command(&package.dir)?;
    command
        .args(["build", "--lib", "--target", TARGET, "--profile", profile, "--package", &package.name])
        .arg("--target-dir")
        .arg(&guests)
        .env_remove("CARGO_TARGET_DIR")
        .env("CARGO_ENCODED_RUSTFLAGS", flags(package));
    describe(&mut command, manifest);
    let output = program::output(command, &package.name).context("cannot run cargo")?;
    if !output.status.success() {
        bail!("{} does not compile:\n{}", package.dir.display(), text(&output.stderr));
    }
    let folder = if debug { "debug" } else { profile };
    let module = guests.join(TARGET).join(folder).join(format!("{}.wasm", package.library));
    let bytes = fs::read(&module).with_context(|| format!("cannot read what cargo built, {}", module.display()))?;
    Ok(Built::Module(bytes))
}

/// What the SDK's macros put into `describe`; without them they take it from Cargo.toml.
fn describe(command: &mut Command, manifest: Option<&Manifest>) {
    let said = manifest.map(|manifest| {
        [manifest.id.to_string(), manifest.version.to_string(), manifest.summary.clone(), manifest.schema_text()]
    });
    for (index, name) in ["NAME", "VERSION", "SUMMARY", "SCHEMA"].iter().enumerate() {
        let variable = format!("REWARDEN_PLUGIN_{name}");
        match said.as_ref().map(|said| &said[index]).filter(|text| !text.is_empty()) {
            Some(text) => command.env(variable, text),
            None => command.env_remove(variable),
        };
    }
}

/// Panic messages hold source paths; mapped, they are the same on every machine.
#[allow(clippy::disallowed_methods, reason = "where cargo keeps its sources is known to the environment only")]
fn flags(package: &Crate) -> String {
    let home = |name: &str| env::var_os(name).map(PathBuf::from);
    let cargo_home = home("CARGO_HOME").or_else(|| Some(home("HOME")?.join(".cargo")));
    let mut maps = vec![(package.workspace_root.clone(), "/workspace")];
    maps.extend(cargo_home.map(|path| (path, "/cargo")));
    let maps = maps.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()));
    maps.chain([format!("-Clink-arg=--initial-heap={INITIAL_HEAP_BYTES}")]).collect::<Vec<_>>().join("\u{1f}")
}

/// Heap that an instance starts with. Most samples need no more, and growing is what costs: the host changes page
/// protections for it, twice a sample, under a lock that all threads share.
const INITIAL_HEAP_BYTES: usize = 256 << 10;

/// Adds the sandbox's target through rustup when the toolchain lacks it; one attempt, then the command to type.
fn ensure_target(dir: &Path) -> Result<()> {
    if has_target(dir) {
        return Ok(());
    }
    let add = format!("rustup target add {TARGET}");
    eprintln!("the toolchain has no target {TARGET}: running `{add}`");
    let added = Command::new("rustup").args(["target", "add", TARGET]).current_dir(dir).stdin(Stdio::null()).output();
    match added {
        Ok(output) if output.status.success() && has_target(dir) => Ok(()),
        Ok(output) => bail!(
            "plugins need the target {TARGET}, and `{add}` failed; run it in {}:\n{}",
            dir.display(),
            text(&output.stderr)
        ),
        Err(_) => bail!("plugins need the target {TARGET} of Rust: run `{add}`, or install it as your system does"),
    }
}

fn has_target(dir: &Path) -> bool {
    let printed =
        Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]).current_dir(dir).output();
    printed.is_ok_and(|output| Path::new(text(&output.stdout).trim()).is_dir())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
