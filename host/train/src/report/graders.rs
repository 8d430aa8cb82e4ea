//! What a step's row says of each grader and each shadow: what it thought, and what it took to ask.
//!
//! A score and its fuel are the same on every machine. What depends on the clock stands under `time/`, so that two runs
//! of one config can be compared by all other names.

use rewarden_runtime::{Fault, Graded, Judgement, Rubric};
use serde_json::Value;

use super::{deviation, mean};
use crate::run_dir::Metrics;

/// Adds the metrics of every grader and shadow at a training step.
pub(super) fn describe(rubric: &Rubric, step: u32, graded: &[Graded], into: &mut Metrics) {
    let shadows = rubric.shadows();
    for (index, grader) in rubric.graders().enumerate() {
        let name = &grader.name;
        let judgements: Vec<&Judgement> = graded.iter().filter_map(|graded| graded.parts[index].as_ref()).collect();
        let values = values(&judgements);
        put(into, format!("rewards/{name}/mean"), mean(&values));
        put(into, format!("rewards/{name}/std"), deviation(&values));
        put(into, format!("rewards/{name}/weight"), grader.weight.at(step));
        into.insert(format!("plugin/{name}/digest"), grader.scorer.digest().to_string().into());
        describe_calls(name, &judgements, into);
        if let Some(digest) = shadows.get(name) {
            let both = graded.iter().map(|graded| (graded.shadows.get(name), graded.parts[index].as_ref()));
            let pairs: Vec<(&Judgement, &Judgement)> = both.filter_map(|(shadow, part)| shadow.zip(part)).collect();
            into.insert(format!("shadow/{name}/digest"), digest.to_string().into());
            describe_shadow(name, &pairs, into);
        }
    }
}

/// What a shadow thinks of the samples its grader was asked about, and how often it thinks the same.
fn describe_shadow(name: &str, pairs: &[(&Judgement, &Judgement)], into: &mut Metrics) {
    let shadow: Vec<&Judgement> = pairs.iter().map(|(shadow, _)| *shadow).collect();
    let agreeing = pairs.iter().filter(|(shadow, judgement)| agree(shadow, judgement)).count();
    put(into, format!("shadow/{name}/mean"), mean(&values(&shadow)));
    put(into, format!("shadow/{name}/agreement"), agreeing as f64 / pairs.len() as f64);
    put(into, format!("shadow/{name}/faults"), faults(&shadow, |_| true));
}

/// What it took to ask: the samples it was called for, its faults by kind, fuel, and time.
fn describe_calls(name: &str, judgements: &[&Judgement], into: &mut Metrics) {
    let is_called = |judgement: &&&Judgement| !matches!(judgement.result, Err(Fault::Quarantined { .. }));
    let called: Vec<&Judgement> = judgements.iter().filter(is_called).copied().collect();
    let fuel: Vec<f64> = called.iter().map(|judgement| judgement.receipt.fuel as f64).collect();
    let mut millis: Vec<f64> = called.iter().map(|judgement| judgement.receipt.micros as f64 / 1000.0).collect();
    millis.sort_by(f64::total_cmp);
    let figures = [
        ("calls", called.len() as f64),
        ("faults", faults(judgements, |_| true)),
        ("traps", faults(judgements, |fault| matches!(fault, Fault::Trap(_)))),
        ("timeouts", faults(judgements, |fault| matches!(fault, Fault::Deadline { .. }))),
        ("irreproducible", faults(judgements, |fault| !fault.is_reproducible())),
        ("fuel_mean", mean(&fuel)),
        ("fuel_max", fuel.iter().copied().fold(f64::NAN, f64::max)),
    ];
    figures.into_iter().for_each(|(figure, value)| put(into, format!("plugin/{name}/{figure}"), value));
    // A resumed run begins with an empty cache, so this depends on where it was interrupted, like a time.
    let hits = called.iter().filter(|judgement| judgement.receipt.cached).count();
    put(into, format!("time/plugin/{name}/cache_hits"), hits as f64);
    for (figure, share) in [("ms_p50", 0.5), ("ms_p99", 0.99)] {
        put(into, format!("time/plugin/{name}/{figure}"), percentile(&millis, share));
    }
}

/// A figure that does not exist, such as the mean of nothing, is left out.
pub(super) fn put(into: &mut Metrics, name: String, value: f64) {
    if value.is_finite() {
        into.insert(name, Value::from(value));
    }
}

fn values(judgements: &[&Judgement]) -> Vec<f64> {
    judgements.iter().filter_map(|judgement| judgement.result.as_ref().ok()?.value).collect()
}

