//! A batch before a rubric in parts: whatever the cut, and whoever answers first, the conclusion is that of the whole.

use std::fmt::Write;
use std::future::Future;
use std::sync::Arc;
use std::sync::mpsc;

use rewarden_runtime::{
    Asked, Combine, Digest, Error, Fault, Graded, Grader, HostScorer, Message, OnFault, Role, Rubric, RubricRules,
    Sample, Score, Scorer, Sitting, StopReason, Weight,
};

/// A sequence of numbers that is the same every time (SplitMix64).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        (mix(self.0) % end as u64) as usize
    }

    fn one<T: Clone>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())].clone()
    }
}

fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn wait<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

fn sample(id: usize, group: &str, content: String) -> Sample {
    let said = Message { role: Role::Assistant, content, name: None, tool_calls: vec![], tool_call_id: None };
    Sample {
        id: id.to_string(),
        group: group.into(),
        data_source: group[..1].into(),
        prompt: vec![],
        completion: vec![said],
        ground_truth: String::new(),
        extra: "{}".into(),
        stop_reason: StopReason::Completed,
        turn_scores: vec![],
        completion_tokens: 1,
        step: 0,
    }
}

fn score(value: Option<f64>) -> Score {
    Score { value, steps: vec![], components: vec![], metrics: vec![], note: String::new() }
}

/// Answers from what was said and nothing else: a number, none, or a fault, as often as `faults` of eight.
fn moody(name: u64, faults: u64) -> Scorer {
    let judge = move |sample: &Sample| {
        let said = Digest::of(sample.completion[0].content.as_bytes()).to_string();
        let mood = mix(said.bytes().fold(name, |mood, byte| mix(mood ^ u64::from(byte))));
        match mood % 8 {
            mood if mood < faults => Err(Fault::Internal(format!("mood {mood}"))),
            7 => Ok(score(None)),
            mood => Ok(score(Some(mood as f64 / 7.0))),
        }
    };
    HostScorer::new(Digest::of(&name.to_le_bytes()), move |samples| async move { samples.iter().map(judge).collect() })
        .into()
}

/// Ranks the answers of a group among each other, as a plugin for groups would.
fn ranker() -> Scorer {
    let judge = |samples: Arc<[Sample]>| async move {
        let said = |sample: &Sample| sample.completion[0].content.clone();
        let rank = |group: &[Sample], one: &Sample| group.iter().filter(|other| said(other) < said(one)).count();
        let groups = samples.chunk_by(|one, next| one.group == next.group);
        let ranks = groups.flat_map(|group| group.iter().map(move |one| rank(group, one)));
        ranks.map(|rank| Ok(score(Some(rank as f64)))).collect()
    };
    HostScorer::new(Digest::of(b"ranker"), judge).into()
}

fn grader(draws: &mut Draws, number: usize) -> Grader {
    let weights: [Weight; 5] =
        [1.0.into(), 0.5.into(), (-1.0).into(), 0.0.into(), Weight::Schedule(vec![(0, 1.0), (3, 0.0)])];
    let policies = [
        None,
        None,
        Some(OnFault::SkipSample),
        Some(OnFault::SkipGroup),
        Some(OnFault::Fixed(-0.5)),
        Some(OnFault::FailRun),
    ];
    let faults = draws.one(&[0, 0, 1, 4]);
    Grader {
        name: format!("grader{number}"),
        weight: draws.one(&weights),
        priority: draws.below(3) as i32,
        data_source: draws.one(&[vec![], vec![], vec!["a".into()], vec!["a".into(), "b".into()]]),
        on_fault: draws.one(&policies).filter(|policy| *policy != OnFault::FailRun || faults < 4),
        scorer: if draws.below(4) == 0 { ranker() } else { moody(number as u64, faults) },
    }
}

/// Twice the same rubric of one to four graders, some with a shadow.
fn rubrics(draws: &mut Draws) -> Option<[Rubric; 2]> {
    let graders: Vec<Grader> = (0..=draws.below(4)).map(|number| grader(draws, number)).collect();
    let ways = [Combine::WeightedSum, Combine::Gate, Combine::Product, Combine::Min, Combine::NormalizeThenSum];
    let rules = RubricRules {
        combine: draws.one(&ways),
        gate_threshold: draws.one(&[0.3, 1.0]),
        on_fault: draws.one(&[OnFault::SkipSample, OnFault::SkipGroup, OnFault::Fixed(0.25)]),
        fault_budget: draws.one(&[None, None, Some(20), Some(60)]),
        quarantine_after: draws.one(&[None, Some(2), Some(4)]),
    };
    let shadow = draws.one(&[None, Some(moody(99, 2))]);
    let make = || {
        let mut rubric = Rubric::new(graders.clone(), rules).ok()?;
        rubric.set_shadow("grader0", shadow.clone()).unwrap();
        Some(rubric)
    };
    Some([make()?, make()?])
}

/// A batch as its groups.
fn batch(draws: &mut Draws) -> Vec<Vec<Sample>> {
    let mut ids = 0..;
    let mut group = |number: usize| -> Vec<Sample> {
        let name = format!("{}{number}", draws.one(&["a", "b", "c"]));
        let size = 1 + draws.below(5);
        ids.by_ref().take(size).map(|id| sample(id, &name, draws.below(40).to_string())).collect()
    };
    let count = 1 + group(0).len() + group(0).len();
    (0..count).map(group).collect()
}

