//! Everything that can be typed. Meaning and defaults stand here; what happens stands in the verb's own file.

mod config;
mod plugin;

use std::path::PathBuf;

use clap::{Parser, Subcommand};

pub(crate) use config::{ConfigDocsArgs, ConfigImportArgs, ConfigVerb, Recipe, System};
pub(crate) use plugin::{BenchArgs, BuildArgs, CheckArgs, InspectArgs, NewArgs, PluginVerb, TestArgs};

/// Train language models with sandboxed WebAssembly rewards.
#[derive(Parser)]
#[command(name = "rewarden", version, disable_help_subcommand = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Run every stage a config names, in order, such as sft, prm, rl, eval
    #[command(after_help = TRAIN_HELP)]
    Run(WatchedTrainArgs),
    /// Supervised fine-tuning: one stage of a config
    #[command(after_help = TRAIN_HELP)]
    Sft(TrainArgs),
    /// A preference or process reward model: one stage of a config
    #[command(visible_alias = "rm", after_help = PRM_HELP)]
    Prm(TrainArgs),
    /// Direct preference optimisation: one stage of a config
    #[command(after_help = TRAIN_HELP)]
    Dpo(TrainArgs),
    /// Reinforcement learning from the config's rewards: one stage of a config
    #[command(after_help = TRAIN_HELP)]
    Rl(WatchedTrainArgs),
    /// Evaluate what the stages made: pass@k and mean reward on held-out problems
    #[command(after_help = TRAIN_HELP)]
    Eval(TrainArgs),
    /// Add an adapter to the model it belongs to, and write a model any tool reads
    Merge(MergeArgs),
    /// Score JSON lines with a plugin: requests in, one answer line each out (protocol grade-jsonl/1)
    Score(ScoreArgs),
    /// Replace a reward of a live run at its next step boundary
    Swap(SwapArgs),
    /// Score a run's rollouts again: the same bits, or another plugin's opinion
    Rescore(RescoreArgs),
    /// What a config may say, and configs of other systems as ours
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Write, build, test, measure and look into plugins
    #[command(subcommand)]
    Plugin(PluginVerb),
}

const TRAIN_HELP: &str = "Examples:
  rewarden run configs/quickstart.toml
  rewarden run configs/quickstart.toml --set seed=2 --set log_path=runs/seed2
  rewarden rl configs/quickstart.toml --set rl.loss_fn=reinforce
  rewarden run configs/quickstart.toml --resume
  rewarden run configs/quickstart.toml --watch    (also for rl: edit the reward while it trains)

The config's `log_path` becomes the run directory: config.toml with every default written out, and per stage
metrics.jsonl, rollouts.jsonl and checkpoints. An earlier run there is set aside, never overwritten.";

const PRM_HELP: &str = "Examples:
  rewarden prm configs/prm-tiny.toml
  rewarden prm configs/rlhf-tiny.toml --set prm.loss_fn=pairwise

`prm.loss_fn` says what kind of model is trained: bradley_terry (a score per answer, from pairs), pairwise (MinT's summed
log-probability), implicit (log-ratio to a reference), or steps (verdicts on labelled steps). A [[reward_model]] of the
config lets it judge rollouts of the same run.";

#[derive(clap::Args)]
pub(crate) struct TrainArgs {
    /// The run's TOML file
    pub(crate) config: PathBuf,
    /// Override a key of the config, such as rl.max_steps=10 or reward.NAME.weight=2; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
    /// Print the resolved config and stop
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on where the run in `log_path` stopped; finished stages are skipped
    #[arg(long)]
    pub(crate) resume: bool,
}

