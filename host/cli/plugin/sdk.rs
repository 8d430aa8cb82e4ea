//! What the binary carries for authors, and how it comes into a plugin's folder: `.rewarden/`, which every build brings up
//! to date and no repository keeps.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::plugin::sources;

// `EMBEDDED`, which `host/cli/embed.rs` writes.
include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// Files by their path below some folder, with `/` between its parts.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// The files that the repository has below this folder.
pub(crate) fn embedded(folder: &str) -> Files {
    let below = |path: &str| path.strip_prefix(folder)?.strip_prefix('/').map(str::to_owned);
    EMBEDDED.iter().filter_map(|(path, bytes)| Some((below(path)?, bytes.to_vec()))).collect()
}

/// Makes a generated folder hold exactly these files; what is right already is not touched, so that no compiler sees a
/// change where there is none.
pub(crate) fn write(folder: &Path, files: &Files) -> Result<()> {
    for path in sources::below(folder) {
        let name = path.strip_prefix(folder).unwrap_or(&path).to_string_lossy().replace('\\', "/");
        if !files.contains_key(&name) {
            fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
    }
    for (name, bytes) in files {
        let path = folder.join(name);
        write_if_different(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Written aside and renamed, so that whoever reads the file meanwhile sees the old one or the new one.
pub(crate) fn write_if_different(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return Ok(());
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let mut file = shareable(&mut tempfile::Builder::new()).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.persist(path)?;
    Ok(())
}

/// Temporary files are private; what is built is made to be handed on.
#[cfg(unix)]
fn shareable<'a, 'b>(builder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(fs::Permissions::from_mode(0o666))
}

#[cfg(not(unix))]
fn shareable<'a, 'b>(builder: &'a mut tempfile::Builder<'b, 'b>) -> &'a mut tempfile::Builder<'b, 'b> {
    builder
}