/// Cuts a batch between groups, and asks about all parts at once and in any order.
fn grade_in_parts(
    rubric: &mut Rubric,
    batch: &[Vec<Sample>],
    step: u32,
    draws: &mut Draws,
) -> Result<Vec<Graded>, Error> {
    let mut parts: Vec<(usize, Vec<Sample>)> = vec![];
    for group in batch {
        match parts.last_mut().filter(|_| draws.below(2) == 0) {
            Some((_, part)) => part.extend(group.iter().cloned()),
            None => parts.push((parts.len(), group.clone())),
        }
    }
    for place in (1..parts.len()).rev() {
        parts.swap(place, draws.below(place + 1));
    }
    let sitting = rubric.sitting(step);
    let asked = ask_on_threads(&sitting, parts);
    sitting.conclude(asked)
}

/// The answers in the order in which they come.
fn ask_on_threads(sitting: &Sitting, parts: Vec<(usize, Vec<Sample>)>) -> Vec<Asked> {
    let (answer, answered) = mpsc::channel();
    std::thread::scope(|scope| {
        for (number, part) in parts {
            let (panel, answer) = (sitting.panel().clone(), answer.clone());
            scope.spawn(move || answer.send(wait(panel.ask(number, part))));
        }
    });
    drop(answer);
    answered.into_iter().collect()
}

/// All that must not differ, to the last bit: everything but the time, and with how many others a call was shared.
fn written(graded: Result<Vec<Graded>, Error>) -> String {
    let mut text = String::new();
    match graded {
        Err(error) => write!(text, "{error:?}").unwrap(),
        Ok(mut graded) => {
            for graded in &mut graded {
                for judgement in graded.parts.iter_mut().flatten().chain(graded.shadows.values_mut()) {
                    (judgement.receipt.micros, judgement.receipt.samples) = (0, 0);
                }
            }
            write!(text, "{graded:#?}").unwrap();
        }
    }
    text
}

#[test]
fn a_batch_in_parts_is_graded_as_in_one_piece() {
    let (mut cases, mut errors, mut quarantines) = (0, 0, 0);
    for seed in 0..400 {
        let draws = &mut Draws(seed);
        let Some([mut whole, mut cut]) = rubrics(draws) else { continue };
        for step in 0..4 {
            let batch = batch(draws);
            let expected = written(wait(whole.grade(batch.concat(), step)));
            let found = written(grade_in_parts(&mut cut, &batch, step, draws));
            assert_eq!(expected, found, "seed {seed}, step {step}");
            assert_eq!(whole.state(), cut.state(), "seed {seed}, step {step}");
            cases += 1;
            errors += usize::from(expected.starts_with("Fault"));
            quarantines += usize::from(expected.contains("Quarantined"));
        }
    }
    assert!(
        cases > 800 && errors > 50 && quarantines > 50,
        "{cases} cases, {errors} errors, {quarantines} quarantines"
    );
}

fn faulty(rules: RubricRules) -> Rubric {
    let scorer = moody(0, 7);
    let grader =
        Grader { name: "a".into(), weight: 1.0.into(), priority: 0, data_source: vec![], on_fault: None, scorer };
    Rubric::new(vec![grader], rules).unwrap()
}

fn part(numbers: std::ops::Range<usize>) -> Vec<Sample> {
    numbers.map(|number| sample(number, "a", number.to_string())).collect()
}

/// The batch that is under way is finished, whatever its first part brought to light.
#[test]
fn quarantine_begins_with_the_next_sitting() {
    let mut rubric = faulty(RubricRules { quarantine_after: Some(1), ..RubricRules::default() });
    for is_refused in [false, true] {
        let sitting = rubric.sitting(1);
        let first = wait(sitting.panel().ask(0, part(0..8)));
        let second = wait(sitting.panel().ask(1, part(8..16)));
        let graded = sitting.conclude(vec![second, first]).unwrap();
        let is_quarantine = |graded: &Graded| {
            let judgement = graded.parts[0].as_ref().unwrap();
            matches!(judgement.result, Err(Fault::Quarantined { since_step: 1, .. }))
        };
        assert!(graded.iter().all(|graded| is_quarantine(graded) == is_refused), "{graded:?}");
    }
}

#[test]
fn a_sitting_without_a_conclusion_was_never_held() {
    let mut rubric = faulty(RubricRules::default());
    let before = rubric.state();
    let sitting = rubric.sitting(0);
    let asked = wait(sitting.panel().ask(0, part(0..8)));
    drop((sitting, asked));
    assert_eq!(rubric.state(), before);
    assert_eq!(rubric.sitting(0).conclude(vec![]).unwrap(), []);
}

#[test]
#[should_panic(expected = "another sitting")]
fn answers_of_another_sitting_are_a_bug() {
    let mut rubric = faulty(RubricRules::default());
    let early = wait(rubric.sitting(0).panel().ask(0, part(0..2)));
    let _ = rubric.sitting(1).conclude(vec![early]);
}
