//! What a guest hands back is checked before anything uses it: right length, finite numbers, sane sizes.

use std::collections::BTreeSet;

use crate::fault::printable;
use crate::generated::rewarden::plugin::types::Fault as GuestFault;
use crate::host_call;
use crate::{Fault, Manifest, Message, Metric, Score, ToolOutput, ToolSpec, Transition};

const NOTE_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 128;
const METRICS_MAX: usize = 256;
const STEPS_MAX: usize = 65_536;
const TOOLS_MAX: usize = 256;

/// A score, finite and within the limits.
pub(crate) fn score(score: Score) -> Result<Score, Fault> {
    refusal(&score).map_or(Ok(score), |reason| Err(Fault::InvalidOutput(reason)))
}

/// One checked result per sample, in at most `bytes_max` bytes of text. The outer fault leaves all of them unjudged.
pub(crate) fn scores(
    answers: Vec<Result<Score, GuestFault>>,
    samples: usize,
    bytes_max: usize,
) -> Result<Vec<Result<Score, Fault>>, Fault> {
    if answers.len() != samples {
        return Err(Fault::InvalidOutput(format!("{} results for {}", answers.len(), counted(samples, "sample"))));
    }
    at_most(answers.iter().flatten().map(bytes_of).sum(), bytes_max)?;
    let checked = |answer: Result<Score, GuestFault>| match answer {
        Ok(answer) => score(answer),
        Err(fault) => Err(Fault::from_guest(fault)),
    };
    Ok(answers.into_iter().map(checked).collect())
}

/// One checked score per member, or none at all: what one of them is worth depends on the others.
pub(crate) fn group(scores: Vec<Score>, members: usize, bytes_max: usize) -> Result<Vec<Score>, Fault> {
    if scores.len() != members {
        return Err(Fault::InvalidOutput(format!("{} scores for a group of {members}", scores.len())));
    }
    at_most(scores.iter().map(bytes_of).sum(), bytes_max)?;
    match scores.iter().enumerate().find_map(|(index, score)| Some((index, refusal(score)?))) {
        Some((index, reason)) => Err(Fault::InvalidOutput(format!("member {index} of the group: {reason}"))),
        None => Ok(scores),
    }
}

/// What a policy is shown, within the limit.
pub(crate) fn messages(messages: Vec<Message>, bytes_max: usize) -> Result<Vec<Message>, Fault> {
    at_most(host_call::bytes_of(&messages), bytes_max)?;
    Ok(messages)
}

/// What a policy is shown next, a finite reward, and sane metrics.
pub(crate) fn transition(transition: Transition, bytes_max: usize) -> Result<Transition, Fault> {
    at_most(host_call::bytes_of(&transition.observation), bytes_max)?;
    is_finite("reward", transition.reward)?;
    metrics_are_sane(&transition.metrics)?;
    Ok(transition)
}

/// Numbers for the logs.
pub(crate) fn metrics(metrics: Vec<Metric>) -> Result<Vec<Metric>, Fault> {
    metrics_are_sane(&metrics)?;
    Ok(metrics)
}

fn metrics_are_sane(metrics: &[Metric]) -> Result<(), Fault> {
    metrics_refusal("metrics", metrics).map_or(Ok(()), |reason| Err(Fault::InvalidOutput(reason)))
}

fn is_finite(name: &str, value: f64) -> Result<(), Fault> {
    if value.is_finite() { Ok(()) } else { Err(Fault::InvalidOutput(format!("the {name} is {value}"))) }
}

fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

fn at_most(bytes: usize, bytes_max: usize) -> Result<(), Fault> {
    match bytes > bytes_max {
        true => Err(Fault::InvalidOutput(format!("{bytes} bytes, and output_bytes_max = {bytes_max}"))),
        false => Ok(()),
    }
}

/// What a score takes in memory, roughly: its texts and numbers.
fn bytes_of(score: &Score) -> usize {
    let metrics = |metrics: &[Metric]| metrics.iter().map(|metric| metric.name.len() + 8).sum::<usize>();
    score.note.len() + 8 * score.steps.len() + metrics(&score.components) + metrics(&score.metrics)
}

/// The functions of a tool: named, one name each.
pub(crate) fn tool_specs(specs: Vec<ToolSpec>, bytes_max: usize) -> Result<Vec<ToolSpec>, Fault> {
    let bytes_of = |spec: &ToolSpec| spec.name.len() + spec.description.len() + spec.parameters.len();
    at_most(specs.iter().map(bytes_of).sum(), bytes_max)?;
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
    at_most(output.content.len(), bytes_max)?;
    is_finite("reward", output.reward)?;
    metrics_are_sane(&output.metrics)?;
    Ok(output)
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
    fn a_group_is_judged_whole_or_not_at_all() {
        let invalid = |text: &str| Err(Fault::InvalidOutput(text.into()));
        assert_eq!(group(vec![], 2, 100), invalid("0 scores for a group of 2"));
        assert_eq!(group(vec![score(1.0); 3], 2, 100), invalid("3 scores for a group of 2"));
        let nan = vec![score(1.0), score(f64::NAN)];
        assert_eq!(group(nan, 2, 100), invalid("member 1 of the group: the score is NaN"));
        let noted = vec![Score { note: "x".repeat(60), ..score(1.0) }; 2];
        assert_eq!(group(noted.clone(), 2, 100), invalid("120 bytes, and output_bytes_max = 100"));
        assert_eq!(group(noted.clone(), 2, 120), Ok(noted));
    }

    #[test]
    fn a_transition_is_finite_and_bounded() {
        let checked = |bytes: usize, reward: f64, metric: f64| {
            let message = Message {
                role: crate::Role::User,
                content: "x".repeat(bytes),
                name: None,
                tool_calls: vec![],
                tool_call_id: None,
            };
            let metrics = metrics("turns", metric, 1);
            let checked = transition(Transition { observation: vec![message], reward, done: false, metrics }, 100);
            checked.map_or_else(|fault| fault.to_string(), |_| "good".into())
        };
        assert_eq!(checked(100, 1.0, 1.0), "good");
        assert!(checked(101, 1.0, 1.0).contains("101 bytes"));
        assert!(checked(1, f64::NAN, 1.0).contains("the reward is NaN"));
        assert!(checked(1, 1.0, f64::INFINITY).contains("turns is inf"));
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
