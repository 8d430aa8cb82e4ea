//! Checkpoints of a stage: written whole, made durable, then named; the oldest removed when a newer one is safe.
//!
//! The order of writing is what a crash or a full disk cannot break. A checkpoint is written under `.writing`, synced,
//! renamed, its folder's entry synced, and only then named in `checkpoints.jsonl`. One that goes is renamed to `.removing`,
//! taken off the index, and only then deleted. So whatever the index names and is there, is whole.

use rewarden_runtime::{Digest, RubricState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{CHECKPOINTS, METRICS, ROLLOUTS, StageDir, read_rows};
use crate::config::RunConfig;
use crate::error::{Error, Result};
use crate::model::Policy;
use crate::optim::Optimizer;
use crate::plugin_store::write_aside;
use crate::reward_model::About;
use crate::tokenizer::Tokenizer;

/// The optimizer's state within a checkpoint.
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";

/// More steps than any run takes, and few enough that their examples can be counted.
const STEPS_MAX: usize = 1 << 32;

const WRITING: &str = ".writing";
const REMOVING: &str = ".removing";

/// One line of `checkpoints.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Name of the folder below `checkpoints/`.
    pub name: String,
    /// Where a run that goes on finds weights, optimizer and step; relative to the stage's folder.
    pub state_path: PathBuf,
    /// Where a sampler finds the model; the same folder.
    pub sampler_path: PathBuf,
    /// Steps done.
    pub batch: usize,
    /// Batches of tasks that were attempted: where in the data a stage that samples goes on.
    #[serde(default)]
    pub batches_drawn: usize,
    /// Whether the stage is finished.
    #[serde(rename = "final")]
    pub is_final: bool,
    /// Seconds of training so far, resumed parts included.
    pub seconds: f64,
    /// Digest of each plugin that was in use.
    #[serde(default)]
    pub plugins: BTreeMap<String, Digest>,
    /// Digest of each component that scored beside a reward.
    #[serde(default)]
    pub shadows: BTreeMap<String, Digest>,
    /// The fault counts of the graders so far; none in a stage without rewards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rubric: Option<RubricState>,
}

/// What a checkpoint is made of.
pub(crate) struct Parts<'a> {
    pub(crate) policy: &'a Policy,
    pub(crate) tokenizer: &'a Tokenizer,
    pub(crate) optimizer: &'a Optimizer,
    pub(crate) about: Option<&'a About>,
}

/// Which checkpoints stay.
#[derive(Clone, Debug, Default)]
pub(crate) struct Retention {
    /// So many of the newest; 0 means all.
    pub(crate) keep_last: usize,
    /// And those in these folders: somebody starts from them.
    pub(crate) named: Vec<PathBuf>,
}

impl Retention {
    /// What a run keeps of a stage: so many of the newest, and what its config names.
    pub(crate) fn of(config: &RunConfig, keep_last: usize) -> Self {
        Self { keep_last, named: config.named_folders() }
    }
}

impl StageDir {
    /// The newest checkpoint whose folder is there.
    pub(crate) fn latest(&self) -> Result<Option<Checkpoint>> {
        let is_there = |checkpoint: &Checkpoint| self.folder(checkpoint).is_dir();
        Ok(self.checkpoints()?.into_iter().rev().find(is_there))
    }

    /// The folder of a checkpoint: a Hugging Face model folder with the optimizer's state beside it.
    pub(crate) fn folder(&self, checkpoint: &Checkpoint) -> PathBuf {
        self.home().join(&checkpoint.name)
    }

