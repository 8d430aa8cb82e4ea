//! What instances share under each isolation, and that nothing of it can be told from the scores.

use std::path::PathBuf;

use rewarden_runtime::{Isolation, Judgement, Limits, PluginSpec, Reward, Runtime, RuntimeConfig, Sample, Worker};
use serde_json::json;

use crate::guests::{FIRST_REWARD, GSM8K, HOSTILE, answer, rewarden, runtime, succeeds, wait};

const EVERY: [Isolation; 3] = [Isolation::Sample, Isolation::Batch, Isolation::Worker];

fn sample(content: &str, extra: &str) -> Sample {
    answer(content, "42", extra)
}

fn hostile(isolation: Isolation, worker: Worker) -> Reward {
    let limits = Limits { fuel: 50_000_000, memory_bytes_max: 32 << 20, timeout_ms: 60_000, ..Limits::default() };
    let spec = PluginSpec { isolation, worker, limits, ..PluginSpec::path(&**HOSTILE) };
    wait(runtime().load(&spec)).expect("loads").reward().expect("a reward")
}

/// What each of these answers earned, in a batch of their own.
fn values(reward: &Reward, samples: Vec<Sample>) -> Vec<Option<f64>> {
    wait(reward.score_batch(samples)).into_iter().map(|result| result.ok().and_then(|score| score.value)).collect()
}

#[test]
fn every_isolation_gives_the_same_scores() {
    let answers = ["#### 42", "#### 41", "no answer", "#### 42.0", "#### 1,000"];
    let samples: Vec<Sample> = answers.iter().cycle().take(333).map(|answer| sample(answer, "{}")).collect();
    let judged = EVERY.map(|isolation| {
        let spec = PluginSpec { isolation, ..PluginSpec::path(&**GSM8K) };
        let reward = wait(runtime().load(&spec)).expect("loads").reward().expect("a reward");
        wait(reward.judge_batch(samples.clone()))
    });
    let scores = |judged: &[Judgement]| judged.iter().map(|judgement| judgement.result.clone()).collect::<Vec<_>>();
    assert_eq!(scores(&judged[0]), scores(&judged[1]));
    assert_eq!(scores(&judged[0]), scores(&judged[2]));
    let shared = |judged: &[Judgement]| [judged[0].receipt.samples, judged[332].receipt.samples];
    assert_eq!((shared(&judged[0]), shared(&judged[1]), shared(&judged[2])), ([1, 1], [32, 13], [32, 13]));
}

/// The self-poisoning of verl 7603: after a trigger, every later answer is paid. What an isolation promises, it keeps.
#[test]
fn poison_reaches_as_far_as_the_isolation_lets_it() {
    let honest = || vec![sample("wrong", "{}"); 100];
    let wrong = vec![Some(0.0); 100];
    for isolation in [Isolation::Sample, Isolation::Batch] {
        let reward = hostile(isolation, Worker::default());
        values(&reward, vec![sample("wrong", "poison"); 8]);
        assert_eq!(values(&reward, honest()), wrong, "{isolation:?}");
    }
    // A worker that is never retired shows what the others prevent: this test would notice if poison did not work.
    let reward = hostile(Isolation::Worker, Worker::default());
    values(&reward, vec![sample("wrong", "poison")]);
    assert_ne!(values(&reward, honest()), wrong);
    // Retired after each call, or by a memory mark it always exceeds, or by any fault, it serves nobody again.
    for worker in [Worker { calls_max: 1, ..Worker::default() }, Worker { memory_bytes_max: 0, ..Worker::default() }] {
        let reward = hostile(Isolation::Worker, worker);
        values(&reward, vec![sample("wrong", "poison"); 8]);
        assert_eq!(values(&reward, honest()), wrong, "{worker:?}");
    }
    let reward = hostile(Isolation::Worker, Worker::default());
    values(&reward, vec![sample("wrong", "poison"), sample("", "fault")]);
    assert_eq!(values(&reward, honest()), wrong, "after a fault");
}

