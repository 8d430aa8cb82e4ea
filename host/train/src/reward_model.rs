//! A trained reward model as a grader: text in, scores out, like any plugin's, but by a model of the host's.
//!
//! What it was trained as stands beside its weights in `reward_model.json`; a classifier that somebody else trained
//! (transformers' sequence or token classification) needs no such file.

use rewarden_runtime::{Digest, Fault, Grader, HostScorer, Role, Sample, Score, Scorer};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use tokio::sync::Semaphore;

use crate::advantage::step_ends;
use crate::batch::Datum;
use crate::chains::step_tokens;
use crate::config::{Aggregate, PrmLossFn, RewardModelConfig, RunConfig, Stage};
use crate::error::{Error, Result};
use crate::gradient::log_probs;
use crate::loss::{PairLoss, PairLossFn};
use crate::model::{Head, Policy, files};
use crate::observe::{Event, Observer};
use crate::pairs::asked;
use crate::renderer::Renderer;
use crate::run::Rewards;
use crate::start;

/// The file beside the weights.
const ABOUT: &str = "reward_model.json";

/// Why the `prm` stage of a run failed, when the run went on without it.
pub(crate) const FAILED: &str = "failed.txt";

/// Answers in one pass.
const MICRO_BATCH_SIZE: usize = 16;

/// What a reward model was trained as.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct About {
    loss_fn: PrmLossFn,
    beta: f64,
    step_separator: String,
    /// The model whose log-probabilities an implicit reward is measured against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reference: Option<PathBuf>,
}

impl About {
    /// Of what the run's `prm` stage makes.
    pub(crate) fn of(config: &RunConfig) -> Result<Self> {
        let options = &config.prm;
        let reference = || start::source_folder(config, Stage::Prm);
        Ok(Self {
            loss_fn: options.loss_fn,
            beta: options.beta,
            step_separator: options.step_separator.clone(),
            reference: (options.loss_fn == PrmLossFn::Implicit).then(reference).transpose()?,
        })
    }

    /// Writes the file into a checkpoint.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        let file = folder.join(ABOUT);
        let text = serde_json::to_string_pretty(self).map_err(|e| Error::model(&file, e.to_string()))?;
        std::fs::write(&file, text + "\n").map_err(Error::io("write", &file))
    }

    /// Copies the file, where there is one, to where the model goes.
    pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
        let (file, copy) = (from.join(ABOUT), to.join(ABOUT));
        match file.is_file() {
            true => std::fs::copy(&file, &copy).map(drop).map_err(Error::io("write", &copy)),
            false => Ok(()),
        }
    }

    /// Reads it, or tells it from the model's head.
    fn read(folder: &Path, head: Head) -> Result<Self> {
        let file = folder.join(ABOUT);
        let plain = |loss_fn| Self { loss_fn, beta: 1.0, step_separator: "\n".into(), reference: None };
        let about = match head {
            _ if file.is_file() => {
                serde_json::from_str(&files::read_text(&file)?).map_err(|e| Error::model(&file, e.to_string()))?
            }
            Head::Score => plain(PrmLossFn::BradleyTerry),
            Head::Steps => plain(PrmLossFn::Steps),
            Head::Tokens => {
                let message = format!("is no reward model: its head writes text, and there is no {ABOUT} beside it");
                return Err(Error::model(folder, message));
            }
        };
        match about.loss_fn.head() == head {
            true => Ok(about),
            false => Err(Error::model(&file, "belongs to a model with another head than this one's")),
        }
    }
}

/// A reward model with all it takes to ask it.
struct RewardModel {
    model: Policy,
    reference: Option<Policy>,
    renderer: Renderer,
    about: About,
    aggregate: Aggregate,
}

impl RewardModel {
    fn read(config: &RunConfig, folder: &Path, aggregate: Option<Aggregate>) -> Result<Self> {
        let (model, renderer) = start::read(config, folder)?;
        let model = config.device.place(model)?;
        let about = About::read(folder, model.config().head())?;
        let reference = match (&about.reference, about.loss_fn) {
            (Some(reference), _) => Some(config.device.place(start::read_policy(config, reference)?.0)?),
            (None, PrmLossFn::Implicit) => {
                return Err(Error::model(folder.join(ABOUT), "names no `reference`, which an implicit reward needs"));
            }
            (None, _) => None,
        };
        let usual = if about.loss_fn == PrmLossFn::Steps { Aggregate::Min } else { Aggregate::Sum };
        Ok(Self { model, reference, renderer, about, aggregate: aggregate.unwrap_or(usual) })
    }

