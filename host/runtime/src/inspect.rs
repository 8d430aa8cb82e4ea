//! What a component is, read from its bytes before anything is compiled: its world, its imports, or why it is none.
//!
//! A component is what it exports. Its imports are the permissions it asks for, so they are read here, and those that this
//! host does not have are refused by name, rather than left to a linker's message.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use wasmparser::component_types::{ComponentEntityType, ComponentInstanceTypeId};
use wasmparser::types::TypesRef;
use wasmparser::{ComponentExternalKind, Parser, Payload};

use crate::effort::{self, Effort};
use crate::fault::printable;
use crate::{Error, Grants, Wasi};

/// The package whose interfaces plugins are made of, up to the version.
const PACKAGE: &str = "rewarden:plugin/";

/// The kind of a plugin, which its exports decide; named as the worlds in `wit/` are.
///
/// One byte, `Copy`, `Send + Sync`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum World {
    /// Judges samples one by one.
    RewardPlugin,
    /// Judges samples one by one and may ask a model.
    ModelRewardPlugin,
    /// Judges whole groups.
    GroupRewardPlugin,
    /// A multi-turn environment.
    EnvironmentPlugin,
    /// Functions for the policy to call.
    ToolPlugin,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            World::RewardPlugin => "reward-plugin",
            World::ModelRewardPlugin => "model-reward-plugin",
            World::GroupRewardPlugin => "group-reward-plugin",
            World::EnvironmentPlugin => "environment-plugin",
            World::ToolPlugin => "tool-plugin",
        })
    }
}

impl World {
    /// The kind that a component with these imports and exports has; none when it is no plugin of this version.
    fn of(imports: &[String], exports: &[String]) -> Option<World> {
        let exported = [
            ("reward", World::RewardPlugin),
            ("group-reward", World::GroupRewardPlugin),
            ("environment", World::EnvironmentPlugin),
            ("tool", World::ToolPlugin),
        ];
        let has = |wanted: &str| imports_ours(exports, wanted);
        match exported.iter().find(|(interface, _)| has("plugin") && has(interface))? {
            (_, World::RewardPlugin) if imports_ours(imports, "host-model") => Some(World::ModelRewardPlugin),
            (_, world) => Some(*world),
        }
    }
}

/// What the bytes say about themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Inspection {
    pub(crate) world: World,
    pub(crate) exports: Vec<String>,
    /// Without the interfaces that hold nothing but types: importing those asks for nothing.
    pub(crate) imports: Vec<String>,
}

/// What a component asks for and offers, read from its bytes before anything is compiled.
///
/// Plain owned data, `Send + Sync`. Reading costs a pass over the bytes: milliseconds for a plugin in Rust, a fifth of a
/// second for one with an interpreter inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interfaces {
    /// The kind of plugin it is; none when it is a component of another kind.
    pub world: Option<World>,
    /// What it imports, but for interfaces that hold nothing but types: importing those asks for nothing.
    pub imports: Vec<String>,
    /// What it exports.
    pub exports: Vec<String>,
}

impl Interfaces {
    /// Reads a component's bytes, or says why they are none. `path` is for messages.
    pub fn read(path: &Path, bytes: &[u8]) -> Result<Interfaces, Error> {
        Ok(Interfaces::weighed(path, bytes)?.0)
    }

    /// With what compiling it would cost.
    fn weighed(path: &Path, bytes: &[u8]) -> Result<(Interfaces, Effort), Error> {
        let not_wasm = |reason: String| Error::NotWasm { path: path.to_owned(), reason: printable(&reason, 500) };
        if !bytes.starts_with(b"\0asm") {
            let reason =
                if bytes.is_empty() { "the file is empty" } else { "it does not start with the bytes of WebAssembly" };
            return Err(not_wasm(reason.into()));
        }
        if Parser::is_core_wasm(bytes) {
            return Err(Error::CoreModule { path: path.to_owned() });
        }
        // Reads everything, so that bytes cut short anywhere are found here and not by a compiler.
        let (types, effort) = effort::validate(bytes).map_err(|error| not_wasm(error.to_string()))?;
        let (imports, exports) = names(bytes, types.as_ref()).map_err(|error| not_wasm(error.to_string()))?;
        Ok((Interfaces { world: World::of(&imports, &exports), imports, exports }, effort))
    }
}

