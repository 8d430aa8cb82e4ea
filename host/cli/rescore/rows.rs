//! Rollout files in chunks: enough rows to keep every core busy, few enough to hold in memory. The attempts at one task
//! stay together, for plugins that judge them together.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rewarden_runtime::printable;
use rewarden_train::StoredRollout;

const CHUNK_ROWS: usize = 512;
const CHUNK_BYTES: u64 = 16 << 20;

/// Longest row. What is longer was written by nobody's run, and is skipped to its end.
const ROW_BYTES_MAX: u64 = 64 << 20;

/// The rows of one file that are still to be read.
pub(super) struct Rows {
    path: PathBuf,
    reader: BufReader<File>,
    line: usize,
    /// The beginning of a group whose end was not read yet.
    held: Vec<StoredRollout>,
}

/// Some rows.
#[derive(Default)]
pub(super) struct Chunk {
    pub(super) rollouts: Vec<StoredRollout>,
    /// Place and reason of each row that is no rollout.
    pub(super) unreadable: Vec<String>,
    pub(super) bytes: u64,
}

impl Rows {
    pub(super) fn open(path: &Path) -> Result<Rows> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Rows { path: path.to_owned(), reader: BufReader::with_capacity(1 << 20, file), line: 0, held: vec![] })
    }

    /// The next rows; none at the end. A last line without its end is what a crash or a live run leaves, and no row yet.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Chunk>> {
        let mut chunk = Chunk { rollouts: std::mem::take(&mut self.held), ..Chunk::default() };
        let mut rows = chunk.rollouts.len();
        let most = rows + CHUNK_ROWS;
        while rows < most && chunk.bytes < CHUNK_BYTES {
            let failed = || format!("cannot read {}", self.path.display());
            let mut line = vec![];
            let read = (&mut self.reader).take(ROW_BYTES_MAX).read_until(b'\n', &mut line).with_context(failed)? as u64;
            self.line += 1;
            chunk.bytes += read;
            if read == ROW_BYTES_MAX && !line.ends_with(b"\n") {
                chunk.bytes += self.reader.skip_until(b'\n').with_context(failed)? as u64;
                line = b"\n".to_vec();
            }
            if !line.ends_with(b"\n") {
                return Ok((rows > 0).then_some(chunk));
            }
            rows += 1;
            match StoredRollout::parse(&line) {
                Ok(rollout) => chunk.rollouts.push(rollout),
                Err(reason) => {
                    let reason = printable(&reason, 300);
                    chunk.unreadable.push(format!("{}:{}: {reason}", self.path.display(), self.line));
                }
            }
        }
        self.held = chunk.split_last_group();
        Ok(Some(chunk))
    }
}

impl Chunk {
    /// Takes the last group out, unless it is the only one.
    fn split_last_group(&mut self) -> Vec<StoredRollout> {
        let is_same = |one: &StoredRollout, next: &StoredRollout| {
            (&one.sample.group, one.sample.step) == (&next.sample.group, next.sample.step)
        };
        let last = self.rollouts.chunk_by(is_same).last().map_or(0, <[_]>::len);
        match last == self.rollouts.len() {
            true => vec![],
            false => self.rollouts.split_off(self.rollouts.len() - last),
        }
    }
}
