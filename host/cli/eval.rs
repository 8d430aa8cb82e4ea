//! `rewarden eval`: one stage of a run.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_train::{Stage, stage};

use crate::args::TrainArgs;
use crate::launch::launch;

pub(crate) fn run(args: TrainArgs) -> Result<ExitCode> {
    launch(
        &args,
        |_| vec![Stage::Eval],
        |config, rubric, existing, observe| stage(config, rubric, Stage::Eval, existing, observe),
    )
}
