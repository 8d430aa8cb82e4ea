//! Every loss against PyTorch (fixtures/make_losses.py), and its gradient against itself in other passes.

use serde::Deserialize;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::RlConfig;
use crate::gradient::{Gradients, gradients};
use crate::model::Policy;
use crate::objective::Objective;

pub(super) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[derive(Deserialize)]
struct Fixture {
    groups: Vec<usize>,
    policy: Vec<Vec<f32>>,
    sampler: Vec<Vec<f32>>,
    reference: Vec<Vec<f32>>,
    advantages: Vec<Vec<f32>>,
    cases: Vec<Case>,
}

/// Settings as a config has them, and what PyTorch makes of the loss they describe.
#[derive(Deserialize)]
struct Case {
    rl: RlConfig,
    loss: f64,
    slopes: Vec<Vec<f64>>,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(&std::fs::read_to_string(fixture("losses.json")).unwrap()).unwrap()
    }

    fn batch(&self) -> Vec<Experience> {
        let one = |index: usize| Experience {
            group: self.groups[index],
            sampled_log_probs: self.sampler[index].clone(),
            advantages: self.advantages[index].clone(),
            reference_log_probs: self.reference[index].clone(),
        };
        (0..self.groups.len()).map(one).collect()
    }
}

#[track_caller]
pub(super) fn close(got: f64, want: f64, what: &str) {
    assert!((got - want).abs() <= 1e-5 * want.abs().max(1e-3), "{what}: {got}, not {want}");
}

#[test]
fn losses_and_slopes_equal_pytorch() {
    let fixture = Fixture::read();
    let batch = fixture.batch();
    for case in &fixture.cases {
        let loss = case.rl.loss();
        let judge = loss.on(&batch);
        let mut sum = 0.0;
        for (index, log_probs) in fixture.policy.iter().enumerate() {
            let slopes = judge(Prediction { index, log_probs, entropies: &[] });
            sum += slopes.loss;
            assert_eq!(slopes.log_probs.len(), log_probs.len());
            for (got, want) in slopes.log_probs.iter().zip(&case.slopes[index]) {
                close((*got).into(), *want, &format!("a slope of {loss:?}"));
            }
        }
        close(sum, case.loss, &format!("{loss:?}"));
    }
}

const LOSSES: [LossFn; 8] = [
    LossFn::ImportanceSampling,
    LossFn::Reinforce,
    LossFn::Ppo,
    LossFn::Cispo,
    LossFn::Grpo,
    LossFn::DrGrpo,
    LossFn::Dapo,
    LossFn::Gspo,
];

#[test]
fn every_loss_is_compared_with_pytorch() {
    let compared: Vec<LossFn> = Fixture::read().cases.iter().map(|case| case.rl.loss_fn).collect();
    // Exhaustive on purpose: a new loss is added to the script, and here.
    let known = |loss: &LossFn| match loss {
        LossFn::ImportanceSampling | LossFn::Reinforce | LossFn::Ppo | LossFn::Cispo => true,
        LossFn::Grpo | LossFn::DrGrpo | LossFn::Dapo | LossFn::Gspo => true,
    };
    assert!(LOSSES.iter().all(|loss| known(loss) && compared.contains(loss)), "{compared:?}");
}

#[test]
fn the_bounds_in_force_are_counted() {
    let loss = PolicyLoss { clip: Clip { low: 0.5, high: 1.5, dual: Some(2.0) }, ..of(LossFn::Ppo) };
    let known = Experience {
        sampled_log_probs: vec![0.0; 5],
        advantages: vec![1.0, 1.0, -1.0, -1.0, -1.0],
        ..Experience::default()
    };
    let batch = [known];
    // Ratios 2, 0.1, 2, 0.1, 3: bound above where A > 0, below where A < 0, and by the second bound at the end.
    let log_probs: Vec<f32> = [2.0f32, 0.1, 2.0, 0.1, 3.0].iter().map(|ratio| ratio.ln()).collect();
    let slopes = loss.on(&batch)(Prediction { index: 0, log_probs: &log_probs, entropies: &[] });
    assert_eq!(slopes.metrics["clipped"], 3.0);
    let zeros: Vec<bool> = slopes.log_probs.iter().map(|&slope| slope == 0.0).collect();
    assert_eq!(zeros, [true, false, false, true, true]);
}

fn of(loss_fn: LossFn) -> PolicyLoss {
    RlConfig { loss_fn, max_tokens: 8, ..RlConfig::default() }.loss()
}