/// One sinner in a call of 32: it alone has a fault, whatever it did to the call.
#[test]
fn a_fault_is_the_fault_of_one_sample() {
    for isolation in EVERY {
        let reward = hostile(isolation, Worker::default());
        for sin in ["loop", "panic", "memory", "nan", "wrong-length", "huge-note", "recursion"] {
            let mut samples: Vec<Sample> =
                (0..64).map(|i| sample(if i % 2 == 0 { "42" } else { "41" }, "{}")).collect();
            samples[40] = sample("42", sin);
            let results = wait(reward.score_batch(samples));
            for (index, result) in results.iter().enumerate() {
                match (index, result) {
                    (40, result) => assert!(result.is_err(), "{isolation:?} {sin}"),
                    (index, result) => {
                        let value = result.as_ref().expect("a score").value;
                        assert_eq!(value, Some(f64::from(u8::from(index % 2 == 0))), "{isolation:?} {sin} {index}");
                    }
                }
            }
        }
    }
}

/// Sealed plugins, compiled either way, give equal bits and equal fuel a thousand times on eight threads.
#[test]
fn equal_input_equal_score_and_equal_fuel() {
    let runtime = Runtime::new(RuntimeConfig { jobs: 8, cache_dir: None }).expect("a runtime");
    for path in
        [(*GSM8K).clone(), (*FIRST_REWARD).clone(), debug("rewards/gsm8k"), debug("guest-examples/first-reward")]
    {
        let reward = wait(runtime.load(&PluginSpec::path(&path))).expect("loads").reward().expect("a reward");
        let judged = wait(reward.judge_batch(vec![sample("2 + 40 = <<2+40=42>>42\n#### 42", "{}"); 1000]));
        let facts = |judgement: &Judgement| {
            let score = judgement.result.as_ref().expect("a score");
            let receipt = judgement.receipt;
            (score.value.map(f64::to_bits), score.note.clone(), receipt.fuel, receipt.memory_bytes_peak)
        };
        let first = facts(&judged[0]);
        assert!(first.2 > 0 && judged.iter().all(|judgement| facts(judgement) == first), "{}", path.display());
    }
}

/// The plugin as `rewarden plugin build --debug` makes it.
fn debug(folder: &str) -> PathBuf {
    let printed = succeeds(rewarden().args(["plugin", "build", "--debug", folder]).output().expect("the binary runs"));
    PathBuf::from(printed.lines().next().expect("the path comes first"))
}

/// Without fuel there is still the clock, and the scores are the same.
#[test]
fn the_fast_profile_scores_alike_and_ends_loops() {
    let fast = |path: &PathBuf| {
        let limits = Limits { timeout_ms: 2_000, ..Limits::default() };
        let spec = PluginSpec { deterministic: false, limits, ..PluginSpec::path(path) };
        wait(runtime().load(&spec)).expect("loads").reward().expect("a reward")
    };
    let judged = wait(fast(&GSM8K).judge_batch(vec![sample("#### 42", "{}"), sample("#### 41", "{}")]));
    let values: Vec<_> = judged.iter().map(|judgement| judgement.result.as_ref().expect("a score").value).collect();
    assert_eq!((values, judged[0].receipt.fuel), (vec![Some(1.0), Some(0.0)], 0));
    let looped = wait(fast(&HOSTILE).score_batch(vec![sample("", "loop")])).remove(0).expect_err("a fault");
    assert_eq!(looped.kind(), "deadline");
}

/// Configured once, before the first sample: what `configure` costs is in no sample's receipt.
#[test]
fn snapshots_start_configured() {
    let plugin = wait(runtime().load(&PluginSpec::path(&**GSM8K))).expect("loads");
    assert_eq!(plugin.no_snapshot(), None);
    let anew = wait(plugin.configured(json!({}), 0)).expect("configures");
    assert!(anew.no_snapshot().is_some_and(|reason| reason.contains("after the plugin was loaded")));
    let judge = |plugin: &rewarden_runtime::Plugin| {
        wait(plugin.reward().expect("a reward").judge_batch(vec![sample("#### 42", "{}")])).remove(0)
    };
    let (snapshot, anew) = (judge(&plugin), judge(&anew));
    assert_eq!(snapshot.result, anew.result);
    assert!(snapshot.receipt.fuel < anew.receipt.fuel, "{:?} {:?}", snapshot.receipt, anew.receipt);
    let strict = PluginSpec { settings: json!({"method": "strict"}), ..PluginSpec::path(&**GSM8K) };
    let strict = wait(runtime().load(&strict)).expect("loads");
    assert_eq!(strict.no_snapshot(), None, "each settings has a snapshot of its own");
}
