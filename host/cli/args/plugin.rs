//! What can be typed behind `rewarden plugin`.

use std::path::PathBuf;

use clap::Subcommand;

use crate::plugin::lang::Language;
use crate::plugin::manifest::Kind;

#[derive(Subcommand)]
pub(crate) enum PluginVerb {
    /// Write the folder of a new plugin, in any of five languages
    New(NewArgs),
    /// Build a plugin's folder into a component, with its language's own compiler
    Build(BuildArgs),
    /// Try a plugin on its golden cases, on hostile inputs, and on answers that want to be paid for nothing
    Test(TestArgs),
    /// Say whether a plugin is fit to be handed on: world, permissions, manifest, settings, golden cases, equal results
    Check(CheckArgs),
    /// Measure plugins side by side: latency, throughput, fuel, memory, size, load time
    Bench(BenchArgs),
    /// Show what a plugin is on one page: digest, world, imports, who made it, settings, fuel
    Inspect(InspectArgs),
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin new final-answer --kind reward --lang python
  rewarden plugin new me/number-game --kind environment --lang rust --dir games/number-game
  rewarden plugin new    (asks)

Writes a folder that builds, and passes its own golden cases, as it is. A folder that holds anything is left alone.")]
pub(crate) struct NewArgs {
    /// What the plugin is called: lower-case words joined by `-`, with or without an `owner/` in front
    pub(crate) name: Option<String>,
    /// What the plugin is for
    #[arg(long, value_enum)]
    pub(crate) kind: Option<Kind>,
    /// The language to write it in
    #[arg(long, value_enum)]
    pub(crate) lang: Option<Language>,
    /// The folder to write, instead of one with the plugin's name in the current folder
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin build final-answer
  rewarden plugin build rewards/gsm8k -o gsm8k.wasm

Runs the compiler of the language that plugin.toml names, or the file's own `[build]` command, and wraps the result as a
component that imports nothing but the host interfaces plugin.toml asks for. In Rust, C and Go the same source gives the
same bytes, so the printed digest can be compared between machines with the same toolchain; what componentize-py and
componentize-qjs make differs each time.")]
pub(crate) struct BuildArgs {
    /// The plugin's folder
    pub(crate) dir: PathBuf,
    /// Compile without optimisation and with function names, for traps that say where
    #[arg(long)]
    pub(crate) debug: bool,
    /// Where to put a copy of the component, which lies at `target/plugins/<name>.wasm`
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin test rewards/gsm8k
  rewarden plugin test my-reward --watch
  rewarden plugin test my-reward --filter comma --update

cases.jsonl holds one JSON object a line:
  {\"name\": \"plain\", \"sample\": {\"response\": \"#### 36\", \"ground_truth\": \"36\"}, \"expect\": 1.0}
  {\"name\": \"no reference\", \"sample\": {\"response\": \"36\"}, \"expect\": {\"fault\": \"invalid-input\"}}
  {\"name\": \"found\", \"task\": {\"ground_truth\": \"7\"}, \"seed\": 1, \"actions\": [\"5\", \"7\"], \"expect\": [0, 1]}
  {\"name\": \"adds\", \"call\": {\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}, \"expect\": \"3\"}
  {\"name\": \"longest\", \"group\": [{\"response\": \"a\"}, {\"response\": \"abc\"}], \"expect\": [0, 1]}
  {\"probe\": \"echo_prompt\", \"max\": 0.5}
A case may also have `settings`, `tolerance` (1e-9) and `why`. `expect` is a number, null (the plugin does not apply), a
fault, or an object of the fields that matter, such as {\"score\": 0.5, \"steps\": [1, 0]}.

Probes are made from the cases. They fail on a fault, and on full marks unless a line says what they may earn. Exit code
0: all as promised; 1: something is not; 2: could not run.")]
pub(crate) struct TestArgs {
    /// A component (.wasm) or the folder of its source
    pub(crate) plugin: PathBuf,
    /// The golden cases; by default cases.jsonl in the folder, or beside the component
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Only cases with this in their names, and no probes
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// Write what the plugin gives into the file, where that is not what was expected
    #[arg(long)]
    pub(crate) update: bool,
    /// Build and test again on every save, until interrupted
    #[arg(long, conflicts_with = "update")]
    pub(crate) watch: bool,
    /// Threads that judge; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin check rewards/gsm8k
  rewarden plugin check gsm8k.wasm --cases rewards/gsm8k/cases.jsonl --json

One line for each promise: ok, warn, or FAIL with what to do about it. Equal results and equal fuel are tried on one thread
and on all, under every isolation, forwards and backwards. Exit code 0: fit, perhaps with warnings; 1: not fit; 2: could not
run.")]
pub(crate) struct CheckArgs {
    /// A component (.wasm) or the folder of its source
    pub(crate) plugin: PathBuf,
    /// The golden cases; by default cases.jsonl in the folder, or beside the component
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Threads that judge; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin bench rewards/gsm8k
  rewarden plugin bench a.wasm b.wasm --requests requests.jsonl --seconds 10

Each plugin is asked what its golden cases ask (those under one settings, and only those it answers), or the requests of a
file as `rewarden score` takes them. Fresh: in an instance of its own for each sample, as a run does by default. Warm: in
an instance that judged others before (`isolation = \"worker\"`), its latency with one sample a call, its throughput with
32; of an environment, a turn. Load, cold: compiled; warm: its native code was cached. Fuel and memory are the same on
every machine, times are not.")]
pub(crate) struct BenchArgs {
    /// Components (.wasm) or folders of their source
    #[arg(required = true, value_name = "PLUGIN")]
    pub(crate) plugins: Vec<PathBuf>,
    /// Golden cases for all of them, instead of each one's own
    #[arg(long, value_name = "FILE", conflicts_with = "requests")]
    pub(crate) cases: Option<PathBuf>,
    /// Requests for all of them, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub(crate) requests: Option<PathBuf>,
    /// How long each plugin is measured, besides loading it
    #[arg(long, default_value_t = 5.0, value_name = "S")]
    pub(crate) seconds: f64,
    /// Threads of the figures for all threads; 0 is one per core
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) jobs: usize,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(clap::Args)]
#[command(after_help = "Examples:
  rewarden plugin inspect rewards/gsm8k
  rewarden plugin inspect gsm8k.wasm --json
  rewarden plugin inspect stranger.wasm --static

Exit code 0: here is the page; 1: here it is, and it says why the plugin does not load; 2: that is no component.")]
pub(crate) struct InspectArgs {
    /// A component (.wasm) or the folder of its source
    pub(crate) plugin: PathBuf,
    /// Only what can be read from the bytes: nothing of the plugin is compiled or run
    #[arg(long = "static")]
    pub(crate) no_run: bool,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}
