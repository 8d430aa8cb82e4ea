//! A file of requests as `rewarden score` takes them, for a benchmark: every line must be good, all under one settings.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::plugin::cases::Input;
use crate::plugin::subject::Question;
use crate::score::lines::{Chunk, Lines};
use crate::score::request::{Request, Task};

pub(super) fn read(path: &Path) -> Result<Vec<Question>> {
    let failed = || format!("cannot read the requests in {}", path.display());
    let mut lines = Lines::new(BufReader::new(File::open(path).with_context(failed)?));
    let mut questions: Vec<Question> = vec![];
    while let Some(Chunk(chunk)) = lines.next_chunk().with_context(failed)? {
        for line in &chunk {
            let number = questions.len() + 1;
            let Task { sample, settings } = match Request::parse(line).task {
                Ok(task) => task,
                Err(reason) => bail!("request {number} of {}: {reason}", path.display()),
            };
            if questions.first().is_some_and(|first| first.settings != settings) {
                bail!(
                    "request {number} of {} has another `config` than the first: a benchmark measures one",
                    path.display()
                );
            }
            questions.push(Question { settings, seed: 0, input: Input::Sample(sample) });
        }
    }
    if questions.is_empty() {
        bail!("{} holds no request", path.display());
    }
    Ok(questions)
}
