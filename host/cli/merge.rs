//! `rewarden merge`: an adapter and the model it belongs to become a model of their own.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use rewarden_train::{base_of, merge};

use crate::args::MergeArgs;
use crate::hub;

pub(crate) fn run(args: MergeArgs) -> Result<ExitCode> {
    if args.out.exists() {
        bail!("{} exists already; choose a place where nothing is", args.out.display());
    }
    let name = base_of(&args.checkpoint)?;
    let base = hub::folder(&name)?.unwrap_or_else(|| PathBuf::from(&name));
    if !base.is_dir() {
        bail!(
            "{} belongs to the model `{name}`, which is no folder here; run this where that path leads to it, or correct \
             `base_model_name_or_path` in its adapter_config.json",
            args.checkpoint.display()
        );
    }
    merge(&args.checkpoint, &base, &args.out)?;
    outln!("{}", args.out.display());
    Ok(ExitCode::SUCCESS)
}
