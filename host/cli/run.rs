//! `rewarden run`: every stage a config names, in order.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::TrainArgs;
use crate::launch::launch;

pub(crate) fn run(args: TrainArgs) -> Result<ExitCode> {
    launch(&args, |config| config.stages.clone(), rewarden_train::run)
}
