//! The runtime as the command line sets it up: this is where the environment is read, so that the library need not.

use std::env;
use std::future::Future;
use std::path::PathBuf;

use anyhow::Result;
use rewarden_runtime::{Runtime, RuntimeConfig};

/// A runtime with `jobs` threads (0: all cores) and this user's cache of native code.
pub(crate) fn start(jobs: usize) -> Result<Runtime> {
    Ok(Runtime::new(RuntimeConfig { jobs, cache_dir: cache_dir() })?)
}

/// `$REWARDEN_CACHE_DIR`, else `$XDG_CACHE_HOME/rewarden`, else `~/.cache/rewarden`. Without a home there is no cache.
#[allow(clippy::disallowed_methods, reason = "the command line is where the environment is read")]
fn cache_dir() -> Option<PathBuf> {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("REWARDEN_CACHE_DIR")
        .or_else(|| Some(var("XDG_CACHE_HOME")?.join("rewarden")))
        .or_else(|| Some(var("HOME")?.join(".cache").join("rewarden")))
}

/// Waits for a future on this thread; guests run on the runtime's own.
pub(crate) fn block_on<F: Future>(future: F) -> Result<F::Output> {
    Ok(tokio::runtime::Builder::new_current_thread().build()?.block_on(future))
}
