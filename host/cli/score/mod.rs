//! `rewarden score`: the line protocol grade-jsonl/1, streamed.
//!
//! Three threads hand chunks of lines on: one reads and parses, one has the plugin judge, one writes. Channels between
//! them are short, so memory is bounded by a few chunks however long the input is. Lines are answered in their order,
//! and what one of them does (bad JSON, a sin of the plugin) ends in its own answer.

mod answer;
mod judge;
pub(crate) mod lines;
pub(crate) mod request;

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use anyhow::{Context, Result};
use rewarden_runtime::{Grants, Limits, PluginSpec};

use crate::args::ScoreArgs;
use crate::plugin::build::ensure_built;
use crate::runtime;
use answer::Answer;
use judge::Judge;
use lines::{Chunk, Lines};
use request::Request;

/// Large enough that one read fills a chunk.
const READ_BYTES: usize = 1 << 20;

/// Chunks that may wait between two threads.
const QUEUE: usize = 2;

pub(crate) fn run(args: ScoreArgs) -> Result<ExitCode> {
    let input = open(args.file.as_deref())?;
    let path = ensure_built(&args.plugin)?;
    let runtime = runtime::start(args.jobs)?;
    let limits = Limits { timeout_ms: args.timeout_ms, ..Limits::default() };
    let spec = PluginSpec { limits, grants: Grants::new(args.grants)?, ..PluginSpec::path(path) };
    let plugin = runtime::block_on(runtime.load(&spec))??;
    let judge = Judge::new(plugin)?;

    let (to_judge, parsed) = mpsc::sync_channel(QUEUE);
    let (to_write, judged) = mpsc::sync_channel(QUEUE);
    let reading = thread::spawn(move || read(input, &to_judge));
    let judging = thread::spawn(move || pass_on(judge, &parsed, &to_write));
    let written = write(&judged, args.line_buffered);
    match written {
        // Whoever read our answers has seen enough. The other threads may wait for input for ever: leave them.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        written => written.context("cannot write the answers")?,
    }
    judging.join().expect("the judging thread does not panic")?;
    reading.join().expect("the reading thread does not panic").context("cannot read the requests")?;
    Ok(ExitCode::SUCCESS)
}

fn open(file: Option<&Path>) -> Result<Box<dyn Read + Send>> {
    match file {
        None => Ok(Box::new(io::stdin())),
        Some(path) if path == Path::new("-") => Ok(Box::new(io::stdin())),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("cannot read the requests in {}", path.display()))?;
            Ok(Box::new(file))
        }
    }
}

fn read(input: Box<dyn Read + Send>, to_judge: &SyncSender<Vec<Request>>) -> io::Result<()> {
    let mut lines = Lines::new(BufReader::with_capacity(READ_BYTES, input));
    while let Some(Chunk(chunk)) = lines.next_chunk()? {
        let requests = chunk.iter().map(Request::parse).collect();
        if to_judge.send(requests).is_err() {
            break;
        }
    }
    Ok(())
}

fn pass_on(mut judge: Judge, parsed: &Receiver<Vec<Request>>, to_write: &SyncSender<Vec<Answer>>) -> Result<()> {
    for requests in parsed {
        let answers = runtime::block_on(judge.answer(requests))?;
        if to_write.send(answers).is_err() {
            break;
        }
    }
    Ok(())
}

fn write(judged: &Receiver<Vec<Answer>>, line_buffered: bool) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    for answers in judged {
        for answer in answers {
            serde_json::to_writer(&mut out, &answer)?;
            out.write_all(b"\n")?;
        }
        // A chunk is what had arrived, so this is as soon as there is an answer.
        if line_buffered {
            out.flush()?;
        }
    }
    out.flush()
}
