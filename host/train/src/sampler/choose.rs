//! Drawing one token from logits: temperature, then top-k, then top-p, as vLLM and transformers order them.

use rand::Rng;

use super::Sampling;

/// A drawn token and its log-probability under the model itself - temperature 1, no filter - which is what the trainer
/// computes for it again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) token: u32,
    pub(super) log_prob: f32,
}

/// Draws from `logits` (V).
pub(super) fn choose(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> Choice {
    let token = match sampling.temperature {
        0.0 => likeliest(logits),
        _ => draw(logits, sampling, rng),
    };
    Choice { token: token as u32, log_prob: logits[token] - log_sum_exp(logits) }
}

fn likeliest(logits: &[f32]) -> usize {
    (1..logits.len()).fold(0, |best, token| if logits[token] > logits[best] { token } else { best })
}

fn draw(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng) -> usize {
    let max = logits[likeliest(logits)];
    let weight = |token: usize| (f64::from(logits[token] - max) / sampling.temperature).exp();
    let candidates = candidates(logits, sampling, weight);
    let total: f64 = candidates.iter().map(|&token| weight(token)).sum();
    let mut left = rng.random::<f64>() * total;
    for &token in &candidates {
        left -= weight(token);
        if left < 0.0 {
            return token;
        }
    }
    candidates[candidates.len() - 1] // rounding left a crumb
}

/// The tokens that survive top-k and top-p; all of them, unsorted, when neither is asked for.
fn candidates(logits: &[f32], sampling: &Sampling, weight: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    let keep = if sampling.top_k == 0 { tokens.len() } else { sampling.top_k.min(tokens.len()) };
    if keep == tokens.len() && sampling.top_p >= 1.0 {
        return tokens;
    }
    // Ties go to the smaller id, so that equal logits never make a run irreproducible.
    tokens.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    tokens.truncate(keep);
    let total: f64 = tokens.iter().map(|&token| weight(token)).sum();
    let mut sum = 0.0;
    let within = tokens.iter().take_while(|&&token| {
        let before = sum;
        sum += weight(token);
        before < sampling.top_p * total
    });
    let kept = within.count();
    tokens.truncate(kept);
    tokens
}

fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = logits[likeliest(logits)];
    max + logits.iter().map(|&logit| (logit - max).exp()).sum::<f32>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{Purpose, generator};

    /// How often each token comes up in 20,000 draws, as percentages.
    #[track_caller]
    fn check(logits: &[f32], sampling: Sampling, expected: &[f64]) {
        let mut rng = generator(1, Purpose::Rollouts, &[]);
        let mut counts = vec![0.0; logits.len()];
        for _ in 0..20_000 {
            counts[choose(logits, &sampling, &mut rng).token as usize] += 100.0 / 20_000.0;
        }
        let close = counts.iter().zip(expected).all(|(got, want)| (got - want).abs() < 1.2);
        assert!(close, "{counts:?}, expected {expected:?}");
    }

    const PLAIN: Sampling = Sampling { max_tokens: 1, temperature: 1.0, top_k: 0, top_p: 1.0 };

    fn logits() -> [f32; 4] {
        [0.4f32, 0.1, 0.3, 0.2].map(f32::ln)
    }

    #[test]
    fn frequencies_follow_the_settings() {
        check(&logits(), PLAIN, &[40.0, 10.0, 30.0, 20.0]);
        check(&logits(), Sampling { temperature: 0.0, ..PLAIN }, &[100.0, 0.0, 0.0, 0.0]);
        check(&logits(), Sampling { temperature: 0.5, ..PLAIN }, &[53.3, 3.3, 30.0, 13.3]);
        check(&logits(), Sampling { top_k: 2, ..PLAIN }, &[57.1, 0.0, 42.9, 0.0]);
        check(&logits(), Sampling { top_k: 9, ..PLAIN }, &[40.0, 10.0, 30.0, 20.0]);
        check(&logits(), Sampling { top_p: 0.65, ..PLAIN }, &[57.1, 0.0, 42.9, 0.0]);
        check(&logits(), Sampling { top_p: 1e-9, ..PLAIN }, &[100.0, 0.0, 0.0, 0.0]);
        check(&logits(), Sampling { top_k: 3, top_p: 0.6, ..PLAIN }, &[57.1, 0.0, 42.9, 0.0]);
        check(&[f32::NEG_INFINITY, 0.0], PLAIN, &[0.0, 100.0]);
    }

    #[test]
    fn log_prob_is_the_models_own_at_any_temperature() {
        let mut rng = generator(1, Purpose::Rollouts, &[]);
        for temperature in [0.0, 0.3, 1.0, 2.0] {
            let choice = choose(&logits(), &Sampling { temperature, ..PLAIN }, &mut rng);
            assert!((choice.log_prob - logits()[choice.token as usize]).abs() < 1e-6);
        }
    }
}
