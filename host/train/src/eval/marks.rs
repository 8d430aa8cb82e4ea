//! From graded answers to results: pass@k without bias, avg@n, maj@k, the mean reward; over all tasks and by data source.

use rewarden_runtime::{Graded, Sample};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::pass_at_k::pass_at_k;
use crate::config::EvalConfig;

/// How well one model does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// For each k asked for `pass@k`, the chance that one of k answers passes, and `maj@k`, how often the answer that
    /// most of k give passes; `avg@n`, the share of all answers that pass.
    #[serde(flatten)]
    pub scores: BTreeMap<String, f64>,
    /// Mean reward of the answers that could be judged; none when none could.
    pub reward: Option<f64>,
    /// Tasks.
    pub problems: usize,
    /// Answers that no grader could judge; they count as not passed, and have no vote.
    pub faults: usize,
    /// The first of them, with the grader's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_fault: Option<String>,
    /// The same for the tasks of each `data_source`, where there are several.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by_data_source: BTreeMap<String, Evaluation>,
}

/// One graded answer, as far as results depend on it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mark {
    pub(super) reward: Option<f64>,
    /// What it votes for.
    pub(super) answer: Option<String>,
}

impl Mark {
    /// Two answers agree when the first reward that was asked notes the same about them: by convention the final answer
    /// it found, for which the contract has no field of its own. Where it notes nothing, the whole answer must be the
    /// same. What it could not judge has no vote.
    /// The reward is the rubric's, or the score of the grader with the number `judge`.
    pub(super) fn new(sample: &Sample, graded: &Graded, judge: Option<usize>) -> Self {
        let said = || sample.completion.last().map_or("", |message| message.content.trim()).to_owned();
        let judged = graded.parts.iter().flatten().next().and_then(|judgement| judgement.result.as_ref().ok());
        let answer = judged.map(|score| match score.note.trim() {
            "" => said(),
            note => note.to_owned(),
        });
        let score = |grader: usize| graded.parts[grader].as_ref()?.result.as_ref().ok()?.value;
        Self { reward: judge.map_or(graded.total, score), answer }
    }
}

/// The results of `marks`, those of one task being neighbours; `sources` has the `data_source` of each task.
pub(super) fn summarise(marks: &[Mark], sources: &[&str], options: &EvalConfig) -> Evaluation {
    let tasks: Vec<&[Mark]> = marks.chunks(options.num_samples).collect();
    let mut by_source: BTreeMap<&str, Vec<&[Mark]>> = BTreeMap::new();
    for (task, source) in tasks.iter().zip(sources) {
        by_source.entry(source).or_default().push(task);
    }
    let several = by_source.len() > 1;
    let parts = by_source.into_iter().filter(|_| several);
    let by_data_source = parts.map(|(source, tasks)| (source.to_owned(), results(&tasks, options))).collect();
    Evaluation { by_data_source, ..results(&tasks, options) }
}

fn results(tasks: &[&[Mark]], options: &EvalConfig) -> Evaluation {
    let samples = options.num_samples;
    let passes = |mark: &Mark| mark.reward.is_some_and(|reward| reward >= options.pass_threshold);
    let passed = |task: &[Mark]| task.iter().filter(|mark| passes(mark)).count();
    let mean = |of: &dyn Fn(&[Mark]) -> f64| tasks.iter().map(|task| of(task)).sum::<f64>() / tasks.len() as f64;
    let mut scores = BTreeMap::new();
    scores.insert(format!("avg@{samples}"), mean(&|task| passed(task) as f64 / samples as f64));
    for &k in &options.k {
        scores.insert(format!("pass@{k}"), mean(&|task| pass_at_k(samples, passed(task), k)));
        if k > 1 {
            let votes = |task: &[Mark]| {
                let elections = task.chunks_exact(k);
                elections.clone().filter(|voters| majority(voters).is_some_and(passes)).count() as f64
                    / elections.len() as f64
            };
            scores.insert(format!("maj@{k}"), mean(&votes));
        }
    }
    let rewards: Vec<f64> = tasks.iter().copied().flatten().filter_map(|mark| mark.reward).collect();
    Evaluation {
        scores,
        reward: (!rewards.is_empty()).then(|| rewards.iter().sum::<f64>() / rewards.len() as f64),
        problems: tasks.len(),
        faults: tasks.len() * samples - rewards.len(),
        first_fault: None,
        by_data_source: BTreeMap::new(),
    }
}

