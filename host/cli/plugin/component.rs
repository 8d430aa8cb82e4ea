//! From what a compiler made to a component: typed, without imports of WASI, checked against plugin.toml, with its
//! manifest inside. The same bytes in give the same bytes out.

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm, StringEncoding, embed_component_metadata, metadata};
use wit_parser::{Resolve, WorldItem, WorldKey};

use crate::plugin::adapter;
use crate::plugin::lang::Built;
use crate::plugin::manifest::Manifest;
use crate::plugin::world;

/// The package whose interfaces plugins are made of.
const PACKAGE: &str = "rewarden:plugin/";

/// The component of a plugin with a plugin.toml.
pub(crate) fn described(built: Built, manifest: &Manifest) -> Result<Vec<u8>> {
    let component = match built {
        Built::Component(component) => component,
        Built::Module(mut core) => {
            if !declares_exports(&core)? {
                let (resolve, world) = world::resolve(manifest)?;
                embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8)?;
            }
            encode(&core)?
        }
    };
    check(&component, manifest)?;
    manifest.embed(component)
}

/// The component that a core module's own custom sections describe.
pub(crate) fn bare(core: &[u8]) -> Result<Vec<u8>> {
    if !declares_exports(core)? {
        bail!("it exports nothing of wit/");
    }
    encode(core)
}

/// Whether a core module brings its own component type, as Rust's bindings do.
fn declares_exports(core: &[u8]) -> Result<bool> {
    let (_, declared) = metadata::decode(core)?;
    Ok(!declared.resolve.worlds[declared.world].exports.is_empty())
}

/// Wraps a typed core module. What it imports of WASI is answered inside.
fn encode(core: &[u8]) -> Result<Vec<u8>> {
    adapter::refuse_more(core)?;
    let encoder = ComponentEncoder::default().validate(true).module(core)?;
    encoder.adapter(adapter::NAME, &adapter::module())?.encode()
}

/// What the component does must be what plugin.toml says: its kind, and no host interface that it does not ask for.
fn check(component: &[u8], manifest: &Manifest) -> Result<()> {
    let decoded = wit_component::decode(component).context("what the build made is no component")?;
    let DecodedWasm::Component(resolve, world) = decoded else { bail!("what the build made is a package of WIT") };
    let world = &resolve.worlds[world];
    let exports: Vec<String> = world.exports.keys().filter_map(|key| ours(&resolve, key)).collect();
    let kind = manifest.kind.to_string();
    if !["plugin", &kind].iter().all(|wanted| exports.iter().any(|export| export == wanted)) {
        let found = if exports.is_empty() { "nothing of wit/".into() } else { exports.join(", ") };
        bail!("`kind = \"{kind}\"` needs the exports plugin and {kind}; the code exports {found}");
    }
    let used = world.imports.iter().filter(|(_, item)| has_functions(&resolve, item));
    for name in used.filter_map(|(key, _)| ours(&resolve, key)) {
        if !manifest.capabilities.iter().any(|capability| capability.to_string() == name) {
            let asked: Vec<String> =
                manifest.capabilities.iter().map(ToString::to_string).chain([name.clone()]).collect();
            bail!("the code calls {name}, which plugin.toml does not ask for: write `capabilities = {asked:?}`");
        }
    }
    Ok(())
}

/// The short name of an interface of ours.
fn ours(resolve: &Resolve, key: &WorldKey) -> Option<String> {
    let name = resolve.name_world_key(key);
    Some(name.strip_prefix(PACKAGE)?.split('@').next()?.to_owned())
}

/// Whether importing it is more than naming its types.
fn has_functions(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Interface { id, .. } => !resolve.interfaces[*id].functions.is_empty(),
        WorldItem::Function(_) => true,
        WorldItem::Type { .. } => false,
    }
}
