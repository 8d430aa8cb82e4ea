//! Group rewards: every member judged, or none.

use rewarden_runtime::{Fault, GroupReward, Isolation, Limits, PluginSpec, Sample, Score};

use crate::guests::{RANKER, answer, runtime, wait};

fn ranker(isolation: Isolation) -> GroupReward {
    let limits = Limits { fuel: 20_000_000, timeout_ms: 60_000, ..Limits::default() };
    let spec = PluginSpec { isolation, limits, ..PluginSpec::path(&**RANKER) };
    wait(runtime().load(&spec)).expect("loads").group_reward().expect("a group reward")
}

/// Answers of these lengths; the first names the sin.
fn group(lengths: &[usize], sin: &str) -> Vec<Sample> {
    lengths.iter().map(|length| answer(&"x".repeat(*length), sin, "{}")).collect()
}

fn values(scores: &[Score]) -> Vec<f64> {
    scores.iter().map(|score| score.value.expect("a value")).collect()
}

#[track_caller]
fn check(lengths: &[usize], expected: &[f64]) {
    let scores = wait(ranker(Isolation::Sample).score_groups(vec![group(lengths, "")])).remove(0).expect("scores");
    assert_eq!(values(&scores), expected);
}

#[test]
fn members_are_compared() {
    check(&[1, 3, 2], &[0.0, 1.0, 0.5]);
    check(&[7, 7], &[0.5, 0.5]);
    check(&[7], &[0.5]);
    check(&[], &[]);
}

/// The kind of the fault of a group with this sin, judged beside an honest one under each isolation.
#[track_caller]
fn faulty(sin: &str, kind: &str, words: &str) {
    for isolation in [Isolation::Sample, Isolation::Batch, Isolation::Worker] {
        let groups = [group(&[1, 2], ""), group(&[1, 2], sin), group(&[2, 1], "")];
        let judged = wait(ranker(isolation).judge_groups(groups));
        assert_eq!(judged.len(), 3);
        for (index, expected) in [(0, [0.0, 1.0]), (2, [1.0, 0.0])] {
            assert_eq!(values(judged[index].result.as_ref().expect("scores")), expected, "{isolation:?} {sin}");
            let receipt = judged[index].receipt;
            assert!(receipt.fuel > 0 && receipt.memory_bytes_peak > 0 && receipt.samples == 1, "{receipt:?}");
        }
        let fault = judged[1].result.as_ref().expect_err("a fault");
        assert_eq!(fault.kind(), kind, "{isolation:?} {sin}: {fault}");
        assert!(fault.to_string().contains(words), "{fault}");
    }
}

#[test]
fn a_fault_is_its_groups_alone() {
    faulty("wrong-length", "invalid-output", "1 scores for a group of 2");
    faulty("nan", "invalid-output", "member 1 of the group: the score is NaN");
    faulty("huge", "invalid-output", "");
    faulty("fault", "invalid-input", "nothing to compare");
    faulty("panic", "trap", "unreachable");
    faulty("loop", "out-of-fuel", "20000000");
}

#[test]
fn groups_share_instances_where_the_isolation_says_so() {
    let groups_before = |isolation| {
        let judged = wait(ranker(isolation).score_groups(vec![group(&[1, 2], ""); 40]));
        judged.iter().filter(|scores| scores.as_ref().expect("scores")[0].note != "group 1 of this instance").count()
    };
    assert_eq!(groups_before(Isolation::Sample), 0);
    assert_eq!(groups_before(Isolation::Batch), 0, "nobody shares a call");
    assert!(groups_before(Isolation::Worker) >= 38, "two threads, each with its instance");
}

#[test]
fn a_plugin_of_another_world_is_named() {
    let plugin = ranker(Isolation::Sample).plugin().clone();
    let errors = [plugin.reward().err(), plugin.environment().err(), wait(plugin.tool()).err()];
    for (error, wanted) in errors.into_iter().zip(["reward-plugin", "environment-plugin", "tool-plugin"]) {
        let error = error.expect("an error").to_string();
        assert!(error.contains("the world group-reward-plugin") && error.contains(wanted), "{error}");
    }
}

#[test]
fn the_same_group_costs_the_same_fuel() {
    let judged = wait(ranker(Isolation::Sample).judge_groups(vec![group(&[5, 9, 2], ""); 200]));
    assert!(judged.iter().all(|one| one.result == judged[0].result && one.receipt.fuel == judged[0].receipt.fuel));
    let faults = wait(ranker(Isolation::Sample).judge_groups(vec![group(&[5, 9, 2], "loop"); 4]));
    assert!(faults.iter().all(|one| matches!(one.result, Err(Fault::OutOfFuel { .. }))));
}