/// The first of those who say what most say; of equally many, what was said first.
fn majority(voters: &[Mark]) -> Option<&Mark> {
    let votes = |of: &Mark| voters.iter().filter(|mark| mark.answer == of.answer).count();
    let rated = voters.iter().filter(|mark| mark.answer.is_some()).map(|mark| (votes(mark), mark));
    rated.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, mark)| mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::renderer::message;
    use rewarden_runtime::{Fault, Judgement, Receipt, Role, Score, StopReason};

    /// `right` and `wrong` answers by what they say; `-` could not be judged.
    fn marks(answers: &str) -> Vec<Mark> {
        let mark = |word: &str| match word {
            "-" => Mark { reward: None, answer: None },
            word => Mark { reward: Some(f64::from(word.starts_with('r'))), answer: Some(word.to_owned()) },
        };
        answers.split_whitespace().map(mark).collect()
    }

    /// Answers, the sources of their tasks, samples of each, k: and every score.
    #[track_caller]
    fn check(answers: &str, num_samples: usize, k: &[usize], expected: &str) {
        let options = EvalConfig { num_samples, k: k.to_vec(), ..EvalConfig::default() };
        let marks = marks(answers);
        let found = summarise(&marks, &vec!["s"; marks.len() / num_samples], &options);
        let scores = found.scores.iter().map(|(name, value)| format!("{name} {value:.3}")).collect::<Vec<_>>();
        let reward = found.reward.map_or("-".to_owned(), |reward| format!("{reward:.3}"));
        assert_eq!(format!("{} reward {reward} faults {}", scores.join(" "), found.faults), expected);
    }

    #[test]
    fn answers_become_scores() {
        check("r", 1, &[1], "avg@1 1.000 pass@1 1.000 reward 1.000 faults 0");
        check("-", 1, &[1], "avg@1 0.000 pass@1 0.000 reward - faults 1");
        check("r w r w", 4, &[1, 2], "avg@4 0.500 maj@2 1.000 pass@1 0.500 pass@2 0.833 reward 0.500 faults 0");
        check("w r r x", 4, &[4], "avg@4 0.500 maj@4 1.000 pass@4 1.000 reward 0.500 faults 0");
        check("w r", 2, &[2], "avg@2 0.500 maj@2 0.000 pass@2 1.000 reward 0.500 faults 0");
        // Two right answers that differ do not add up, and three faults are no majority.
        check("r1 r2 w w r3", 5, &[5], "avg@5 0.600 maj@5 0.000 pass@5 1.000 reward 0.600 faults 0");
        check("- - - r", 4, &[4], "avg@4 0.250 maj@4 1.000 pass@4 1.000 reward 1.000 faults 3");
        check("- - r r", 2, &[2], "avg@2 0.500 maj@2 0.500 pass@2 0.500 reward 1.000 faults 2");
    }

    #[test]
    fn sources_are_told_apart_where_there_are_several() {
        let options = EvalConfig { num_samples: 2, k: vec![1], ..EvalConfig::default() };
        let marks = marks("r r w w r w");
        assert!(summarise(&marks, &["a", "a", "a"], &options).by_data_source.is_empty());
        let both = summarise(&marks, &["a", "b", "a"], &options);
        let of = |source: &str| (both.by_data_source[source].scores["avg@2"], both.by_data_source[source].problems);
        assert_eq!((of("a"), of("b"), both.scores["avg@2"]), ((0.75, 2), (0.0, 1), 0.5));
    }

    fn sample(answer: &str) -> Sample {
        Sample {
            id: "0/a/0".into(),
            group: "a".into(),
            data_source: "s".into(),
            prompt: vec![],
            completion: vec![message(Role::Assistant, answer)],
            ground_truth: String::new(),
            extra: "{}".into(),
            stop_reason: StopReason::Completed,
            turn_scores: vec![],
            completion_tokens: 1,
            step: 0,
        }
    }

    #[test]
    fn a_vote_is_the_note_of_the_first_that_was_asked_or_the_answer_itself() {
        let noted = |note: &str| {
            Ok(Score { value: Some(1.0), steps: vec![], components: vec![], metrics: vec![], note: note.into() })
        };
        let fault = || Err(Fault::Trap("t".into()));
        let judged = |result| Some(Judgement { result, receipt: Receipt::default() });
        let sample = sample(" so 4 ");
        for (parts, expected) in [
            (vec![judged(noted("4"))], Some("4")),
            (vec![None, judged(noted(" 5\n")), judged(noted("6"))], Some("5")),
            (vec![judged(noted("")), judged(noted("6"))], Some("so 4")),
            (vec![judged(fault()), judged(noted("6"))], None),
            (vec![None], None),
        ] {
            let graded = Graded { total: Some(1.0), parts, ..Graded::default() };
            assert_eq!(Mark::new(&sample, &graded, None).answer.as_deref(), expected);
        }
    }
}
