//! Arguments of `rewarden config`.

use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};

#[derive(Subcommand)]
pub(crate) enum ConfigVerb {
    /// Every key of a config, with type, default and meaning
    #[command(after_help = "Examples:
  rewarden config docs | less
  rewarden config docs --json > keys.json")]
    Docs(ConfigDocsArgs),
    /// A config of verl, TRL or tinker-cookbook as one of Rewarden's
    #[command(after_help = IMPORT_HELP)]
    Import(ConfigImportArgs),
}

const IMPORT_HELP: &str = "Examples:
  rewarden config import run_qwen3_gsm8k.sh > gsm8k.toml
  rewarden config import grpo.yaml --output grpo.toml
  rewarden config import training_args.json --from trl --stage sft
  rewarden run grpo.toml --dry-run

Reads YAML, JSON, lines of `a.b=value`, and the command in a shell script, which is not run;
at most 1 MiB. Behind each line of the TOML stands the key that it comes from, also where that
system's default is another than Rewarden's; what a run needs and the file does not say stands
there as a comment. What could not be translated is listed on standard error, with the reason.
Exit code 0: translated, if not all of it; 2: the file could not be read or recognised.";

#[derive(clap::Args)]
pub(crate) struct ConfigDocsArgs {
    /// Print one JSON list
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
pub(crate) struct ConfigImportArgs {
    /// The config: a file of YAML or JSON, of `a.b=value` words, or a shell script
    pub(crate) file: PathBuf,
    /// Whose config it is; left out, its keys tell
    #[arg(long, value_enum)]
    pub(crate) from: Option<System>,
    /// The stage it becomes; left out, its keys tell
    #[arg(long, value_enum)]
    pub(crate) stage: Option<Recipe>,
    /// Write the TOML to this new file instead of printing it
    #[arg(long, short)]
    pub(crate) output: Option<PathBuf>,
}

/// A system whose configs can be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    /// verl, Volcano Engine's reinforcement learning
    Verl,
    /// TRL of Hugging Face
    Trl,
    /// tinker and tinker-cookbook
    Tinker,
}

/// A stage that can come from an imported config.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Recipe {
    /// Supervised fine-tuning
    Sft,
    /// A reward model
    Prm,
    /// Direct preference optimisation
    Dpo,
    /// Reinforcement learning
    Rl,
}

impl Recipe {
    /// Name of the stage's table.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sft => "sft",
            Self::Prm => "prm",
            Self::Dpo => "dpo",
            Self::Rl => "rl",
        }
    }
}
