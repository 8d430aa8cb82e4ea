//! From judged attempts to what the update learns from: an advantage for every token.
//!
//! Rewards are shaped (overlong answers), compared within their group, spread over the tokens (or the steps they judge),
//! charged for leaving the reference, and normalised over the batch, in this order.

use rewarden_runtime::{Graded, StopReason};

use super::collect::Attempts;
use super::process;
use crate::advantage::{group_normalised, leave_one_out, mean_centred, overlong_penalty, step_returns, whiten};
use crate::batch::Datum;
use crate::config::{AdvEstimator, KlIn, RlConfig};
use crate::error::Result;
use crate::gradient::log_probs;
use crate::loss::Experience;
use crate::model::Policy;
use crate::renderer::Renderer;
use crate::rollout::Rollout;

/// One trajectory to learn from.
pub(super) struct Lesson {
    /// Number of the attempt.
    pub(super) index: usize,
    pub(super) datum: Datum,
    /// Of each sampled token.
    pub(super) advantages: Vec<f64>,
    /// All but the advantages, which are in full precision above until the end.
    pub(super) experience: Experience,
}

/// The advantages of every attempt, token by token; `None` where it could not be judged.
pub(super) type Advantages = Vec<Option<Vec<f64>>>;

/// The rewards of one attempt, as the estimator takes them.
struct Judged {
    reward: Option<f64>,
    steps: Vec<f64>,
    step_of_tokens: Vec<usize>,
}

/// What the estimator says of every attempt, and how many were left out because their graders judged another number of
/// steps than they have.
pub(super) fn estimate(
    attempts: &Attempts,
    options: &RlConfig,
    weights: &[f64],
    renderer: &Renderer,
) -> Result<(Advantages, usize)> {
    let size = options.group_size;
    let mut advantages = vec![];
    let mut mismatched = 0;
    for (rollouts, graded) in attempts.rollouts.chunks(size).zip(attempts.graded.chunks(size)) {
        let judged =
            rollouts.iter().zip(graded).map(|(rollout, graded)| judge(rollout, graded, options, weights, renderer));
        let judged: Vec<Judged> = judged.collect::<Result<_>>()?;
        let lost = |(judged, graded): &(&Judged, &Graded)| judged.reward.is_none() && graded.reward.is_some();
        mismatched += judged.iter().zip(graded).filter(lost).count();
        let rewards: Vec<Option<f64>> = judged.iter().map(|judged| judged.reward).collect();
        let steps: Vec<Vec<f64>> = judged.iter().map(|judged| judged.steps.clone()).collect();
        let returns = step_returns(&steps, options.divides_by_deviation());
        for (((rollout, judged), whole), returns) in
            rollouts.iter().zip(&judged).zip(compare(&rewards, options)).zip(returns)
        {
            let of_step = |t: usize| judged.step_of_tokens.get(t).map_or(0.0, |&step| returns[step]);
            let tokens = 0..rollout.sampled.tokens.len();
            advantages.push(whole.map(|whole| tokens.map(|t| whole + of_step(t)).collect()));
        }
    }
    Ok((advantages, mismatched))
}

/// An attempt's rewards: the rubric's, less the punishment of an overlong answer; by step where the estimator wants so.
fn judge(
    rollout: &Rollout,
    graded: &Graded,
    options: &RlConfig,
    weights: &[f64],
    renderer: &Renderer,
) -> Result<Judged> {
    let shaped = |reward: Option<f64>| reward.map(|reward| reward + penalty(rollout, options));
    let whole = Judged { reward: shaped(graded.reward), steps: vec![], step_of_tokens: vec![] };
    if options.adv_estimator != AdvEstimator::PerStep || graded.reward.is_none() {
        return Ok(whole);
    }
    let unusable = Judged { reward: None, steps: vec![], step_of_tokens: vec![] };
    let Some(steps) = process::steps(graded, weights) else { return Ok(unusable) };
    if steps.is_empty() {
        return Ok(whole);
    }
    let reward = shaped(process::outcome(graded, weights));
    let found = process::step_of_tokens(rollout, renderer, &options.step_separator, steps.len())?;
    Ok(found.map_or(unusable, |step_of_tokens| Judged { reward, steps, step_of_tokens }))
}

/// What an attempt's reward loses to its length.
pub(super) fn penalty(rollout: &Rollout, options: &RlConfig) -> f64 {
    let (buffer, factor) = (options.overlong_buffer_len, options.overlong_penalty_factor);
    overlong_penalty(rollout.sampled.tokens.len(), options.max_tokens, buffer, factor)
}

