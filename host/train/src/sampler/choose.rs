//! Drawing one token from logits: temperature, then top-k, then top-p, as vLLM and transformers order them.

use rand::Rng;

use super::Sampling;
use crate::engine::cpu::{exponentials, largest, total};

/// A drawn token and its log-probability under the model itself - temperature 1, no filter - which is what the trainer
/// computes for it again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Choice {
    pub(super) token: u32,
    pub(super) log_prob: f32,
}

/// Tokens whose weights are added up before one is looked for among them.
const BLOCK: usize = 256;

/// Draws from `logits` (V), which it leaves as they are; `weights` is scratch.
pub(super) fn choose(logits: &[f32], sampling: &Sampling, rng: &mut impl Rng, weights: &mut Vec<f32>) -> Choice {
    let largest = largest(logits);
    let log_sum = largest + exponentials(weights, logits, 1.0, largest).ln();
    let token = match sampling.temperature {
        0.0 => likeliest(logits, largest),
        _ if sampling.filters(logits.len()) => draw_filtered(logits, largest, sampling, rng),
        temperature => {
            if temperature != 1.0 {
                let inverse = 1.0 / temperature as f32;
                exponentials(weights, logits, inverse, largest * inverse);
            }
            draw(weights, rng)
        }
    };
    Choice { token: token as u32, log_prob: logits[token] - log_sum }
}

impl Sampling {
    /// Whether some of so many tokens are left out.
    fn filters(&self, tokens: usize) -> bool {
        (1..tokens).contains(&self.top_k) || self.top_p < 1.0
    }
}

fn likeliest(logits: &[f32], largest: f32) -> usize {
    logits.iter().position(|&logit| logit == largest).unwrap_or(0)
}

/// A place, drawn by weight. Blocks first, then within one: a large vocabulary is not walked through number by number.
fn draw(weights: &[f32], rng: &mut impl Rng) -> usize {
    let blocks: Vec<f64> = weights.chunks(BLOCK).map(|block| f64::from(total(block))).collect();
    let mut left = rng.random::<f64>() * blocks.iter().sum::<f64>();
    for (number, (weights, block)) in weights.chunks(BLOCK).zip(&blocks).enumerate() {
        if left < *block {
            return number * BLOCK + within(weights, left);
        }
        left -= block;
    }
    weights.len() - 1 // rounding left a crumb
}

fn within(weights: &[f32], mut left: f64) -> usize {
    let found = weights.iter().position(|&weight| {
        left -= f64::from(weight);
        left < 0.0
    });
    found.unwrap_or(weights.len() - 1)
}

fn draw_filtered(logits: &[f32], largest: f32, sampling: &Sampling, rng: &mut impl Rng) -> usize {
    let weight = |token: usize| (f64::from(logits[token] - largest) / sampling.temperature).exp();
    let tokens = candidates(logits, sampling, weight);
    let mut left = rng.random::<f64>() * tokens.iter().map(|&token| weight(token)).sum::<f64>();
    for &token in &tokens {
        left -= weight(token);
        if left < 0.0 {
            return token;
        }
    }
    tokens[tokens.len() - 1]
}

/// The tokens that survive top-k and top-p, likeliest first.
fn candidates(logits: &[f32], sampling: &Sampling, weight: impl Fn(usize) -> f64) -> Vec<usize> {
    let mut tokens: Vec<usize> = (0..logits.len()).collect();
    // Ties go to the smaller id, so that equal logits never make a run irreproducible.
    let likelier = |a: &usize, b: &usize| logits[*b].total_cmp(&logits[*a]).then(a.cmp(b));
    if (1..tokens.len()).contains(&sampling.top_k) {
        tokens.select_nth_unstable_by(sampling.top_k, likelier);
        tokens.truncate(sampling.top_k);
    }
    tokens.sort_unstable_by(likelier);
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
            counts[choose(logits, &sampling, &mut rng, &mut vec![]).token as usize] += 100.0 / 20_000.0;
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
            let choice = choose(&logits(), &Sampling { temperature, ..PLAIN }, &mut rng, &mut vec![]);
            assert!((choice.log_prob - logits()[choice.token as usize]).abs() < 1e-6);
        }
    }
}
