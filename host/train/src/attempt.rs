//! Attempts at tasks that are judged while others are still being made, so that both take the longer of sampling and
//! scoring, not the sum.
//!
//! 1. The sampler hands in each group when the last of its attempts has ended, whichever that is.
//! 2. Neighbouring groups make a part that is worth a call. Which they are, their numbers decide and never who was faster:
//!    what a reward model says of an answer is rounded according to what else is in its pass, and under some isolations
//!    the samples of a call share its fuel.
//! 3. One thread asks about all parts that are complete. The graders judge on threads of their own, as many as their
//!    runtime has, so what waits there is at most the batch, which is in memory anyway.
//! 4. With the last answer the rubric concludes, in the order of the tasks.

use rewarden_runtime::{Asked, Graded, Panel, Rubric, Sample};
use std::ops::{AddAssign, Range};
use std::thread;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::clock::Stopwatch;
use crate::data::Task;
use crate::error::Result;
use crate::model::Policy;
use crate::renderer::Renderer;
use crate::rollout::{Plan, Rollout, roll_out};

/// A part has at least so many samples: a reward model's pass is full, and a plugin with one instance for several samples
/// makes it for enough of them.
const PART_SAMPLES_MIN: usize = 16;

/// Attempts, and what the rubric says of each; those at one task are neighbours.
#[derive(Debug)]
pub struct Attempted {
    /// What the policy did.
    pub rollouts: Vec<Rollout>,
    /// What it is worth, in the same order.
    pub graded: Vec<Graded>,
    /// What both took.
    pub seconds: Timing,
}

/// What attempts took, in seconds. Sampling and scoring overlap: together they took `sampling + scoring_wait`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timing {
    /// From the first token to the last.
    pub sampling: f64,
    /// While any grader was asked, and combining the answers.
    pub scoring: f64,
    /// What scoring took after the last token.
    pub scoring_wait: f64,
}

impl AddAssign for Timing {
    fn add_assign(&mut self, more: Self) {
        self.sampling += more.sampling;
        self.scoring += more.scoring;
        self.scoring_wait += more.scoring_wait;
    }
}

/// Attempts the tasks as planned and grades the attempts, at the rubric's step. `progress` hears the number of tokens
/// sampled so far. Errors: the policy's device, a prompt or an answer that is no text, or what the rubric stops at.
pub fn attempt(
    (policy, renderer): (&Policy, &Renderer),
    (tasks, plan): (&[&Task], &Plan),
    (rubric, step): (&mut Rubric, u32),
    progress: impl FnMut(usize),
) -> Result<Attempted> {
    let samples = |group: &[Rollout]| group.iter().map(|rollout| rollout.sample.clone()).collect();
    let sample = |hand_in: HandIn| {
        roll_out(policy, renderer, tasks, plan, progress, |task, group| hand_in(task, samples(group)))
    };
    let (rollouts, graded, seconds) = grade_meanwhile((rubric, step), (tasks.len(), plan.group_size), sample)?;
    Ok(Attempted { rollouts, graded, seconds })
}

/// Takes the samples of a group, by the group's number.
type HandIn<'a> = &'a mut dyn FnMut(usize, Vec<Sample>);

/// Grades what `make` hands in while it goes on making the rest: `count` groups of `size` samples, in any order.
fn grade_meanwhile<T>(
    (rubric, step): (&mut Rubric, u32),
    (count, size): (usize, usize),
    make: impl FnOnce(HandIn) -> Result<T>,
) -> Result<(T, Vec<Graded>, Timing)> {
    let clock = Stopwatch::new();
    let sitting = rubric.sitting(step);
    let panel = sitting.panel().clone();
    let mut parts = Parts::new(count, size);
    let expected = parts.count();
    let (hand_in, handed_in) = mpsc::channel(expected.max(1));
    let (made, answers, sampling) = thread::scope(|scope| {
        let asking = scope.spawn(move || ask(&panel, handed_in, expected, clock));
        let made = make(&mut |group, samples| {
            if let Some(part) = parts.put(group, samples) {
                // There is room for all of them; and if the other thread is gone, it says below why.
                let _ = hand_in.try_send(part);
            }
        });
        let sampling = clock.total();
        drop(hand_in);
        let answers = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (made, answers, sampling)
    });
    let made = made?;
    assert!(answers.len() == expected, "every group is handed in once");
    let (asked, spans): (Vec<Asked>, Vec<Range<f64>>) = answers.into_iter().unzip();
    let mut concluding = Stopwatch::new();
    let graded = sitting.conclude(asked)?;
    let scoring = covered(spans) + concluding.lap();
    Ok((made, graded, Timing { sampling, scoring, scoring_wait: clock.total() - sampling }))
}

