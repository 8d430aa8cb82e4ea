//! Times a plugin: how long it takes to load, one call, a round of many; and what the calls used.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use rewarden_runtime::{Digest, Isolation, PluginSpec, Runtime, RuntimeConfig, World};
use serde::Serialize;

use super::work::{Unit, Work};
use crate::plugin::subject::Question;
use crate::runtime;

/// Loads from the cache that are timed; the middle one counts.
const LOADS: usize = 5;

/// Questions of one round.
const ROUND_MAX: usize = 4096;

/// A round is at least this part of the time there is for it.
const ROUND_PART: u32 = 20;

/// What was measured of one plugin. Times are of this machine, fuel and memory are the same on every one.
#[derive(Debug, Serialize)]
pub(crate) struct Figures {
    pub(crate) plugin: String,
    pub(crate) digest: Digest,
    pub(crate) world: World,
    /// What one question is: a sample, a group, an episode, a call.
    pub(crate) unit: &'static str,
    pub(crate) questions: usize,
    pub(crate) threads: usize,
    pub(crate) size_bytes: u64,
    /// Compiled, and with the native code cached.
    pub(crate) load_cold_ms: f64,
    pub(crate) load_warm_ms: f64,
    /// In an instance of its own; of an episode, its start.
    pub(crate) fresh_us: Percentiles,
    /// In an instance that was used before; of an episode, a turn. None where there is no such thing.
    pub(crate) warm_us: Option<Percentiles>,
    /// Questions per second: in instances of their own, and in warm ones.
    pub(crate) fresh_per_second: PerSecond,
    pub(crate) warm_per_second: Option<PerSecond>,
    pub(crate) fuel: Percentiles,
    pub(crate) memory_bytes: Percentiles,
    /// Questions that ended in a fault, of all that were asked in fresh instances.
    pub(crate) faults: usize,
    pub(crate) asked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct PerSecond {
    pub(crate) one_thread: f64,
    pub(crate) all_threads: f64,
}

impl Percentiles {
    /// Of values in any order; zero where there are none.
    pub(crate) fn of(mut values: Vec<f64>) -> Percentiles {
        values.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = (part * values.len() as f64).ceil() as usize;
            values.get(place.saturating_sub(1)).copied().unwrap_or_default()
        };
        Percentiles { p50: at(0.5), p99: at(0.99) }
    }
}

/// Measures for about so long; `tick` hears what is going on.
pub(super) async fn measure(
    name: String,
    spec: &PluginSpec,
    questions: &[Question],
    time: Duration,
    jobs: usize,
    tick: &impl Fn(&str),
) -> Result<Figures> {
    tick("loading");
    let (load_cold_ms, load_warm_ms) = loads(spec).await?;
    let [one, all] = [runtime::start(1)?, runtime::start(jobs)?];
    let phase = time / 5;
    tick("fresh");
    let fresh = timed(&one, spec, Isolation::Sample, questions, phase).await?;
    let fresh_all = timed(&all, spec, Isolation::Sample, questions, phase).await?;
    tick("warm");
    let (warm_us, warm_per_second) = warm([&one, &all], spec, questions, phase, &fresh).await?;
    let plugin = one.load(spec).await?;
    let of =
        |value: &dyn Fn(&Unit) -> u64| Percentiles::of(fresh.units.iter().map(|unit| value(unit) as f64).collect());
    Ok(Figures {
        plugin: name,
        digest: plugin.digest(),
        world: plugin.world(),
        unit: Work::unit(plugin.world()),
        questions: questions.len(),
        threads: all.jobs(),
        size_bytes: plugin.size_bytes(),
        load_cold_ms,
        load_warm_ms,
        fresh_us: of(&|unit| unit.first.micros),
        warm_us,
        fresh_per_second: PerSecond { one_thread: fresh.per_second, all_threads: fresh_all.per_second },
        warm_per_second,
        fuel: of(&|unit| unit.receipts().map(|receipt| receipt.fuel).sum()),
        memory_bytes: of(&|unit| unit.receipts().map(|r| r.memory_bytes_peak as u64).max().unwrap_or_default()),
        faults: fresh.units.iter().filter(|unit| unit.is_fault).count(),
        asked: fresh.units.len(),
    })
}

