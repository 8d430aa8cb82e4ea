//! What a model says where it is asked: final norm, projection, and of the logits z only what a loss looks at, so that
//! a row of the vocabulary is never kept.
//!
//! Of a target t: log p_t = z_t - ln sum_j e^(z_j), and the entropy H = - sum_j p_j log p_j. Backwards, with the slopes
//! c by log p_t and h by H: dz_j = c ([j = t] - p_j) - h p_j (log p_j + H).

use std::ops::Range;

use rayon::prelude::*;

use super::lanes::{dot, exp_all, max, vectorised};
use super::linear::{add, project, project_back, shares};
use super::matrix::{Into, View, ViewMut};
use super::norm::{rms_norm, rms_norm_back};
use super::scratch::scratch;
use super::{Cpu, Parts, sized};
use crate::engine::Said;
use crate::model::Head;

/// Logits at a time, about: 128 MiB, and their gradient takes their place.
const LOGITS: usize = 1 << 25;

/// Places at a time on one core.
const PART: usize = 64;

impl Cpu<'_> {
    /// How many places go through the head together.
    fn places_at_once(&self) -> usize {
        (LOGITS / self.spec.head.out).max(PART)
    }

    /// The places' rows of x, and their final norm.
    fn normed(&self, rows: &mut [f32], normed: &mut [f32], x: &[f32], places: &[usize]) {
        let hidden = self.spec.hidden;
        for (row, &place) in rows.chunks_exact_mut(hidden).zip(places) {
            row.copy_from_slice(&x[place * hidden..(place + 1) * hidden]);
        }
        let norm = self.weights.at(&self.spec.norm);
        vectorised(
            #[inline(always)]
            || rms_norm(normed, rows, norm, self.spec.eps),
        );
    }

    /// What is said at each place.
    pub(super) fn said(&self, x: &[f32], entropies: bool) -> Said {
        let (hidden, out) = (self.spec.hidden, self.spec.head.out);
        let part = |(places, targets): (&[usize], &[u32])| {
            scratch(places.len() * (2 * hidden + out), |all| {
                let (rows, all) = all.split_at_mut(places.len() * hidden);
                let (normed, logits) = all.split_at_mut(places.len() * hidden);
                self.normed(rows, normed, x, places);
                self.logits(logits, normed);
                vectorised(
                    #[inline(always)]
                    || {
                        let rows = logits.chunks_exact_mut(out).zip(targets);
                        rows.map(|(logits, &target)| self.one(logits, target as usize, entropies)).collect::<Vec<_>>()
                    },
                )
            })
        };
        let said: Vec<Vec<(f32, f32)>> =
            self.batch.places.par_chunks(PART).zip(self.batch.targets.par_chunks(PART)).map(part).collect();
        let (values, all): (Vec<f32>, Vec<f32>) = said.into_iter().flatten().unzip();
        Said { values, entropies: if entropies && self.spec.says == Head::Tokens { all } else { vec![] } }
    }

    fn logits(&self, logits: &mut [f32], normed: &[f32]) {
        let (head, hidden) = (&self.spec.head, self.spec.hidden);
        project(&mut ViewMut::of(logits, head.out), Into::Fresh, View::of(normed, hidden), head, self.weights);
    }

    #[inline(always)]
    fn one(&self, logits: &mut [f32], target: usize, entropy: bool) -> (f32, f32) {
        match self.spec.says {
            Head::Tokens => {
                let Softmax { log_prob, entropy, .. } = softmax(logits, target, entropy);
                (log_prob, entropy)
            }
            Head::Score => (logits[0], 0.0),
            Head::Steps => (logits[1] - logits[0], 0.0),
        }
    }

    /// The gradient by x, of the places only, and what the norm and the head get.
    pub(super) fn said_back(&self, x: &[f32], slopes: &Said, dx: &mut Vec<f32>, into: &mut [f32]) {
        let hidden = self.spec.hidden;
        let dx = sized(dx, self.batch.ids.len() * hidden);
        dx.fill(0.0);
        for start in (0..self.batch.places.len()).step_by(self.places_at_once()) {
            let asked = start..self.batch.places.len().min(start + self.places_at_once());
            scratch(asked.len() * (3 * hidden + self.spec.head.out), |all| {
                self.said_back_of(x, slopes, asked, dx, into, all);
            });
        }
    }

    fn said_back_of(
        &self,
        x: &[f32],
        slopes: &Said,
        asked: Range<usize>,
        dx: &mut [f32],
        into: &mut [f32],
        buffer: &mut [f32],
    ) {
        let (head, hidden) = (&self.spec.head, self.spec.hidden);
        let places = &self.batch.places[asked.clone()];
        let (rows, buffer) = buffer.split_at_mut(places.len() * hidden);
        let (normed, buffer) = buffer.split_at_mut(places.len() * hidden);
        let (drows, dz) = buffer.split_at_mut(places.len() * hidden);
        let norm = self.weights.at(&self.spec.norm);
        let parts = dz.par_chunks_mut(PART * head.out).zip(drows.par_chunks_mut(PART * hidden));
        let parts = parts.zip(normed.par_chunks_mut(PART * hidden)).zip(rows.par_chunks_mut(PART * hidden));
        let parts = parts.zip(places.par_chunks(PART)).enumerate().map(|(part, parts)| {
            let ((((dz, drows), normed), rows), places) = parts;
            self.normed(rows, normed, x, places);
            self.logits(dz, normed);
            for (row, dz) in dz.chunks_exact_mut(head.out).enumerate() {
                let at = asked.start + part * PART + row;
                let (target, slope) = (self.batch.targets[at] as usize, slopes.values[at]);
                let entropy = slopes.entropies.get(at).copied().unwrap_or(0.0);
                vectorised(
                    #[inline(always)]
                    || self.one_back(dz, target, slope, entropy),
                );
            }
            let mut dnorm = self.zeros(&self.spec.norm);
            drows.fill(0.0);
            scratch(drows.len(), |dnormed| {
                project_back(&mut ViewMut::of(dnormed, hidden), View::of(dz, head.out), head, self.weights);
                vectorised(
                    #[inline(always)]
                    || rms_norm_back(drows, rows, norm, dnormed, self.spec.eps, dnorm.as_deref_mut()),
                );
            });
            dnorm
        });
        let norms: Parts = parts.collect();
        for (drow, &place) in drows.chunks_exact(hidden).zip(places) {
            dx[place * hidden..(place + 1) * hidden].copy_from_slice(drow);
        }
        self.add_parts(&self.spec.norm, norms, into);
        add(shares(self.spec, head, self.weights, View::of(dz, head.out), View::of(normed, hidden)), into);
    }

    #[inline(always)]
    fn one_back(&self, logits: &mut [f32], target: usize, slope: f32, entropy_slope: f32) {
        match self.spec.says {
            Head::Tokens => softmax_back(logits, target, slope, entropy_slope),
            Head::Score => logits[0] = slope,
            Head::Steps => {
                logits[0] = -slope;
                logits[1] = slope;
            }
        }
    }
}

