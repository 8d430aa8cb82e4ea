//! What a step's row says of sampling and updating, under tinker's names where it has one and verl's otherwise.

use super::collect::Attempts;
use super::lesson::{Advantages, Lesson, penalty};
use crate::config::{AdvEstimator, RlConfig};
use crate::learner::Update;
use crate::run_dir::Metrics;

/// Adds what sampling took and gave. `time/sampling` is from the first token to the last, `time/scoring` all the time that
/// any grader was asked, mostly the same time; `time/scoring_wait` is what scoring took after the last token, so that
/// sampling, that and training make up `time/total`.
pub(super) fn describe_attempts(attempts: &Attempts, options: &RlConfig, mismatched: usize, into: &mut Metrics) {
    let tokens: usize = attempts.rollouts.iter().map(|rollout| rollout.sampled.tokens.len()).sum();
    let mut put = |name: &str, value: f64| into.insert(name.to_owned(), value.into());
    put("time/sampling", attempts.seconds.sampling);
    put("time/scoring", attempts.seconds.scoring);
    put("time/scoring_wait", attempts.seconds.scoring_wait);
    put("sampled_tokens_per_second", tokens as f64 / attempts.seconds.sampling);
    if options.max_num_gen_batches > 1 {
        put("train/num_gen_batches", attempts.batches as f64);
        put("train/num_groups", attempts.groups.len() as f64);
    }
    if options.overlong_buffer_len > 0 {
        let lost: f64 = attempts.rollouts.iter().map(|rollout| penalty(rollout, options)).sum();
        put("env/all/overlong_penalty", lost / attempts.rollouts.len() as f64);
    }
    if options.adv_estimator == AdvEstimator::PerStep {
        put("env/all/steps_mismatched", mismatched as f64);
    }
}

/// Adds what the updates did. Entropy is estimated from the sampled tokens, as tinker does, and exact where the loss
/// needs it. The two KL figures between sampler and trainer should be rounding errors before the first of several
/// substeps: they are the first sign when sampler and trainer drift apart.
pub(super) fn describe_update(update: &Update, lessons: &[Lesson], options: &RlConfig, into: &mut Metrics) {
    let sampled = || lessons.iter().flat_map(|lesson| lesson.experience.sampled_log_probs.iter().copied());
    let reference = || lessons.iter().flat_map(|lesson| lesson.experience.reference_log_probs.iter().copied());
    let count = update.log_probs.len() as f64;
    let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / count;
    let drift = || sampled().zip(&update.log_probs).map(|(q, p)| f64::from(q - p));
    let mut put = |name: &str, value: f64| into.insert(name.to_owned(), value.into());
    put("loss", update.loss);
    put("optim/grad_norm", update.grad_norm);
    put("optim/entropy", mean(&mut sampled().map(|q| -f64::from(q))));
    put("optim/kl_sample_train_v1", mean(&mut drift()));
    put("optim/kl_sample_train_v2", mean(&mut drift().map(|d| 0.5 * d * d)));
    if reference().next().is_some() {
        put("kl_policy_base", mean(&mut sampled().zip(reference()).map(|(q, f)| f64::from(q) - f64::from(f))));
    }
    let by_token = [("clipped", "optim/clip_frac"), ("kl", "optim/kl_loss"), ("entropy", "optim/entropy_exact")];
    for (sum, name) in
        by_token.into_iter().filter(|(sum, _)| *sum != "clipped" || options.loss_fn.thresholds().is_some())
    {
        if let Some(sum) = update.metrics.get(sum) {
            put(name, sum / count);
        }
    }
}

/// One number for each trajectory: the mean of its tokens' advantages.
pub(super) fn by_trajectory(advantages: &Advantages) -> Vec<Option<f64>> {
    let one = |tokens: &Vec<f64>| match tokens.iter().all(|advantage| *advantage == tokens[0]) {
        true => tokens.first().copied().unwrap_or(0.0), // the mean of equal numbers may round
        false => tokens.iter().sum::<f64>() / tokens.len() as f64,
    };
    advantages.iter().map(|tokens| tokens.as_ref().map(one)).collect()
}
