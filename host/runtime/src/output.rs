//! What a guest hands back is checked before anything uses it: right length, finite numbers, sane sizes.

use crate::fault::printable;
use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::{Fault, Manifest, Metric, Score};

const NOTE_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 128;
const METRICS_MAX: usize = 256;
const STEPS_MAX: usize = 65_536;

/// The one score in the answer to one sample.
pub(crate) fn only_score(mut answers: Vec<Result<Score, GuestFault>>) -> Result<Score, Fault> {
    match (answers.len(), answers.pop()) {
        (1, Some(Ok(score))) => match refusal(&score) {
            None => Ok(score),
            Some(reason) => Err(Fault::InvalidOutput(reason)),
        },
        (1, Some(Err(fault))) => Err(Fault::from_guest(fault)),
        (length, _) => Err(Fault::InvalidOutput(format!("{length} results for 1 sample"))),
    }
}

fn refusal(score: &Score) -> Option<String> {
    if let Some(value) = score.value.filter(|value| !value.is_finite()) {
        return Some(format!("the score is {value}"));
    }
    if let Some(step) = score.steps.iter().position(|step| !step.is_finite()) {
        return Some(format!("step {step} is {}", score.steps[step]));
    }
    if score.steps.len() > STEPS_MAX {
        return Some(format!("{} steps, and {STEPS_MAX} are allowed", score.steps.len()));
    }
    if score.note.len() > NOTE_BYTES_MAX {
        return Some(format!("a note of {} bytes, and {NOTE_BYTES_MAX} are allowed", score.note.len()));
    }
    metrics_refusal("components", &score.components).or_else(|| metrics_refusal("metrics", &score.metrics))
}

fn metrics_refusal(field: &str, metrics: &[Metric]) -> Option<String> {
    if metrics.len() > METRICS_MAX {
        return Some(format!("{} {field}, and {METRICS_MAX} are allowed", metrics.len()));
    }
    metrics.iter().find_map(|Metric { name, value }| {
        let shown = printable(name, NAME_BYTES_MAX);
        if name.len() > NAME_BYTES_MAX {
            Some(format!("a name in {field} of {} bytes, and {NAME_BYTES_MAX} are allowed", name.len()))
        } else if !value.is_finite() {
            Some(format!("{field}: {shown} is {value}"))
        } else {
            None
        }
    })
}

/// A manifest is shown to people: its texts become single printable lines.
pub(crate) fn manifest(manifest: Manifest) -> Manifest {
    Manifest {
        name: printable(&manifest.name, 200),
        version: printable(&manifest.version, 100),
        summary: printable(&manifest.summary, 1000),
        settings_schema: manifest.settings_schema,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(value: f64) -> Score {
        Score { value: Some(value), steps: vec![], components: vec![], metrics: vec![], note: String::new() }
    }

    fn metrics(name: &str, value: f64, n: usize) -> Vec<Metric> {
        vec![Metric { name: name.into(), value }; n]
    }

    #[track_caller]
    fn check(score: Score, expected: &str) {
        match only_score(vec![Ok(score)]) {
            Ok(_) => assert_eq!(expected, "good"),
            Err(fault) => assert!(fault.to_string().contains(expected), "{fault} / {expected}"),
        }
    }

    #[test]
    fn only_finite_and_bounded_scores_pass() {
        check(score(0.5), "good");
        check(Score { value: None, ..score(0.0) }, "good");
        check(score(f64::NAN), "the score is NaN");
        check(score(f64::INFINITY), "the score is inf");
        check(Score { steps: vec![1.0, f64::NEG_INFINITY], ..score(1.0) }, "step 1 is -inf");
        check(Score { steps: vec![0.0; STEPS_MAX + 1], ..score(1.0) }, "steps");
        check(Score { note: "x".repeat(NOTE_BYTES_MAX + 1), ..score(1.0) }, "a note of 4097 bytes");
        check(Score { components: metrics("a", f64::NAN, 1), ..score(1.0) }, "components: a is NaN");
        check(Score { metrics: metrics("a", 1.0, METRICS_MAX + 1), ..score(1.0) }, "257 metrics");
        check(Score { metrics: metrics(&"n".repeat(129), 1.0, 1), ..score(1.0) }, "a name in metrics");
    }

    #[test]
    fn one_sample_has_one_result() {
        assert_eq!(only_score(vec![]), Err(Fault::InvalidOutput("0 results for 1 sample".into())));
        let two = only_score(vec![Ok(score(1.0)), Ok(score(1.0))]);
        assert_eq!(two, Err(Fault::InvalidOutput("2 results for 1 sample".into())));
    }
}
