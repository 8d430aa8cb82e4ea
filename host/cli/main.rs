//! `rewarden`: one file per verb; this one picks the verb, prints errors and returns the exit code.
//!
//! Exit codes are part of the interface: 0 good, 1 the answer is no, 2 could not run.

#![allow(clippy::disallowed_methods, reason = "the command line is where the clock and the environment are read")]

mod args;
mod eval;
mod launch;
mod plugin;
mod progress;
mod rl;
mod run;
mod runtime;
mod score;
mod sft;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, PluginVerb, Verb};

fn main() -> ExitCode {
    compute_without_spinning();
    // Warnings of the libraries and of plugins; RUST_LOG shows more.
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).format_timestamp(None).init();
    match dispatch(Args::parse()) {
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
        Verb::Sft(args) => sft::run(args),
        Verb::Rl(args) => rl::run(args),
        Verb::Eval(args) => eval::run(args),
        Verb::Score(args) => score::run(args),
        Verb::Plugin(PluginVerb::Build(args)) => plugin::build::run(args),
        Verb::Plugin(PluginVerb::Inspect(args)) => plugin::inspect::run(args),
    }
}

/// Training keeps every core busy with whole passes of its own; candle's pool inside each would only spin against the
/// others' and, on a busy machine, make a run several times slower.
#[allow(unsafe_code, reason = "nothing else runs yet, so nobody can read the environment meanwhile")]
fn compute_without_spinning() {
    if std::env::var_os("CANDLE_NUM_THREADS").is_none() {
        // SAFETY: this is the first statement of the process, which has one thread.
        unsafe { std::env::set_var("CANDLE_NUM_THREADS", "1") };
    }
}

/// What is wrong, then why, one cause a line; a cause that its effect already quotes is not repeated.
fn print_error(error: &anyhow::Error) {
    let mut said = error.to_string();
    eprintln!("error: {said}");
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !said.contains(&cause) {
            eprintln!("  because: {cause}");
            said = cause;
        }
    }
}
