//! What `rewarden rl` can learn by: every loss, mean, estimator and term, each through the binary, and all of them resumed.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Map, Value};

use crate::training::{checkpoint, copy, fails, finish, folder, rows, small, timeless};

/// The process reward of the tests: it tells answers apart that an untrained policy gives.
const STEPS: &str = "reward=[{name='steps', plugin='tests/guests/steps'}]";

/// `rewarden rl` on a supervised stage made before, with `settings`.
fn rl(run: &Path, settings: &[&str]) -> Command {
    let mut command = small("rl", run);
    command.args(["--set", STEPS, "--set", "stages=['sft', 'rl']"]);
    for setting in settings {
        command.args(["--set", setting]);
    }
    command
}

/// A folder with the supervised stage that every test here starts from.
fn begun() -> tempfile::TempDir {
    let run = folder();
    finish(small("sft", run.path()));
    run
}

/// Three steps with `settings`, in a folder of their own.
#[track_caller]
fn trained(start: &Path, settings: &[&str]) -> (tempfile::TempDir, Vec<Map<String, Value>>) {
    let run = folder();
    copy(start, run.path());
    let mut command = rl(run.path(), settings);
    command.args(["--set", "rl.max_steps=3"]);
    finish(command);
    let metrics = rows(&run.path().join("rl/metrics.jsonl"));
    (run, metrics)
}

#[test]
fn every_loss_and_mean_trains() {
    let start = begun();
    let losses = ["importance_sampling", "reinforce", "ppo", "cispo", "grpo", "dr_grpo", "dapo", "gspo"];
    let mut policies = vec![];
    // Two updates far enough apart for the second to reach the bounds; those of cispo are wide.
    let far = ["rl.num_substeps=2", "rl.learning_rate=1e-2"];
    for loss in losses {
        let bound = if loss == "cispo" { "rl.loss_fn_config.clip_high_threshold=1.1" } else { "rl.group_size=4" };
        let (run, metrics) = trained(start.path(), &[&far[..], &[&format!("rl.loss_fn={loss}"), bound]].concat());
        assert!(metrics.iter().all(|row| row["loss"].is_number() && row["optim/grad_norm"] != 0.0), "{loss}");
        let clips = !matches!(loss, "importance_sampling" | "reinforce");
        assert!(metrics.iter().all(|row| row.contains_key("optim/clip_frac") == clips), "{loss}: {metrics:?}");
        policies.push((loss, checkpoint(run.path(), "rl", "000003", "model.safetensors")));
    }
    let modes =
        ["token-sum", "seq-mean-token-sum", "seq-mean-token-mean", "seq-mean-token-sum-norm", "group-mean-token-mean"];
    for mode in modes {
        let (run, _) = trained(start.path(), &[&format!("rl.loss_agg_mode={mode}"), "rl.adam.max_grad_norm=0"]);
        policies.push((mode, checkpoint(run.path(), "rl", "000003", "model.safetensors")));
    }
    for (index, (name, policy)) in policies.iter().enumerate() {
        let twin = policies[..index].iter().find(|(_, earlier)| earlier == policy);
        assert!(twin.is_none(), "{name} learnt what {} did", twin.map_or("", |(name, _)| name));
    }
}

#[test]
fn every_estimator_gives_its_advantages() {
    let start = begun();
    let of = |settings: &[&str]| -> Vec<(f64, f64)> {
        let (run, _) = trained(start.path(), &[settings, &["rl.max_steps=1"]].concat());
        let number = |row: &Map<String, Value>, name: &str| row[name].as_f64().expect(name);
        let rows = rows(&run.path().join("rl/rollouts.jsonl"));
        rows.iter().take(8).map(|row| (number(row, "reward"), number(row, "advantage"))).collect()
    };
    let check = |settings: &[&str], expected: &dyn Fn(&[f64], usize) -> f64| {
        let pairs = of(settings);
        for (group, pairs) in pairs.chunks(4).enumerate() {
            let rewards: Vec<f64> = pairs.iter().map(|(reward, _)| *reward).collect();
            for (index, (_, advantage)) in pairs.iter().enumerate() {
                let expected = expected(&rewards, index);
                assert!((advantage - expected).abs() < 1e-4, "{settings:?}, group {group}: {pairs:?}, not {expected}");
            }
        }
    };
    let outcome = "reward=[{name='steps', plugin='tests/guests/steps', settings={outcome_only=true}}]";
    let mean = |rewards: &[f64]| rewards.iter().sum::<f64>() / rewards.len() as f64;
    let deviation = |rewards: &[f64]| {
        let centre = mean(rewards);
        (rewards.iter().map(|reward| (reward - centre).powi(2)).sum::<f64>() / (rewards.len() - 1) as f64).sqrt()
    };
    let centred = |rewards: &[f64], index: usize| rewards[index] - mean(rewards);
    check(&[], &centred);
    check(&["rl.adv_estimator=mean_center"], &centred);
    check(&["rl.adv_estimator=per_step", outcome], &centred);
    check(&["rl.adv_estimator=gdpo", "rubric.combine=normalize_then_sum"], &centred);
    let divided = |rewards: &[f64], index: usize| centred(rewards, index) / (deviation(rewards) + 1e-6);
    check(&["rl.norm_adv_by_std=true"], &divided);
    check(&["rl.loss_fn=grpo"], &divided);
    check(&["rl.adv_estimator=rloo"], &|rewards, index| centred(rewards, index) * 4.0 / 3.0);
    let whitened = of(&["rl.adv_estimator=reinforce_plus_plus"]);
    let order = |pairs: &[(f64, f64)], key: fn(&(f64, f64)) -> f64| {
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by(|&a, &b| key(&pairs[a]).total_cmp(&key(&pairs[b])));
        order
    };
    assert_eq!(order(&whitened, |pair| pair.0), order(&whitened, |pair| pair.1), "one order over the whole batch");
}

