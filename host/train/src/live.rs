//! Whether a run is going on in a directory: it holds the lock on a file there for as long as it lives, and the system
//! lets go of it however the process ends.

use std::fs::{self, File, TryLockError};
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

const LIVE: &str = "live.lock";

/// Held by a run while it goes on.
#[derive(Debug)]
pub(crate) struct Live {
    _lock: File,
}

impl Live {
    /// Takes the lock of a run's directory. Somebody who only looks holds it for a moment: a second attempt follows.
    pub(crate) fn hold(run: &Path) -> Result<Self> {
        let path = run.join(LIVE);
        let file = File::options().create(true).append(true).open(&path).map_err(Error::io("create", &path))?;
        for _ in 0..20 {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _lock: file }),
                // A file system without locks: the run goes on, and nobody can tell that it does.
                Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => {
                    return Ok(Self { _lock: file });
                }
                Err(TryLockError::Error(e)) => return Err(Error::io("lock", &path)(e)),
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(25)),
            }
        }
        Err(taken(run))
    }

    /// Refuses a directory where a run goes on.
    pub(crate) fn refuse(run: &Path) -> Result<()> {
        if is_live(run)? { Err(taken(run)) } else { Ok(()) }
    }
}

/// Whether a run is going on in this directory.
pub fn is_live(run: &Path) -> Result<bool> {
    let path = run.join(LIVE);
    let file = match fs::metadata(&path).and_then(|_| File::open(&path)) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(Error::io("read", &path)(e)),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) if e.kind() == std::io::ErrorKind::Unsupported => Ok(false),
        Err(TryLockError::Error(e)) => Err(Error::io("lock", &path)(e)),
    }
}

fn taken(run: &Path) -> Error {
    Error::run_dir(run, "a run is going on there; wait for its end, or choose another `log_path`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_live_until_it_is_dropped() {
        let run = tempfile::tempdir().unwrap();
        assert!(!is_live(run.path()).unwrap());
        let live = Live::hold(run.path()).unwrap();
        assert!(is_live(run.path()).unwrap());
        assert!(Live::hold(run.path()).unwrap_err().to_string().contains("going on"));
        assert!(Live::refuse(run.path()).is_err());
        drop(live);
        assert!(!is_live(run.path()).unwrap());
        drop(Live::hold(run.path()).unwrap());
    }
}
