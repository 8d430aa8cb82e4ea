//! What the documents promise about the tree: paths exist, layers do not know each other.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn exists(path: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists()
}

/// The paths a document names in backticks, or, in the annotated tree, at the start of a line.
fn paths(text: &str) -> Vec<&str> {
    let looks_like_path = |word: &&str| {
        let plain = word.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
        plain && (word.contains('/') || word.ends_with(".md") || word.ends_with(".toml")) && !word.starts_with("./")
    };
    let quoted = text.split('`').skip(1).step_by(2);
    let tree =
        text.split("```\n").skip(1).step_by(2).flat_map(str::lines).filter_map(|line| line.split_whitespace().next());
    quoted.chain(tree).filter(looks_like_path).collect()
}

/// Names that documents use for what a run makes or a plugin has, not for what the repository holds at its root.
const HELD_ELSEWHERE: [&str; 4] = ["config.toml", "plugin.toml", "runs/", "x.toml"];

#[test]
fn every_path_a_document_names_exists() {
    for document in ["ARCHITECTURE.md", "README.md", "CONTRIBUTING.md"] {
        let text = read(document);
        let missing: Vec<&str> =
            paths(&text).into_iter().filter(|path| !exists(path) && !HELD_ELSEWHERE.contains(path)).collect();
        assert!(missing.is_empty(), "{document} names paths that do not exist: {missing:?}");
    }
    assert!(paths(&read("ARCHITECTURE.md")).len() > 30, "the code map went missing, or this test stopped reading it");
}

#[test]
fn runtime_and_training_host_do_not_know_each_others_engine() {
    for (manifest, foreign) in [
        ("host/runtime/Cargo.toml", vec!["candle", "clap", "rewarden-train"]),
        ("host/train/Cargo.toml", vec!["wasmtime", "clap", "wasmparser"]),
    ] {
        let text = read(manifest);
        let known: Vec<_> = foreign.into_iter().filter(|name| text.contains(name)).collect();
        assert!(known.is_empty(), "{manifest} depends on {known:?}");
    }
}

/// Embedders must not have to depend on the engine, or on its version: nothing they can name may mention it.
#[test]
fn no_public_item_of_the_runtime_names_the_engine() {
    let mut items = 0;
    visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join("host/runtime/src"), &mut |path, text| {
        items += public_items(text).len();
        assert_eq!(leaks(text), Vec::<&str>::new(), "{}", path.display());
    });
    assert!(items > 100, "the public items went missing, or this test stopped reading them");
}

#[test]
fn a_leak_of_the_engine_is_noticed() {
    #[track_caller]
    fn check(is_leak: bool, source: &str) {
        assert_eq!(leaks(source).len(), usize::from(is_leak), "{source}");
    }
    check(true, "pub fn engine(&self) -> &wasmtime::Engine {");
    check(true, "pub async fn run(\n    store: wasmtime_wasi::X,\n) {}");
    check(true, "use wasmtime::{\n    Engine,\n    Store as Room,\n};\npub type E = Room<u8>;");
    check(true, "use wasmtime::component::Linker;\npub struct S {\n    pub l: Linker<u8>,\n}");
    check(true, "use wasmtime::Trap;\npub struct S(Trap);");
    check(true, "use wasmtime::Trap;\npub enum E {\n    One,\n    Two { t: Trap },\n}");
    check(true, "use wasmtime::Trap;\npub trait T {\n    fn t(&self) -> Trap;\n}");
    check(true, "pub use wasmtime::{Engine, Store};");
    // Not public, not a signature, not the engine's.
    check(false, "use wasmtime::Engine;\npub(crate) fn e() -> Engine {}\nstruct S {\n    e: Engine,\n}");
    check(false, "use wasmtime::Trap;\npub struct S {\n    t: Trap,\n}\npub fn f() -> u8 {\n    Trap::x()\n}");
    check(false, "use wasmtime::Trap;\npub enum E {\n    /// A [`Trap`] of wasmtime.\n    Trapped(String),\n}");
    check(false, "pub enum Engine {\n    One,\n}\npub fn engine() -> Engine {}");
}

/// The public items that name the engine, or what the file imports from it.
fn leaks(source: &str) -> Vec<&str> {
    let imports = source.split("use wasmtime").skip(1).filter_map(|rest| rest.split(';').next());
    let imported: Vec<&str> =
        imports.flat_map(words).filter(|word| word.starts_with(|first: char| first.is_uppercase())).collect();
    let names_it = |line: &str| words(line).any(|word| word.starts_with("wasmtime") || imported.contains(&word));
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    public_items(source).into_iter().filter(|item| item.lines().filter(is_code).any(names_it)).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What follows each `pub `: an item's signature, a field, and the whole body of an enum or a trait.
fn public_items(source: &str) -> Vec<&str> {
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    let mut items = vec![];
    for (start, _) in source.match_indices("pub ") {
        let line = source[..start].rfind('\n').map_or(0, |end| end + 1);
        if !source[line..start].trim().is_empty() {
            continue;
        }
        let item = &source[start..];
        let end = match words(item).find(|word| !["pub", "async", "unsafe"].contains(word)) {
            Some("enum" | "trait") => item.find("\n}"),
            Some("use") => item.find(';'),
            Some("fn" | "struct" | "type" | "const" | "static" | "mod") => item.find(['{', ';']),
            _ => item.find('\n'),
        };
        items.push(&item[..end.unwrap_or(item.len())]);
    }
    items
}

#[test]
fn plugins_are_never_linked_into_the_host() {
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let dependencies = manifest["dependencies"].as_table().unwrap();
    for folder in ["rewards", "guest-examples", "tests/guests"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!dependencies.contains_key(&name), "the binary links the plugin {name}");
        }
    }
}

#[test]
fn the_readme_shows_the_first_reward_as_it_is() {
    let source = read("guest-examples/first-reward/src/lib.rs");
    assert!(read("README.md").contains(source.trim()), "README.md shows another first-reward than the repository's");
}

/// Lines of the longest acceptable file and function: what one reads in one sitting, and on one screen.
#[test]
fn files_stay_readable() {
    let mut long = vec![];
    for folder in ["host", "rewards", "guest-examples", "tests", "benches"] {
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut |path, text| {
            if text.lines().count() > 500 {
                long.push(path.to_owned());
            }
            let opens = text.lines().next().is_some_and(|line| line.starts_with("//!"));
            assert!(opens || path.ends_with("tests.rs"), "{} does not say what it is", path.display());
        });
    }
    assert!(long.is_empty(), "over 500 lines: {long:?}");
}

fn visit(folder: &Path, see: &mut impl FnMut(&Path, &str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            visit(&path, see);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            see(&path, &fs::read_to_string(&path).unwrap());
        }
    }
}