/// Latency and throughput of warm instances, on one thread and on all; of an episode its turns, which were timed already.
async fn warm(
    [one, all]: [&Runtime; 2],
    spec: &PluginSpec,
    questions: &[Question],
    time: Duration,
    fresh: &Timed,
) -> Result<(Option<Percentiles>, Option<PerSecond>)> {
    let world = one.load(spec).await?.world();
    if matches!(world, World::EnvironmentPlugin | World::ToolPlugin) {
        let turns: Vec<f64> = fresh.units.iter().flat_map(|unit| &unit.further).map(|r| r.micros as f64).collect();
        return Ok(((!turns.is_empty()).then(|| Percentiles::of(turns)), None));
    }
    let single = warm_latency(one, spec, questions, time).await?;
    let one_thread = timed(one, spec, Isolation::Worker, questions, time).await?.per_second;
    let all_threads = timed(all, spec, Isolation::Worker, questions, time).await?.per_second;
    Ok((Some(single), Some(PerSecond { one_thread, all_threads })))
}

/// Milliseconds of a load that compiles, and of one that finds native code in the cache.
async fn loads(spec: &PluginSpec) -> Result<(f64, f64)> {
    let cache = tempfile::tempdir()?;
    let load = async |dir: &Path| -> Result<f64> {
        let runtime = Runtime::new(RuntimeConfig { jobs: 0, cache_dir: Some(dir.to_owned()) })?;
        let started = Instant::now();
        runtime.load(spec).await?;
        Ok(started.elapsed().as_secs_f64() * 1e3)
    };
    // The folder is made private by whoever opens it first.
    let dir = cache.path().join("code");
    let cold = load(&dir).await?;
    let mut warm = vec![];
    for _ in 0..LOADS {
        warm.push(load(&dir).await?);
    }
    Ok((cold, Percentiles::of(warm).p50))
}

/// Rounds, and how fast they were.
struct Timed {
    units: Vec<Unit>,
    per_second: f64,
}

/// Rounds for about so long, at least one. Rounds grow until the host's part of them no longer shows.
async fn timed(
    runtime: &Runtime,
    spec: &PluginSpec,
    isolation: Isolation,
    questions: &[Question],
    time: Duration,
) -> Result<Timed> {
    let plugin = runtime.load(&PluginSpec { isolation, ..spec.clone() }).await?;
    let mut size = questions.len().min(64);
    loop {
        let work = Work::new(&plugin, questions, size).await?;
        let started = Instant::now();
        let units = work.round(runtime.jobs()).await?;
        let took = started.elapsed();
        if units.is_empty() {
            bail!("there is nothing to ask {}", spec.name);
        }
        if took < time / ROUND_PART && size < ROUND_MAX {
            size *= 2;
            continue;
        }
        if took >= time {
            return Ok(Timed { per_second: units.len() as f64 / took.as_secs_f64(), units });
        }
        return rounds(&work, runtime.jobs(), time).await;
    }
}

async fn rounds(work: &Work, threads: usize, time: Duration) -> Result<Timed> {
    let (mut units, started) = (vec![], Instant::now());
    while started.elapsed() < time {
        units.extend(work.round(threads).await?);
    }
    Ok(Timed { per_second: units.len() as f64 / started.elapsed().as_secs_f64(), units })
}

/// Microseconds of a call with one question, in an instance that answered others before.
async fn warm_latency(
    runtime: &Runtime,
    spec: &PluginSpec,
    questions: &[Question],
    time: Duration,
) -> Result<Percentiles> {
    let plugin = runtime.load(&PluginSpec { isolation: Isolation::Worker, ..spec.clone() }).await?;
    let mut single = vec![];
    for question in questions {
        single.push(Work::new(&plugin, std::slice::from_ref(question), 1).await?);
    }
    // The first call makes the instance.
    single[0].round(1).await?;
    let (mut micros, started) = (vec![], Instant::now());
    while micros.is_empty() || started.elapsed() < time {
        for work in &single {
            micros.extend(work.round(1).await?.iter().map(|unit| unit.first.micros as f64));
        }
    }
    Ok(Percentiles::of(micros))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(values: impl IntoIterator<Item = i32>, p50: f64, p99: f64) {
        assert_eq!(Percentiles::of(values.into_iter().map(f64::from).collect()), Percentiles { p50, p99 });
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        check([], 0.0, 0.0);
        check([7], 7.0, 7.0);
        check([3, 1, 2], 2.0, 3.0);
        check(1..=100, 50.0, 99.0);
        check((1..=1000).rev(), 500.0, 990.0);
    }
}