#[test]
fn steps_of_an_answer_are_paid_apart() {
    let start = begun();
    let by_step = "rl.adv_estimator=per_step";
    let (run, metrics) = trained(start.path(), &[by_step]);
    assert!(metrics.iter().all(|row| row["env/all/steps_mismatched"] == 0.0), "{metrics:?}");
    let (whole, _) = trained(start.path(), &[]);
    let policy = |run: &tempfile::TempDir| checkpoint(run.path(), "rl", "000003", "model.safetensors");
    assert!(policy(&run) != policy(&whole), "steps taught nothing");

    let miscount = "reward=[{name='steps', plugin='tests/guests/steps', settings={miscount=true}}]";
    let (run, metrics) = trained(start.path(), &[by_step, miscount]);
    let lost: f64 = metrics.iter().map(|row| row["env/all/steps_mismatched"].as_f64().expect("a number")).sum();
    let rollouts = rows(&run.path().join("rl/rollouts.jsonl"));
    let left_out = rollouts.iter().filter(|row| row["advantage"].is_null()).count();
    assert!(lost > 0.0 && lost == left_out as f64, "{lost} and {left_out}");
}

#[test]
fn the_reference_holds_the_policy_back() {
    let start = begun();
    let drift = |settings: &[&str]| -> Vec<f64> {
        let usual = ["rl.learning_rate=3e-3", "rl.lr_schedule=constant", "rl.max_steps=8"];
        let mut settings = [&usual[..], settings].concat();
        settings.push("rl.save_every=0");
        let run = folder();
        copy(start.path(), run.path());
        finish(rl(run.path(), &settings));
        rows(&run.path().join("rl/metrics.jsonl")).iter().filter_map(|row| row["kl_policy_base"].as_f64()).collect()
    };
    let free = drift(&["rl.kl_penalty_coef=1e-9"]);
    assert!(free[0].abs() < 1e-4, "the first step samples the reference itself: {free:?}");
    for place in ["loss", "reward"] {
        for estimator in ["k1", "k2", "k3"] {
            let held =
                drift(&["rl.kl_penalty_coef=1", &format!("rl.kl_in={place}"), &format!("rl.kl_estimator={estimator}")]);
            // Only these three are gradients of the divergence; the others are what the field calls them, and move less.
            let holds = matches!((place, estimator), ("reward", "k1") | ("loss", "k2" | "k3"));
            assert!(held.len() == 8 && (held[7] < free[7] || !holds), "{place} {estimator}: {held:?}, free {free:?}");
        }
    }
    let other = start.path().join("sft/checkpoints/000005");
    let named = drift(&["rl.kl_penalty_coef=1e-9", &format!("rl.kl_reference='{}'", other.display())]);
    assert!(named[0] > 1e-3, "an earlier checkpoint is another reference: {named:?}");
    fails(rl(start.path(), &["rl.kl_penalty_coef=1", "rl.kl_reference='no/such'"]), &["no/such", "no such folder"]);
}

#[test]
fn sampling_goes_on_until_enough_groups_differ() {
    let start = begun();
    // No answer of the untrained policy is right, so no group differs.
    let bounded = ["rl.max_num_gen_batches=3", "reward=[{name='gsm8k', plugin='rewards/gsm8k'}]"];
    let (run, metrics) = trained(start.path(), &bounded);
    for row in &metrics {
        assert!(row["train/num_gen_batches"] == 3.0 && row["env/all/total_episodes"] == 24.0, "{row:?}");
    }
    assert_eq!(rows(&run.path().join("rl/rollouts.jsonl")).len(), 3 * 24, "all that was sampled is logged");
    let (_, metrics) = trained(start.path(), &["rl.max_num_gen_batches=3"]);
    for row in &metrics {
        assert!(row["train/num_gen_batches"] == 1.0 && row["train/num_groups"] == 2.0, "{row:?}");
    }
}

