//! `--watch`: while a run goes on, its plugins are watched; one that changed is built, tried out and asked to be swapped
//! in, as `rewarden swap` would. What does not build or is not fit leaves the run with what it has.
//!
//! Names, sizes and times of files are compared once a second: a source folder holds few, and nothing has to be
//! installed, or told apart by system, for that.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use rewarden_runtime::{Digest, Runtime};
use rewarden_train::{RewardConfig, Rewards, RunConfig, SwapKind, SwapRequest, is_live};

use crate::plugin::manifest::Manifest;
use crate::plugin::sources;
use crate::swap::{new_id, prepare};

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Name, size and time of every file of a plugin.
pub(crate) type Look = BTreeMap<PathBuf, (u64, Option<SystemTime>)>;

/// The plugins of a config as they looked when it was read.
pub(crate) struct Watch {
    config: RunConfig,
    seen: Vec<Seen>,
}

struct Seen {
    reward: RewardConfig,
    look: Look,
    /// The component that was last made of it.
    digest: Option<Digest>,
}

/// Ends the watch when it is dropped.
pub(crate) struct Watching {
    _stop: Sender<()>,
}

impl Watch {
    pub(crate) fn look(config: &RunConfig) -> Watch {
        let seen = |reward: &RewardConfig| Seen { reward: reward.clone(), look: look(&reward.plugin), digest: None };
        Watch { config: config.clone(), seen: config.reward.iter().map(seen).collect() }
    }

    /// Watches from now on; `rewards` is what the run begins with.
    pub(crate) fn start(mut self, rewards: &Rewards) -> Watching {
        for seen in &mut self.seen {
            let component = rewards.components.get(&seen.reward.name).and_then(|path| fs::read(path).ok());
            seen.digest = component.map(|component| Digest::of(&component));
        }
        let runtime = rewards.runtime.clone();
        let (stop, stopped) = mpsc::channel();
        thread::spawn(move || {
            while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(LOOK_EVERY) {
                // Before the run has its directory, nothing may be put there.
                if is_live(&self.config.log_path).unwrap_or(false) {
                    self.look_again(&runtime);
                }
            }
        });
        Watching { _stop: stop }
    }

    fn look_again(&mut self, runtime: &Runtime) {
        for Seen { reward, look: seen, digest } in &mut self.seen {
            let now = look(&reward.plugin);
            if now == *seen {
                continue;
            }
            *seen = now;
            match ask(runtime, &self.config, reward, digest) {
                Ok(Some(digest)) => eprintln!("watch: {} changed: asked for {digest}", reward.plugin.display()),
                // A comment, or what a first build leaves beside the source.
                Ok(None) => {}
                Err(error) => eprintln!("watch: the run keeps the `{}` it has: {error:#}", reward.name),
            }
        }
    }
}

/// Builds, tries out and asks for the component, if it is another than the last one.
fn ask(
    runtime: &Runtime,
    config: &RunConfig,
    reward: &RewardConfig,
    last: &mut Option<Digest>,
) -> Result<Option<Digest>> {
    let digest = prepare(runtime, config, reward, &reward.plugin)?;
    if *last == Some(digest) {
        return Ok(None);
    }
    let request = SwapRequest { name: reward.name.clone(), kind: SwapKind::Swap, to: Some(digest) };
    request.submit(&config.log_path, &new_id())?;
    *last = Some(digest);
    Ok(Some(digest))
}

/// All but what a `[build]` command of plugin.toml makes: every build writes that, and would look like a change.
pub(crate) fn look(plugin: &Path) -> Look {
    let output = || Some(plugin.join(Manifest::read(plugin).ok()??.build?.output));
    let output = output();
    let seen = |path: PathBuf| {
        let metadata = fs::metadata(&path).ok()?;
        Some((path, (metadata.len(), metadata.modified().ok())))
    };
    sources::below(plugin).into_iter().filter(|path| output.as_ref() != Some(path)).filter_map(seen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is done to a plugin's folder, and whether that is a change.
    #[track_caller]
    fn check(change: impl Fn(&Path), expected: bool) {
        let folder = tempfile::tempdir().unwrap();
        for file in
            ["plugin.toml", "src/lib.rs", "target/debug/out", ".git/index", "node_modules/a/b", ".rewarden/wit/w"]
        {
            fs::create_dir_all(folder.path().join(file).parent().unwrap()).unwrap();
            fs::write(folder.path().join(file), "1").unwrap();
        }
        let before = look(folder.path());
        change(folder.path());
        assert_eq!(look(folder.path()) != before, expected);
    }

    #[test]
    fn sources_are_watched_and_builds_are_not() {
        check(|_| {}, false);
        check(|folder| fs::write(folder.join("src/lib.rs"), "12").unwrap(), true);
        check(|folder| fs::write(folder.join("src/new.rs"), "").unwrap(), true);
        check(|folder| fs::remove_file(folder.join("plugin.toml")).unwrap(), true);
        check(|folder| fs::write(folder.join("target/debug/out"), "12").unwrap(), false);
        check(|folder| fs::write(folder.join(".git/index"), "12").unwrap(), false);
        check(|folder| fs::write(folder.join("node_modules/a/b"), "12").unwrap(), false);
        check(|folder| fs::write(folder.join(".rewarden/wit/w"), "12").unwrap(), false);
        check(|folder| fs::write(folder.join("src/.lib.rs.swp"), "12").unwrap(), false);
    }

    #[test]
    fn what_a_build_command_makes_is_not_watched() {
        let folder = tempfile::tempdir().unwrap();
        let manifest = "id = \"a\"\nversion = \"0.1.0\"\nkind = \"reward\"\nlanguage = \"c\"\nsummary = \"A.\"\n\
                        license = \"MIT\"\n[build]\ncommand = [\"make\"]\noutput = \"out/a.wasm\"\n";
        fs::write(folder.path().join("plugin.toml"), manifest).unwrap();
        let before = look(folder.path());
        fs::create_dir(folder.path().join("out")).unwrap();
        fs::write(folder.path().join("out/a.wasm"), "1").unwrap();
        assert_eq!(look(folder.path()), before);
        fs::write(folder.path().join("out/b.c"), "1").unwrap();
        assert_ne!(look(folder.path()), before);
    }

    #[test]
    fn a_component_is_watched_by_itself() {
        let folder = tempfile::tempdir().unwrap();
        let component = folder.path().join("a.wasm");
        assert!(look(&component).is_empty());
        fs::write(&component, "1").unwrap();
        assert_eq!(look(&component).len(), 1);
    }
}
