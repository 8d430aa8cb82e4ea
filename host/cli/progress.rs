//! What a run looks like while it goes on, and when it is over: one live line on a terminal, plain lines in a pipe, then
//! a table, and a plot of the reward; and the line that other verbs show while they work.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use comfy_table::Table;
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};
use rewarden_train::{Event, METRICS, Metrics, RunConfig, Skipped, Stage, Summary, read_rows};
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
    /// Whether the stage's first fault has been told; later ones are figures.
    is_faulted: bool,
}

impl Progress {
    pub(crate) fn new() -> Self {
        let live = std::io::stderr().is_terminal();
        Self { bar: None, live, started: Instant::now(), first_step: 0, last_line: None, is_faulted: false }
    }

    pub(crate) fn show(&mut self, event: Event) {
        match event {
            Event::StageStarted { stage, first_step, steps } => self.start(stage, first_step, steps),
            Event::Sampled { tokens } => self.sampled(tokens),
            Event::Step { stage, done, steps, metrics } => self.step(stage, done, steps, metrics),
            Event::Faulted { stage, faults, answers, first } if !self.is_faulted => {
                self.is_faulted = true;
                self.say(&format!(
                    "{}: {faults} of {answers} answers were not judged by every reward; {first}",
                    stage.name()
                ));
            }
            Event::Faulted { .. } => {}
            Event::StageDone { stage, seconds } => self.done(stage, seconds),
            Event::LeftOut { stage, rows } => {
                eprintln!("{}: {rows} rows left out: too long, or nothing to learn in them", stage.name());
            }
            Event::StageFailed { stage, reason } => {
                self.bar = None;
                eprintln!("{} failed, and the run goes on without: {reason}", stage.name());
            }
            Event::RewardModel { name, source } => eprintln!("reward model `{name}`: {source}"),
            Event::StageSkipped { stage } => eprintln!("{}: finished before, skipped", stage.name()),
            Event::Swapped { record } => self.say(&swap::sentence(record)),
            Event::SwapUnreadable { request, reason } => {
                self.say(&format!("swaps/{request}.json is no request: {reason}"))
            }
            Event::RowsSkipped { skipped: Skipped { file, reason, count } } => {
                let rows = if *count == 1 { "row" } else { "rows" };
                eprintln!("{}: {count} {rows} skipped: {reason}", file.display());
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
        self.is_faulted = false;
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

/// The figures of a stage that people watch: a short label, the metric, digits.
fn watched(stage: Stage) -> &'static [(&'static str, &'static str, usize)] {
    match stage {
        Stage::Sft => &[("nll", "train_mean_nll", 3), ("test nll", "test/nll", 3), ("tok/s", "tokens_per_second", 0)],
        Stage::Prm => &[
            ("loss", "loss", 3),
            ("pair accuracy", "pair_accuracy", 3),
            ("step accuracy", "step_accuracy", 3),
            ("test pair accuracy", "test/pair_accuracy", 3),
            ("test step accuracy", "test/step_accuracy", 3),
        ],
        Stage::Dpo => &[
            ("loss", "dpo_loss", 3),
            ("accuracy", "accuracy", 3),
            ("margin", "margin", 3),
            ("test accuracy", "test/accuracy", 3),
            ("test margin", "test/margin", 3),
        ],
        Stage::Rl => &[
            ("reward", "env/all/reward/total", 3),
            ("test pass@1", "test/pass@1", 3),
            ("entropy", "optim/entropy", 3),
            ("tok/s", "sampled_tokens_per_second", 0),
        ],
        Stage::Eval => &[("pass@1", "test/pass@1", 3), ("reward", "test/env/all/reward/total", 3)],
    }
}

/// What a step came to.
fn message(stage: Stage, metrics: &Metrics) -> String {
    let number = |name: &str| metrics.get(name).and_then(Value::as_f64);
    let shown = |(label, name, digits): &(&str, &str, usize)| Some(format!("{label} {:.*}", *digits, number(name)?));
    let model = metrics.get("model").and_then(Value::as_str).map(str::to_owned);
    let is_count = |name: &str| name == "test/faults" || name.starts_with("plugin/") && name.ends_with("/faults");
    let faults: f64 = metrics.iter().filter(|(name, _)| is_count(name)).filter_map(|(_, value)| value.as_f64()).sum();
    let faults = (faults > 0.0).then(|| format!("faults {faults}"));
    model.into_iter().chain(watched(stage).iter().filter_map(shown)).chain(faults).collect::<Vec<_>>().join("  ")
}

/// The plots, what every stage came to, the table of results, and where everything is.
pub(crate) fn summarise(config: &RunConfig, stages: &[Stage], summary: &Summary) -> Result<()> {
    for &stage in stages {
        plot(config, stage)?;
    }
    let ends = stages.iter().map(|&stage| Ok((stage, last_row(config, stage)?))).collect::<Result<Vec<_>>>()?;
    let ends = ends.into_iter().filter_map(|(stage, row)| Some((stage, row?)));
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(["stage", "metric", "at its end"]);
    for (stage, row) in ends.filter(|(stage, _)| *stage != Stage::Eval) {
        for (_, name, digits) in watched(stage) {
            let Some(value) = row.get(*name).and_then(Value::as_f64) else { continue };
            table.add_row([stage.name().to_owned(), (*name).to_owned(), format!("{value:.digits$}")]);
        }
        for (name, value) in row.iter().filter(|(name, _)| name.starts_with("reward_source_")) {
            table.add_row([stage.name().to_owned(), name.clone(), value.to_string()]);
        }
    }
    if table.row_count() > 0 {
        outln!("{table}\n");
    }
    if !summary.eval.is_empty() {
        outln!("{}\n", results(summary));
    }
    outln!("run directory: {}", config.log_path.display());
    Ok(())
}

/// The rows of a stage, none where it did not run.
fn rows(config: &RunConfig, stage: Stage) -> Result<Vec<Metrics>> {
    let file = config.log_path.join(stage.name()).join(METRICS);
    Ok(if file.is_file() { read_rows(&file)? } else { vec![] })
}

fn last_row(config: &RunConfig, stage: Stage) -> Result<Option<Metrics>> {
    Ok(rows(config, stage)?.pop())
}

/// The evaluations.
fn results(summary: &Summary) -> Table {
    let mut table = Table::new();
    let ks: Vec<&String> = summary.eval.values().next().map(|e| e.scores.keys().collect()).unwrap_or_default();
    let header = ["model".to_owned()].into_iter().chain(ks.iter().map(|k| k.to_string()));
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(header.chain(["mean reward", "problems", "faults"].map(str::to_owned)));
    for name in ["base", "checkpoint", "sft", "dpo", "rl"] {
        let Some(evaluation) = summary.eval.get(name) else { continue };
        let scores = ks.iter().map(|&k| format!("{:.3}", evaluation.scores[k]));
        let reward = evaluation.reward.map_or("-".to_owned(), |reward| format!("{reward:.3}"));
        let rest = [reward, evaluation.problems.to_string(), evaluation.faults.to_string()];
        table.add_row([name.to_owned()].into_iter().chain(scores).chain(rest));
    }
    table
}

/// The curve of a stage that says most about it.
fn plot(config: &RunConfig, stage: Stage) -> Result<()> {
    let (name, caption) = match stage {
        Stage::Sft | Stage::Eval => return Ok(()),
        Stage::Prm => ("loss", "loss of the reward model, by step"),
        Stage::Dpo => ("margin", "margin of chosen over rejected answers, by DPO step"),
        Stage::Rl => ("env/all/reward/total", "mean reward of the rollouts, by RL step"),
    };
    let values: Vec<f64> = rows(config, stage)?.iter().filter_map(|row| row.get(name)?.as_f64()).collect();
    if values.len() > 1 {
        let style = rasciigraph::Config::default().with_height(10).with_width(70).with_offset(2);
        outln!("{}\n", rasciigraph::plot(values, style.with_caption(caption.to_owned())));
    }
    Ok(())
}