/// Seven sequences of the fixture's model, of several lengths and groups, one without a trained token.
fn data() -> (Vec<Datum>, Vec<Experience>) {
    let datum = |salt: usize| {
        let tokens: Vec<u32> = (0..6 + salt).map(|at| ((at * 7 + salt * 11) % 40) as u32).collect();
        let trained = (0..tokens.len()).map(|at| at > 2 + salt / 2 && salt != 4).collect();
        Datum { tokens, trained }
    };
    let data: Vec<Datum> = (0..7).map(datum).collect();
    let wave = |salt: usize, scale: f32, count: usize| -> Vec<f32> {
        (0..count).map(|at| ((at * 5 + salt * 3) as f32).sin() * scale).collect()
    };
    let known = |(index, datum): (usize, &Datum)| {
        let count = datum.trained_tokens();
        let shifted = |salt: usize| wave(index + salt, 0.4, count).into_iter().map(|value| value - 3.5).collect();
        let advantages = wave(index, 1.0, count);
        Experience { group: index / 2, sampled_log_probs: shifted(1), advantages, reference_log_probs: shifted(2) }
    };
    let batch = data.iter().enumerate().map(known).collect();
    (data, batch)
}

fn distance(got: &Gradients, want: &Gradients) -> f64 {
    let (found, wanted) = (got.values().unwrap(), want.values().unwrap());
    let difference: f64 = found.iter().zip(&*wanted).map(|(got, want)| f64::from(got - want).powi(2)).sum();
    difference.sqrt() / want.norm().unwrap()
}

#[test]
fn micro_batch_size_never_changes_the_gradient_of_any_loss() {
    let policy = Policy::read(&fixture("qwen3-tied")).unwrap();
    let (data, batch) = data();
    for loss_fn in LOSSES {
        let loss = PolicyLoss { kl: Some((0.1, KlEstimator::K3)), entropy_coef: 0.01, ..of(loss_fn) };
        let judge = loss.on(&batch);
        let objective = Objective { entropies: true, ..Objective::each(&judge) };
        let whole = gradients(&policy, &data, 0, objective).unwrap();
        assert!(whole.norm().unwrap() > 0.0);
        for size in [1, 3] {
            let parts = gradients(&policy, &data, size, objective).unwrap();
            let off = distance(&parts, &whole);
            assert!(off < 1e-5 && (parts.loss - whole.loss).abs() < 1e-6, "{loss_fn:?}, size {size}: {off:e}");
            assert!(parts.metrics.iter().zip(&whole.metrics).all(|(a, b)| (a.1 - b.1).abs() < 1e-4));
            assert_eq!(parts.log_probs.len(), whole.log_probs.len());
        }
    }
}

/// A loss of the whole batch at once is the same loss; and what only such a one can be, one of pairs.
#[test]
fn an_objective_may_see_the_whole_batch() {
    let policy = Policy::read(&fixture("qwen3-tied")).unwrap();
    let (data, batch) = data();
    let loss = PolicyLoss { entropy_coef: 0.01, ..of(LossFn::Ppo) };
    let judge = loss.on(&batch);
    let each = gradients(&policy, &data, 2, Objective { entropies: true, ..Objective::each(&judge) }).unwrap();
    let all = |seen: &[Prediction]| seen.iter().map(|&seen| judge(seen)).collect::<Vec<_>>();
    let whole = gradients(&policy, &data, 2, Objective { entropies: true, ..Objective::whole(&all) }).unwrap();
    assert!(distance(&whole, &each) < 1e-6 && (whole.loss - each.loss).abs() < 1e-6);

    // -log sigmoid(s1 - s0), s the log-probability of a sequence (Bradley and Terry 1952).
    let sum = |seen: &Prediction| seen.log_probs.iter().copied().map(f64::from).sum::<f64>();
    let pair = |seen: &[Prediction]| {
        let margin = sum(&seen[1]) - sum(&seen[0]);
        let slope = 1.0 / (1.0 + margin.exp());
        let one = |seen: &Prediction, slope: f64, loss: f64| Slopes {
            loss,
            log_probs: vec![slope as f32; seen.log_probs.len()],
            ..Slopes::default()
        };
        vec![one(&seen[0], slope, (-margin).exp().ln_1p()), one(&seen[1], -slope, 0.0)]
    };
    let together = gradients(&policy, &data[..2], 0, Objective::whole(&pair)).unwrap();
    let apart = gradients(&policy, &data[..2], 1, Objective::whole(&pair)).unwrap();
    assert!(together.norm().unwrap() > 0.0 && distance(&apart, &together) < 1e-5);
}

#[test]
#[should_panic(expected = "one derivative per trained token")]
fn an_answer_of_the_wrong_length_is_a_bug() {
    let policy = Policy::read(&fixture("qwen3-tied")).unwrap();
    let _ = gradients(&policy, &data().0[..1], 0, Objective::each(&|_| Slopes::default()));
}
