//! Compiled functions, kept so that a component that was edited is compiled where it differs.
//!
//! An interpreter has tens of thousands of functions, of which an author changes none; and a snapshot is the component it
//! was taken of with other data. So whoever loads a large component keeps each function's native code by a hash of all that
//! it was compiled from, and finds most of them again: in the same load for the snapshot, on disk for the next version at
//! the same path. Kept code is native code as much as a whole component's, and goes through the same authenticated folder;
//! and no two paths share any, so that what one plugin was compiled to is never another's.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use wasmtime::CacheStore;
use wasmtime::component::Component;

use crate::Digest;
use crate::cache::Cache;
use crate::engine::{self, Pool, Profile};

/// Components below this size compile faster than their functions are looked up, in bytes.
const COMPONENT_BYTES_MIN: u64 = 512 << 10;

/// What a function's key has.
const KEY_BYTES: usize = 32;

type Key = [u8; KEY_BYTES];

/// The functions of one component and of the version before it.
pub(crate) struct Functions {
    /// None keeps them in memory, for the length of a load.
    cache: Option<Arc<Cache>>,
    name: String,
    /// Read when something is compiled, which is seldom.
    known: OnceLock<Known>,
    new: Mutex<BTreeMap<Key, Vec<u8>>>,
}

/// Functions that were on disk.
#[derive(Default)]
struct Known {
    bytes: Vec<u8>,
    places: BTreeMap<Key, Place>,
}

struct Place {
    range: Range<usize>,
    /// Whether this version has it too; what it does not have is forgotten.
    is_used: AtomicBool,
}

impl Functions {
    /// Those of the component at this path, if it is large enough to keep any.
    pub(crate) fn of(
        cache: Option<Arc<Cache>>,
        path: &Path,
        size_bytes: u64,
        profile: Profile,
    ) -> Option<Arc<Functions>> {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let profile = format!("{profile:?}");
        let name = Digest::of_parts(&[b"functions", profile.as_bytes(), path.as_os_str().as_encoded_bytes()]);
        let functions = || Functions { cache, name: name.hex(), known: OnceLock::new(), new: Mutex::default() };
        (size_bytes >= COMPONENT_BYTES_MIN).then(|| Arc::new(functions()))
    }

    fn known(&self) -> &Known {
        self.known.get_or_init(|| {
            let stored = self.cache.as_ref().and_then(|cache| cache.recall_functions(&self.name));
            stored.and_then(Known::read).unwrap_or_default()
        })
    }

    /// Stores the functions of this version for the next one, if there are any that were not there before.
    pub(crate) fn keep(&self) {
        let new = std::mem::take(&mut *self.new.lock().unwrap_or_else(PoisonError::into_inner));
        let Some(cache) = self.cache.as_ref().filter(|_| !new.is_empty()) else { return };
        let known = self.known();
        let used = known.places.iter().filter(|(_, place)| place.is_used.load(Ordering::Relaxed));
        let used = used.map(|(key, place)| (key, &known.bytes[place.range.clone()]));
        let mut bytes = Vec::new();
        for (key, code) in used.chain(new.iter().map(|(key, code)| (key, code.as_slice()))) {
            bytes.extend_from_slice(key);
            bytes.extend_from_slice(&(code.len() as u64).to_le_bytes());
            bytes.extend_from_slice(code);
        }
        cache.keep_functions(&self.name, &bytes);
    }
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Compiles a component, where its functions are kept with their help.
pub(crate) fn compile(pool: &Pool, bytes: &[u8], functions: Option<&Arc<Functions>>) -> wasmtime::Result<Component> {
    let Some(functions) = functions else { return Component::new(&pool.engine, bytes) };
    let code = engine::compiler(pool.profile, functions.clone())?.precompile_component(bytes)?;
    // SAFETY: this needs bytes that the compiler made, unmodified: it made them a moment ago, and nobody else saw them.
    #[allow(unsafe_code, reason = "an engine takes what another one compiled only as bytes")]
    unsafe {
        Component::deserialize(&pool.engine, code)
    }
}

impl Known {
    /// The index of what `keep` wrote. The bytes were found to be ours; a file that is cut short anyway is none.
    fn read(bytes: Vec<u8>) -> Option<Known> {
        let mut places = BTreeMap::new();
        let mut rest = bytes.as_slice();
        while let Some((key, after)) = rest.split_first_chunk::<KEY_BYTES>() {
            let (length, after) = after.split_first_chunk::<8>()?;
            let start = bytes.len() - after.len();
            let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
            rest = after.get(length..)?;
            places.insert(*key, Place { range: start..start + length, is_used: AtomicBool::new(false) });
        }
        rest.is_empty().then_some(Known { bytes, places })
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key: &Key = key.try_into().ok()?;
        let known = self.known();
        if let Some(place) = known.places.get(key) {
            place.is_used.store(true, Ordering::Relaxed);
            return Some(Cow::Borrowed(&known.bytes[place.range.clone()]));
        }
        self.new.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned().map(Cow::Owned)
    }

