//! `rewarden swap`: prepares a plugin as the live run would, leaves a request in the run's directory and waits for the
//! answer. Whatever can be found wrong is found here, before the run hears of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use rewarden_runtime::{Digest, Runtime, Scorer};
use rewarden_train::{
    PluginStore, ROLLOUTS, RewardConfig, RunConfig, SWAPS, Stage, StoredRollout, SwapKind, SwapRecord, SwapRequest,
    is_finished, is_live, swap_outcome,
};

use crate::args::SwapArgs;
use crate::launch::loaded;
use crate::plugin::build::ensure_built;
use crate::runtime;

/// How often the answer is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A config that a run wrote is a few kilobytes; whatever is longer does not parse.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// The end of a rollout file in which its last row is looked for.
const TAIL_BYTES: u64 = 4 << 20;

pub(crate) fn run(args: SwapArgs) -> Result<ExitCode> {
    let config = stored_config(&args.run)?;
    check_live(&config)?;
    let reward = config.reward_named(&args.name)?;
    let to = match &args.plugin {
        Some(plugin) => Some(prepare(&runtime::start(0)?, &config, reward, plugin)?),
        None => None,
    };
    let request = SwapRequest { name: args.name.clone(), kind: kind(&args), to };
    let id = new_id();
    request.submit(&args.run, &id)?;
    if args.no_wait {
        outln!("{}: asked; the answer will be the row {id} of {}", args.name, Path::new("rl").join(SWAPS).display());
        return Ok(ExitCode::SUCCESS);
    }
    let record = wait(&args.run, &id, Duration::from_secs(args.timeout_s))?;
    match &record.refused {
        None => outln!("{}", sentence(&record)),
        Some(reason) => bail!("the run refuses: {reason}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn kind(args: &SwapArgs) -> SwapKind {
    match args {
        SwapArgs { rollback: true, .. } => SwapKind::Rollback,
        SwapArgs { promote: true, .. } => SwapKind::Promote,
        SwapArgs { drop_shadow: true, .. } => SwapKind::DropShadow,
        SwapArgs { shadow: true, .. } => SwapKind::Shadow,
        _ => SwapKind::Swap,
    }
}

/// The config in a run's directory, which is where the run lies, whatever path it was started with.
pub(crate) fn stored_config(run: &Path) -> Result<RunConfig> {
    let file = run.join("config.toml");
    let mut text = String::new();
    let opened = File::open(&file);
    opened
        .and_then(|file| file.take(CONFIG_BYTES_MAX).read_to_string(&mut text))
        .with_context(|| format!("{} is no run directory: cannot read its config.toml", run.display()))?;
    let mut config = RunConfig::parse(&file, &text, &[])?;
    run.clone_into(&mut config.log_path);
    Ok(config)
}

fn check_live(config: &RunConfig) -> Result<()> {
    let run = config.log_path.display();
    if !is_live(&config.log_path)? {
        bail!("no run is live in {run}: change the plugin in its config instead, or go on with it (--resume) first");
    }
    if is_finished(config, Stage::Rl)? {
        bail!("reinforcement learning in {run} is over: there is no step boundary left to swap at");
    }
    Ok(())
}

/// Builds, loads and tries out a plugin as this reward of the run, and puts its component where the run finds it.
pub(crate) fn prepare(runtime: &Runtime, config: &RunConfig, reward: &RewardConfig, plugin: &Path) -> Result<Digest> {
    let component = ensure_built(plugin)?;
    let unfit = || format!("{} cannot be the reward `{}` of this run", plugin.display(), reward.name);
    let judge = loaded(runtime, config, reward, component.clone()).with_context(unfit)?;
    try_out(config, reward, &judge).with_context(unfit)?;
    PluginStore::of(&config.log_path).keep(&component, judge.digest())?;
    Ok(judge.digest())
}

/// Scores the run's last rollout, if the reward as it is could: then the new one has no excuse.
fn try_out(config: &RunConfig, reward: &RewardConfig, judge: &Scorer) -> Result<()> {
    let Some(rollout) = last_rollout(&config.log_path)? else { return Ok(()) };
    if rollout.scores.get(&reward.name).is_none_or(|stored| stored.result.is_err()) {
        return Ok(());
    }
    let id = rollout.sample.id.clone();
    let results = runtime::block_on(judge.judge_batch(vec![rollout.sample]))?;
    match results.into_iter().next().map(|judgement| judgement.result) {
        Some(Err(fault)) => bail!("it does not judge rollout {id}, which the reward of now does: {fault}"),
        _ => Ok(()),
    }
}

/// The last whole row of `rl/rollouts.jsonl`, if there is one that can be read.
fn last_rollout(run: &Path) -> Result<Option<StoredRollout>> {
    let path = run.join(Stage::Rl.name()).join(ROLLOUTS);
    let Ok(mut file) = File::open(&path) else { return Ok(None) };
    let mut tail = vec![];
    let length = file.metadata().map_or(0, |metadata| metadata.len());
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    file.take(TAIL_BYTES).read_to_end(&mut tail)?;
    let rows = tail.split_inclusive(|&byte| byte == b'\n').filter(|row| row.ends_with(b"\n"));
    Ok(rows.rev().find_map(|row| StoredRollout::parse(row).ok()))
}

/// Sorts by time, and is nobody else's.
pub(crate) fn new_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let millis = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    format!("{millis:013}-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

fn wait(run: &Path, id: &str, timeout: Duration) -> Result<SwapRecord> {
    let started = Instant::now();
    loop {
        // In this order: a run answers, then removes the request, then ends.
        let (live, pending) = (is_live(run)?, SwapRequest::is_pending(run, id));
        if let Some(record) = swap_outcome(run, id)? {
            return Ok(record);
        }
        if !live {
            SwapRequest::withdraw(run, id);
            bail!("the run in {} ended before its next step boundary; nothing was swapped", run.display());
        }
        if !pending {
            bail!("the run in {} was started anew and dropped the request; ask again", run.display());
        }
        if started.elapsed() > timeout {
            bail!(
                "no step boundary within {} s; the request stays, and its answer will be the row {id} of rl/{SWAPS}",
                timeout.as_secs()
            );
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// What became of a request, in one line.
pub(crate) fn sentence(record: &SwapRecord) -> String {
    let SwapRecord { step, name, from, to, .. } = record;
    let shown = |digest: &Option<Digest>| digest.map_or("nothing".to_owned(), |digest| digest.to_string());
    let (from, to) = (shown(from), shown(to));
    match (&record.refused, record.kind) {
        (Some(reason), _) => format!("{name}: not swapped: {reason}"),
        (None, SwapKind::Shadow | SwapKind::DropShadow) => format!("{name}: shadow {from} -> {to} from step {step}"),
        (None, _) => format!("{name}: {from} -> {to} from step {step}"),
    }
}
