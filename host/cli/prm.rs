//! `rewarden prm`: one stage of a run.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_train::{Stage, stage};

use crate::args::TrainArgs;
use crate::launch::launch;

pub(crate) fn run(args: TrainArgs) -> Result<ExitCode> {
    launch(
        &args,
        false,
        |_| vec![Stage::Prm],
        |config, rewards, existing, observe| stage(config, rewards, Stage::Prm, existing, observe),
    )
}
