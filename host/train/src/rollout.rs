//! Rollouts: the policy's attempts at tasks, as text for graders and as tokens for the update.

use std::collections::HashMap;

use rewarden_runtime::{Sample, StopReason};

use crate::batch::Datum;
use crate::data::Task;
use crate::error::{Error, Result};
use crate::model::{ModelConfig, Policy};
use crate::renderer::Renderer;
use crate::sampler::{End, Next, Progress, Request, Sampled, Sampler, Sampling};
use crate::seed::{self, Purpose};
use crate::tokenizer::Tokenizer;

/// One finished attempt.
#[derive(Clone, Debug)]
pub struct Rollout {
    /// The trajectory as graders see it: text, never tokens.
    pub sample: Sample,
    /// Tokens of the prompt.
    pub prompt: Vec<u32>,
    /// What the policy added.
    pub sampled: Sampled,
}

/// How many attempts, and with which randomness.
pub struct Plan<'a> {
    /// Attempts at each task.
    pub group_size: usize,
    /// How tokens are drawn.
    pub sampling: &'a Sampling,
    /// Texts that end an answer, themselves included; beside the tokens that do.
    pub stop: &'a [String],
    /// The run's seed.
    pub seed: u64,
    /// What the attempts are for.
    pub purpose: Purpose,
    /// The training step, which graders see; 0 in evaluation.
    pub step: usize,
    /// Number of the first task, when the tasks are a part of more: its place decides a task's randomness.
    pub first_task: usize,
}

/// Refuses tasks whose prompt leaves no room for an answer in the model's context, before the first is attempted.
pub(crate) fn check_lengths<'a>(
    model: &ModelConfig,
    renderer: &Renderer,
    tasks: impl Iterator<Item = &'a Task>,
    max_tokens: usize,
) -> Result<()> {
    let longest = model.max_position_embeddings;
    for task in tasks {
        let prompt = renderer.prompt(task.conversation())?.len();
        if prompt + max_tokens > longest {
            let message = format!(
                "the prompt of task {} has {prompt} tokens; with `max_tokens` = {max_tokens} that is more than the model's \
                 {longest} (`max_position_embeddings`): remove the row or lower `max_tokens`",
                task.id
            );
            return Err(Error::config("data", message));
        }
    }
    Ok(())
}

