//! The components a run used, kept in its directory: `plugins/<sha256>.wasm`, and `plugins.lock`, which says what each
//! reward was from the start. A config names a path, and what lies there changes; a run that is resumed, rolled back or
//! scored again takes the bytes from here, and only when they still have the digest that is their name.

use rewarden_runtime::{COMPONENT_BYTES_MAX, Digest, Rubric};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::config::{RunConfig, Stage};
use crate::error::{Error, Result};
use crate::run_dir::StageDir;

const LOCK_BYTES_MAX: u64 = 1 << 20;
const LOCK: &str = "plugins.lock";

/// The folder of a run that keeps every component it used.
///
/// A path; making one costs nothing and touches no file.
#[derive(Clone, Debug)]
pub struct PluginStore {
    folder: PathBuf,
}

impl PluginStore {
    /// The store of the run in this directory.
    pub fn of(run: &Path) -> Self {
        Self { folder: run.join("plugins") }
    }

    /// Keeps the component in this file, which must have this digest. What is kept already is not written again, unless
    /// it was altered since.
    pub fn keep(&self, component: &Path, digest: Digest) -> Result<()> {
        if self.component(digest).is_ok() {
            return Ok(());
        }
        let bytes = read_at_most(component, COMPONENT_BYTES_MAX)?;
        if Digest::of(&bytes) != digest {
            let message = format!("changed since it was loaded as {digest}; start again");
            return Err(Error::Plugin { path: component.to_owned(), message });
        }
        fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        write_aside(&self.file(digest), &bytes)
    }

    /// Where the component of this digest lies. Its bytes are read and compared first.
    pub fn component(&self, digest: Digest) -> Result<PathBuf> {
        let path = self.file(digest);
        let wrong = |message: String| Err(Error::Plugin { path: path.clone(), message });
        if !path.is_file() {
            return wrong(format!("is missing: the run used {digest}; put that component back under this name"));
        }
        let found = Digest::of(&read_at_most(&path, COMPONENT_BYTES_MAX)?);
        if found != digest {
            return wrong(format!("was altered: its bytes are {found}; put the component {digest} back"));
        }
        Ok(path)
    }

    fn file(&self, digest: Digest) -> PathBuf {
        self.folder.join(format!("{}.wasm", digest.hex()))
    }
}

/// One reward in `plugins.lock`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Locked {
    digest: Digest,
    #[serde(default)]
    settings: toml::Table,
}

/// Writes which component each reward is, from now on, with its settings.
pub(crate) fn write_lock(folder: &Path, config: &RunConfig, digests: &BTreeMap<String, Digest>) -> Result<()> {
    let locked = |reward: &crate::config::RewardConfig| {
        let digest = *digests.get(&reward.name)?;
        Some((reward.name.clone(), Locked { digest, settings: reward.settings.clone() }))
    };
    let lock: BTreeMap<String, Locked> = config.reward.iter().filter_map(locked).collect();
    let file = folder.join(LOCK);
    let text = toml::to_string(&lock).map_err(|e| Error::run_dir(&file, e.to_string()))?;
    write_aside(&file, text.as_bytes())
}

pub(crate) fn has_lock(folder: &Path) -> bool {
    folder.join(LOCK).is_file()
}

fn read_lock(folder: &Path) -> Result<Option<BTreeMap<String, Digest>>> {
    let file = folder.join(LOCK);
    if !file.exists() {
        return Ok(None);
    }
    let bytes = read_at_most(&file, LOCK_BYTES_MAX)?;
    let lock: BTreeMap<String, Locked> =
        toml::from_str(&String::from_utf8_lossy(&bytes)).map_err(|e| Error::run_dir(&file, e.to_string()))?;
    Ok(Some(lock.into_iter().map(|(name, locked)| (name, locked.digest)).collect()))
}

/// Which components a run goes on with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pinned {
    /// Each reward's.
    pub rewards: BTreeMap<String, Digest>,
    /// Those that score beside a reward, by its name.
    pub shadows: BTreeMap<String, Digest>,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rewards = self.rewards.iter().map(|(name, digest)| format!("{name} {digest}"));
        let shadows = self.shadows.iter().map(|(name, digest)| format!("{name} (shadow) {digest}"));
        let all: Vec<String> = rewards.chain(shadows).collect();
        f.write_str(if all.is_empty() { "(none)".into() } else { all.join(", ") }.as_str())
    }
}

/// What a run with these stages was using where it is to be resumed: at the last checkpoint of reinforcement learning,
/// or from its start. Empty for a run that has not started.
pub fn pinned(config: &RunConfig, stages: &[Stage]) -> Result<Pinned> {
    let run = &config.log_path;
    let folder = |stage: Stage| run.join(stage.name());
    let from_start = |folder: &Path| -> Result<Option<Pinned>> {
        Ok(read_lock(folder)?.map(|rewards| Pinned { rewards, ..Pinned::default() }))
    };
    let found = match stages.contains(&Stage::Rl) {
        true => [at_checkpoint(run)?, from_start(&folder(Stage::Rl))?, from_start(run)?],
        false => [from_start(&folder(Stage::Eval))?, at_checkpoint(run)?, from_start(run)?],
    };
    Ok(found.into_iter().flatten().next().unwrap_or_default())
}

