//! A rubric over real plugins: who is asked, what a fault costs, quarantine, swaps and shadows. Two graders that agree
//! on every honest sample: `plain` never fails, `moody` is the hostile guest and does what `extra` says.

use rewarden_runtime::{
    CacheScores, Combine, Error, Fault, Graded, Grader, Isolation, Limits, Message, OnFault, PluginSpec, Reward, Role,
    Rubric, RubricRules, RubricState, Sample, Scorer, StopReason, Weight,
};
use serde_json::json;

use crate::guests::{FIRST_REWARD, HOSTILE, RANKER, load, runtime, wait};

fn plain() -> Reward {
    load(&FIRST_REWARD, json!({}), Limits::default()).expect("loads").reward().expect("a reward")
}

fn moody() -> Reward {
    load(&HOSTILE, json!({}), Limits::default()).expect("loads").reward().expect("a reward")
}

fn grader(name: &str, reward: Reward) -> Grader {
    let weight = Weight::Constant(1.0);
    Grader { name: name.into(), weight, priority: 0, data_source: vec![], on_fault: None, scorer: reward.into() }
}

/// Samples written `group answer sin`, one per comma: the reference answer is `yes`, and a group is a data source too.
fn samples(text: &str) -> Vec<Sample> {
    let sample = |(index, text): (usize, &str)| {
        let words: Vec<&str> = text.split_whitespace().collect();
        let said = Message {
            role: Role::Assistant,
            content: words[1].into(),
            name: None,
            tool_calls: vec![],
            tool_call_id: None,
        };
        Sample {
            id: index.to_string(),
            group: words[0].into(),
            data_source: words[0].into(),
            prompt: vec![],
            completion: vec![said],
            ground_truth: "yes".into(),
            extra: words.get(2).unwrap_or(&"{}").to_string(),
            stop_reason: StopReason::Completed,
            turn_scores: vec![],
            completion_tokens: 1,
            step: 0,
        }
    };
    text.split(',').enumerate().map(sample).collect()
}

