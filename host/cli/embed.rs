//! The build script: the contract, the SDKs and the templates go into the binary, because an author has the binary and no
//! checkout. Every file of the folders below is there at run time as a path and its bytes (`plugin/sdk.rs` reads them).

#![allow(clippy::disallowed_methods, reason = "cargo tells a build script where things are by the environment")]

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

const FOLDERS: [&str; 3] = ["wit", "host/sdk", "host/cli/templates"];

/// What tools and editors leave in folders like these.
const LEFT_OVER: [&str; 3] = ["target", "node_modules", "__pycache__"];

fn main() {
    let folder = |name: &str| PathBuf::from(env::var_os(name).expect("set by cargo"));
    let root = folder("CARGO_MANIFEST_DIR");
    let mut table = String::from("static EMBEDDED: &[(&str, &[u8])] = &[\n");
    for name in FOLDERS {
        // Of a folder cargo looks at everything in it, so that a new file counts too.
        println!("cargo::rerun-if-changed={name}");
        add(&root.join(name), name, &mut table);
    }
    table.push_str("];\n");
    fs::write(folder("OUT_DIR").join("embedded.rs"), table).expect("cargo's folder is writable");
}

/// Adds all files below a folder, in the order of their names.
fn add(folder: &Path, name: &str, table: &mut String) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("readable").file_name().into_string().expect("a UTF-8 name")).collect();
    names.sort();
    for entry in names.iter().filter(|name| !name.starts_with('.') && !LEFT_OVER.contains(&name.as_str())) {
        let (path, name) = (folder.join(entry), format!("{name}/{entry}"));
        if path.is_dir() {
            add(&path, &name, table);
        } else {
            writeln!(table, "    ({name:?}, include_bytes!({path:?})),").expect("a string takes everything");
        }
    }
}
