//! What is made of logits: log-probabilities, their gradient, and tokens.

use crate::engine::cuda::launch::{Launch, Ptr, arguments};

/// Threads for a row of logits, and to sample from one (log_prob.cu, sample.cu).
const LOG_PROB_THREADS: usize = 512;
const SAMPLE_THREADS: usize = 1024;

/// Rows of logits (rows, vocabulary), `stride` apart.
#[derive(Clone, Copy)]
pub(crate) struct Logits {
    pub(crate) start: Ptr<f32>,
    pub(crate) rows: usize,
    pub(crate) vocabulary: usize,
    pub(crate) stride: usize,
}

/// Per row of logits: its target, and what is said of it.
#[derive(Clone, Copy)]
pub(crate) struct Said {
    pub(crate) targets: Ptr<i32>,
    pub(crate) log_probs: Ptr<f32>,
    pub(crate) entropies: Ptr<f32>,
    pub(crate) lses: Ptr<f32>,
}

/// Log-probabilities of targets, entropies and normalisers.
pub(crate) fn log_prob_forward(logits: &Logits, said: &Said) -> Launch {
    let Logits { start, rows, vocabulary, stride } = *logits;
    let arguments =
        arguments![said.log_probs, said.entropies, said.lses, start, said.targets, vocabulary, stride as i64];
    Launch::new("log_prob_forward", rows, LOG_PROB_THREADS, arguments)
}

/// The logits' gradient in their place: bf16, rows 2 `stride` apart. `by_entropy` may be null.
pub(crate) fn log_prob_backward(logits: &Logits, said: &Said, by_log_prob: Ptr<f32>, by_entropy: Ptr<f32>) -> Launch {
    let Logits { start, rows, vocabulary, stride } = *logits;
    let Said { targets, entropies, lses, .. } = *said;
    let arguments = arguments![start, by_log_prob, by_entropy, entropies, lses, targets, vocabulary, stride as i64];
    Launch::new("log_prob_backward", rows, LOG_PROB_THREADS, arguments)
}

/// How each row is drawn from.
#[derive(Clone, Copy)]
pub(crate) struct Draws {
    pub(crate) temperatures: Ptr<f32>,
    /// 0: all.
    pub(crate) top_k: Ptr<i32>,
    pub(crate) top_p: Ptr<f32>,
    /// In [0, 1).
    pub(crate) uniforms: Ptr<f64>,
}

/// One token per row and its log-probability under the model itself.
pub(crate) fn sample(tokens: Ptr<i32>, log_probs: Ptr<f32>, logits: &Logits, draws: &Draws) -> Launch {
    let Logits { start, rows, vocabulary, stride } = *logits;
    let Draws { temperatures, top_k, top_p, uniforms } = *draws;
    let arguments =
        arguments![tokens, log_probs, start, temperatures, top_k, top_p, uniforms, vocabulary, stride as i64];
    Launch::new("sample", rows, SAMPLE_THREADS, arguments)
}
