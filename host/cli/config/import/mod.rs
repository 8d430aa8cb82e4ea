//! `rewarden config import`: a config of verl, TRL or tinker-cookbook as one of ours.
//!
//! Read (`source.rs`: YAML, JSON, or the settings of a command), recognise (`recognise.rs`), translate by tables
//! (`verl.rs`, `trl/`, `tinker.rs`: one row for each key), write what a run accepts (`draft.rs`), list the rest.

mod command;
mod draft;
mod recognise;
mod source;
mod table;
mod tinker;
mod translate;
mod trl;
mod verl;
mod yaml;

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::args::ConfigImportArgs;
use source::{BYTES_MAX, Source};
use table::Dialect;
use translate::Translation;

pub(crate) fn run(args: ConfigImportArgs) -> Result<ExitCode> {
    let whose = || format!("cannot import {}", args.file.display());
    let text = read(&args.file).with_context(whose)?;
    let home = std::env::var("HOME").ok();
    let source = Source::read(&args.file, &text, home.as_deref()).with_context(whose)?;
    let dialect = recognise::recognise(&source, args.from, args.stage).with_context(whose)?;
    let mut translation = translate::translate(&source, dialect);
    let toml = draft::write(&mut translation, dialect, &args.file);
    match &args.output {
        Some(output) => write(output, &toml)?,
        None => out!("{toml}"),
    }
    list(&source, dialect, &translation);
    Ok(ExitCode::SUCCESS)
}

/// The file's text; of a longer one, no more than shows that it is too long.
fn read(file: &Path) -> Result<String> {
    let mut bytes = vec![];
    File::open(file)?.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        bail!("it is longer than {} KiB: no config is", BYTES_MAX >> 10);
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = good.iter().filter(|&&byte| byte == b'\n').count() + 1;
        anyhow::anyhow!("line {line}: not UTF-8 text")
    })
}

/// An earlier file may have been edited since: it is never overwritten.
fn write(output: &Path, toml: &str) -> Result<()> {
    let create = || File::create_new(output)?.write_all(toml.as_bytes());
    create().with_context(|| format!("cannot write {}: name a file that is not there yet", output.display()))
}

/// What was not translated, in the order of the file.
fn list(source: &Source, dialect: &Dialect, translation: &Translation) {
    let translated = translation.translated();
    eprintln!("read as a config of {}: {translated} keys translated, {} not", dialect.name, translation.left.len());
    for left in &translation.left {
        let entry = left.entry.map(|place| &source.entries[place]);
        let line = entry.and_then(|entry| entry.line).map_or(String::new(), |line| format!("line {line}: "));
        let said = match entry {
            Some(entry) => format!("{} = {}", entry.key, translate::shown(&entry.key, &entry.value)),
            None => format!("{} (not set)", left.key),
        };
        eprintln!("  {line}{}: {}", printable(&said), printable(&left.reason));
    }
}

/// What comes from a file must not speak to the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}
