//! The fuzz target's seeds, each through the loader: they stay what their names say, with or without a fuzzer.

use std::fs;
use std::path::{Path, PathBuf};

use rewarden_runtime::{Error, Grants, Limits, Plugin, PluginSpec, Runtime, RuntimeConfig};

use crate::component::{sample, wait};

fn seeds() -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/load");
    let mut seeds: Vec<_> =
        fs::read_dir(dir).expect("the seeds").map(|entry| entry.expect("an entry").path()).collect();
    seeds.sort();
    seeds
}

fn load(runtime: &Runtime, path: &Path) -> Result<Plugin, Error> {
    let limits = Limits { fuel: 1_000_000, memory_bytes_max: 1 << 20, ..Limits::default() };
    let grants = Grants::new(["host-log"]).expect("a known name");
    wait(runtime.load(&PluginSpec { limits, grants, ..PluginSpec::path(path) }))
}

/// What became of a seed, in the word its name begins with; and what was said about it.
fn outcome(runtime: &Runtime, path: &Path) -> (&'static str, String) {
    let reward = match load(runtime, path).map(|plugin| plugin.reward()) {
        Ok(Ok(reward)) => reward,
        Ok(Err(error)) => return ("loads", error.to_string()),
        Err(error) => return ("refused", error.to_string()),
    };
    match wait(reward.score_batch(vec![sample()])).remove(0) {
        Ok(_) => ("scores", String::new()),
        Err(fault) => ("faults", fault.to_string()),
    }
}

#[test]
fn every_seed_is_what_its_name_says() {
    let runtime = Runtime::new(RuntimeConfig { jobs: 1, cache_dir: None }).expect("a runtime");
    let seeds = seeds();
    assert!(seeds.len() > 20, "{} seeds", seeds.len());
    for path in seeds {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let (word, sentence) = outcome(&runtime, &path);
        assert!(name.split('-').next() == Some(word), "{name} {word}: {sentence}");
        assert!(!sentence.contains(|c: char| c.is_control()), "{name}: {sentence:?}");
    }
}
