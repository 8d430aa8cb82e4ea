//! `plugin.toml`: what a plugin is, where the author writes it; and the custom section that carries it in the component,
//! where it can be read without running anything.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use wasm_encoder::{ComponentSection, CustomSection, Encode};
use wasmparser::{Parser, Payload};

use crate::plugin::lang::Language;

/// The file's name in a plugin's folder.
pub(crate) const FILE: &str = "plugin.toml";

/// The custom section of the outermost component.
const SECTION: &str = "rewarden:plugin";

/// What a plugin says about itself before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    pub(crate) id: Id,
    pub(crate) version: Version,
    pub(crate) kind: Kind,
    pub(crate) language: Language,
    pub(crate) summary: String,
    pub(crate) license: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    pub(crate) capabilities: BTreeSet<Capability>,
    /// The JSON Schema itself, not the file's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) settings_schema: Option<Value>,
    /// How to build it instead of the language's own way; not part of the component.
    #[serde(skip)]
    pub(crate) build: Option<BuildCommand>,
}

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    id: Id,
    version: Version,
    kind: Kind,
    language: Language,
    summary: String,
    license: String,
    source: Option<String>,
    #[serde(default)]
    capabilities: BTreeSet<Capability>,
    settings_schema: Option<PathBuf>,
    build: Option<BuildCommand>,
}

/// `[build]`: a command in the plugin's folder, and the file it makes, a core module or a component.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BuildCommand {
    pub(crate) command: Vec<String>,
    pub(crate) output: PathBuf,
}

/// What a plugin is for; its interface in `wit/` has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Judges finished samples one by one
    Reward,
    /// Judges the samples of a group together
    GroupReward,
    /// Answers a policy turn by turn
    Environment,
    /// Functions a policy may call
    Tool,
}

/// A host interface that a plugin asks for; named as in `wit/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(clippy::enum_variant_names, reason = "the interfaces of wit/ are called so")]
pub(crate) enum Capability {
    HostLog,
    HostModel,
    HostTools,
}

/// Lower-case words joined by hyphens, with or without an owner in front: `final-answer`, `me/final-answer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Id(String);

/// A semantic version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Version(String);

impl Manifest {
    /// Reads the folder's `plugin.toml`; `None` when it has none.
    pub(crate) fn read(dir: &Path) -> Result<Option<Manifest>> {
        let path = dir.join(FILE);
        if !path.is_file() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let file: File = toml::from_str(&text).map_err(|error| explain(&path, &error.to_string()))?;
        let settings_schema = file.settings_schema.map(|name| schema(&path, &dir.join(name))).transpose()?;
        let File { id, version, kind, language, summary, license, source, capabilities, build, .. } = file;
        for (key, text) in [("summary", &summary), ("license", &license)] {
            if text.trim().is_empty() || text.contains('\n') {
                bail!("{}: `{key}` must be one line of text", path.display());
            }
        }
        if build.as_ref().is_some_and(|build| build.command.is_empty()) {
            bail!("{}: `build.command` must name a program, such as [\"make\", \"plugin.wasm\"]", path.display());
        }
        Ok(Some(Manifest {
            id,
            version,
            kind,
            language,
            summary,
            license,
            source,
            capabilities,
            settings_schema,
            build,
        }))
    }

    /// The schema as text; empty when there is none, as `describe` says it.
    pub(crate) fn schema_text(&self) -> String {
        self.settings_schema.as_ref().map(Value::to_string).unwrap_or_default()
    }

    /// The component with this manifest as its custom section.
    pub(crate) fn embed(&self, mut component: Vec<u8>) -> Result<Vec<u8>> {
        if Manifest::of_component(&component)?.is_some() {
            bail!("it has a section `{SECTION}` already, which only `rewarden plugin build` writes");
        }
        let json = serde_json::to_vec(self)?;
        let section = CustomSection { name: SECTION.into(), data: json.as_slice().into() };
        component.push(section.id());
        section.encode(&mut component);
        Ok(component)
    }

    /// The manifest that a component carries; `None` when it was not built from a `plugin.toml`. Nothing is run.
    pub(crate) fn of_component(bytes: &[u8]) -> Result<Option<Manifest>> {
        let (mut found, mut depth) = (None, 0);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth -= 1,
                Payload::CustomSection(section) if depth == 0 && section.name() == SECTION => {
                    let manifest = serde_json::from_slice(section.data())
                        .with_context(|| format!("its section `{SECTION}` is not a manifest of this version"))?;
                    if found.replace(manifest).is_some() {
                        bail!("it has two sections `{SECTION}`: which of them holds cannot be told");
                    }
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// Names the file; toml names line and key; the nearest known name is ours to find.
fn explain(path: &Path, message: &str) -> anyhow::Error {
    let hint = rewarden_train::nearest_name(message).map(|name| format!("did you mean `{name}`?")).unwrap_or_default();
    anyhow!("{}: {}\n{hint}", path.display(), message.trim_end())
}

/// The settings' schema, an object of JSON.
fn schema(toml: &Path, path: &Path) -> Result<Value> {
    let named = || format!("`settings_schema` of {}: {}", toml.display(), path.display());
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", named()))?;
    let schema: Value = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", named()))?;
    match schema.is_object() {
        true => Ok(schema),
        false => bail!("{} is no JSON Schema: it must be an object", named()),
    }
}

impl Id {
    /// Without the owner: what files are called.
    pub(crate) fn name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(id: String) -> Result<Id, String> {
        let is_word =
            |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let is_name = |name: &str| name.starts_with(|c: char| c.is_ascii_lowercase()) && name.split('-').all(is_word);
        match id.split('/').count() <= 2 && id.len() <= 128 && id.split('/').all(is_name) {
            true => Ok(Id(id)),
            false => Err(format!(
                "`{id}` is no id: lower-case letters and digits in words joined by `-`, the first character a letter, \
                 with at most one `owner/` in front, such as `final-answer` or `me/final-answer`"
            )),
        }
    }
}

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(version: String) -> Result<Version, String> {
        match semver::Version::parse(&version) {
            Ok(_) => Ok(Version(version)),
            Err(error) => Err(format!("`{version}` is no version such as `0.1.0`: {error}")),
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Reward => "reward",
            Kind::GroupReward => "group-reward",
            Kind::Environment => "environment",
            Kind::Tool => "tool",
        })
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Capability::HostLog => "host-log",
            Capability::HostModel => "host-model",
            Capability::HostTools => "host-tools",
        })
    }
}

#[cfg(test)]
#[path = "manifest/tests.rs"]
mod tests;