fn at_checkpoint(run: &Path) -> Result<Option<Pinned>> {
    if !run.join(Stage::Rl.name()).is_dir() {
        return Ok(None);
    }
    let checkpoint = StageDir::open(run, Stage::Rl)?.latest()?;
    Ok(checkpoint.map(|checkpoint| Pinned { rewards: checkpoint.plugins, shadows: checkpoint.shadows }))
}

/// Refuses to go on from a checkpoint with other components than those it was made with.
pub(crate) fn check_resumed(run: &Path, rubric: &Rubric) -> Result<()> {
    let given = Pinned { rewards: rubric.digests(), shadows: rubric.shadows() };
    match at_checkpoint(run)? {
        Some(used) if used != given => {
            let message = format!("its last checkpoint was made with the components {used}, not with {given}");
            Err(Error::run_dir(run.join(Stage::Rl.name()), message))
        }
        _ => Ok(()),
    }
}

/// A file of the run directory, whole, unless somebody made it larger than it can be.
pub(crate) fn read_at_most(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    let file = fs::File::open(path).map_err(Error::io("read", path))?;
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    match bytes.len() as u64 > bytes_max {
        true => Err(Error::run_dir(path, format!("is larger than {bytes_max} bytes: it is not what the run wrote"))),
        false => Ok(bytes),
    }
}

/// How the name of a file ends that is not whole yet.
pub(crate) const WRITING: &str = ".writing";

/// Writes a file beside its place and renames it, so that nobody ever reads a part of it.
pub(crate) fn write_aside(path: &Path, bytes: &[u8]) -> Result<()> {
    // Two threads of two processes may write one file at a time; each has a name of its own beside it.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.{}{WRITING}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)));
    let aside = path.with_file_name(name);
    let mut file = fs::File::create(&aside).map_err(Error::io("create", &aside))?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&aside, path));
    written.map_err(|e| {
        let _ = fs::remove_file(&aside); // of no use to anybody
        Error::io("write", path)(e)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(bytes: &[u8]) -> (tempfile::TempDir, PluginStore, Digest) {
        let run = tempfile::tempdir().unwrap();
        let (component, digest) = (run.path().join("a.wasm"), Digest::of(bytes));
        fs::write(&component, bytes).unwrap();
        let store = PluginStore::of(run.path());
        store.keep(&component, digest).unwrap();
        store.keep(&component, digest).unwrap();
        (run, store, digest)
    }

    #[test]
    fn bytes_come_back_under_their_digest() {
        let (_run, store, digest) = kept(b"component");
        let path = store.component(digest).unwrap();
        assert!(path.ends_with(format!("plugins/{}.wasm", digest.hex())));
        assert_eq!(fs::read(&path).unwrap(), b"component");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[track_caller]
    fn check_refused(spoil: impl Fn(&Path), expected: &str) {
        let (_run, store, digest) = kept(b"component");
        spoil(&store.file(digest));
        let error = store.component(digest).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains(&digest.hex()), "{error}");
    }

    #[test]
    fn missing_and_altered_components_are_refused() {
        check_refused(|file| fs::remove_file(file).unwrap(), "is missing");
        check_refused(|file| fs::write(file, "componenT").unwrap(), "was altered");
        check_refused(|file| fs::write(file, "").unwrap(), "was altered");
        let (run, store, digest) = kept(b"component");
        fs::write(store.file(digest), "componenT").unwrap();
        store.keep(&run.path().join("a.wasm"), digest).unwrap();
        assert!(store.component(digest).is_ok(), "kept again");
        let error = store.keep(&run.path().join("a.wasm"), Digest::of(b"other")).unwrap_err().to_string();
        assert!(error.contains("changed since it was loaded"), "{error}");
    }

    #[test]
    fn the_lock_says_what_was_in_force_from_the_start() {
        let run = tempfile::tempdir().unwrap();
        let text = "log_path = 'x'\n[[reward]]\nname = 'a b'\nplugin = 'p'\nsettings = { score = 2.5 }\n";
        let mut config = RunConfig::parse(Path::new("a.toml"), text, &[]).unwrap();
        config.log_path = run.path().to_owned();
        assert_eq!(pinned(&config, &[Stage::Rl]).unwrap(), Pinned::default());
        let digests = BTreeMap::from([("a b".to_owned(), Digest::of(b"1"))]);
        write_lock(run.path(), &config, &digests).unwrap();
        assert_eq!(pinned(&config, &[Stage::Rl]).unwrap().rewards, digests);
        assert!(fs::read_to_string(run.path().join(LOCK)).unwrap().contains("score = 2.5"));
        fs::write(run.path().join(LOCK), "a = 3").unwrap();
        assert!(pinned(&config, &[Stage::Eval]).unwrap_err().to_string().contains("plugins.lock"));
    }
}
