//! A component's file, read as far as that is possible without compiling or running it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rewarden_runtime::{Digest, Interfaces};

use super::manifest::Manifest;
use super::parts::Parts;

/// What the bytes say.
pub(crate) struct ComponentFile {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) interfaces: Interfaces,
    pub(crate) parts: Parts,
    /// The manifest in its custom section, none where it has none, or why it cannot be read.
    pub(crate) manifest: Result<Option<Manifest>, String>,
}

impl ComponentFile {
    /// Fails for what is no component at all.
    pub(crate) fn read(path: &Path) -> Result<ComponentFile> {
        let bytes = fs::read(path).with_context(|| format!("cannot read the plugin {}", path.display()))?;
        let interfaces = Interfaces::read(path, &bytes)?;
        Ok(ComponentFile {
            path: path.to_owned(),
            digest: Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
            interfaces,
            parts: Parts::read(&bytes).with_context(|| format!("cannot read {}", path.display()))?,
            manifest: Manifest::of_component(&bytes).map_err(|error| format!("{error:#}")),
        })
    }

    /// The manifest, if there is one that can be read.
    pub(crate) fn manifest(&self) -> Option<&Manifest> {
        self.manifest.as_ref().ok()?.as_ref()
    }

    /// Its imports that are not types: what it can do besides computing.
    pub(crate) fn sealed(&self) -> String {
        match self.interfaces.imports.is_empty() {
            true => "yes: it imports nothing, so equal input gives equal scores".to_owned(),
            false => format!("no: it imports {}", self.interfaces.imports.join(", ")),
        }
    }
}
