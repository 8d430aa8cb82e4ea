//! What answers for WASI in a component: `host/cli/adapter/preview1.wat`, which holds nothing of the world.

use anyhow::{Result, bail};
use wasmparser::{Parser, Payload};

/// The module name under which compilers for wasip1 import it.
pub(crate) const NAME: &str = "wasi_snapshot_preview1";

const TEXT: &str = include_str!("../adapter/preview1.wat");

/// The adapter as a core module.
pub(crate) fn module() -> Vec<u8> {
    wat::parse_str(TEXT).expect("a test reads it")
}

/// Refuses what would need more of WASI than there is, by name.
pub(crate) fn refuse_more(core: &[u8]) -> Result<()> {
    let known = names(&module(), |payload| match payload {
        Payload::ExportSection(exports) => exports.into_iter().flatten().map(|export| export.name).collect(),
        _ => vec![],
    })?;
    let wanted = names(core, |payload| match payload {
        Payload::ImportSection(imports) => {
            let imports = imports.into_imports().flatten();
            imports.filter(|import| import.module == NAME).map(|import| import.name).collect()
        }
        _ => vec![],
    })?;
    let missing: Vec<String> = wanted.into_iter().filter(|name| !known.contains(name)).collect();
    if !missing.is_empty() {
        bail!(
            "it uses functions of WASI that a sandbox does not have: {}. Clocks, random numbers and printing are there; \
             files, folders and sockets are not: remove what opens them, or the library that does",
            missing.join(", ")
        );
    }
    Ok(())
}

/// The names that a function finds in a core module.
fn names<'a>(core: &'a [u8], find: impl Fn(Payload<'a>) -> Vec<&'a str>) -> Result<Vec<String>> {
    let mut found = vec![];
    for payload in Parser::new(0).parse_all(core) {
        found.extend(find(payload?).into_iter().map(str::to_owned));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The refusal of a module that imports these, of each `module function`.
    #[track_caller]
    fn check(imports: &[&str], said: Option<&str>) {
        let import = |import: &&str| {
            let (module, name) = import.split_once(' ').unwrap();
            format!("(import {module:?} {name:?} (func))")
        };
        let text = format!("(module {})", imports.iter().map(import).collect::<String>());
        let refusal = refuse_more(&wat::parse_str(text).unwrap()).err().map(|error| error.to_string());
        assert_eq!(refusal.is_some(), said.is_some(), "{refusal:?}");
        assert!(refusal.unwrap_or_default().contains(said.unwrap_or_default()));
    }

    #[test]
    fn what_is_missing_is_named() {
        check(&[], None);
        check(&["env path_open", "wasi_snapshot_preview1 fd_write", "wasi_snapshot_preview1 random_get"], None);
        check(&["wasi_snapshot_preview1 fd_write", "wasi_snapshot_preview1 path_open"], Some(": path_open. "));
        check(&["wasi_snapshot_preview1 sock_send", "wasi_snapshot_preview1 path_open"], Some("sock_send, path_open"));
    }
}
