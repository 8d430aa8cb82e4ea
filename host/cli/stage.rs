//! `rewarden sft`, `prm`, `dpo`, `rl` and `eval`: one stage of a run.

use std::process::ExitCode;

use anyhow::Result;
use rewarden_train::Stage;

use crate::args::TrainArgs;
use crate::launch::launch;

pub(crate) fn run(stage: Stage, args: &TrainArgs, watch: bool) -> Result<ExitCode> {
    launch(
        args,
        watch,
        |_| vec![stage],
        |config, rewards, existing, observe| rewarden_train::stage(config, rewards, stage, existing, observe),
    )
}
