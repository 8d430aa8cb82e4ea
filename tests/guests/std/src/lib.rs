//! A guest that was never ported: it asks the standard library for everything a sandbox does not have. Compiled for
//! wasm32-wasip2 it imports WASI; for wasm32-wasip1 and without the feature `files` it becomes a component that imports
//! nothing. Its note tells what it was given.

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use rewarden_sdk::{Fault, Sample, Score};
use serde::Deserialize;

/// None.
#[derive(Deserialize)]
pub struct Settings {}

/// 1, with what it found in the note; or what `extra` names: a flood of lines, a long sleep, an exit.
#[allow(clippy::disallowed_methods, reason = "the world it asks is the sandbox's")]
pub fn score(sample: &Sample, _: &Settings) -> Result<Score, Fault> {
    match sample.extra.as_str() {
        "flood" => (0..100_000).for_each(|line| println!("line {line}")),
        "sleep" => std::thread::sleep(Duration::from_secs(3600)),
        "exit" => std::process::exit(3),
        _ => println!("judging {}", sample.id),
    }
    let started = Instant::now();
    let words: HashMap<u32, u32> = (0..16).map(|number| (number, number)).collect();
    let order: Vec<u32> = words.into_keys().collect();
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map(|time| time.as_secs());
    let note = format!(
        "{order:?} {since_1970:?} {:?} {} {}",
        started.elapsed(),
        std::env::vars().count() + std::env::args().count(),
        files(),
    );
    Ok(Score::of(1.0).note(note))
}

/// Whether files and network are out of reach.
#[cfg(feature = "files")]
fn files() -> String {
    let connects = std::net::TcpStream::connect("127.0.0.1:80");
    format!("{} {}", std::fs::read_dir("/").is_err(), connects.is_err())
}

#[cfg(not(feature = "files"))]
fn files() -> &'static str {
    "not asked"
}

rewarden_sdk::reward!(score, Settings);