/// Asks about every part that comes, all at once, and says from when to when. Nothing when not all of them came: then
/// their making failed, and nobody waits for the graders.
fn ask(
    panel: &Panel,
    mut handed_in: mpsc::Receiver<(usize, Vec<Sample>)>,
    expected: usize,
    clock: Stopwatch,
) -> Vec<(Asked, Range<f64>)> {
    let executor = tokio::runtime::Builder::new_current_thread().build();
    executor.expect("an executor without timers and sockets asks the system for nothing").block_on(async {
        let mut asking = JoinSet::new();
        while let Some((part, samples)) = handed_in.recv().await {
            let panel = panel.clone();
            asking.spawn(async move {
                let begun = clock.total();
                let asked = panel.ask(part, samples).await;
                (asked, begun..clock.total())
            });
        }
        match asking.len() == expected {
            true => asking.join_all().await,
            false => vec![],
        }
    })
}

/// Groups that wait for their neighbours.
struct Parts {
    groups: Vec<Option<Vec<Sample>>>,
    together: usize,
}

impl Parts {
    /// As many groups, of the same size each, as make a part.
    fn new(count: usize, size: usize) -> Self {
        Self { groups: vec![None; count], together: PART_SAMPLES_MIN.div_ceil(size.max(1)) }
    }

    fn count(&self) -> usize {
        self.groups.len().div_ceil(self.together)
    }

    /// Takes a group in. The part it completes, if it does, and the part's number.
    fn put(&mut self, number: usize, samples: Vec<Sample>) -> Option<(usize, Vec<Sample>)> {
        self.groups[number] = Some(samples);
        let part = number / self.together;
        let groups = self.groups.chunks_mut(self.together).nth(part)?;
        let whole = groups.iter().all(Option::is_some);
        whole.then(|| (part, groups.iter_mut().filter_map(Option::take).flatten().collect()))
    }
}

/// Seconds in any of the spans.
fn covered(mut spans: Vec<Range<f64>>) -> f64 {
    spans.sort_by(|one, next| one.start.total_cmp(&next.start));
    let mut end = 0.0_f64;
    let more = |span: Range<f64>| {
        let new = (span.end - span.start.max(end)).max(0.0);
        end = end.max(span.end);
        new
    };
    spans.into_iter().map(more).sum()
}

#[cfg(test)]
mod tests {
    use rewarden_runtime::{Digest, Fault, Grader, HostScorer, Role, RubricRules, Score, StopReason};
    use std::sync::{Arc, Mutex, mpsc};
    use std::time::Duration;
    use tokio::sync::Barrier;

    use super::*;
    use crate::error::Error;
    use crate::model::ModelConfig;
    use crate::renderer::{RendererName, message};
    use crate::sampler::Sampling;
    use crate::seed::Purpose;
    use crate::tokenizer::{IM_END, Tokenizer};

    /// Long enough for any machine; only what would never end takes so long.
    const PATIENCE: Duration = Duration::from_secs(60);

    fn rubric(scorer: HostScorer) -> Rubric {
        let scorer = scorer.into();
        let grader =
            Grader { name: "a".into(), weight: 1.0.into(), priority: 0, data_source: vec![], on_fault: None, scorer };
        Rubric::new(vec![grader], RubricRules::default()).unwrap()
    }

    /// A group whose samples have its number as their id.
    fn group(number: usize, size: usize) -> Vec<Sample> {
        let sample = Sample {
            id: number.to_string(),
            group: number.to_string(),
            data_source: String::new(),
            prompt: vec![],
            completion: vec![],
            ground_truth: String::new(),
            extra: "{}".into(),
            stop_reason: StopReason::Completed,
            turn_scores: vec![],
            completion_tokens: 0,
            step: 0,
        };
        vec![sample; size]
    }