fn faults(judgements: &[&Judgement], is_wanted: impl Fn(&Fault) -> bool) -> f64 {
    let faults = judgements.iter().filter_map(|judgement| judgement.result.as_ref().err());
    faults.filter(|fault| is_wanted(fault)).count() as f64
}

/// Whether both judged and gave the same value, or both say that they do not apply.
fn agree(shadow: &Judgement, judgement: &Judgement) -> bool {
    match (&shadow.result, &judgement.result) {
        (Ok(shadow), Ok(score)) => shadow.value == score.value,
        _ => false,
    }
}

/// The least value that at least `share` of the sorted values do not exceed.
fn percentile(sorted: &[f64], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rewarden_runtime::{Receipt, Score};
    use serde_json::json;

    fn judged(result: Result<Option<f64>, Fault>, fuel: u64, micros: u64) -> Judgement {
        let score = |value| Score { value, steps: vec![], components: vec![], metrics: vec![], note: String::new() };
        Judgement { result: result.map(score), receipt: Receipt { fuel, micros, ..Receipt::default() } }
    }

    #[test]
    fn calls_are_described_by_what_they_took() {
        let quarantined = Fault::Quarantined { since_step: 1, faults: 2 };
        let mut judgements = [
            judged(Ok(Some(1.0)), 10, 1000),
            judged(Ok(None), 20, 3000),
            judged(Err(Fault::Trap("t".into())), 30, 2000),
            judged(Err(Fault::Deadline { timeout_ms: 9, at: String::new() }), 100, 9000),
            judged(Err(quarantined), 0, 0),
        ];
        judgements[0].receipt.cached = true;
        let mut metrics = Metrics::new();
        describe_calls("a", &judgements.iter().collect::<Vec<_>>(), &mut metrics);
        let expected = json!({
            "plugin/a/calls": 4.0, "plugin/a/faults": 3.0, "plugin/a/traps": 1.0, "plugin/a/timeouts": 1.0,
            "plugin/a/irreproducible": 1.0, "plugin/a/fuel_mean": 40.0, "plugin/a/fuel_max": 100.0,
            "time/plugin/a/ms_p50": 2.0, "time/plugin/a/ms_p99": 9.0, "time/plugin/a/cache_hits": 1.0,
        });
        assert_eq!(Value::Object(metrics), expected);
        let mut nothing = Metrics::new();
        describe_calls("a", &[], &mut nothing);
        assert!(nothing["plugin/a/calls"] == 0.0 && !nothing.contains_key("plugin/a/fuel_max"), "{nothing:?}");
    }

    #[test]
    fn percentiles_are_values_that_occurred() {
        for (count, share, expected) in
            [(1, 0.5, 1.0), (2, 0.5, 1.0), (3, 0.5, 2.0), (100, 0.99, 99.0), (101, 0.99, 100.0)]
        {
            let sorted: Vec<f64> = (1..=count).map(f64::from).collect();
            assert_eq!(percentile(&sorted, share), expected, "{share} of {count}");
        }
    }

    #[test]
    fn shadows_are_described_beside_their_grader() {
        let trap = || Err(Fault::Trap("t".into()));
        let pairs =
            [(Ok(Some(1.0)), Ok(Some(1.0))), (Ok(Some(0.5)), Ok(Some(1.0))), (trap(), Ok(None)), (Ok(None), trap())];
        let pairs = pairs.map(|(shadow, grader)| (judged(shadow, 1, 1), judged(grader, 1, 1)));
        let mut metrics = Metrics::new();
        let borrowed: Vec<(&Judgement, &Judgement)> = pairs.iter().map(|(shadow, grader)| (shadow, grader)).collect();
        describe_shadow("a", &borrowed, &mut metrics);
        let expected = json!({"shadow/a/mean": 0.75, "shadow/a/agreement": 0.25, "shadow/a/faults": 1.0});
        assert_eq!(Value::Object(metrics), expected);
    }

    #[test]
    fn shadows_agree_on_equal_values() {
        let fault = || Err(Fault::Trap("t".into()));
        for (one, other, expected) in [
            (Ok(Some(0.5)), Ok(Some(0.5)), true),
            (Ok(Some(0.5)), Ok(Some(0.25)), false),
            (Ok(None), Ok(None), true),
            (Ok(None), Ok(Some(0.0)), false),
            (fault(), fault(), false),
            (fault(), Ok(Some(0.0)), false),
        ] {
            assert_eq!(agree(&judged(one, 0, 0), &judged(other, 0, 0)), expected);
        }
    }
}
