//! What a loop tells whoever watches it. Loops never print; the command line decides how this looks.

use std::path::PathBuf;

use crate::config::Stage;
use crate::data::Skipped;
use crate::run_dir::Metrics;
use crate::swap::SwapRecord;

/// Something that happened.
pub enum Event<'a> {
    /// A stage begins, or goes on at `first_step`.
    StageStarted {
        /// Which.
        stage: Stage,
        /// Steps done before, when it was resumed.
        first_step: usize,
        /// Steps in all.
        steps: usize,
    },
    /// Rows cannot be used: they are longer than the stage's `max_length`, or have nothing to learn.
    LeftOut {
        /// Which stage's.
        stage: Stage,
        /// How many.
        rows: usize,
    },
    /// Tokens were sampled within a step.
    Sampled {
        /// Tokens since the step began.
        tokens: usize,
    },
    /// A step is finished and logged.
    Step {
        /// Which stage.
        stage: Stage,
        /// Steps done.
        done: usize,
        /// Steps in all.
        steps: usize,
        /// Its row in `metrics.jsonl`.
        metrics: &'a Metrics,
    },
    /// Graders failed on some answers of a step, or of an evaluation.
    Faulted {
        /// Which stage.
        stage: Stage,
        /// Answers that some grader failed on.
        faults: usize,
        /// Answers in all.
        answers: usize,
        /// The first fault, with the grader's name.
        first: &'a str,
    },
    /// A stage is finished.
    StageDone {
        /// Which.
        stage: Stage,
        /// How long it took, resumed parts included.
        seconds: f64,
    },
    /// A stage failed, and the run goes on without what it would have made.
    StageFailed {
        /// Which.
        stage: Stage,
        /// Why.
        reason: &'a str,
    },
    /// A reward model judges, or the plugin that takes its place.
    RewardModel {
        /// Its name in the config.
        name: &'a str,
        /// Its folder, or the fallback and why.
        source: &'a str,
    },
    /// A stage that `--resume` found finished.
    StageSkipped {
        /// Which.
        stage: Stage,
    },
    /// A request to swap a reward was answered, or a swap of an interrupted run made again.
    Swapped {
        /// What became of it; also the row in `swaps.jsonl`.
        record: &'a SwapRecord,
    },
    /// A file in `swaps/` is no request.
    SwapUnreadable {
        /// Its name, without `.json`.
        request: &'a str,
        /// What is wrong with it.
        reason: &'a str,
    },
    /// Rows of a data file were read and left out.
    RowsSkipped {
        /// Which, why and how many.
        skipped: &'a Skipped,
    },
    /// An earlier run or stage was renamed to make room.
    SetAside {
        /// Where it is now.
        path: PathBuf,
    },
}

/// Hears every event.
pub type Observer<'a> = &'a mut dyn FnMut(Event);
