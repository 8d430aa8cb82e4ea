//! Process rewards: what graders say of the steps of an answer, and whose steps those are.

use rewarden_runtime::{Graded, Rubric};

use crate::advantage::split_steps;
use crate::error::Result;
use crate::renderer::Renderer;
use crate::rollout::Rollout;

/// The weight of each grader at a training step, in the order of [`Graded::parts`].
pub(super) fn weights(rubric: &Rubric, step: usize) -> Vec<f64> {
    rubric.graders().map(|grader| grader.weight.at(step as u32)).collect()
}

/// The weighted sum of what graders say of each step; empty where none does. `None` where they count the steps
/// differently.
pub(super) fn steps(graded: &Graded, weights: &[f64]) -> Option<Vec<f64>> {
    let mut sum: Vec<f64> = vec![];
    for (weight, steps) in by_step(graded, weights).map(|(weight, _, steps)| (weight, steps)) {
        if sum.is_empty() {
            sum = vec![0.0; steps.len()];
        }
        if sum.len() != steps.len() {
            return None;
        }
        sum.iter_mut().zip(steps).for_each(|(sum, step)| *sum += weight * step);
    }
    Some(sum)
}

/// The reward of the whole answer: the rubric's, less what came from graders that judge by step. Rewards are weighted sums
/// wherever process rewards are used.
pub(super) fn outcome(graded: &Graded, weights: &[f64]) -> Option<f64> {
    let by_step: f64 = by_step(graded, weights).filter_map(|(weight, value, _)| Some(weight * value?)).sum();
    graded.reward.map(|reward| reward - by_step)
}

/// Weight, value and steps of each grader that counts and judges by step.
fn by_step<'a>(graded: &'a Graded, weights: &'a [f64]) -> impl Iterator<Item = (f64, Option<f64>, &'a [f64])> {
    let counting = graded.parts.iter().zip(weights).filter(|(_, weight)| **weight != 0.0);
    let scores = counting.filter_map(|(part, weight)| Some((*weight, part.as_ref()?.result.as_ref().ok()?)));
    scores.filter(|(_, score)| !score.steps.is_empty()).map(|(weight, score)| (weight, score.value, &score.steps[..]))
}

/// The step of each token of a rollout that has `count` rewarded steps. One is the assistant's message itself; several
/// are the parts of the message that `separator` ends. `None` where the message has another number of parts.
pub(super) fn step_of_tokens(
    rollout: &Rollout,
    renderer: &Renderer,
    separator: &str,
    count: usize,
) -> Result<Option<Vec<usize>>> {
    let tokens = &rollout.sampled.tokens;
    if count == 1 {
        return Ok(Some(vec![0; tokens.len()]));
    }
    let tokenizer = renderer.tokenizer();
    // A token that stops ends the message without being part of it.
    let said = tokens.iter().position(|&token| tokenizer.stops(token)).unwrap_or(tokens.len());
    let mut pieces = tokenizer.pieces(&tokens[..said])?;
    pieces.resize(tokens.len(), String::new());
    let (steps, found) = split_steps(&pieces, separator);
    Ok((found == count).then_some(steps))
}
