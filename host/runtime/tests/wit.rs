//! The contract: documented to the last field, and unchanged since its release.
//!
//! `wit/released/<version>.wasm` is a released contract, encoded without its documentation, so that wording may be
//! improved freely. A release may gain interfaces and worlds; what it has stays as it is.

use std::collections::BTreeMap;
use std::fs;

use wit_component::WitPrinter;
use wit_parser::{Docs, PackageId, Resolve, TypeDefKind, WorldItem};

use crate::component::wit;

fn contract() -> (Resolve, PackageId) {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit()).expect("wit/ parses");
    (resolve, package)
}

/// Every documented thing of the package, with the name to tell when it is not documented.
fn docs(resolve: &mut Resolve) -> Vec<(String, &mut Docs)> {
    let mut all = Vec::new();
    for (_, interface) in resolve.interfaces.iter_mut() {
        let name = interface.name.clone().unwrap_or_default();
        all.push((format!("interface {name}"), &mut interface.docs));
        all.extend(interface.functions.iter_mut().map(|(f, function)| (format!("{name}.{f}"), &mut function.docs)));
    }
    for (_, ty) in resolve.types.iter_mut() {
        let Some(name) = ty.name.clone() else { continue };
        match &mut ty.kind {
            TypeDefKind::Record(r) => {
                all.extend(r.fields.iter_mut().map(|f| (format!("{name}.{}", f.name), &mut f.docs)))
            }
            TypeDefKind::Variant(v) => {
                all.extend(v.cases.iter_mut().map(|c| (format!("{name}.{}", c.name), &mut c.docs)))
            }
            TypeDefKind::Enum(e) => all.extend(e.cases.iter_mut().map(|c| (format!("{name}.{}", c.name), &mut c.docs))),
            // `use` makes an alias; its documentation stands where it comes from.
            TypeDefKind::Type(_) => continue,
            other => panic!("{name} is a {}: this test has to learn where its documentation stands", other.as_str()),
        }
        all.push((format!("type {name}"), &mut ty.docs));
    }
    for (_, world) in resolve.worlds.iter_mut() {
        let name = world.name.clone();
        for (_, item) in world.imports.iter_mut().chain(world.exports.iter_mut()) {
            // Imports that only follow from a `use` stand nowhere and cannot be documented.
            if let WorldItem::Interface { docs, .. } = item {
                all.push((format!("(item) {name}"), docs));
            }
        }
        all.push((format!("world {name}"), &mut world.docs));
    }
    all
}

/// The package without its documentation, as bytes.
fn encode(mut resolve: Resolve, package: PackageId) -> Vec<u8> {
    docs(&mut resolve).into_iter().for_each(|(_, docs)| *docs = Docs::default());
    wit_component::encode(&resolve, package).expect("encodes")
}

/// Each interface and world of an encoded package, as text under its first line.
fn items(bytes: &[u8]) -> BTreeMap<String, String> {
    let decoded = wit_component::decode(bytes).expect("an encoded contract decodes");
    let mut printer = WitPrinter::default();
    printer.print(decoded.resolve(), decoded.package(), &[]).expect("prints");
    let text = printer.output.to_string();
    let blocks = text.split("\n}\n").map(str::trim).filter(|block| !block.is_empty());
    blocks
        .map(|block| {
            // The first one has the package's line above it.
            let block = block
                .rsplit_once("\n\ninterface ")
                .filter(|_| block.starts_with("package "))
                .map_or_else(|| block.to_owned(), |(_, interface)| format!("interface {interface}"));
            (block.lines().next().unwrap_or_default().to_owned(), block)
        })
        .collect()
}

#[test]
fn every_item_is_documented() {
    let (mut resolve, _) = contract();
    let missing: Vec<_> = docs(&mut resolve)
        .into_iter()
        .filter(|(name, docs)| docs.is_empty() && !name.starts_with("(item)"))
        .map(|(name, _)| name)
        .collect();
    assert!(missing.is_empty(), "without a `///` sentence for plugin authors in wit/: {missing:?}");
}

#[test]
fn the_released_contract_is_unchanged() {
    let path = wit().join("released/0.1.0.wasm");
    let (resolve, package) = contract();
    let current = encode(resolve, package);
    let released = fs::read(&path).unwrap_or_else(|error| {
        let proposal = std::env::temp_dir().join("rewarden-contract-0.1.0.wasm");
        fs::write(&proposal, &current).expect("a temporary folder is writable");
        panic!("{}: {error}. The contract as it is now was written to {}", path.display(), proposal.display());
    });
    let current = items(&current);
    for (header, released) in items(&released) {
        assert_eq!(
            current.get(&header).unwrap_or(&String::new()),
            &released,
            "`{header}` is no longer what rewarden:plugin@0.1.0 promised (below it): plugins built against it would stop \
             working. Undo the change and add a new interface and a new world instead. Wording of documentation may \
             change freely."
        );
    }
}