    /// Writes a checkpoint. A failure leaves those before it as they were, and takes no space.
    pub(crate) fn save(&self, checkpoint: &Checkpoint, parts: &Parts) -> Result<()> {
        let aside = self.home().join(WRITING);
        let _ = fs::remove_dir_all(&aside); // left over from a crash
        fs::create_dir_all(&aside).map_err(Error::io("create", &aside))?;
        let write = || {
            parts.policy.write(&aside)?;
            parts.tokenizer.write(&aside)?;
            parts.optimizer.write(parts.policy, &aside.join(OPTIMIZER))?;
            parts.about.map_or(Ok(()), |about| about.write(&aside))?;
            sync_all(&aside)
        };
        write().inspect_err(|_| drop(fs::remove_dir_all(&aside)))?;
        let folder = self.folder(checkpoint);
        let _ = fs::remove_dir_all(&folder); // a checkpoint that never reached the index
        fs::rename(&aside, &folder).map_err(Error::io("rename", &folder))?;
        sync_entries(&self.home())?;
        // The rows before a checkpoint must be there when it is.
        for file in [METRICS, ROLLOUTS].map(|name| self.file(name)).iter().filter(|file| file.is_file()) {
            sync(file)?;
        }
        self.append(CHECKPOINTS, checkpoint)?;
        sync(&self.file(CHECKPOINTS))?;
        sync_entries(&self.path)
    }

    /// Removes the checkpoints that need not stay. The newest always does.
    pub(crate) fn remove_old(&self, retention: &Retention) -> Result<()> {
        let removing = self.home().join(REMOVING);
        let _ = fs::remove_dir_all(&removing); // left over from a crash
        if retention.keep_last == 0 {
            return Ok(());
        }
        let mut kept = self.checkpoints()?;
        let old = kept.len().saturating_sub(retention.keep_last);
        let is_old: Vec<String> = kept[..old].iter().map(|checkpoint| checkpoint.name.clone()).collect();
        for name in is_old.iter().filter(|name| !self.is_named(name, retention)) {
            let folder = self.home().join(name);
            if folder.is_dir() {
                fs::rename(&folder, &removing).map_err(Error::io("rename", &folder))?;
            }
            kept.retain(|checkpoint| checkpoint.name != *name);
            self.write_index(&kept)?;
            let _ = fs::remove_dir_all(&removing); // what is left of it goes next time
        }
        Ok(())
    }

    fn is_named(&self, name: &str, retention: &Retention) -> bool {
        let folder = self.home().join(name).canonicalize();
        let named = |path: &PathBuf| path.canonicalize().ok().zip(folder.as_ref().ok()).is_some_and(|(a, b)| a == *b);
        retention.named.iter().any(named)
    }

    fn home(&self) -> PathBuf {
        self.path.join("checkpoints")
    }

    /// The rows of the index. A name that is no number would be somebody else's file, and could point anywhere.
    fn checkpoints(&self) -> Result<Vec<Checkpoint>> {
        let index = self.file(CHECKPOINTS);
        let rows: Vec<Checkpoint> = if index.exists() { read_rows(&index)? } else { vec![] };
        for (line, row) in (1..).zip(&rows) {
            if row.batch.max(row.batches_drawn) > STEPS_MAX {
                let message =
                    format!("line {line}: `batch` or `batches_drawn` is beyond {STEPS_MAX}; no run of ours wrote it");
                return Err(Error::run_dir(index, message));
            }
        }
        let is_number = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        Ok(rows.into_iter().filter(|checkpoint| is_number(&checkpoint.name)).collect())
    }

    fn write_index(&self, checkpoints: &[Checkpoint]) -> Result<()> {
        let index = self.file(CHECKPOINTS);
        let line = |checkpoint| serde_json::to_string(checkpoint).map(|row| row + "\n");
        let lines: serde_json::Result<String> = checkpoints.iter().map(line).collect();
        write_aside(&index, lines.map_err(|e| Error::run_dir(&index, e.to_string()))?.as_bytes())?;
        sync_entries(&self.path)
    }
}

/// Makes the files of a folder, and their names, outlast a loss of power.
fn sync_all(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io("list", folder))? {
        sync(&entry.map_err(Error::io("list", folder))?.path())?;
    }
    sync_entries(folder)
}

fn sync(file: &Path) -> Result<()> {
    File::open(file).and_then(|file| file.sync_all()).map_err(Error::io("write", file))
}

