//! Lessons from answers whose steps are labelled, for process reward models: the model is asked once at the end of each
//! step.

use crate::advantage::{last_tokens, step_ends};
use crate::batch::Datum;
use crate::config::PrmConfig;
use crate::data::{Chain, Dataset};
use crate::epochs::{Lessons, Sums};
use crate::error::{Error, Result};
use crate::gradient::measure;
use crate::learner::{Learner, Update};
use crate::loss::{Verdicts, step_loss};
use crate::material::chain_messages;
use crate::model::Policy;
use crate::objective::Objective;
use crate::renderer::Renderer;

/// Answers in steps to learn from and to be measured on.
pub(crate) struct StepLessons {
    train: Vec<Rendered>,
    test: Vec<Rendered>,
    left_out: usize,
    micro_batch_size: usize,
}

/// An answer as tokens, asked about at the end of each labelled step.
struct Rendered {
    datum: Datum,
    labels: Vec<f64>,
}

impl StepLessons {
    pub(crate) fn new(data: &Dataset<Chain>, renderer: &Renderer, options: &PrmConfig) -> Result<Self> {
        let render = |chains: &[Chain]| -> Result<Vec<Rendered>> {
            let rendered = chains.iter().map(|chain| Rendered::new(chain, renderer, options));
            let fits = |chain: &Rendered| chain.datum.tokens.len() <= options.max_length && !chain.labels.is_empty();
            Ok(rendered.collect::<Result<Vec<_>>>()?.into_iter().flatten().filter(fits).collect())
        };
        let (train, test) = (render(&data.train)?, render(&data.test)?);
        let left_out = data.train.len() + data.test.len() - train.len() - test.len();
        let longest = options.max_length;
        if train.is_empty() {
            let message = format!(
                "none of the {} answers has a labelled step, at most `prm.max_length` = {longest} tokens, and no \
                 `prm.step_separator` = {:?} within a step",
                data.train.len(),
                options.step_separator
            );
            return Err(Error::config("prm.data", message));
        }
        Ok(Self { train, test, left_out, micro_batch_size: options.micro_batch_size })
    }
}

impl Rendered {
    /// `None` where a step holds the separator: then nobody could tell its steps apart.
    fn new(chain: &Chain, renderer: &Renderer, options: &PrmConfig) -> Result<Option<Self>> {
        let messages = chain_messages(chain, &options.step_separator);
        let datum = Datum::from(renderer.answered(&messages[..chain.prompt.len()], &messages[chain.prompt.len()..])?);
        let said: String = messages[chain.prompt.len()..].iter().map(|message| message.content.as_str()).collect();
        let (steps, found) = (chain.steps.len(), step_ends(&said, &options.step_separator).len());
        let ends = step_tokens(&datum, renderer, &options.step_separator)?;
        if found != steps {
            return Ok(None);
        }
        // A renderer may put more before the first step, a thought for one; the labels are those of the last steps.
        let before = ends.len().saturating_sub(steps);
        let wanted = if options.train_on_last_step_only { chain.steps.len() - 1 } else { 0 };
        let labelled = ends[before..].iter().zip(&chain.labels).skip(wanted);
        let labelled: Vec<(usize, f64)> = labelled.filter_map(|(&end, label)| Some((end, (*label)?))).collect();
        let mut trained = vec![false; datum.tokens.len()];
        labelled.iter().for_each(|&(end, _)| trained[end] = true);
        let labels = labelled.into_iter().map(|(_, label)| label).collect();
        Ok(Some(Self { datum: Datum { trained, ..datum }, labels }))
    }
}

/// The places of the tokens with which the steps of what was trained in `datum` end, message by message.
pub(crate) fn step_tokens(datum: &Datum, renderer: &Renderer, separator: &str) -> Result<Vec<usize>> {
    let tokenizer = renderer.tokenizer();
    let is_said = |&at: &usize| datum.trained[at] && !tokenizer.stops(datum.tokens[at]);
    let places: Vec<usize> = (0..datum.tokens.len()).filter(is_said).collect();
    let mut ends = vec![];
    for message in places.chunk_by(|one, next| one + 1 == *next) {
        let tokens: Vec<u32> = message.iter().map(|&at| datum.tokens[at]).collect();
        ends.extend(last_tokens(&tokenizer.pieces(&tokens)?, separator).into_iter().map(|token| message[token]));
    }
    Ok(ends)
}

impl Lessons for StepLessons {
    fn count(&self) -> usize {
        self.train.len()
    }

    fn left_out(&self) -> usize {
        self.left_out
    }

    fn learn(&self, learner: &mut Learner, rows: &[usize], rate: f64) -> Result<Option<Update>> {
        let (data, labels) = batch(rows.iter().map(|&row| &self.train[row]));
        learner.update(&data, self.micro_batch_size, rate, Objective::each(&step_loss(&labels)))
    }

    fn measure(&self, policy: &Policy) -> Result<Option<(f64, Sums)>> {
        if self.test.is_empty() {
            return Ok(None);
        }
        let (data, labels) = batch(self.test.iter());
        measure(policy, &data, self.micro_batch_size, Objective::each(&step_loss(&labels))).map(Some)
    }

    fn figures(&self, loss: f64, sums: &Sums) -> Vec<(&'static str, f64)> {
        let verdicts = Verdicts::summed(sums);
        vec![("loss", loss), ("step_accuracy", verdicts.accuracy()), ("step_f1", verdicts.f1())]
    }
}

fn batch<'a>(rows: impl Iterator<Item = &'a Rendered>) -> (Vec<Datum>, Vec<Vec<f64>>) {
    rows.map(|row| (row.datum.clone(), row.labels.clone())).unzip()
}