/// What a loss looks at of a row of logits.
struct Softmax {
    log_prob: f32,
    entropy: f32,
    /// ln sum_j e^(z_j - max).
    log_sum: f32,
}

/// Leaves e^(z_j - max) in the row, or, with the entropy, z_j - max.
#[inline(always)]
fn softmax(logits: &mut [f32], target: usize, entropy: bool) -> Softmax {
    let largest = max(logits);
    let chosen = logits[target] - largest;
    if !entropy {
        let log_sum = exp_all(logits, 1.0, largest).ln();
        return Softmax { log_prob: chosen - log_sum, entropy: 0.0, log_sum };
    }
    logits.iter_mut().for_each(|z| *z -= largest);
    let mut exps = logits.to_vec();
    let sum = exp_all(&mut exps, 1.0, 0.0);
    let log_sum = sum.ln();
    Softmax { log_prob: chosen - log_sum, entropy: log_sum - dot(&exps, logits) / sum, log_sum }
}

/// Turns a row of logits into the gradient by them.
#[inline(always)]
fn softmax_back(logits: &mut [f32], target: usize, slope: f32, entropy_slope: f32) {
    let Softmax { entropy, log_sum, .. } = softmax(logits, target, entropy_slope != 0.0);
    if entropy_slope == 0.0 {
        let factor = -slope * (-log_sum).exp();
        logits.iter_mut().for_each(|e| *e *= factor);
    } else {
        for z in logits.iter_mut() {
            let log_p = *z - log_sum;
            *z = -super::lanes::exp(log_p) * (slope + entropy_slope * (log_p + entropy));
        }
    }
    logits[target] += slope;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Deserialize)]
    struct Fixture {
        head: Case,
    }

    #[derive(Deserialize)]
    struct Case {
        logits: Vec<Vec<f32>>,
        targets: Vec<u32>,
        weights: Vec<f32>,
        entropy_weights: Vec<f32>,
        log_probs: Vec<f32>,
        entropies: Vec<f32>,
        slopes: Vec<Vec<f32>>,
    }

    /// Log-probabilities, entropies and the gradient of a mixture of both (fixtures/make_losses.py).
    #[test]
    fn a_row_equals_pytorchs() {
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/losses.json");
        let Fixture { head } = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let close = |got: f32, want: f32| assert!((got - want).abs() < 1e-5, "{got}, not {want}");
        for (row, logits) in head.logits.iter().enumerate() {
            let target = head.targets[row] as usize;
            for entropy in [false, true] {
                let found = softmax(&mut logits.clone(), target, entropy);
                close(found.log_prob, head.log_probs[row]);
                close(found.entropy, if entropy { head.entropies[row] } else { 0.0 });
            }
            let mut slopes = logits.clone();
            softmax_back(&mut slopes, target, head.weights[row], head.entropy_weights[row]);
            slopes.iter().zip(&head.slopes[row]).for_each(|(&got, &want)| close(got, want));
        }
    }
}