/// A rename is durable when the folder it happened in is. Only Unix opens folders like files.
fn sync_entries(folder: &Path) -> Result<()> {
    if cfg!(unix) { sync(folder) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Stage;

    fn checkpoint(step: usize) -> Checkpoint {
        let name = format!("{step:06}");
        let folder = Path::new("checkpoints").join(&name);
        Checkpoint {
            name,
            state_path: folder.clone(),
            sampler_path: folder,
            batch: step,
            batches_drawn: 0,
            is_final: false,
            seconds: 0.0,
            plugins: BTreeMap::new(),
            shadows: BTreeMap::new(),
            rubric: None,
        }
    }

    fn stage(steps: &[usize]) -> (tempfile::TempDir, StageDir) {
        let run = tempfile::tempdir().unwrap();
        let dir = StageDir::open(run.path(), Stage::Rl).unwrap();
        for checkpoint in steps.iter().map(|&step| checkpoint(step)) {
            fs::create_dir_all(dir.folder(&checkpoint)).unwrap();
            dir.append(CHECKPOINTS, &checkpoint).unwrap();
        }
        (run, dir)
    }

    /// What is in the index, and what lies in the folder.
    fn left(dir: &StageDir) -> [Vec<String>; 2] {
        let names = fs::read_dir(dir.home()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        [dir.checkpoints().unwrap().into_iter().map(|checkpoint| checkpoint.name).collect(), names]
    }

    /// Steps of checkpoints, how many to keep, which are named elsewhere: and which stay.
    #[track_caller]
    fn check(steps: &[usize], keep_last: usize, named: &[usize], expected: &[usize]) {
        let (_run, dir) = stage(steps);
        let named = named.iter().map(|&step| dir.folder(&checkpoint(step)).join(".")).collect();
        dir.remove_old(&Retention { keep_last, named }).unwrap();
        let expected: Vec<String> = expected.iter().map(|step| format!("{step:06}")).collect();
        assert_eq!(left(&dir), [expected.clone(), expected]);
    }

    #[test]
    fn the_newest_and_those_that_are_named_stay() {
        check(&[5, 10, 15], 0, &[], &[5, 10, 15]);
        check(&[5, 10, 15], 1, &[], &[15]);
        check(&[5, 10, 15], 2, &[], &[10, 15]);
        check(&[5, 10, 15], 9, &[], &[5, 10, 15]);
        check(&[5, 10, 15], 1, &[5], &[5, 15]);
        check(&[5], 1, &[], &[5]);
    }

    #[test]
    fn what_a_crash_left_between_two_steps_is_cleared() {
        let (_run, dir) = stage(&[5, 10, 15]);
        fs::rename(dir.folder(&checkpoint(5)), dir.home().join(REMOVING)).unwrap();
        assert_eq!(dir.latest().unwrap().unwrap().batch, 15);
        dir.remove_old(&Retention { keep_last: 2, named: vec![] }).unwrap();
        assert_eq!(
            left(&dir),
            [["000010", "000015"], ["000010", "000015"]].map(|names| names.map(str::to_owned).to_vec())
        );
    }

    #[test]
    fn steps_that_nobody_took_are_refused_with_file_and_line() {
        let (_run, dir) = stage(&[5]);
        let far = Checkpoint { batches_drawn: i64::MAX as usize, ..checkpoint(10) };
        dir.append(CHECKPOINTS, &far).unwrap();
        let error = dir.latest().unwrap_err().to_string();
        assert!(error.contains("checkpoints.jsonl: line 2: `batch` or `batches_drawn` is beyond"), "{error}");
    }

    #[test]
    fn a_name_that_points_elsewhere_is_nobodys_checkpoint() {
        let (run, dir) = stage(&[5]);
        fs::create_dir_all(run.path().join("treasure")).unwrap();
        let index = dir.file(CHECKPOINTS);
        let row = fs::read_to_string(&index).unwrap();
        for name in ["../../treasure", ""] {
            fs::write(&index, row.replace("\"000005\"", &format!("{name:?}")) + &row).unwrap();
            dir.remove_old(&Retention { keep_last: 1, named: vec![] }).unwrap();
            assert!(run.path().join("treasure").is_dir() && dir.latest().unwrap().unwrap().name == "000005");
        }
    }
}
