//! What sits in a rubric beside plugins that judge sample by sample: plugins that judge groups, and code of the host.

use rewarden_runtime::{
    Digest, Fault, Graded, Grader, HostScorer, PluginSpec, Rubric, RubricRules, Sample, Score, Scorer, Weight,
};

use crate::guests::{FIRST_REWARD, RANKER, answer, runtime, wait};

fn rubric(scorer: Scorer) -> Rubric {
    let weight = Weight::Constant(1.0);
    let grader = Grader { name: "a".into(), weight, priority: 0, data_source: vec![], on_fault: None, scorer };
    Rubric::new(vec![grader], RubricRules::default()).expect("a rubric")
}

/// Answers of these lengths, one group per word.
fn samples(groups: &[(&str, &[usize])]) -> Vec<Sample> {
    let sample = |group: &str, length: &usize| Sample { group: group.into(), ..answer(&"x".repeat(*length), "", "{}") };
    groups.iter().flat_map(|(group, lengths)| lengths.iter().map(move |length| sample(group, length))).collect()
}

fn rewards(graded: &[Graded]) -> Vec<Option<f64>> {
    graded.iter().map(|graded| graded.reward).collect()
}

fn fault(graded: &Graded) -> &Fault {
    graded.parts[0].as_ref().expect("asked").result.as_ref().expect_err("a fault")
}

fn score(value: f64) -> Score {
    Score { value: Some(value), steps: vec![], components: vec![], metrics: vec![], note: String::new() }
}

#[test]
fn a_group_plugin_judges_neighbours_of_one_group() {
    let ranker = wait(runtime().load(&PluginSpec::path(&**RANKER))).expect("loads").scorer().expect("a scorer");
    assert!(matches!(ranker, Scorer::Group(_)) && ranker.reward().is_none());
    let mut rubric = rubric(ranker);
    let graded = wait(rubric.grade(samples(&[("a", &[1, 3, 2]), ("b", &[5, 4])]), 0)).expect("graded");
    assert_eq!(rewards(&graded), [0.0, 1.0, 0.5, 1.0, 0.0].map(Some));
    assert!(graded.iter().all(|graded| graded.parts[0].as_ref().is_some_and(|part| part.receipt.fuel > 0)));
}

#[test]
fn a_fault_of_a_group_is_that_of_each_member() {
    let ranker = wait(runtime().load(&PluginSpec::path(&**RANKER))).expect("loads").scorer().expect("a scorer");
    let mut sinful = samples(&[("a", &[1, 2]), ("b", &[2, 1])]);
    sinful[0].ground_truth = "nan".into();
    let graded = wait(rubric(ranker).grade(sinful, 0)).expect("graded");
    assert_eq!(rewards(&graded), [None, None, Some(1.0), Some(0.0)]);
    assert!(fault(&graded[1]).to_string().contains("the score is NaN"), "{}", fault(&graded[1]));
}

#[test]
fn code_of_the_host_judges_beside_plugins_and_is_checked_like_them() {
    let digest = Digest::of(b"length");
    let length = |sample: &Sample| match sample.completion[0].content.len() {
        1 => Err(Fault::InvalidInput("too short".into())),
        2 => Ok(score(f64::NAN)),
        length => Ok(score(length as f64)),
    };
    let judge = move |samples: std::sync::Arc<[Sample]>| async move { samples.iter().map(length).collect() };
    let mut rubric = rubric(HostScorer::new(digest, judge).into());
    assert_eq!(rubric.digests()["a"], digest);
    let graded = wait(rubric.grade(samples(&[("a", &[1, 2, 3])]), 0)).expect("graded");
    assert_eq!(rewards(&graded), [None, None, Some(3.0)]);
    assert_eq!((fault(&graded[0]).kind(), fault(&graded[1]).kind()), ("invalid-input", "invalid-output"));
}

/// Waiting within a poll would eat the wake of whoever answers meanwhile, under executors that park the thread.
#[test]
fn code_that_blocks_keeps_no_plugin_waiting() {
    let plugin = wait(runtime().load(&PluginSpec::path(&**FIRST_REWARD))).expect("loads").scorer().expect("a scorer");
    let slow = |samples: &[Sample]| {
        let nap = || std::thread::sleep(std::time::Duration::from_millis(30));
        std::thread::scope(|scope| drop(scope.spawn(nap)));
        samples.iter().map(|_| Ok(score(1.0))).collect()
    };
    let seat = |name: &str, scorer: Scorer| {
        let weight = Weight::Constant(1.0);
        Grader { name: name.into(), weight, priority: 0, data_source: vec![], on_fault: None, scorer }
    };
    let graders = vec![seat("plugin", plugin), seat("slow", HostScorer::blocking(Digest::of(b"slow"), slow).into())];
    let mut rubric = Rubric::new(graders, RubricRules::default()).expect("a rubric");
    for _ in 0..20 {
        let graded = pollster::block_on(rubric.grade(samples(&[("a", &[1, 2])]), 0)).expect("graded");
        assert!(graded.iter().all(|graded| graded.reward.is_some()), "{graded:?}");
    }
    let broken = HostScorer::blocking(Digest::of(b"broken"), |_| panic!("a bug"));
    let graded = wait(self::rubric(broken.into()).grade(samples(&[("a", &[1])]), 0)).expect("graded");
    assert!(fault(&graded[0]).to_string().contains("panicked"), "{}", fault(&graded[0]));
}

#[test]
fn too_few_scores_are_nobodys() {
    let lazy = HostScorer::new(Digest::of(b"lazy"), |_| async { vec![Ok(score(1.0))] });
    let graded = wait(rubric(lazy.into()).grade(samples(&[("a", &[1, 2])]), 0)).expect("graded");
    assert_eq!(rewards(&graded), [None, None]);
    assert!(fault(&graded[0]).to_string().contains("1 scores for 2 samples"));
}

#[test]
fn a_plugin_of_the_reward_world_is_one_too() {
    let plugin = wait(runtime().load(&PluginSpec::path(&**FIRST_REWARD))).expect("loads");
    let scorer = plugin.scorer().expect("a scorer");
    assert_eq!(scorer.digest(), plugin.digest());
    assert!(scorer.reward().is_some());
}