/// The rewards of a group, each as better or worse than the others.
fn compare(rewards: &[Option<f64>], options: &RlConfig) -> Vec<Option<f64>> {
    match options.adv_estimator {
        AdvEstimator::Grpo | AdvEstimator::PerStep if options.divides_by_deviation() => group_normalised(rewards),
        AdvEstimator::Grpo | AdvEstimator::PerStep | AdvEstimator::MeanCenter => mean_centred(rewards),
        // The rubric has brought each reward to mean 0; where some are missing, what is left is centred again.
        AdvEstimator::Gdpo => mean_centred(rewards),
        AdvEstimator::Rloo => leave_one_out(rewards),
        // Compared with the whole batch, once that is known.
        AdvEstimator::ReinforcePlusPlus => rewards.to_vec(),
    }
}

/// The trajectories to learn from. Those of `advantages` that the reference or the batch changes are written back.
pub(super) fn lessons(
    attempts: &Attempts,
    advantages: &mut Advantages,
    options: &RlConfig,
    reference: Option<&Policy>,
) -> Result<Vec<Lesson>> {
    let size = options.group_size;
    let members =
        attempts.groups.iter().flat_map(|&group| (group * size..(group + 1) * size).map(move |at| (group, at)));
    let mut lessons: Vec<Lesson> = members
        .filter_map(|(group, index)| lesson(&attempts.rollouts[index], (group, index), advantages, options))
        .collect();
    if let Some(reference) = reference {
        refer(&mut lessons, reference, options)?;
    }
    if options.adv_estimator == AdvEstimator::ReinforcePlusPlus {
        whiten(&mut lessons.iter_mut().map(|lesson| &mut lesson.advantages).collect::<Vec<_>>());
    }
    for lesson in &mut lessons {
        lesson.experience.advantages = lesson.advantages.iter().map(|&advantage| advantage as f32).collect();
        advantages[lesson.index] = Some(lesson.advantages.clone());
    }
    Ok(lessons)
}

/// An attempt as a lesson, unless it could not be judged or was cut off and such are left out.
fn lesson(
    rollout: &Rollout,
    (group, index): (usize, usize),
    advantages: &Advantages,
    options: &RlConfig,
) -> Option<Lesson> {
    if options.mask_truncated_completions && rollout.sample.stop_reason == StopReason::MaxTokens {
        return None;
    }
    let sampled_log_probs = rollout.sampled.drawn(&rollout.sampled.log_probs);
    let experience = Experience { group, sampled_log_probs, ..Experience::default() };
    let advantages = rollout.sampled.drawn(advantages[index].as_ref()?);
    Some(Lesson { index, datum: rollout.datum(), advantages, experience })
}

/// Asks the reference what it thinks of every lesson and, where the reward pays for the divergence, charges each token
/// for how much more it diverges than the batch (tinker's `incorporate_kl_penalty`).
fn refer(lessons: &mut [Lesson], reference: &Policy, options: &RlConfig) -> Result<()> {
    let data: Vec<Datum> = lessons.iter().map(|lesson| lesson.datum.clone()).collect();
    for (lesson, found) in lessons.iter_mut().zip(log_probs(reference, &data, options.micro_batch_size)?) {
        lesson.experience.reference_log_probs = found;
    }
    if options.kl_in == KlIn::Loss {
        return Ok(());
    }
    let divergence = |lesson: &Lesson| -> Vec<f64> {
        let Experience { sampled_log_probs, reference_log_probs, .. } = &lesson.experience;
        sampled_log_probs.iter().zip(reference_log_probs).map(|(&q, &f)| options.kl_estimator.value(q, f)).collect()
    };
    let divergences: Vec<Vec<f64>> = lessons.iter().map(divergence).collect();
    let tokens: usize = divergences.iter().map(Vec::len).sum();
    let mean = divergences.iter().flatten().sum::<f64>() / tokens as f64;
    for (lesson, divergence) in lessons.iter_mut().zip(&divergences) {
        let pairs = lesson.advantages.iter_mut().zip(divergence);
        pairs.for_each(|(advantage, divergence)| *advantage += options.kl_penalty_coef * (mean - divergence));
    }
    Ok(())
}

/// Runs of lessons for `count` updates: whole groups, as equal in number as they go.
pub(super) fn substeps(lessons: &[Lesson], count: usize) -> Vec<&[Lesson]> {
    let groups: Vec<&[Lesson]> = lessons.chunk_by(|one, next| one.experience.group == next.experience.group).collect();
    let starts: Vec<usize> = groups
        .iter()
        .scan(0, |start, group| {
            *start += group.len();
            Some(*start - group.len())
        })
        .chain([lessons.len()])
        .collect();
    let bound = |part: usize| starts[part * groups.len() / count];
    (0..count).map(|part| &lessons[bound(part)..bound(part + 1)]).filter(|part| !part.is_empty()).collect()
}
