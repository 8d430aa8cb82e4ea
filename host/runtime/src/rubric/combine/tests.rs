//! Parts in, rewards out. A part is written as a number, `-` for nothing, `x` for a skipped sample, `X` for a skipped
//! group.

use super::*;
use Combine::{Gate, Min, NormalizeThenSum, Product, WeightedSum};

fn part(text: &str) -> Part {
    match text {
        "-" => Part::Nothing,
        "x" => Part::SkipSample,
        "X" => Part::SkipGroup,
        number => Part::Value(number.parse().unwrap()),
    }
}

fn row(text: &str) -> Vec<Part> {
    text.split_whitespace().map(part).collect()
}

fn terms(weights: &[f64], gates: usize) -> Vec<Term> {
    let term = |(index, &weight)| Term { weight, on_fault: OnFault::SkipSample, is_gate: index < gates };
    weights.iter().enumerate().map(term).collect()
}

/// One sample: the parts of graders with these weights, of which the first is a gate with `Gate`.
#[track_caller]
fn check(combine: Combine, weights: &[f64], parts: &str, expected: Option<f64>) {
    let rules = RubricRules { combine, gate_threshold: 0.5, ..RubricRules::default() };
    let terms = terms(weights, usize::from(combine == Gate && weights[0] != 0.0));
    let outcomes = super::combine(&rules, &terms, std::slice::from_ref(&(0..1)), &[row(parts)]);
    assert_eq!(outcomes, [Outcome { reward: expected, total: expected }], "{combine:?} {weights:?} {parts}");
}

#[test]
fn weighted_sums() {
    check(WeightedSum, &[1.0, 2.0], "0.5 1", Some(2.5));
    check(WeightedSum, &[1.0, -2.0], "0.5 1", Some(-1.5));
    check(WeightedSum, &[1.0, 2.0], "0.5 -", Some(0.5));
    check(WeightedSum, &[1.0], "-", None);
    check(WeightedSum, &[1.0, 0.0], "0.5 9", Some(0.5));
    check(WeightedSum, &[1.0, 0.0], "0.5 x", Some(0.5));
    check(WeightedSum, &[1.0, 0.0], "0.5 X", Some(0.5));
    check(WeightedSum, &[1.0, 0.0], "- 9", None);
    check(WeightedSum, &[1.0, 0.1], "0.5 x", None);
    check(WeightedSum, &[1.0, 0.1], "0.5 X", None);
    check(WeightedSum, &[1.0, 1.0], "1e308 1e308", None);
}

#[test]
fn products() {
    check(Product, &[1.0, 1.0], "0.5 0.5", Some(0.25));
    check(Product, &[2.0, 0.5], "0.5 3", Some(1.5));
    check(Product, &[1.0, 1.0, 1.0], "0 1 1", Some(0.0));
    check(Product, &[1.0, 1.0], "-1 0.5", Some(-0.5));
    check(Product, &[1.0, 1.0], "0.5 -", Some(0.5));
    check(Product, &[1.0, 0.0], "0.5 0", Some(0.5));
    check(Product, &[1.0, 1.0], "- -", None);
    check(Product, &[1.0, 1.0], "0 x", None);
}

#[test]
fn minima() {
    check(Min, &[1.0, 1.0], "0.5 0.25", Some(0.25));
    check(Min, &[1.0, 4.0], "0.5 0.25", Some(0.5));
    check(Min, &[1.0, 1.0], "0.5 -", Some(0.5));
    check(Min, &[1.0, 0.0], "0.5 0", Some(0.5));
    check(Min, &[1.0, 1.0], "-3 x", None);
}

#[test]
fn gates() {
    check(Gate, &[1.0, 1.0], "1 0.25", Some(1.25));
    check(Gate, &[1.0, 1.0], "0.5 0.25", Some(0.75));
    check(Gate, &[1.0, 1.0], "0.4 -", Some(0.0));
    check(Gate, &[1.0, 1.0], "0.4 0.25", Some(0.0));
    check(Gate, &[1.0, 1.0], "- 0.25", Some(0.25));
    check(Gate, &[1.0, 1.0], "- -", None);
    check(Gate, &[1.0, 1.0], "x -", None);
    check(Gate, &[1.0, 1.0], "1 x", None);
    // A metric never closes anything.
    check(Gate, &[0.0, 1.0], "0 0.25", Some(0.25));
}

#[test]
fn a_gate_is_closed_by_a_low_value_or_a_fault() {
    let term = |is_gate| Term { weight: 1.0, on_fault: OnFault::SkipSample, is_gate };
    for (part, expected) in [("0.5", false), ("0.49", true), ("-1", true), ("-", false), ("x", true), ("X", true)]
        .map(|(p, e)| (self::part(p), e))
    {
        assert_eq!(term(true).closes(part, 0.5), expected, "{part:?}");
        assert!(!term(false).closes(part, 0.5), "{part:?} of a grader that is no gate");
    }
}