/// Reads the bytes, or says why they are no plugin of this version, or one that is not worth compiling.
pub(crate) fn inspect(path: &Path, bytes: &[u8]) -> Result<Inspection, Error> {
    let (Interfaces { world, imports, exports }, effort) = Interfaces::weighed(path, bytes)?;
    if let Some(reason) = effort.refusal() {
        return Err(Error::Unfit { path: path.to_owned(), reason });
    }
    let not_a_plugin = || Error::NotAPlugin {
        path: path.to_owned(),
        exports: if exports.is_empty() { "nothing".into() } else { printable(&exports.join(", "), 1000) },
        wanted: format!("{PACKAGE}plugin@0.1.0 and {PACKAGE}reward@0.1.0"),
    };
    Ok(Inspection { world: world.ok_or_else(not_a_plugin)?, exports, imports })
}

/// The names of the component's own imports and exports, leaving out those of components and modules inside it.
fn names(bytes: &[u8], types: TypesRef<'_>) -> wasmparser::Result<(Vec<String>, Vec<String>)> {
    let (mut imports, mut exports, mut depth) = (Vec::new(), Vec::new(), 0);
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            // Each nested one ends too; the outermost end comes last.
            Payload::End(_) => depth -= 1,
            Payload::ComponentImportSection(section) if depth == 0 => {
                for import in section {
                    let name = import?.name.name;
                    let item = types.component_item_for_import(name).map(|item| item.ty);
                    if !item.is_some_and(|ty| only_types(types, ty)) {
                        imports.push(printable(name, 200));
                    }
                }
            }
            Payload::ComponentExportSection(section) if depth == 0 => {
                for export in section {
                    let export = export?;
                    if export.kind != ComponentExternalKind::Type {
                        exports.push(printable(export.name.name, 200));
                    }
                }
            }
            _ => {}
        }
    }
    Ok((imports, exports))
}

fn only_types(types: TypesRef<'_>, ty: ComponentEntityType) -> bool {
    let of_instance = |id: ComponentInstanceTypeId| types[id].exports.values().all(|item| only_types(types, item.ty));
    match ty {
        // A resource is a type, and using one calls into whoever defines it.
        ComponentEntityType::Type { created, .. } => {
            !matches!(created, wasmparser::component_types::ComponentAnyTypeId::Resource(_))
        }
        ComponentEntityType::Instance(id) => of_instance(id),
        _ => false,
    }
}

/// The short name of an interface of ours in a compatible version: `rewarden:plugin/reward@0.1.0` is `reward`.
fn our_interface(name: &str) -> Option<&str> {
    let (interface, version) = name.strip_prefix(PACKAGE)?.split_once('@')?;
    version.starts_with("0.1.").then_some(interface)
}

/// Whether the interface of ours is among these names.
pub(crate) fn imports_ours(names: &[String], interface: &str) -> bool {
    names.iter().any(|name| our_interface(name) == Some(interface))
}

/// Whether the plugin imports anything of WASI.
pub(crate) fn wants_wasi(imports: &[String]) -> bool {
    imports.iter().any(|import| import.starts_with("wasi:"))
}

/// Refuses a plugin that imports what this host does not have. What it has and did not grant is linked to a refusal.
pub(crate) fn check_imports(path: &Path, imports: &[String], wasi: Wasi) -> Result<(), Error> {
    for import in imports {
        match our_interface(import) {
            Some(interface) if Grants::is_grantable(interface) => {}
            None if import.starts_with("wasi:") && wasi == Wasi::Virtual => {}
            None if import.starts_with("wasi:") => {
                return Err(Error::Wasi { path: path.to_owned(), import: import.clone() });
            }
            _ => return Err(Error::UnknownImport { path: path.to_owned(), import: import.clone() }),
        }
    }
    Ok(())
}
