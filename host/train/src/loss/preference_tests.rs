//! Losses of pairs and of steps against PyTorch (fixtures/make_preferences.py).

use serde::Deserialize;

use super::tests::{close, fixture};
use super::*;

#[derive(Deserialize)]
struct Fixture {
    said: Vec<Vec<f32>>,
    reference: Vec<Vec<f32>>,
    margins: Vec<f64>,
    cases: Vec<Case>,
    steps: Steps,
}

#[derive(Deserialize)]
struct Case {
    loss_fn: PairLossFn,
    beta: f64,
    centering: f64,
    loss: f64,
    slopes: Vec<Vec<f64>>,
}

#[derive(Deserialize)]
struct Steps {
    odds: Vec<f32>,
    labels: Vec<f64>,
    loss: f64,
    slopes: Vec<f64>,
}

fn read() -> Fixture {
    serde_json::from_str(&std::fs::read_to_string(fixture("preferences.json")).unwrap()).unwrap()
}

fn seen(said: &[Vec<f32>], index: usize) -> Prediction<'_> {
    Prediction { index, log_probs: &said[index], entropies: &[] }
}

#[test]
fn losses_of_pairs_equal_pytorch() {
    let Fixture { said, reference, margins, cases, .. } = read();
    let known = |pair: usize| Preference {
        reference: [reference[2 * pair].clone(), reference[2 * pair + 1].clone()],
        margin: margins[pair],
    };
    let batch: Vec<Preference> = (0..margins.len()).map(known).collect();
    for Case { loss_fn, beta, centering, loss, slopes } in cases {
        let pair_loss = PairLoss { loss_fn, beta, centering };
        let judge = pair_loss.on(&batch);
        let found: Vec<Slopes> =
            (0..margins.len()).flat_map(|pair| judge(seen(&said, 2 * pair), seen(&said, 2 * pair + 1))).collect();
        close(found.iter().map(|slopes| slopes.loss).sum(), loss, &format!("{loss_fn:?}"));
        for (found, slopes) in found.iter().zip(&slopes) {
            assert_eq!(found.log_probs.len(), slopes.len());
            found
                .log_probs
                .iter()
                .zip(slopes)
                .for_each(|(&got, &want)| close(got.into(), want, &format!("{loss_fn:?}")));
        }
    }
}

#[test]
fn the_loss_of_steps_equals_pytorch() {
    let Steps { odds, labels, loss, slopes } = read().steps;
    let (odds, labels) = ([odds[..2].to_vec(), odds[2..].to_vec()], [labels[..2].to_vec(), labels[2..].to_vec()]);
    let judge = step_loss(&labels);
    let found = [judge(seen(&odds, 0)), judge(seen(&odds, 1))];
    close(found.iter().map(|slopes| slopes.loss).sum(), loss, "loss");
    let got = found.iter().flat_map(|slopes| &slopes.log_probs);
    got.zip(&slopes).for_each(|(&got, &want)| close(got.into(), want, "slope"));
}

/// Log-odds, labels, and accuracy and F1 to two decimals.
#[track_caller]
fn check_verdicts(odds: &[f32], labels: &[f64], expected: (&str, &str)) {
    let verdicts = Verdicts::of(odds, labels);
    assert_eq!(
        (format!("{:.2}", verdicts.accuracy()), format!("{:.2}", verdicts.f1())),
        (expected.0.into(), expected.1.into())
    );
}

#[test]
fn verdicts_count_found_errors() {
    check_verdicts(&[1.0, -1.0, 2.0, -0.5], &[1.0, 0.0, 0.0, 1.0], ("0.50", "0.50"));
    check_verdicts(&[1.0, -1.0], &[0.9, 0.1], ("1.00", "1.00"));
    check_verdicts(&[1.0, 1.0], &[1.0, 1.0], ("1.00", "NaN"));
    check_verdicts(&[], &[], ("NaN", "NaN"));
}

#[test]
fn the_logistic_loss_is_exact_far_out() {
    for (x, loss, slope) in [(0.0, 2f64.ln(), -0.5), (800.0, 0.0, 0.0), (-800.0, 800.0, -1.0)] {
        let (got, got_slope) = logistic(x);
        close(got, loss, "loss");
        close(got_slope, slope, "slope");
    }
}
