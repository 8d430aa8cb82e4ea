//! `rewarden rl`: one stage of a run.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_train::{Stage, stage};

use crate::args::WatchedTrainArgs;
use crate::launch::launch;

pub(crate) fn run(args: WatchedTrainArgs) -> Result<ExitCode> {
    launch(
        &args.train,
        args.watch,
        |_| vec![Stage::Rl],
        |config, rewards, existing, observe| stage(config, rewards, Stage::Rl, existing, observe),
    )
}