    /// A score or a fault for each sample.
    fn judge(&self, samples: &[Sample]) -> Vec<std::result::Result<Score, Fault>> {
        let rendered: Vec<_> = samples.iter().map(|sample| self.render(sample)).collect();
        let data: Vec<Datum> = rendered.iter().flatten().cloned().collect();
        let said = self.ask(&data).map_err(|error| Fault::Internal(format!("reward model: {error}")));
        let mut scores = match said {
            Ok(scores) => scores.into_iter(),
            Err(fault) => return vec![Err(fault); samples.len()],
        };
        let one = |rendered: std::result::Result<Datum, Fault>| {
            rendered?;
            scores.next().ok_or_else(|| Fault::Internal("reward model: an answer is missing".into()))
        };
        rendered.into_iter().map(one).collect()
    }

    /// A sample as tokens, marked where the model is asked.
    fn render(&self, sample: &Sample) -> std::result::Result<Datum, Fault> {
        let invalid = |error: Error| Fault::InvalidInput(error.to_string());
        let datum = Datum::from(self.renderer.answered(&sample.prompt, &sample.completion).map_err(invalid)?);
        let longest = self.model.config().max_position_embeddings;
        if datum.tokens.len() > longest {
            let tokens = datum.tokens.len();
            return Err(Fault::InvalidInput(format!("{tokens} tokens; the reward model reads {longest}")));
        }
        if datum.trained_tokens() == 0 {
            return Err(Fault::InvalidInput("the completion has no message of the assistant".into()));
        }
        if self.about.loss_fn != PrmLossFn::Steps {
            return Ok(asked(datum, self.about.loss_fn.head()));
        }
        let ends = self.steps_of(sample, &datum).map_err(invalid)?;
        let trained = (0..datum.tokens.len()).map(|at| ends.contains(&at)).collect();
        Ok(Datum { trained, ..datum })
    }

    /// Where the steps of what was said end. A chat template may write a thought before it that was not said: the steps
    /// are the last ones.
    fn steps_of(&self, sample: &Sample, datum: &Datum) -> Result<Vec<usize>> {
        let separator = &self.about.step_separator;
        let said = sample.completion.iter().filter(|message| message.role == Role::Assistant);
        let count: usize = said.map(|message| step_ends(&message.content, separator).len()).sum();
        let ends = step_tokens(datum, &self.renderer, separator)?;
        Ok(ends[ends.len().saturating_sub(count)..].to_vec())
    }

    /// What the model thinks of each answer.
    fn ask(&self, data: &[Datum]) -> Result<Vec<Score>> {
        let said = log_probs(&self.model, data, MICRO_BATCH_SIZE)?;
        let reference = match &self.reference {
            Some(reference) => log_probs(reference, data, MICRO_BATCH_SIZE)?,
            None => vec![vec![]; data.len()],
        };
        data.iter()
            .zip(said.iter().zip(&reference))
            .map(|(datum, (said, known))| self.score(datum, said, known))
            .collect()
    }

    fn score(&self, datum: &Datum, said: &[f32], reference: &[f32]) -> Result<Score> {
        let About { loss_fn, beta, .. } = self.about;
        let whole = |loss_fn| PairLoss { loss_fn, beta, centering: 0.0 }.worth(said, reference).0;
        match loss_fn {
            PrmLossFn::BradleyTerry => Ok(score(Some(whole(PairLossFn::BradleyTerry)), vec![], "")),
            PrmLossFn::Pairwise => Ok(score(Some(whole(PairLossFn::Pairwise)), vec![], "")),
            PrmLossFn::Implicit => {
                let steps = self.sums_by_step(datum, said, reference)?;
                Ok(score(self.aggregate.of(&steps), steps, ""))
            }
            PrmLossFn::Steps if said.is_empty() => Ok(score(Some(0.0), vec![], "no step to judge")),
            PrmLossFn::Steps => {
                let steps: Vec<f64> = said.iter().map(|&odds| 1.0 / (1.0 + f64::from(-odds).exp())).collect();
                Ok(score(self.aggregate.of(&steps), steps, ""))
            }
        }
    }

    /// `beta` times the log-ratio of each step's tokens. What follows the last step, the end of the message, is its own.
    fn sums_by_step(&self, datum: &Datum, said: &[f32], reference: &[f32]) -> Result<Vec<f64>> {
        let ends = step_tokens(datum, &self.renderer, &self.about.step_separator)?;
        let places = (1..datum.tokens.len()).filter(|&at| datum.trained[at]);
        let mut sums = vec![0.0; ends.len().max(1)];
        for (place, (p, f)) in places.zip(said.iter().zip(reference)) {
            let step = ends.partition_point(|&end| end < place).min(sums.len() - 1);
            sums[step] += self.about.beta * (f64::from(*p) - f64::from(*f));
        }
        Ok(sums)
    }
}

fn score(value: Option<f64>, steps: Vec<f64>, note: &str) -> Score {
    Score { value, steps, components: vec![], metrics: vec![], note: note.into() }
}

/// A trained reward model of this run as what judges in a rubric. It is known by the digest of its files.
pub fn trained_scorer(config: &RunConfig, model: &RewardModelConfig) -> Result<Scorer> {
    match folder_of(config, model)? {
        Ok(folder) => read_scorer(config, model, &folder),
        Err(reason) => Err(Error::config(format!("reward_model.{}.path", model.name), reason)),
    }
}

