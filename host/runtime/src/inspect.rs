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

use crate::fault::printable;
use crate::{Error, Grants, Wasi, effort};

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

/// What the bytes say about themselves.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Inspection {
    pub(crate) world: World,
    pub(crate) exports: Vec<String>,
    /// Without the interfaces that hold nothing but types: importing those asks for nothing.
    pub(crate) imports: Vec<String>,
}

/// Reads the bytes, or says why they are no plugin of this version.
pub(crate) fn inspect(path: &Path, bytes: &[u8]) -> Result<Inspection, Error> {
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
    if let Some(reason) = effort.refusal() {
        return Err(Error::Unfit { path: path.to_owned(), reason });
    }
    let (imports, exports) = names(bytes, types.as_ref()).map_err(|error| not_wasm(error.to_string()))?;
    Ok(Inspection { world: world(path, &imports, &exports)?, exports, imports })
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

fn world(path: &Path, imports: &[String], exports: &[String]) -> Result<World, Error> {
    let has = |list: &[String], wanted: &str| list.iter().any(|name| our_interface(name) == Some(wanted));
    let found = [
        ("reward", World::RewardPlugin),
        ("group-reward", World::GroupRewardPlugin),
        ("environment", World::EnvironmentPlugin),
        ("tool", World::ToolPlugin),
    ];
    match found.iter().find(|(interface, _)| has(exports, "plugin") && has(exports, interface)) {
        Some((_, World::RewardPlugin)) if has(imports, "host-model") => Ok(World::ModelRewardPlugin),
        Some((_, world)) => Ok(*world),
        None => Err(Error::NotAPlugin {
            path: path.to_owned(),
            exports: if exports.is_empty() { "nothing".into() } else { printable(&exports.join(", "), 1000) },
            wanted: format!("{PACKAGE}plugin@0.1.0 and {PACKAGE}reward@0.1.0"),
        }),
    }
}

/// Whether the plugin imports this interface of ours.
pub(crate) fn imports_ours(imports: &[String], interface: &str) -> bool {
    imports.iter().any(|import| our_interface(import) == Some(interface))
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
