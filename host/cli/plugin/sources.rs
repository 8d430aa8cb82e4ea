//! Which files of a folder are a plugin's source: everything but what builds, package managers and editors leave there.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rewarden_runtime::Digest;

use crate::plugin::lang::Source;

/// Files of one plugin that are looked at; a folder with more is no plugin's source.
const FILES_MAX: usize = 10_000;

/// What tools leave in folders; entries that begin with a dot count as left over too.
const LEFT_OVER: [&str; 4] = ["target", "node_modules", "__pycache__", "venv"];

/// All source files below a folder, in the order of their paths; of a file, the file itself. What cannot be read is left
/// out: the compiler will say so.
pub(crate) fn below(path: &Path) -> Vec<PathBuf> {
    let mut files = vec![];
    add(path, &mut files);
    files.sort();
    files
}

fn add(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        files.push(path.to_owned());
    }
    let Ok(entries) = fs::read_dir(path) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let left_over =
            name.as_encoded_bytes().starts_with(b".") || LEFT_OVER.iter().any(|left_over| name == *left_over);
        let linked = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if files.len() < FILES_MAX && !left_over && !linked {
            add(&entry.path(), files);
        }
    }
}

/// What a build depends on, as one digest: this binary's version, how it is asked, the author's files, `.rewarden/`.
pub(crate) fn stamp(source: &Source<'_>) -> Result<Digest> {
    let mut list = format!("{} debug={}\n", env!("CARGO_PKG_VERSION"), source.debug);
    for folder in [source.dir.to_owned(), source.rewarden().join("wit"), source.rewarden().join("sdk")] {
        for path in below(&folder) {
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let name = path.strip_prefix(source.dir).unwrap_or(&path);
            list.push_str(&format!("{} {}\n", Digest::of(&bytes), name.display()));
        }
    }
    Ok(Digest::of(list.as_bytes()))
}