#[test]
fn a_fault_becomes_what_the_policy_says() {
    let faulty = Judgement { result: Err(crate::Fault::Trap("t".into())), receipt: crate::Receipt::default() };
    for (on_fault, expected) in [
        (OnFault::SkipSample, Part::SkipSample),
        (OnFault::FailRun, Part::SkipSample),
        (OnFault::SkipGroup, Part::SkipGroup),
        (OnFault::Fixed(-1.0), Part::Value(-1.0)),
    ] {
        let term = Term { weight: 1.0, on_fault, is_gate: false };
        assert_eq!(term.part(Some(&faulty)), expected);
        assert_eq!(term.part(None), Part::Nothing);
    }
}

/// A batch in groups, its rows parted by `,`; the rewards and totals, within rounding.
#[track_caller]
fn check_batch(combine: Combine, weights: &[f64], groups: &[&str], expected: &[(Option<f64>, Option<f64>)]) {
    let rules = RubricRules { combine, ..RubricRules::default() };
    let rows: Vec<Vec<Vec<Part>>> = groups.iter().map(|group| group.split(',').map(row).collect()).collect();
    let mut start = 0;
    let range = |rows: &Vec<Vec<Part>>| {
        start += rows.len();
        start - rows.len()..start
    };
    let ranges: Vec<Range<usize>> = rows.iter().map(range).collect();
    let outcomes = super::combine(&rules, &terms(weights, 0), &ranges, &rows.concat());
    let close = |found: Option<f64>, expected: Option<f64>| match (found, expected) {
        (Some(found), Some(expected)) => (found - expected).abs() < 1e-12,
        (found, expected) => found == expected,
    };
    assert_eq!(outcomes.len(), expected.len());
    for (outcome, &(reward, total)) in outcomes.iter().zip(expected) {
        assert!(close(outcome.reward, reward) && close(outcome.total, total), "{outcomes:?}");
    }
}

#[test]
fn a_skipped_group_has_no_rewards() {
    let (some, none) = (|value| (Some(value), Some(value)), (None, None));
    check_batch(WeightedSum, &[1.0], &["1, X, 0", "1, 0"], &[none, none, none, some(1.0), some(0.0)]);
    check_batch(WeightedSum, &[1.0], &["1, x, 0", "1, 0"], &[some(1.0), none, some(0.0), some(1.0), some(0.0)]);
    check_batch(WeightedSum, &[1.0, 0.0], &["1 X, 0 1"], &[some(1.0), some(0.0)]);
}

/// The expected numbers are from a few lines of Python with its `statistics` module, after TRL's description.
#[test]
fn gdpo() {
    let some = |reward, total| (Some(reward), Some(total));
    check_batch(
        NormalizeThenSum,
        &[1.0, 1.0],
        &["1 0, 1 1, 0 1, 0 0", "1 1, 1 1, 1 1, 1 0"],
        &[
            some(0.0, 1.0),
            some(1.5274041433104983, 2.0),
            some(0.0, 1.0),
            some(-1.5274041433104983, 0.0),
            some(0.44091178450109825, 2.0),
            some(0.44091178450109825, 2.0),
            some(0.44091178450109825, 2.0),
            some(-1.3227353535032946, 1.0),
        ],
    );
    check_batch(
        NormalizeThenSum,
        &[1.0, 0.25],
        &["0 10, 1 20, 1 40", "0.5 3, 0.5 -, 0 5"],
        &[
            some(-1.4750989338877303, 2.5),
            some(0.5616806269874949, 6.0),
            some(0.9134183069002355, 11.0),
            some(0.43024830076210024, 1.25),
            some(0.6201961711143783, 0.5),
            some(-1.0504444718764787, 1.25),
        ],
    );
    // A skipped sample has no part in the means of its group.
    check_batch(
        NormalizeThenSum,
        &[2.0, -1.0],
        &["1 0, 1 1, 0 x, 0 0", "1 1, 0.2 0.4"],
        &[
            some(1.3091980077257819, 2.0),
            some(0.0, 1.0),
            (None, None),
            some(-1.3091980077257819, 0.0),
            some(0.5345074267965526, 1.0),
            some(-0.5345074267965526, 0.0),
        ],
    );
    check_batch(
        NormalizeThenSum,
        &[1.0, 0.0],
        &["1 5, 0 x"],
        &[some(0.7070360675807895, 1.0), some(-0.7070360675807895, 0.0)],
    );
}

/// Equal values teach nothing, and that nothing is a clean 0: beside a group that does teach, rounding would leave dust.
#[test]
fn gdpo_leaves_constant_groups_at_zero() {
    let weights = [0.5];
    let rows: Vec<Vec<Part>> = ["0.1", "0.1", "0.1", "0", "1", "0"].map(row).to_vec();
    let rules = RubricRules { combine: NormalizeThenSum, ..RubricRules::default() };
    let outcomes = super::combine(&rules, &terms(&weights, 0), &[0..3, 3..6], &rows);
    let rewards: Vec<Option<f64>> = outcomes.iter().map(|outcome| outcome.reward).collect();
    assert_eq!(rewards[..3], [Some(0.0); 3]);
    assert!(rewards[4] > Some(1.8) && rewards[3] == rewards[5], "{rewards:?}");
    check_batch(NormalizeThenSum, &weights, &["1, 1"], &[(Some(0.0), Some(0.5)); 2]);
    check_batch(NormalizeThenSum, &weights, &["1"], &[(Some(0.0), Some(0.5))]);
    check_batch(NormalizeThenSum, &weights, &["-, x"], &[(None, None); 2]);
}
