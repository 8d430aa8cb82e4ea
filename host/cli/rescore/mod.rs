//! `rewarden rescore`: a run's rollouts are scored again. Without `--with` by the very components that scored them, which
//! must give the same bits; with it by another plugin, whose opinion is compared with the stored one.
//!
//! Rollout files may be larger than memory: they are read in chunks, and only counts (and two numbers a rollout, to rank
//! them) are kept.

mod compare;
mod rank;
mod reproduce;
mod rows;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use rewarden_train::{ROLLOUTS, RunConfig, Stage, StoredRollout};
use serde::Serialize;

use crate::args::RescoreArgs;
use crate::swap::stored_config;
use compare::Comparison;
use reproduce::Reproduction;
use rows::Rows;

/// Unreadable rows that are shown; all are counted.
const SHOWN_MAX: usize = 5;

/// The rollout files of one stage, and the config it ran with.
struct StageFiles {
    stage: Stage,
    config: RunConfig,
    files: Vec<PathBuf>,
}

/// Rows that are no rollouts.
#[derive(Default, Serialize)]
struct Unreadable {
    rows: usize,
    /// File, line and reason of the first few.
    first: Vec<String>,
}

pub(crate) fn run(args: RescoreArgs) -> Result<ExitCode> {
    let config = stored_config(&args.run)?;
    let stages = stages(&config)?;
    if stages.iter().all(|stage| stage.files.is_empty()) {
        bail!("{} holds no rollouts: only `rl` and `eval` write some", args.run.display());
    }
    let mut unreadable = Unreadable::default();
    match &args.with {
        None => {
            let mut reproduction = Reproduction::new(args.jobs)?;
            each_chunk(&stages, &mut unreadable, |stage, rollouts| reproduction.add(stage, rollouts))?;
            reproduction.print(&unreadable, args.json)
        }
        Some(plugin) => {
            let mut comparison = Comparison::new(&args, plugin, &config)?;
            each_chunk(&stages, &mut unreadable, |stage, rollouts| comparison.add(stage, rollouts))?;
            comparison.print(&unreadable, args.json)
        }
    }
}

/// The stages that write rollouts, each with the config in its own folder: stages may have been run one by one.
fn stages(config: &RunConfig) -> Result<Vec<StageFiles>> {
    let run = &config.log_path;
    let stage = |stage: Stage| {
        let folder = run.join(stage.name());
        let mut own = if folder.join("config.toml").is_file() { stored_config(&folder)? } else { config.clone() };
        run.clone_into(&mut own.log_path);
        Ok(StageFiles { stage, config: own, files: rollout_files(&folder)? })
    };
    [Stage::Rl, Stage::Eval].into_iter().map(stage).collect()
}

/// `rollouts.jsonl` and `<model>-rollouts.jsonl`, in the order of their names.
fn rollout_files(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(vec![]);
    }
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    let rollouts = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        path.is_file() && (name == ROLLOUTS || name.ends_with(&format!("-{ROLLOUTS}")))
    };
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(rollouts).collect();
    files.sort();
    Ok(files)
}

/// Hands on every rollout of the run, chunk by chunk, and shows how far it is.
fn each_chunk(
    stages: &[StageFiles],
    unreadable: &mut Unreadable,
    mut hand_on: impl FnMut(&StageFiles, Vec<StoredRollout>) -> Result<()>,
) -> Result<()> {
    let files = || stages.iter().flat_map(|stage| stage.files.iter().map(move |file| (stage, file)));
    let bytes = files().filter_map(|(_, file)| Some(fs::metadata(file).ok()?.len())).sum();
    // Draws nothing where standard error is no terminal.
    let bar = ProgressBar::new(bytes);
    let style = ProgressStyle::with_template("rescore {bar:24} {bytes}/{total_bytes}  ETA {eta}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    for (stage, file) in files() {
        let mut rows = Rows::open(file)?;
        while let Some(chunk) = rows.next_chunk()? {
            bar.inc(chunk.bytes);
            unreadable.rows += chunk.unreadable.len();
            let room = SHOWN_MAX.saturating_sub(unreadable.first.len());
            unreadable.first.extend(chunk.unreadable.into_iter().take(room));
            hand_on(stage, chunk.rollouts)?;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

impl Unreadable {
    fn print(&self) {
        if self.rows > 0 {
            outln!("\n{} rows are no rollouts and were left out:", self.rows);
            self.first.iter().for_each(|reason| outln!("  {reason}"));
        }
    }
}