#[test]
fn long_answers_cost_and_cut_ones_may_be_left_out() {
    let start = begun();
    let (run, metrics) = trained(start.path(), &["rl.overlong_buffer_len=12", "rl.overlong_penalty_factor=0.5"]);
    assert!(
        metrics.iter().all(|row| row["env/all/overlong_penalty"].as_f64().is_some_and(|p| (-0.5..0.0).contains(&p)))
    );
    let group = &rows(&run.path().join("rl/rollouts.jsonl"))[..4];
    let shaped = |row: &Map<String, Value>| {
        let number = |name: &str| row[name].as_f64().expect(name);
        number("reward") - 0.5 * number("completion_tokens") / 12.0
    };
    let mean = group.iter().map(shaped).sum::<f64>() / 4.0;
    for row in group {
        let advantage = row["advantage"].as_f64().expect("an advantage");
        assert!((advantage - (shaped(row) - mean)).abs() < 1e-9, "{row:?}");
    }
    // With one token to say, no answer ends by itself and none is left to learn from.
    let (_, metrics) = trained(start.path(), &["rl.mask_truncated_completions=true", "rl.max_tokens=1"]);
    assert!(metrics.iter().all(|row| row["stop/completed"] != 0.0 || !row.contains_key("loss")), "{metrics:?}");
}

#[test]
fn entropy_is_rewarded() {
    let start = begun();
    let of = |coefficient: &str| {
        let settings =
            [coefficient, "rl.learning_rate=3e-3", "rl.lr_schedule=constant", "rl.max_steps=6", "rl.save_every=0"];
        let run = folder();
        copy(start.path(), run.path());
        finish(rl(run.path(), &settings));
        let metrics = rows(&run.path().join("rl/metrics.jsonl"));
        metrics.iter().map(|row| row["optim/entropy_exact"].as_f64().expect("a number")).collect::<Vec<_>>()
    };
    let (more, less) = (of("rl.entropy_coef=0.3"), of("rl.entropy_coef=-0.3"));
    assert_eq!(more[0], less[0]);
    assert!(more[5] > less[5], "{more:?} and {less:?}");
}

/// Whatever a step depends on is in the checkpoint or in the config: a run with all of it resumes bit for bit. The second
/// batch that dynamic sampling draws moves the data on, which is what a step count alone would forget.
#[test]
fn everything_at_once_resumes_bit_for_bit() {
    let run = begun();
    let settings = [
        "rl.loss_fn=gspo",
        "rl.num_substeps=2",
        "rl.adv_estimator=reinforce_plus_plus",
        "rl.kl_penalty_coef=0.05",
        "rl.kl_in=reward",
        "rl.entropy_coef=0.01",
        "rl.max_num_gen_batches=3",
        "rl.overlong_buffer_len=6",
        "rl.mask_truncated_completions=true",
        // Pays for exact answers only: most groups are alike, so that most steps sample more than once.
        "reward=[{name='gsm8k', plugin='rewards/gsm8k'}, {name='steps', plugin='tests/guests/steps', weight=[[0, 0], [3, 0], [4, 1]]}]",
    ];
    finish(rl(run.path(), &settings));
    let stage = run.path().join("rl");
    let (whole, rollouts) = (timeless(run.path(), "rl"), rows(&stage.join("rollouts.jsonl")));
    let batches = |row: &Map<String, Value>| row["train/num_gen_batches"].as_f64().expect("a number");
    assert!(whole.iter().any(|row| batches(row) == 3.0) && whole.iter().any(|row| batches(row) == 1.0), "{whole:?}");
    let policy = checkpoint(run.path(), "rl", "000012", "model.safetensors");

    // As if it had been killed before its second checkpoint.
    let index = stage.join("checkpoints.jsonl");
    let checkpoints = fs::read_to_string(&index).expect("an index");
    let first: Value = serde_json::from_str(checkpoints.lines().next().expect("a checkpoint")).expect("JSON");
    assert!(first["batches_drawn"].as_u64() > first["batch"].as_u64(), "{first}");
    fs::write(&index, format!("{first}\n")).expect("written");
    let mut resume = rl(run.path(), &settings);
    resume.arg("--resume");
    finish(resume);
    assert_eq!(timeless(run.path(), "rl"), whole);
    assert_eq!(rows(&stage.join("rollouts.jsonl")), rollouts);
    assert!(checkpoint(run.path(), "rl", "000012", "model.safetensors") == policy, "another policy after a resume");
}