    type Judged = std::result::Result<Score, Fault>;

    fn score(value: Option<f64>) -> Score {
        Score { value, steps: vec![], components: vec![], metrics: vec![], note: String::new() }
    }

    fn task(number: usize, question: &str) -> Task {
        let prompt = vec![message(Role::User, question)];
        let (id, extra) = (number.to_string(), "{}".to_owned());
        Task { id, data_source: String::new(), prompt, tools: vec![], ground_truth: String::new(), extra }
    }

    /// The number of its group, for each sample.
    fn numbers(samples: &[Sample]) -> Vec<Judged> {
        samples.iter().map(|sample| Ok(score(sample.id.parse().ok()))).collect()
    }

    fn rewards(graded: &[Graded]) -> Vec<f64> {
        graded.iter().map(|graded| graded.reward.expect("a reward")).collect()
    }

    /// Nothing is made before what came first is being judged, and no judgement ends before more is made: one after the
    /// other, neither would come to its end.
    #[test]
    fn groups_are_judged_while_others_are_made() {
        let (judging, is_judged) = mpsc::channel();
        let (making, is_made) = mpsc::channel();
        let is_made = Mutex::new(is_made);
        let mut rubric = rubric(HostScorer::blocking(Digest::of(b"waits"), move |samples| {
            judging.send(()).expect("somebody listens");
            let met = is_made.lock().expect("no panic").recv_timeout(PATIENCE);
            match (samples[0].id.as_str(), met) {
                ("1", Err(_)) => vec![Err(Fault::Internal("nothing was made meanwhile".into())); samples.len()],
                _ => numbers(samples),
            }
        }));
        let make = |hand_in: HandIn| {
            hand_in(1, group(1, 16));
            is_judged.recv_timeout(PATIENCE).expect("the first group is judged before there is another");
            making.send(()).expect("somebody listens");
            hand_in(0, group(0, 16));
            drop(making);
            Ok("made")
        };
        let (made, graded, seconds) = grade_meanwhile((&mut rubric, 0), (2, 16), make).unwrap();
        assert_eq!((made, rewards(&graded)), ("made", [[0.0; 16], [1.0; 16]].concat()));
        assert!(seconds.sampling > 0.0 && seconds.scoring > 0.0 && seconds.scoring_wait > 0.0, "{seconds:?}");
    }

    /// The same with a real sampler: the first judgement waits for tokens that are drawn after it began.
    #[test]
    fn tokens_are_drawn_while_groups_are_judged() {
        let texts = ["What is one plus two, and why not more than that?".to_owned()];
        let tokenizer = Tokenizer::learn(&texts).unwrap();
        let shape = ModelConfig::tiny(tokenizer.vocab_size(), tokenizer.id(IM_END).unwrap());
        let policy = Policy::random(shape, 1).unwrap();
        let renderer = Renderer::new(RendererName::Qwen3, tokenizer).unwrap();
        let tasks: Vec<Task> = (0..12).map(|number| task(number, &texts[0])).collect();
        let sampling = Sampling { max_tokens: 100, temperature: 1.0, top_k: 0, top_p: 1.0 };
        // Some groups are done long before others: a letter ends an answer.
        let stop = ["w".to_owned()];
        let plan = Plan {
            group_size: 16,
            sampling: &sampling,
            stop: &stop,
            seed: 1,
            purpose: Purpose::Rollouts,
            step: 0,
            first_task: 0,
        };
        let (judging, is_judged) = mpsc::channel();
        let (drawing, is_drawn) = mpsc::channel();
        let is_drawn = Mutex::new(Some(is_drawn));
        let mut rubric = rubric(HostScorer::blocking(Digest::of(b"waits"), move |samples| {
            let first = is_drawn.lock().expect("no panic").take();
            let met = first.is_none_or(|is_drawn| {
                judging.send(()).expect("somebody listens");
                is_drawn.recv_timeout(PATIENCE).is_ok()
            });
            match met {
                true => vec![Ok(score(Some(1.0))); samples.len()],
                false => vec![Err(Fault::Internal("nothing was drawn meanwhile".into())); samples.len()],
            }
        }));
        let mut begun = false;
        let progress = |_| {
            begun |= is_judged.try_recv().is_ok();
            if begun {
                let _ = drawing.send(()); // the judge listens once
            }
        };
        let tasks: Vec<&Task> = tasks.iter().collect();
        let attempted = attempt((&policy, &renderer), (&tasks, &plan), (&mut rubric, 0), progress).unwrap();
        assert_eq!(attempted.rollouts.len(), 12 * 16);
        assert_eq!(rewards(&attempted.graded), [1.0; 12 * 16]);
    }