/// Attempts every task `group_size` times; attempts at one task are neighbours. `progress` hears the number of tokens
/// sampled so far. `finished` is told of each task once, by its place in `tasks`, when all attempts at it have ended: on
/// this thread, in any order of tasks, with the attempts in their own order. What it does delays sampling.
pub fn roll_out(
    policy: &Policy,
    renderer: &Renderer,
    tasks: &[&Task],
    plan: &Plan,
    mut progress: impl FnMut(usize),
    mut finished: impl FnMut(usize, &[Rollout]),
) -> Result<Vec<Rollout>> {
    let seed = |group: usize, attempt| {
        seed::derive(plan.seed, plan.purpose, &[plan.step as u64, (plan.first_task + group) as u64, attempt as u64])
    };
    let request = |(group, task): (usize, &&Task)| {
        let seeds = (0..plan.group_size).map(|attempt| seed(group, attempt)).collect();
        Ok(Request { prompt: renderer.prompt(task.conversation())?, seeds })
    };
    let requests: Vec<Request> = tasks.iter().enumerate().map(request).collect::<Result<_>>()?;
    let names = names(tasks.iter().map(|task| task.id.as_str()));
    let guide = |tokens: &[u32]| match stops(tokens, renderer.tokenizer(), plan.stop) {
        true => Next::Stop,
        false => Next::Draw,
    };
    // What cannot be told as text ends the roll-out, but only when the sampler is done.
    let mut groups: Vec<Result<Vec<Rollout>>> = tasks.iter().map(|_| Ok(vec![])).collect();
    let watch = |happened: Progress| match happened {
        Progress::Tokens(tokens) => progress(tokens),
        Progress::Done { request, samples } => {
            let prompt = &requests[request].prompt;
            groups[request] = group((tasks[request], &names[request]), prompt, samples, renderer, plan);
            if let Ok(group) = &groups[request] {
                finished(request, group);
            }
        }
    };
    Sampler::new(policy).sample(&requests, plan.sampling, &guide, watch)?;
    Ok(groups.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// A name for each group: its task's id, and of one that was there before, at the end of one epoch and the beginning of the
/// next, how often. Graders know groups by their names: two of one name that stand together would be one.
fn names<'a>(ids: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut seen: HashMap<&str, usize> = HashMap::new();
    let name = |id| {
        let times = seen.entry(id).or_default();
        *times += 1;
        if *times == 1 { id.to_owned() } else { format!("{id}#{times}") }
    };
    ids.map(name).collect()
}

/// All attempts at one task.
fn group(
    (task, name): (&Task, &str),
    prompt: &[u32],
    samples: &[Sampled],
    renderer: &Renderer,
    plan: &Plan,
) -> Result<Vec<Rollout>> {
    let rollout = |(attempt, sampled): (usize, &Sampled)| {
        let sample = trajectory((task, name), attempt, renderer, sampled, plan)?;
        Ok(Rollout { sample, prompt: prompt.to_vec(), sampled: sampled.clone() })
    };
    samples.iter().enumerate().map(rollout).collect()
}

/// Whether a sample ends with its newest token: one that says so, or that completes a text that does.
fn stops(tokens: &[u32], tokenizer: &Tokenizer, stop: &[String]) -> bool {
    let completes = |text: &String| {
        // A token is at least a byte: more of them than the text has bytes cannot matter.
        let tail = &tokens[tokens.len().saturating_sub(text.len() + 1)..];
        tokenizer.decode(tail).is_ok_and(|tail| tail.contains(text))
    };
    tokens.last().is_some_and(|&token| tokenizer.stops(token)) || stop.iter().any(completes)
}

fn trajectory(
    (task, group): (&Task, &str),
    attempt: usize,
    renderer: &Renderer,
    sampled: &Sampled,
    plan: &Plan,
) -> Result<Sample> {
    Ok(Sample {
        id: format!("{}/{group}/{attempt}", plan.step),
        group: group.to_owned(),
        data_source: task.data_source.clone(),
        prompt: task.prompt.clone(),
        completion: vec![renderer.parse(&sampled.tokens)?],
        ground_truth: task.ground_truth.clone(),
        extra: task.extra.clone(),
        stop_reason: if sampled.end == End::Stopped { StopReason::Completed } else { StopReason::MaxTokens },
        turn_scores: vec![],
        completion_tokens: sampled.tokens.len() as u32,
        step: plan.step as u32,
    })
}

impl Rollout {
    /// The rollout as something to learn from: what was drawn is trained, the prompt and what was forced are not.
    pub fn datum(&self) -> Datum {
        let tokens = self.prompt.iter().chain(&self.sampled.tokens).copied().collect();
        let trained = self.prompt.iter().map(|_| false).chain(self.sampled.mask.iter().copied()).collect();
        Datum { tokens, trained }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_at_one_task_have_names_of_their_own() {
        assert_eq!(names(["a", "b", "a", "a", "c"].into_iter()), ["a", "b", "a#2", "a#3", "c"]);
    }

    #[test]
    fn a_text_ends_a_sample_however_its_tokens_are_cut() {
        let tokenizer = Tokenizer::learn(&["#### 42 and so on".to_owned(), "4 + 2".to_owned()]).unwrap();
        #[track_caller]
        fn check(tokenizer: &Tokenizer, text: &str, stop: &[&str], expected: bool) {
            let tokens = tokenizer.encode(text).unwrap();
            let stop: Vec<String> = stop.iter().map(|&text| text.to_owned()).collect();
            assert_eq!(stops(&tokens, tokenizer, &stop), expected, "{text:?} {stop:?}");
        }
        check(&tokenizer, "4 + 2", &["####"], false);
        check(&tokenizer, "4 + 2 ####", &["x", "####"], true);
        check(&tokenizer, "#### 42", &["42"], true);
        check(&tokenizer, "", &["####"], false);
        check(&tokenizer, "4 + 2", &[], false);
        assert!(stops(&[tokenizer.id("<|im_end|>").unwrap()], &tokenizer, &[]));
    }
}
