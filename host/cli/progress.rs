//! What a run looks like while it goes on, and when it is over: one live line on a terminal, plain lines in a pipe, then
//! a table, and a plot of the reward; and the line that other verbs show while they work.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rewarden_train::{Event, METRICS, Metrics, RunConfig, Stage, Summary, read_rows};
use serde_json::Value;

use crate::swap;

/// In a pipe a line appears at most this often, and for the last step.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// A line that says what is being done; nothing where standard error is no terminal.
pub(crate) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_finish(ProgressFinish::AndClear);
    let style = ProgressStyle::with_template("{spinner} {msg}");
    spinner.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    spinner.enable_steady_tick(Duration::from_millis(200));
    spinner
}

/// Turns events into lines.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    live: bool,
    started: Instant,
    first_step: usize,
    last_line: Option<Instant>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self { bar: None, live, started: Instant::now(), first_step: 0, last_line: None }
    }

    pub(crate) fn show(&mut self, event: Event) {
        match event {
            Event::StageStarted { stage, first_step, steps } => self.start(stage, first_step, steps),
            Event::Sampled { tokens } => self.sampled(tokens),
            Event::Step { stage, done, steps, metrics } => self.step(stage, done, steps, metrics),
            Event::StageDone { stage, seconds } => self.done(stage, seconds),
            Event::StageSkipped { stage } => eprintln!("{}: finished before, skipped", stage.name()),
            Event::Swapped { record } => self.say(&swap::sentence(record)),
            Event::SwapUnreadable { request, reason } => {
                self.say(&format!("swaps/{request}.json is no request: {reason}"))
            }
            Event::SetAside { path } => eprintln!("an earlier run is kept in {}", path.display()),
        }
    }

    /// A line above the live one.
    fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }

    fn start(&mut self, stage: Stage, first_step: usize, steps: usize) {
        (self.started, self.first_step, self.last_line) = (Instant::now(), first_step, None);
        if first_step > 0 {
            eprintln!("{}: resumed at step {first_step} of {steps}", stage.name());
        }
        if self.live {
            let style = ProgressStyle::with_template("{prefix:5} {bar:24} {pos}/{len}  {msg}  ETA {eta}");
            let bar = ProgressBar::new(steps as u64).with_prefix(stage.name());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
            bar.set_position(first_step as u64);
            bar.reset_eta();
            self.bar = Some(bar);
        }
    }

    fn sampled(&self, tokens: usize) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("sampling, {tokens} tokens"));
        }
    }

    fn step(&mut self, stage: Stage, done: usize, steps: usize, metrics: &Metrics) {
        let message = message(stage, metrics);
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(message);
            return;
        }
        let now = Instant::now();
        if done == steps || stage == Stage::Eval || self.last_line.is_none_or(|last| now - last >= LINE_EVERY) {
            let per_step = (now - self.started).as_secs_f64() / (done - self.first_step).max(1) as f64;
            let left = per_step * (steps - done) as f64;
            eprintln!("{} {done}/{steps}  {message}  ETA {left:.0}s", stage.name());
            self.last_line = Some(now);
        }
    }

    fn done(&mut self, stage: Stage, seconds: f64) {
        if let Some(bar) = self.bar.take() {
            let message = bar.message();
            bar.finish_and_clear();
            eprintln!("{}  {message}", stage.name());
        }
        eprintln!("{} done in {seconds:.1}s", stage.name());
    }
}

/// The figures of a step that people watch.
fn message(stage: Stage, metrics: &Metrics) -> String {
    let number = |name: &str| metrics.get(name).and_then(Value::as_f64);
    let shown = |label: &str, name: &str, digits: usize| Some(format!("{label} {:.digits$}", number(name)?));
    let parts = match stage {
        Stage::Sft => {
            vec![
                shown("nll", "train_mean_nll", 3),
                shown("test nll", "test/nll", 3),
                shown("tok/s", "tokens_per_second", 0),
            ]
        }
        Stage::Rl => vec![
            shown("reward", "env/all/reward/total", 3),
            shown("entropy", "optim/entropy", 3),
            shown("tok/s", "sampled_tokens_per_second", 0),
        ],
        Stage::Eval => vec![
            metrics.get("model").and_then(Value::as_str).map(str::to_owned),
            shown("pass@1", "test/pass@1", 3),
            shown("reward", "test/env/all/reward/total", 3),
        ],
    };
    parts.into_iter().flatten().collect::<Vec<_>>().join("  ")
}

/// The table of results, the plot of the reward, and where everything is.
pub(crate) fn summarise(config: &RunConfig, stages: &[Stage], summary: &Summary) -> Result<()> {
    if stages.contains(&Stage::Rl) {
        plot_reward(config)?;
    }
    if !summary.eval.is_empty() {
        println!("{}", table(summary));
    }
    println!("run directory: {}", config.log_path.display());
    Ok(())
}

fn table(summary: &Summary) -> Table {
    let mut table = Table::new();
    let ks: Vec<&String> = summary.eval.values().next().map(|e| e.pass_at.keys().collect()).unwrap_or_default();
    let header = ["model".to_owned()].into_iter().chain(ks.iter().map(|k| k.to_string()));
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(header.chain(["mean reward", "problems"].map(str::to_owned)));
    for name in ["base", "checkpoint", "sft", "rl"] {
        let Some(evaluation) = summary.eval.get(name) else { continue };
        let scores = ks.iter().map(|&k| format!("{:.3}", evaluation.pass_at[k]));
        let reward = evaluation.reward.map_or("-".to_owned(), |reward| format!("{reward:.3}"));
        let rest = [reward, evaluation.problems.to_string()];
        table.add_row([name.to_owned()].into_iter().chain(scores).chain(rest));
    }
    table
}

fn plot_reward(config: &RunConfig) -> Result<()> {
    let rows: Vec<Metrics> = read_rows(&config.log_path.join(Stage::Rl.name()).join(METRICS))?;
    let rewards: Vec<f64> = rows.iter().filter_map(|row| row.get("env/all/reward/total")?.as_f64()).collect();
    if rewards.len() > 1 {
        let style = rasciigraph::Config::default().with_height(10).with_width(70).with_offset(2);
        let style = style.with_caption("mean reward of the rollouts, by RL step".to_owned());
        println!("{}\n", rasciigraph::plot(rewards, style));
    }
    Ok(())
}