    fn insert(&self, key: &[u8], code: Vec<u8>) -> bool {
        let Ok(key) = key.try_into() else { return false };
        self.new.lock().unwrap_or_else(PoisonError::into_inner).insert(key, code);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::engine::Engines;

    const PROFILE: Profile = Profile { deterministic: true, stack_bytes_max: 1 << 20, pooled: false };

    fn functions(dir: &Path) -> Arc<Functions> {
        let cache = Cache::open(&dir.join("cache")).expect("a cache");
        Functions::of(Some(Arc::new(cache)), &dir.join("plugin.wasm"), COMPONENT_BYTES_MIN, PROFILE).expect("large")
    }

    /// A component of two thousand functions, one of which multiplies by this number.
    fn component(number: u32) -> Vec<u8> {
        let function = |index: u32| {
            let number = if index == 7 { number } else { index };
            format!("(func (export \"{index}\") (param i32) (result i32) (i32.mul (local.get 0) (i32.const {number})))")
        };
        wat::parse_str(format!(
            "(component (core module {}))",
            (100..2100).map(function).collect::<String>() + &function(7)
        ))
        .expect("the text is WebAssembly")
    }

    /// How many functions are compiled for a component after what the folder holds.
    fn compiled(dir: &Path, number: u32) -> usize {
        let pool = Engines::new(1).get(PROFILE).expect("an engine");
        let functions = functions(dir);
        compile(&pool, &component(number), Some(&functions)).expect("compiles");
        let compiled = functions.new.lock().expect("no panic").len();
        functions.keep();
        compiled
    }

    #[test]
    fn only_what_was_edited_is_compiled() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(compiled(dir.path(), 1) > 1500);
        for number in [1, 2, 2, 3] {
            // The edited one, and what each thread of the compiler begins with, which has a key of its own.
            let again = compiled(dir.path(), number);
            assert!(again < 1000, "{again} functions for {number}");
        }
    }

    #[test]
    fn what_we_did_not_write_is_not_believed() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(compiled(dir.path(), 1) > 1500);
        let name = functions(dir.path()).name.clone();
        let path = dir.path().join("cache").join(format!("{name}.functions"));
        let good = fs::read(&path).expect("written");
        let mut flipped = good.clone();
        flipped[good.len() / 2] ^= 1;
        for forged in [vec![], good[..good.len() - 1].to_vec(), good[32..].to_vec(), flipped] {
            fs::write(&path, forged).expect("writable");
            assert!(compiled(dir.path(), 1) > 1500);
        }
        // Nor what we wrote for another path, or under another key.
        let other = tempfile::tempdir().expect("a folder");
        fs::create_dir(other.path().join("cache")).expect("a folder");
        fs::write(other.path().join("cache").join(format!("{name}.functions")), &good).expect("writable");
        assert!(compiled(other.path(), 1) > 1500);
    }

    #[test]
    fn only_large_components_have_any() {
        let of = |bytes| Functions::of(None, Path::new("p.wasm"), bytes, PROFILE).is_some();
        assert!(!of(COMPONENT_BYTES_MIN - 1) && of(COMPONENT_BYTES_MIN));
    }
}