fn rubric(graders: Vec<Grader>, rules: RubricRules) -> Rubric {
    Rubric::new(graders, rules).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn grade(rubric: &mut Rubric, text: &str, step: u32) -> Vec<Graded> {
    wait(rubric.grade(samples(text), step)).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What one grader answered: a value, `-` where it was not asked, or the fault's kind.
fn answers(graded: &[Graded], grader: usize) -> Vec<String> {
    let answer = |graded: &Graded| match graded.parts[grader].as_ref().map(|judgement| &judgement.result) {
        None => "-".to_owned(),
        Some(Ok(score)) => score.value.map_or("none".to_owned(), |value| value.to_string()),
        Some(Err(fault)) => fault.kind().to_owned(),
    };
    graded.iter().map(answer).collect()
}

fn rewards(graded: &[Graded]) -> Vec<Option<f64>> {
    graded.iter().map(|graded| graded.reward).collect()
}

#[test]
fn grading_may_happen_on_another_thread() {
    let mut rubric = rubric(vec![grader("plain", plain())], RubricRules::default());
    let graded = std::thread::scope(|scope| {
        let grading = rubric.grade(samples("a yes, a no"), 0);
        scope.spawn(move || wait(grading)).join()
    });
    assert_eq!(rewards(&graded.expect("no panic").expect("graded")), [Some(1.0), Some(0.0)]);
}

#[test]
fn samples_go_to_the_graders_of_their_data_source() {
    let routed = Grader { data_source: vec!["b".into(), "c".into()], ..grader("routed", moody()) };
    let mut rubric = rubric(vec![grader("plain", plain()), routed], RubricRules::default());
    let graded = grade(&mut rubric, "a yes, b yes, b no, c yes, d yes", 0);
    assert_eq!(answers(&graded, 0), ["1", "1", "0", "1", "1"]);
    assert_eq!(answers(&graded, 1), ["-", "1", "0", "1", "-"]);
    assert_eq!(rewards(&graded), [1.0, 2.0, 0.0, 2.0, 1.0].map(Some));
    let receipt = graded[0].parts[0].as_ref().expect("asked").receipt;
    assert!(receipt.fuel > 0, "every part keeps its receipt: {receipt:?}");
}

#[test]
fn behind_a_closed_gate_nobody_is_asked() {
    let gate = Grader { priority: 1, weight: Weight::Constant(0.5), ..grader("gate", plain()) };
    let rules = RubricRules { combine: Combine::Gate, ..RubricRules::default() };
    let mut rubric = rubric(vec![grader("behind", moody()), gate], rules);
    // A gate that faults closes too; here the fault is behind the gate, and met only where that is open.
    let graded = grade(&mut rubric, "a yes, a no, a no fault, a yes fault", 0);
    assert_eq!(answers(&graded, 0), ["1", "-", "-", "invalid-input"]);
    assert_eq!(answers(&graded, 1), ["1", "0", "0", "1"]);
    assert_eq!(rewards(&graded), [Some(1.5), Some(0.0), Some(0.0), None]);
}

#[test]
fn weights_follow_their_schedule_and_answers_do_not() {
    let fading = Grader { weight: Weight::Schedule(vec![(0, 1.0), (10, 0.0)]), ..grader("fading", moody()) };
    let mut rubric = rubric(vec![grader("plain", plain()), fading], RubricRules::default());
    for (step, expected) in [(0, Some(2.0)), (5, Some(1.5)), (10, Some(1.0))] {
        let graded = grade(&mut rubric, "a yes", step);
        assert_eq!((rewards(&graded), answers(&graded, 1)), (vec![expected], vec!["1".to_owned()]), "step {step}");
    }
    let faulty = |rubric: &mut Rubric, step| rewards(&grade(rubric, "a yes fault", step));
    assert_eq!(faulty(&mut rubric, 9), [None]);
    assert_eq!(faulty(&mut rubric, 10), [Some(1.0)], "by now it is a metric, and nobody waits for a metric");
}

/// The rewards of one batch under a policy for faults.
#[track_caller]
fn check_policy(on_fault: OnFault, expected: [Option<f64>; 4]) {
    let general = RubricRules { on_fault, ..RubricRules::default() };
    let own = Grader { on_fault: Some(on_fault), ..grader("moody", moody()) };
    // Once as the policy of the run, once as the grader's own against another of the run.
    for mut rubric in [rubric(vec![grader("moody", moody())], general), rubric(vec![own], RubricRules::default())] {
        let graded = grade(&mut rubric, "a yes, a yes panic, b no, b yes", 0);
        assert_eq!(rewards(&graded), expected, "{on_fault:?}");
        assert_eq!(answers(&graded, 0), ["1", "trap", "0", "1"], "whatever is paid, the log shows the fault");
    }
}

#[test]
fn a_fault_costs_what_the_config_says() {
    check_policy(OnFault::SkipSample, [Some(1.0), None, Some(0.0), Some(1.0)]);
    check_policy(OnFault::SkipGroup, [None, None, Some(0.0), Some(1.0)]);
    check_policy(OnFault::Fixed(-2.0), [Some(1.0), Some(-2.0), Some(0.0), Some(1.0)]);
}

#[test]
fn a_grader_may_stop_the_run_while_others_may_not() {
    let strict = |name| Grader { on_fault: Some(OnFault::FailRun), ..grader(name, moody()) };
    let mut rubric = rubric(vec![grader("lax", moody()), strict("strict")], RubricRules::default());
    match wait(rubric.grade(samples("a yes, a yes fault"), 0)) {
        Err(Error::Faulted { name, sample, fault: Fault::InvalidInput(_) }) => {
            assert_eq!((name.as_str(), sample.as_str()), ("strict", "1"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_spent_fault_budget_names_who_spent_it() {
    let rules = RubricRules { fault_budget: Some(4), ..RubricRules::default() };
    let mut rubric = rubric(vec![grader("moody", moody()), grader("plain", plain()), grader("other", moody())], rules);
    grade(&mut rubric, "a yes fault, a yes, a no panic", 0);
    let error = wait(rubric.grade(samples("a yes, a yes fault"), 1)).expect_err("six faults").to_string();
    for part in ["`rubric.fault_budget` = 4", "`moody` 3 times", "`other` 3 times", "sample 1", "I judge"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("plain"), "{error}");
}

#[test]
fn too_many_faults_in_a_row_are_quarantine_until_a_swap() {
    let rules = RubricRules { quarantine_after: Some(3), ..RubricRules::default() };
    let make = || rubric(vec![grader("moody", moody())], rules);
    let mut rubric = make();
    grade(&mut rubric, "a yes fault, a yes fault", 4);
    let remembered = serde_json::to_string(&rubric.state()).expect("JSON");

    // Whoever goes on from what was remembered is in the same place.
    let mut resumed = make();
    resumed.restore(&serde_json::from_str(&remembered).expect("a state"));
    for rubric in [&mut rubric, &mut resumed] {
        assert_eq!(answers(&grade(rubric, "a yes fault, a yes", 5), 0), ["invalid-input", "1"]);
        let graded = grade(rubric, "a yes, a no", 6);
        assert_eq!(answers(&graded, 0), ["quarantined", "quarantined"]);
        assert_eq!(rewards(&graded), [None, None]);
        let fault = graded[0].parts[0].as_ref().expect("asked").result.clone().expect_err("a fault");
        assert_eq!(fault, Fault::Quarantined { since_step: 5, faults: 3 });
    }
    assert_eq!(rubric.state(), resumed.state());

    let quarantined: RubricState = rubric.state();
    assert_eq!(rubric.swap("moody", plain()).expect("a known name").digest(), moody().digest());
    assert_eq!(rubric.digests()["moody"], plain().digest());
    assert_eq!(answers(&grade(&mut rubric, "a yes, a no", 7), 0), ["1", "0"]);
    // The quarantine was the old plugin's; restored beside a new one, it is not the new one's.
    rubric.restore(&quarantined);
    assert_eq!(answers(&grade(&mut rubric, "a yes", 8), 0), ["1"]);
}

#[test]
fn a_shadow_judges_the_same_samples_and_changes_nothing() {
    let routed = Grader { data_source: vec!["a".into()], ..grader("plain", plain()) };
    let rules = RubricRules { on_fault: OnFault::FailRun, fault_budget: Some(0), ..RubricRules::default() };
    let mut rubric = rubric(vec![routed], rules);
    let text = "a yes, a no poison, a yes panic, b yes";
    let before = grade(&mut rubric, text, 0);
    rubric.set_shadow("plain", Some(moody().into())).expect("a known name");
    assert_eq!(rubric.shadows().into_iter().collect::<Vec<_>>(), [("plain".to_owned(), moody().digest())]);
    let after = grade(&mut rubric, text, 0);
    assert_eq!(rewards(&before), rewards(&after));
    let value = |graded: &Graded| match graded.shadows.get("plain").map(|shadow| &shadow.result) {
        Some(Ok(score)) => score.value,
        Some(Err(_)) => Some(f64::INFINITY),
        None => None,
    };
    let shadows: Vec<Option<f64>> = after.iter().map(value).collect();
    assert_eq!(shadows, [Some(1.0), Some(1.0), Some(f64::INFINITY), None], "right, poisoned, trapped, not asked");
    rubric.set_shadow("plain", None).expect("a known name");
    assert!(grade(&mut rubric, text, 0).iter().all(|graded| graded.shadows.is_empty()));
}

/// Plugins by sample and by group, remembered ones and ones whose samples share a call: asked about parts on several
/// threads, they earn what they earn in one piece. `host/runtime/tests/sittings.rs` tries many rubrics.
#[test]
fn a_batch_in_parts_is_graded_as_in_one_piece() {
    let loaded = |spec: PluginSpec| wait(runtime().load(&spec)).expect("loads").scorer().expect("a scorer");
    let remembered = loaded(PluginSpec { cache: CacheScores::Memory, ..PluginSpec::path(&**FIRST_REWARD) });
    let together = loaded(PluginSpec { isolation: Isolation::Batch, ..PluginSpec::path(&**HOSTILE) });
    let ranker = loaded(PluginSpec::path(&**RANKER));
    let graders = || {
        let named = |name: &str, scorer: &Scorer| Grader { scorer: scorer.clone(), ..grader(name, plain()) };
        vec![
            named("together", &together),
            named("ranker", &ranker),
            Grader { priority: 1, ..named("gate", &remembered) },
        ]
    };
    let rules = RubricRules { combine: Combine::Gate, quarantine_after: Some(2), ..RubricRules::default() };
    let (mut whole, mut cut) = (rubric(graders(), rules), rubric(graders(), rules));
    let batch = samples("a yes, a no, a yes panic, b yes, b yes fault, c yes, c yes nan, c yes, d no, d yes");
    for step in 0..2 {
        let expected = wait(whole.grade(batch.clone(), step)).expect("graded");
        let sitting = cut.sitting(step);
        let ask = |part: usize, range: std::ops::Range<usize>| {
            let (panel, samples) = (sitting.panel().clone(), batch[range].to_vec());
            std::thread::spawn(move || wait(panel.ask(part, samples)))
        };
        let asked = [ask(2, 5..10), ask(0, 0..3), ask(1, 3..5)].map(|asked| asked.join().expect("no panic"));
        let graded = sitting.conclude(asked.into()).expect("graded");
        assert_eq!(rewards(&expected), rewards(&graded), "step {step}");
        (0..3).for_each(|seat| assert_eq!(answers(&expected, seat), answers(&graded, seat), "step {step}"));
        assert_eq!(whole.state(), cut.state(), "step {step}");
    }
}

#[track_caller]
fn check_refused(graders: Vec<Grader>, rules: RubricRules, expected: &[&str]) {
    let error = Rubric::new(graders, rules).err().expect("refused").to_string();
    assert!(expected.iter().all(|part| error.contains(part)), "{error}");
}

#[test]
fn rubrics_that_cannot_work_are_refused() {
    let rules = RubricRules::default;
    let gated = RubricRules { combine: Combine::Gate, ..rules() };
    let a = || grader("a", plain());
    check_refused(vec![], rules(), &["at least one [[reward]]"]);
    check_refused(vec![a(), a()], rules(), &["two rewards are called `a`"]);
    check_refused(vec![Grader { weight: f64::NAN.into(), ..a() }], rules(), &["`reward.a.weight`"]);
    let nan = Some(OnFault::Fixed(f64::NAN));
    check_refused(vec![Grader { on_fault: nan, ..a() }], rules(), &["`reward.a.on_fault`"]);
    check_refused(vec![a(), grader("b", plain())], gated, &["`rubric.combine`", "two priorities"]);
    let metric = Grader { weight: Weight::Constant(0.0), priority: 1, ..grader("b", plain()) };
    check_refused(vec![a(), metric], gated, &["`rubric.combine`", "two priorities"]);

    let mut rubric = rubric(vec![a()], rules());
    let unknown = rubric.swap("b", plain()).err().expect("refused").to_string();
    assert!(unknown.contains("no reward is called `b`") && unknown.contains("`a`"), "{unknown}");
    assert!(rubric.set_shadow("b", None).is_err());
    assert_eq!(rubric.scorer("a").map(Scorer::digest), Some(plain().digest()));
}
