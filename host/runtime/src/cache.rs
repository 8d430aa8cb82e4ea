//! Native code on disk, so that a plugin is compiled once per machine and not once per process.
//!
//! A cached file is machine code that will run outside the sandbox, so nobody but us may write one: the folder is
//! private (0700, checked for owner and mode), every file has a keyed hash (BLAKE3) under a key that never leaves the
//! folder, and the hash covers the file's name, so that one plugin's code cannot be passed off as another's. A file that
//! fails the check is ignored and replaced. No failure in here fails a load: the worst case is compiling again.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use wasmtime::Engine;
use wasmtime::component::Component;

use crate::Digest;

const MAC_BYTES: usize = 32;

/// Extensions: of native code, what is put behind that for its tag, and of something small.
const CODE: &str = "cwasm";
const TAG: &str = "tag";
const NOTE: &str = "known";
const FUNCTIONS: &str = "functions";

/// Notes in the folder; each plugin that is loaded from a new file makes one.
const NOTES_MAX: usize = 1000;

/// Native code in the folder, over all plugins: a hundred interpreters, or ten thousand Rust plugins.
const CODE_BYTES_MAX: u64 = 4 << 30;

/// Compiled functions in the folder: those of fifteen interpreters.
const FUNCTIONS_BYTES_MAX: u64 = 512 << 20;

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
        let path = self.path(&name);
        let file = fs::File::open(&path).ok()?;
        // Makes the file the youngest, so that what is used stays.
        let _ = file.set_modified(now());
        match self.verified(engine, &name, &file) {
            Ok(component) => component,
            Err(_) => {
                log::warn!("{} was not written by this cache or is damaged; compiling again", path.display());
                None
            }
        }
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
        // Of two processes that store at once, one may leave its tag beside the other's code: that is compiled again.
        self.write(&format!("{name}.{TAG}"), &self.mac(&name, &code))?;
        self.write(&name, &code)?;
        self.make_room(CODE_BYTES_MAX, NOTES_MAX)
    }

    /// Written aside and renamed: a reader sees the old file, the new one or none, never half of one.
    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(bytes)?;
        file.persist(self.path(name))?;
        Ok(())
    }

    /// Something small that was stored under this name, if we stored it.
    pub(crate) fn recall(&self, name: &str) -> Option<Vec<u8>> {
        self.read(&format!("{name}.{NOTE}"))
    }

    /// Stores something small. Failing to costs finding it out again.
    pub(crate) fn note(&self, name: &str, fact: &[u8]) {
        self.keep(&format!("{name}.{NOTE}"), fact);
    }

    /// The functions that were stored under this name, if we stored them.
    pub(crate) fn recall_functions(&self, name: &str) -> Option<Vec<u8>> {
        let name = format!("{name}.{FUNCTIONS}");
        let _ = fs::File::open(self.path(&name)).and_then(|file| file.set_modified(now()));
        self.read(&name)
    }

    /// Stores functions. Failing to costs compiling them again.
    pub(crate) fn keep_functions(&self, name: &str, functions: &[u8]) {
        self.keep(&format!("{name}.{FUNCTIONS}"), functions);
        if let Err(error) = self.delete_oldest(FUNCTIONS, FUNCTIONS_BYTES_MAX) {
            log::warn!("{} may grow: {error}", self.dir.display());
        }
    }

    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let mut tag = fs::read(self.path(name)).ok()?;
        let bytes = (tag.len() >= MAC_BYTES).then(|| tag.split_off(MAC_BYTES))?;
        self.vouches(name, &bytes, &tag).then_some(bytes)
    }

    fn keep(&self, name: &str, bytes: &[u8]) {
        if let Err(error) = self.write(name, &[&self.mac(name, bytes), bytes].concat()) {
            log::warn!("{} is not written: {error}", self.path(name).display());
        }
    }

    /// Deletes the native code that was not used for longest, until the rest fits, and notes beyond any use.
    fn make_room(&self, code_bytes_max: u64, notes_max: usize) -> io::Result<()> {
        self.delete_oldest(CODE, code_bytes_max)?;
        for (_, path) in self.youngest_first(NOTE)?.into_iter().skip(notes_max) {
            let _ = fs::remove_file(path);
        }
        Ok(())
    }

    fn delete_oldest(&self, extension: &str, bytes_max: u64) -> io::Result<()> {
        let mut bytes = 0;
        for (size, path) in self.youngest_first(extension)? {
            bytes += size;
            if bytes > bytes_max {
                // Another process may have been faster; only native code has a tag beside it.
                let _ = fs::remove_file(path.with_added_extension(TAG));
                let _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    /// The sizes and paths of all files with this extension.
    fn youngest_first(&self, extension: &str) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|found| found == extension) {
                let found = entry.metadata()?;
                files.push((found.modified()?, found.len(), entry.path()));
            }
        }
        files.sort_by(|a, b| b.cmp(a));
        Ok(files.into_iter().map(|(_, size, path)| (size, path)).collect())
    }

    /// Where a file of this name lies.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Vouches for something stored under a name: only who can read the folder's key can make one.
    pub(crate) fn mac(&self, name: &str, bytes: &[u8]) -> [u8; MAC_BYTES] {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        // Native code of an interpreter has tens of megabytes.
        hasher.update_rayon(bytes);
        hasher.finalize().into()
    }

    /// Whether this tag is ours, in constant time.
    pub(crate) fn vouches(&self, name: &str, bytes: &[u8], tag: &[u8]) -> bool {
        <[u8; MAC_BYTES]>::try_from(tag).is_ok_and(|tag| blake3::Hash::from(self.mac(name, bytes)) == tag)
    }

    /// The component in a file of native code that we wrote; none when this engine cannot run it. Mapped rather than
    /// read: an interpreter's code has tens of megabytes, of which a reward uses few.
    #[allow(unsafe_code, reason = "the one place where bytes become native code")]
    fn verified(&self, engine: &Engine, name: &str, file: &fs::File) -> io::Result<Option<Component>> {
        let tag = fs::read(self.path(&format!("{name}.{TAG}")))?;
        // SAFETY: the map must not change while it lives. The file lies in a folder that only this user may write to
        // (checked when it was opened), and this crate only ever replaces such files by others.
        let code = unsafe { memmap2::MmapOptions::new().populate().map(file)? };
        if !self.vouches(name, &code, &tag) {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: this needs bytes that `Component::serialize` made, unmodified. A keyed hash has just said so of this
        // file, under a key that only this user can read and that vouches for nothing else under such a name; and for
        // the reason above, what lies at its path now is it, or another of ours.
        let component = unsafe { Component::deserialize_file(engine, self.path(name)) };
        // An engine of another version or processor is an ordinary miss; wasmtime checks that itself.
        Ok(component.ok())
    }
}

/// Native code fits one engine only: wasmtime's version, its settings and the processor's features are in the name.
fn file_name(engine: &Engine, digest: &Digest) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("{}-{:016x}.{CODE}", digest.hex(), hasher.finish())
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::open(&folder.path().join("cache")).expect("a cache");
        for (age, name) in ["new.cwasm", "newer.known", "middle.cwasm", "old.cwasm", "older.known"].iter().enumerate() {
            cache.write(name, &[0; 10]).expect("writable");
            let file = fs::File::open(cache.path(name)).expect("there");
            file.set_modified(now() - Duration::from_secs(age as u64 * 60)).expect("set");
            cache.write(&format!("{name}.{TAG}"), &[]).expect("writable");
        }
        cache.make_room(25, 1).expect("room");
        let left = |name: &str| cache.path(name).exists();
        assert!(left("new.cwasm") && left("new.cwasm.tag") && left("middle.cwasm") && left("newer.known"));
        assert!(!left("old.cwasm") && !left("old.cwasm.tag") && !left("older.known"));
        assert!(left("key"), "what everything hangs on stays");
    }
}
