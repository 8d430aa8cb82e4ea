//! Arguments of `rewarden config`.

use clap::Subcommand;

#[derive(Subcommand)]
pub(crate) enum ConfigVerb {
    /// Every key of a config, with type, default and meaning
    #[command(after_help = "Examples:
  rewarden config docs | less
  rewarden config docs --json > keys.json")]
    Docs(ConfigDocsArgs),
}

#[derive(clap::Args)]
pub(crate) struct ConfigDocsArgs {
    /// Print one JSON list
    #[arg(long)]
    pub(crate) json: bool,
}
