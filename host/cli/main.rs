//! `rewarden`: one file per verb; this one picks the verb, prints errors and returns the exit code.
//!
//! Exit codes are part of the interface: 0 good, 1 the answer is no, 2 could not run.

#![warn(clippy::print_stdout)] // out.rs
#![allow(clippy::disallowed_methods, reason = "the command line is where the clock and the environment are read")]

#[macro_use]
mod out;

mod args;
mod config;
mod hub;
mod launch;
mod merge;
mod plugin;
mod progress;
mod records;
mod rescore;
mod run;
mod runtime;
mod score;
mod stage;
mod swap;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use rewarden_train::{Stage, is_full_disk};

use args::{Args, ConfigVerb, PluginVerb, Verb};

/// glibc gives large blocks back to the kernel and faults them in again: measured on the engine, a twentieth of training's time
/// and a fifth of sampling's, although most buffers are kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    // Warnings of the libraries and of plugins; RUST_LOG shows more.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_timestamp(None).init();
    match dispatch(args) {
        Ok(code) => code,
        Err(error) => {
            print_error(&error);
            ExitCode::from(2)
        }
    }
}

fn dispatch(args: Args) -> Result<ExitCode> {
    match args.verb {
        Verb::Run(args) => run::run(args),
        Verb::Sft(args) => stage::run(Stage::Sft, &args, false),
        Verb::Prm(args) => stage::run(Stage::Prm, &args, false),
        Verb::Dpo(args) => stage::run(Stage::Dpo, &args, false),
        Verb::Rl(args) => stage::run(Stage::Rl, &args.train, args.watch),
        Verb::Eval(args) => stage::run(Stage::Eval, &args, false),
        Verb::Merge(args) => merge::run(args),
        Verb::Score(args) => score::run(args),
        Verb::Swap(args) => swap::run(args),
        Verb::Rescore(args) => rescore::run(args),
        Verb::Config(ConfigVerb::Docs(args)) => config::docs::run(args),
        Verb::Config(ConfigVerb::Import(args)) => config::import::run(args),
        Verb::Plugin(PluginVerb::New(args)) => plugin::new::run(args),
        Verb::Plugin(PluginVerb::Build(args)) => plugin::build::run(args),
        Verb::Plugin(PluginVerb::Test(args)) => plugin::test::run(args),
        Verb::Plugin(PluginVerb::Check(args)) => plugin::check::run(args),
        Verb::Plugin(PluginVerb::Bench(args)) => plugin::bench::run(args),
        Verb::Plugin(PluginVerb::Inspect(args)) => plugin::inspect::run(args),
    }
}

/// What is wrong, then why, one cause a line; a cause that its effect already quotes is not repeated.
pub(crate) fn print_error(error: &anyhow::Error) {
    let mut said = error.to_string();
    eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            eprintln!("  because: {cause}");
            said = cause;
        }
    }
    if error.chain().any(is_full_disk) {
        eprintln!("  make room, then go on with --resume: every step up to the last checkpoint is kept");
    }
}
