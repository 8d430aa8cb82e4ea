//! Native code on disk, so that a plugin is compiled once per machine and not once per process.
//!
//! A cached file is machine code that will run outside the sandbox, so nobody but us may write one: the folder is
//! private (0700, checked for owner and mode), every file carries an HMAC under a key that never leaves the folder, and
//! the HMAC covers the file's name, so that one plugin's code cannot be passed off as another's. A file that fails the
//! check is ignored and replaced. No failure in here fails a load: the worst case is compiling again.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Digest;

const MAC_BYTES: usize = 32;

/// Native code in the folder, over all plugins: a hundred interpreters, or ten thousand Rust plugins.
const CODE_BYTES_MAX: u64 = 4 << 30;

/// An open cache folder: its path and the key of its files. Cheap to keep; safe to share, also between processes.
pub(crate) struct Cache {
    dir: PathBuf,
    key: [u8; 32],
}

impl Cache {
    /// Opens or makes the folder. None, and a line in the log, when it cannot be used.
    pub(crate) fn open(dir: &Path) -> Option<Cache> {
        match Cache::try_open(dir) {
            Ok(cache) => Some(cache),
            Err(error) => {
                log::warn!(
                    "no cache of native code in {}: {error}; plugins are compiled in every process",
                    dir.display()
                );
                None
            }
        }
    }

    fn try_open(dir: &Path) -> io::Result<Cache> {
        make_private_dir(dir)?;
        check_private_dir(dir)?;
        Ok(Cache { dir: dir.to_owned(), key: read_or_make_key(dir)? })
    }

    /// The component from its cached native code, if there is a file that we wrote and that this engine can run.
    pub(crate) fn load(&self, engine: &Engine, digest: &Digest) -> Option<Component> {
        let name = file_name(engine, digest);
        let file = fs::read(self.dir.join(&name)).ok()?;
        let (tag, code) = file.split_at_checked(MAC_BYTES)?;
        if self.mac(&name, code).verify_slice(tag).is_err() {
            log::warn!(
                "{} was not written by this cache or is damaged; compiling again",
                self.dir.join(&name).display()
            );
            return None;
        }
        // Makes the file the youngest, so that what is used stays.
        let _ = fs::File::open(self.dir.join(&name)).and_then(|file| file.set_modified(now()));
        deserialize(engine, code)
    }

    /// Stores the component's native code for next time.
    pub(crate) fn store(&self, engine: &Engine, digest: &Digest, component: &Component) {
        if let Err(error) = self.try_store(engine, digest, component) {
            log::warn!("native code is not cached in {}: {error}", self.dir.display());
        }
    }

    fn try_store(&self, engine: &Engine, digest: &Digest, component: &Component) -> io::Result<()> {
        let name = file_name(engine, digest);
        let code = component.serialize().map_err(|error| io::Error::other(format!("{error:#}")))?;
        // Written aside and renamed: a reader sees the old file, the new one or none, never half of one.
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&self.mac(&name, &code).finalize().into_bytes())?;
        file.write_all(&code)?;
        file.persist(self.dir.join(&name))?;
        self.make_room()
    }

    /// Deletes the native code that was not used for longest, until the rest fits.
    fn make_room(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
                let found = entry.metadata()?;
                files.push((found.modified()?, found.len(), entry.path()));
            }
        }
        files.sort();
        let mut bytes: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, size, path) in files {
            if bytes <= CODE_BYTES_MAX {
                break;
            }
            // Another process may have been faster.
            let _ = fs::remove_file(path);
            bytes -= size;
        }
        Ok(())
    }

    /// Where a file of this name lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Vouches for something stored under a name: only who can read the folder's key can make one.
    pub(crate) fn mac(&self, name: &str, code: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.key)
            .expect("HMAC takes keys of any length")
            .chain_update(name)
            .chain_update([0])
            .chain_update(code)
    }
}

/// Native code fits one engine only: wasmtime's version, its settings and the processor's features are in the name.
fn file_name(engine: &Engine, digest: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}.cwasm", digest.hex(), hasher.finish())
}

#[allow(unsafe_code, reason = "the one place where bytes become native code")]
fn deserialize(engine: &Engine, code: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` needs bytes that `Component::serialize` made, unmodified. The caller has just verified an
    // HMAC over exactly these bytes in memory (not over the file, which could change in between), under a key that
    // only this user can read and that signs nothing but the output of `serialize`.
    let component = unsafe { Component::deserialize(engine, code) };
    // An engine of another version or processor is an ordinary miss; wasmtime checks that itself.
    component.ok()
}

#[allow(clippy::disallowed_methods, reason = "only decides which files are deleted first")]
fn now() -> std::time::SystemTime {
    std::time::SystemTime::now()
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

/// Refuses a folder that someone else owns or may write to: they could plant a key and sign native code with it.
#[cfg(unix)]
fn check_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(dir)?;
    // A file that we create belongs to us, which tells our user id without asking the C library.
    let ours = tempfile::NamedTempFile::new_in(dir)?.as_file().metadata()?.uid();
    if found.uid() != ours {
        return Err(io::Error::other("the folder belongs to another user"));
    }
    if found.mode() & 0o022 != 0 {
        return Err(io::Error::other("others may write to the folder (`chmod 700` it)"));
    }
    Ok(())
}

#[cfg(not(unix))]
fn check_private_dir(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// The folder's key, made at random the first time. Of two processes that make one at once, one wins and both use it.
fn read_or_make_key(dir: &Path) -> io::Result<[u8; 32]> {
    let path = dir.join("key");
    let read = || fs::read(&path).ok().and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if let Some(key) = read() {
        return Ok(key);
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    // tempfile creates with mode 0600.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    if path.exists() && fs::metadata(&path)?.len() != 32 {
        // Cut short by a full disk: whatever was signed with it is compiled again.
        fs::remove_file(&path)?;
    }
    match file.persist_noclobber(&path) {
        Ok(_) => Ok(key),
        Err(error) => read().ok_or(error.error),
    }
}