fn read_scorer(config: &RunConfig, model: &RewardModelConfig, folder: &Path) -> Result<Scorer> {
    let reward_model = RewardModel::read(config, folder, model.aggregate)?;
    // Parts of a batch come side by side, and each is about one pass: more at once than there are cores would only need
    // the memory of more passes.
    let passes = Semaphore::new(std::thread::available_parallelism().map_or(1, usize::from));
    let judge = move |samples: &[Sample]| {
        let _turn = pollster::block_on(passes.acquire());
        reward_model.judge(samples)
    };
    Ok(HostScorer::blocking(digest(folder, model.aggregate)?, judge).into())
}

/// Where the model lies; or why it is nowhere.
fn folder_of(config: &RunConfig, model: &RewardModelConfig) -> Result<std::result::Result<PathBuf, String>> {
    if let Some(path) = &model.path {
        let missing = || format!("there is no folder {}", path.display());
        return Ok(path.is_dir().then(|| path.clone()).ok_or_else(missing));
    }
    if let Some(folder) = start::finished(config, Stage::Prm)? {
        return Ok(Ok(folder));
    }
    Ok(Err(match failure(config) {
        Some(reason) => format!("the prm stage of this run failed: {reason}"),
        None => "this run's prm stage has no final checkpoint; add it to `stages`, or name a `path`".into(),
    }))
}

/// Why the run's `prm` stage failed, if it did.
pub(crate) fn failure(config: &RunConfig) -> Option<String> {
    let text = std::fs::read_to_string(config.log_path.join(Stage::Prm.name()).join(FAILED)).ok()?;
    Some(rewarden_runtime::printable(text.trim(), 1000))
}

/// The digest of all that decides what the model says.
fn digest(folder: &Path, aggregate: Option<Aggregate>) -> Result<Digest> {
    let mut files: Vec<PathBuf> = vec![];
    for entry in std::fs::read_dir(folder).map_err(Error::io("list", folder))? {
        let path = entry.map_err(Error::io("list", folder))?.path();
        let name = path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let counts = name.ends_with(".json") || name.ends_with(".safetensors") || name.ends_with(".jinja");
        if counts && name != crate::run_dir::OPTIMIZER {
            files.push(path);
        }
    }
    files.sort();
    let mut all = format!("{aggregate:?}");
    for file in files {
        let bytes = std::fs::read(&file).map_err(Error::io("read", &file))?;
        let name = file.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        all.push_str(&format!("\n{name} {}", Digest::of(&bytes)));
    }
    Ok(Digest::of(all.as_bytes()))
}

/// The seats of a config's reward models in a rubric, empty until a stage fills them: a model may be this run's own, and
/// not there yet.
pub fn reward_model_graders(config: &RunConfig) -> Vec<Grader> {
    let absent = |_| async { vec![] };
    let grader = |model: &RewardModelConfig| Grader {
        name: model.name.clone(),
        weight: model.weight.clone(),
        priority: model.priority,
        data_source: model.data_source.clone(),
        on_fault: model.on_fault,
        scorer: HostScorer::new(Digest::of(b"no reward model yet"), absent).into(),
    };
    config.reward_model.iter().map(grader).collect()
}

/// Seats every reward model of the config, or the plugin that takes its place.
pub(crate) fn seat(config: &RunConfig, rewards: &mut Rewards, observe: Observer) -> Result<()> {
    for model in &config.reward_model {
        let (scorer, source) = match (folder_of(config, model)?, &model.fallback) {
            (Ok(folder), _) => (read_scorer(config, model, &folder)?, folder.display().to_string()),
            (Err(reason), Some(fallback)) => {
                let known = rewards.rubric.scorer(fallback).cloned();
                let missing = || Error::config(format!("reward_model.{}.fallback", model.name), "is not loaded");
                (known.ok_or_else(missing)?, format!("its fallback `{fallback}`: {reason}"))
            }
            (Err(reason), None) => {
                let message = format!("{reason}; or name a `fallback`, a [[reward]] that judges in its place");
                return Err(Error::config(format!("reward_model.{}.path", model.name), message));
            }
        };
        rewards.rubric.swap(&model.name, scorer)?;
        observe(Event::RewardModel { name: &model.name, source: &source });
    }
    Ok(())
}

/// Which of the config's reward models judge, and which have a plugin in their place: `reward_source_<name>` is 1 or 0.
pub(crate) fn sources<'a>(
    config: &'a RunConfig,
    rubric: &'a rewarden_runtime::Rubric,
) -> impl Iterator<Item = (String, f64)> + 'a {
    config.reward_model.iter().map(|model| {
        let is_model = matches!(rubric.scorer(&model.name), Some(Scorer::Host(_)));
        (format!("reward_source_{}", model.name), f64::from(is_model))
    })
}
