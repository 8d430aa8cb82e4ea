//! The file of a component: read, named by its digest and inspected - or recognised as one that was, and left unread.

use std::fs::{File, Metadata};
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::inspect::{self, Inspection};
use crate::{Digest, Error};

/// No component is larger, in bytes: an interpreter with its standard library is a third of it.
pub const COMPONENT_BYTES_MAX: u64 = 64 << 20;

/// A component's file and what is known of it.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) digest: Digest,
    pub(crate) size_bytes: u64,
    pub(crate) inspection: Inspection,
    /// None where the file was recognised. Its native code is cached then, and nobody needs the bytes.
    bytes: Option<Vec<u8>>,
}

/// What the cache folder remembers of a file.
#[derive(Serialize, Deserialize)]
struct Known {
    digest: Digest,
    size_bytes: u64,
    inspection: Inspection,
}

impl Source {
    /// Reading, hashing and validating the 18 MB of a Python plugin takes a fifth of a second. A file whose place, size
    /// and times of change are those of one that was found good is taken for that one: what then runs is the native code
    /// of the digest that is reported, whatever has become of the file.
    pub(crate) fn open(path: &Path, cache: Option<&Cache>) -> Result<Source, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let place = identity(&file.metadata().map_err(failed)?);
        let known = cache.zip(place.as_ref()).and_then(|(cache, place)| cache.recall(place));
        if let Some(Known { digest, size_bytes, inspection }) =
            known.and_then(|known| serde_json::from_slice(&known).ok())
        {
            return Ok(Source { path: path.to_owned(), digest, size_bytes, inspection, bytes: None });
        }
        let bytes = read(path, file)?;
        let inspection = inspect::inspect(path, &bytes)?;
        let (digest, size_bytes) = (Digest::of(&bytes), bytes.len() as u64);
        if let Some((cache, place)) = cache.zip(place) {
            let known = Known { digest, size_bytes, inspection: inspection.clone() };
            cache.note(&place, &serde_json::to_vec(&known).expect("plain data"));
        }
        Ok(Source { path: path.to_owned(), digest, size_bytes, inspection, bytes: Some(bytes) })
    }

    /// The component, read again where it was not, and the same as before.
    pub(crate) fn bytes(&self) -> Result<Vec<u8>, Error> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let failed = |source| Error::Read { path: self.path.clone(), source };
        let bytes = read(&self.path, File::open(&self.path).map_err(failed)?)?;
        match Digest::of(&bytes) == self.digest {
            true => Ok(bytes),
            false => Err(Error::Changed { path: self.path.clone() }),
        }
    }
}

fn read(path: &Path, file: File) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let size = file.metadata().map_err(failed)?.len();
    // One byte more than the cap: a pipe or a growing file has no size to trust.
    let mut bytes = Vec::with_capacity(size.min(COMPONENT_BYTES_MAX) as usize);
    file.take(COMPONENT_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > COMPONENT_BYTES_MAX {
        let bytes = size.max(bytes.len() as u64);
        return Err(Error::TooLarge { path: path.to_owned(), bytes, bytes_max: COMPONENT_BYTES_MAX });
    }
    Ok(bytes)
}

/// A name for this version of this file, as what this version of the runtime found. The time of a file's last change of
/// any kind cannot be set by programs.
#[cfg(unix)]
fn identity(file: &Metadata) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let numbers = [file.dev(), file.ino(), file.size(), file.mtime() as u64, file.mtime_nsec() as u64];
    let numbers = numbers.into_iter().chain([file.ctime() as u64, file.ctime_nsec() as u64]);
    let bytes: Vec<u8> = numbers.flat_map(u64::to_le_bytes).collect();
    let digest = Digest::of_parts(&[env!("CARGO_PKG_VERSION").as_bytes(), &bytes]);
    file.is_file().then(|| digest.hex()[..32].to_owned())
}

#[cfg(not(unix))]
fn identity(_file: &Metadata) -> Option<String> {
    None
}