#[derive(clap::Args)]
pub(crate) struct WatchedTrainArgs {
    #[command(flatten)]
    pub(crate) train: TrainArgs,
    /// Watch the plugins the config names: when one changes, build it and swap it in at the next step boundary
    #[arg(long)]
    pub(crate) watch: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden swap runs/quickstart gsm8k rewards/gsm8k
  rewarden swap runs/quickstart gsm8k stricter.wasm --shadow
  rewarden swap runs/quickstart gsm8k --promote
  rewarden swap runs/quickstart gsm8k --rollback

The plugin is built, loaded and tried out under the run's own settings, limits and grants before the run hears of it; a
plugin that is not fit is refused here. The run takes it up before its next step: metrics.jsonl and rollouts.jsonl name
the new digest from that step on, rl/swaps.jsonl keeps the row, and a resumed run swaps at the same step again.")]
pub(crate) struct SwapArgs {
    /// The run's directory
    pub(crate) run: PathBuf,
    /// The reward's name in the run's config
    pub(crate) name: String,
    /// The new plugin: a component (.wasm) or the folder of its source
    #[arg(required_unless_present_any = ["rollback", "promote", "drop_shadow"])]
    #[arg(conflicts_with_all = ["rollback", "promote", "drop_shadow"])]
    pub(crate) plugin: Option<PathBuf>,
    /// Go back to the component before the last swap
    #[arg(long)]
    pub(crate) rollback: bool,
    /// Let the plugin score the same rollouts beside the reward, without weight
    #[arg(long, requires = "plugin")]
    pub(crate) shadow: bool,
    /// Make the shadow the reward
    #[arg(long, conflicts_with = "rollback")]
    pub(crate) promote: bool,
    /// Remove the shadow
    #[arg(long, conflicts_with_all = ["rollback", "promote"])]
    pub(crate) drop_shadow: bool,
    /// Leave the request and return
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// The longest to wait for the next step boundary
    #[arg(long, default_value_t = 600, value_name = "S")]
    pub(crate) timeout_s: u64,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden rescore runs/quickstart
  rewarden rescore runs/quickstart --with rewards/gsm8k --name gsm8k

Each rollout is scored again by the component whose digest stands in its row, from the run's own store, under the run's
settings, seed and limits, and compared bit for bit with what is stored; what cannot be reproduced is listed with the
reason. Scores of single rewards are compared, not the reward that the rubric made of them: that may depend on the
group, the step and faults before. Exit code 0: all reproduced; 1: some differ or could not be.

With --with, nothing must be equal: the plugin is compared with the stored scores of one reward.")]
pub(crate) struct RescoreArgs {
    /// The run's directory
    pub(crate) run: PathBuf,
    /// Compare this plugin with the stored scores: a component (.wasm) or the folder of its source
    #[arg(long, value_name = "PLUGIN")]
    pub(crate) with: Option<PathBuf>,
    /// The reward to compare it with; may be left out where the run has only one
    #[arg(long, requires = "with")]
    pub(crate) name: Option<String>,
    /// Rollouts to show that differ most
    #[arg(long, default_value_t = 5, value_name = "N", requires = "with")]
    pub(crate) top: usize,
    /// Threads that score; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden merge runs/quickstart/rl/checkpoints/000120 models/mine

The adapter may be a checkpoint of ours or what PEFT saved; the model it belongs to is the folder, or the name on the hub,
that its adapter_config.json names. The new folder holds config.json, the weights in f32, and the tokenizer.")]
pub(crate) struct MergeArgs {
    /// The adapter's folder
    pub(crate) checkpoint: PathBuf,
    /// The new model's folder; nothing may be there yet
    pub(crate) out: PathBuf,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden score rewards/gsm8k requests.jsonl > scores.jsonl
  echo '{\"id\":\"1\",\"input\":{\"response\":\"#### 42\",\"ground_truth\":\"42\"}}' | rewarden score rewards/gsm8k

Every request gets exactly one answer line, in the order of the requests. A request that cannot be scored gets one with
`error` set, and changes no other line.")]
pub(crate) struct ScoreArgs {
    /// The plugin: a component (.wasm) or the folder of its source
    pub(crate) plugin: PathBuf,
    /// The requests; standard input when left out
    pub(crate) file: Option<PathBuf>,
    /// Threads that score; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// The longest that one sample may run
    #[arg(long, default_value_t = 5000, value_name = "MS")]
    pub(crate) timeout_ms: u64,
    /// Write out every answer as soon as it is there, for interactive use
    #[arg(long)]
    pub(crate) line_buffered: bool,
    /// A host interface the plugin may use, such as host-log; may be given several times
    #[arg(long = "grant", value_name = "INTERFACE")]
    pub(crate) grants: Vec<String>,
}
