//! What a guest hands back is checked before anything uses it: right length, finite numbers, sane sizes.

use std::collections::BTreeSet;

use crate::fault::printable;
use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::{Fault, Manifest, Metric, Score, ToolOutput, ToolSpec};

const NOTE_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 128;
const METRICS_MAX: usize = 256;
const STEPS_MAX: usize = 65_536;

const TOOLS_MAX: usize = 256;

/// One checked result per sample, in at most `bytes_max` bytes of text. The outer fault leaves all of them unjudged.
pub(crate) fn scores(
    answers: Vec<Result<Score, GuestFault>>,
    samples: usize,
    bytes_max: usize,
) -> Result<Vec<Result<Score, Fault>>, Fault> {
    if answers.len() != samples {
        return Err(Fault::InvalidOutput(format!("{} results for {}", answers.len(), counted(samples, "sample"))));
    }
    let bytes: usize = answers.iter().flatten().map(bytes_of).sum();
    if bytes > bytes_max {
        return Err(too_long(bytes, bytes_max));
    }
    let checked = |answer: Result<Score, GuestFault>| match answer {
        Ok(score) => refusal(&score).map_or(Ok(score), |reason| Err(Fault::InvalidOutput(reason))),
        Err(fault) => Err(Fault::from_guest(fault)),
    };
    Ok(answers.into_iter().map(checked).collect())
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn too_long(bytes: usize, bytes_max: usize) -> Fault {
    Fault::InvalidOutput(format!("{bytes} bytes, and output_bytes_max = {bytes_max}"))
}

/// What a score takes in memory, roughly: its texts and numbers.
fn bytes_of(score: &Score) -> usize {
    let metrics = |metrics: &[Metric]| metrics.iter().map(|metric| metric.name.len() + 8).sum::<usize>();
    score.note.len() + 8 * score.steps.len() + metrics(&score.components) + metrics(&score.metrics)
}

/// The functions of a tool: named, one name each.
pub(crate) fn tool_specs(specs: Vec<ToolSpec>, bytes_max: usize) -> Result<Vec<ToolSpec>, Fault> {
    let bytes: usize = specs.iter().map(|spec| spec.name.len() + spec.description.len() + spec.parameters.len()).sum();
    if bytes > bytes_max {
        return Err(too_long(bytes, bytes_max));
    }
    if specs.len() > TOOLS_MAX {
        return Err(Fault::InvalidOutput(format!("{} functions, and {TOOLS_MAX} are allowed", specs.len())));
    }
    let names: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    match names.len() == specs.len() && !names.contains("") {
        true => Ok(specs),
        false => Err(Fault::InvalidOutput("its functions need one name each".into())),
    }
}

/// The output of a tool, finite and within the limit.
pub(crate) fn tool_output(output: ToolOutput, bytes_max: usize) -> Result<ToolOutput, Fault> {
    if output.content.len() > bytes_max {
        return Err(too_long(output.content.len(), bytes_max));
    }
    if !output.reward.is_finite() {
        return Err(Fault::InvalidOutput(format!("the reward is {}", output.reward)));
    }
    match metrics_refusal("metrics", &output.metrics) {
        Some(reason) => Err(Fault::InvalidOutput(reason)),
        None => Ok(output),
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
        match scores(vec![Ok(score)], 1, 1 << 20).expect("one result").remove(0) {
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
    fn each_sample_has_one_result_and_all_fit() {
        let invalid = |text: &str| Err(Fault::InvalidOutput(text.into()));
        assert_eq!(scores(vec![], 1, 100), invalid("0 results for 1 sample"));
        assert_eq!(scores(vec![Ok(score(1.0)); 3], 2, 100), invalid("3 results for 2 samples"));
        let noted = Score { note: "x".repeat(60), ..score(1.0) };
        assert_eq!(scores(vec![Ok(noted.clone()); 2], 2, 100), invalid("120 bytes, and output_bytes_max = 100"));
        assert_eq!(scores(vec![Ok(noted.clone()); 2], 2, 120), Ok(vec![Ok(noted); 2].into_iter().collect()));
    }
}
