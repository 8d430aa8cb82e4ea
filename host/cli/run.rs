//! `rewarden run`: every stage a config names, in order.

use std::process::ExitCode;

use anyhow::Result;

use crate::args::WatchedTrainArgs;
use crate::launch::launch;

pub(crate) fn run(args: WatchedTrainArgs) -> Result<ExitCode> {
    launch(&args.train, args.watch, |config| config.stages.clone(), rewarden_train::run)
}
