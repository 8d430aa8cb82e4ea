//! What the stages of a run learn from: all of it is read and checked before the first stage starts.

use rewarden_runtime::{Message, Role};

use crate::config::{DataConfig, RunConfig, Stage};
use crate::data::{Chain, Dataset, Example, Pair, Skipped};
use crate::error::{Error, Result};
use crate::loss::PairLoss;
use crate::renderer::{Conversation, message};

/// The data of a run's stages.
pub(crate) struct Material {
    examples: Option<Dataset>,
    preferences: Option<Result<Preferences>>,
    pairs: Option<Dataset<Pair>>,
    /// Tasks of `[eval.data]`.
    exam: Option<Dataset>,
    step_separator: String,
}

/// What a reward model learns from.
pub(crate) enum Preferences {
    Pairs(Dataset<Pair>, PairLoss),
    Steps(Dataset<Chain>),
}

impl Material {
    /// Reads what the stages of `read` learn from, and what those that `run` are examined on. Where the run goes on without a
    /// reward model, bad data of its stage is kept as that stage's failure.
    pub(crate) fn load<'a>(config: &'a RunConfig, read: &[Stage], run: &[Stage]) -> Result<Self> {
        let own = |key: &'static str, own: &'a Option<DataConfig>| {
            own.as_ref().map_or(("data", &config.data), |own| (key, own))
        };
        let (key, data) = own("prm.data", &config.prm.data);
        let preferences = || match config.prm.pair_loss() {
            Some(loss) => Dataset::load(key, data, config.seed).map(|data| Preferences::Pairs(data, loss)),
            None => Dataset::load(key, data, config.seed).map(Preferences::Steps),
        };
        let (dpo_key, dpo_data) = own("dpo.data", &config.dpo.data);
        // A model that is only examined, on other data, needs none of its own.
        let examined_elsewhere = config.eval.data.is_some() && config.data == DataConfig::default();
        let asks_tasks = |stage: &Stage| match stage {
            Stage::Sft | Stage::Rl => true,
            Stage::Eval => !examined_elsewhere,
            Stage::Prm | Stage::Dpo => false,
        };
        let has = |stage| read.contains(&stage);
        let is_examined = |stage: &Stage| match stage {
            Stage::Eval => true,
            Stage::Rl => config.rl.eval_every != 0,
            Stage::Sft | Stage::Prm | Stage::Dpo => false,
        };
        let examples =
            read.iter().any(asks_tasks).then(|| Dataset::load("data", &config.data, config.seed)).transpose()?;
        let preferences = has(Stage::Prm).then(preferences);
        let pairs = has(Stage::Dpo).then(|| Dataset::load(dpo_key, dpo_data, config.seed)).transpose()?;
        let exam = config.eval.data.as_ref().filter(|_| run.iter().any(is_examined));
        let exam = exam.map(|data| Dataset::to_examine("eval.data", data, config.seed)).transpose()?;
        let preferences = match preferences {
            Some(Err(error)) if !config.can_do_without(Stage::Prm) => return Err(error),
            preferences => preferences,
        };
        Ok(Self { examples, preferences, pairs, exam, step_separator: config.prm.step_separator.clone() })
    }

    /// Tasks and answers.
    pub(crate) fn examples(&self) -> Result<&Dataset> {
        self.examples.as_ref().ok_or_else(|| Error::config("data", "this stage needs tasks"))
    }

    /// Tasks to be examined on: those of `[eval.data]`, or else what the run's data hold out.
    pub(crate) fn held_out(&self) -> Result<&[Example]> {
        self.exam.as_ref().map_or_else(|| self.examples(), Ok).map(|data| data.test.as_slice())
    }

    /// Rows of the files that are none.
    pub(crate) fn skipped(&self) -> impl Iterator<Item = &Skipped> {
        let preferences = match &self.preferences {
            Some(Ok(Preferences::Pairs(data, _))) => data.skipped.as_slice(),
            Some(Ok(Preferences::Steps(data))) => data.skipped.as_slice(),
            Some(Err(_)) | None => &[],
        };
        let examples = self.examples.iter().flat_map(|data| &data.skipped);
        let exam = self.exam.iter().flat_map(|data| &data.skipped);
        examples.chain(preferences).chain(self.pairs.iter().flat_map(|data| &data.skipped)).chain(exam)
    }

    /// What is wrong with the reward model's data, if the run goes on without it.
    pub(crate) fn failure(&mut self) -> Result<()> {
        match self.preferences.take_if(|preferences| preferences.is_err()) {
            Some(Err(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// What the reward model learns from.
    pub(crate) fn preferences(&self) -> Result<&Preferences> {
        let missing = || Error::config("prm.data", "this stage needs pairs of answers or labelled steps");
        self.preferences.as_ref().and_then(|preferences| preferences.as_ref().ok()).ok_or_else(missing)
    }

    /// What DPO learns from.
    pub(crate) fn pairs(&self) -> Result<&Dataset<Pair>> {
        self.pairs.as_ref().ok_or_else(|| Error::config("dpo.data", "this stage needs pairs"))
    }

    /// The texts of every conversation to be trained on: what a tokenizer for them should be good at.
    pub(crate) fn texts(&self, texts: impl Fn(Conversation) -> Vec<String>) -> Vec<String> {
        let mut all: Vec<String> = vec![];
        for example in self.examples.iter().flat_map(|data| &data.train) {
            let messages = example.messages();
            all.extend(texts(Conversation { messages: &messages, tools: &example.task.tools }));
        }
        let mut answered = |messages: Vec<Message>| all.extend(texts((&messages).into()));
        match &self.preferences {
            Some(Ok(Preferences::Pairs(data, _))) => data.train.iter().flat_map(both).for_each(&mut answered),
            Some(Ok(Preferences::Steps(data))) => {
                data.train.iter().map(|chain| chain_messages(chain, &self.step_separator)).for_each(&mut answered);
            }
            Some(Err(_)) | None => {}
        }
        self.pairs.iter().flat_map(|data| &data.train).flat_map(both).for_each(answered);
        all
    }
}

/// Both conversations of a pair.
fn both(pair: &Pair) -> [Vec<Message>; 2] {
    [&pair.chosen, &pair.rejected].map(|answer| pair.prompt.iter().chain(answer).cloned().collect())
}

/// The conversation of a chain.
pub(crate) fn chain_messages(chain: &Chain, separator: &str) -> Vec<Message> {
    chain.prompt.iter().cloned().chain([message(Role::Assistant, chain.steps.join(separator))]).collect()
}