    /// Each part waits for the other: one after the other would never end.
    #[test]
    fn parts_are_judged_side_by_side() {
        let both = Arc::new(Barrier::new(2));
        let mut rubric = rubric(HostScorer::new(Digest::of(b"meets"), move |samples| {
            let both = Arc::clone(&both);
            async move {
                both.wait().await;
                numbers(&samples)
            }
        }));
        let make = |hand_in: HandIn| {
            [3, 0, 2, 1].into_iter().for_each(|number| hand_in(number, group(number, 8)));
            Ok(())
        };
        let (_, graded, _) = grade_meanwhile((&mut rubric, 0), (4, 8), make).unwrap();
        assert_eq!(rewards(&graded), [[0.0; 8], [1.0; 8], [2.0; 8], [3.0; 8]].concat());
    }

    /// A grader that never answers keeps nobody who has nothing to grade.
    #[test]
    fn failed_sampling_waits_for_no_grader() {
        let mut rubric = rubric(HostScorer::new(Digest::of(b"never"), |_| std::future::pending()));
        let make = |hand_in: HandIn| -> Result<()> {
            hand_in(0, group(0, 16));
            Err(Error::config("data", "lost"))
        };
        let error = grade_meanwhile((&mut rubric, 0), (2, 16), make).expect_err("nothing to grade");
        assert!(error.to_string().contains("lost"), "{error}");
    }

    #[test]
    fn nothing_to_attempt_is_nothing_graded() {
        let mut rubric = rubric(HostScorer::new(Digest::of(b"never"), |_| std::future::pending()));
        let (_, graded, _) = grade_meanwhile((&mut rubric, 0), (0, 4), |_| Ok(())).unwrap();
        assert_eq!(graded, []);
    }

    /// So many groups of a size, in the order they come in, and the groups of each part in the order they are complete.
    #[track_caller]
    fn check_parts(size: usize, order: &[usize], expected: &[(usize, &[usize])]) {
        let mut parts = Parts::new(order.len(), size);
        assert_eq!(parts.count(), expected.len());
        let mut complete = vec![];
        for &number in order {
            if let Some((part, samples)) = parts.put(number, group(number, size)) {
                let groups = samples.chunks(size).map(|group| group[0].id.parse().unwrap()).collect();
                complete.push((part, groups));
            }
        }
        let expected: Vec<(usize, Vec<usize>)> =
            expected.iter().map(|(part, groups)| (*part, groups.to_vec())).collect();
        assert_eq!(complete, expected);
    }

    #[test]
    fn which_groups_are_asked_about_together_does_not_depend_on_who_was_faster() {
        check_parts(8, &[0, 1, 2, 3], &[(0, &[0, 1]), (1, &[2, 3])]);
        check_parts(8, &[2, 1, 3, 0], &[(1, &[2, 3]), (0, &[0, 1])]);
        check_parts(5, &[4, 3, 2, 1, 0], &[(1, &[4]), (0, &[0, 1, 2, 3])]);
        check_parts(40, &[1, 0], &[(1, &[1]), (0, &[0])]);
        check_parts(1, &[2, 0, 1], &[(0, &[0, 1, 2])]);
        check_parts(4, &[], &[]);
    }

    #[test]
    fn time_is_counted_once() {
        assert_eq!(covered(vec![]), 0.0);
        assert_eq!(covered(vec![4.0..6.0, 1.0..2.0, 1.5..3.0, 4.5..5.0]), 4.0);
    }
}
