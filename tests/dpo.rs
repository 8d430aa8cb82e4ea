//! `rewarden dpo`: direct preference optimisation.

use crate::training::{after_sft, checkpoint, finish, folder, rows, set, small, survives_a_kill_after_sft};

#[test]
fn a_killed_stage_resumes_bit_for_bit() {
    survives_a_kill_after_sft("dpo");
}

/// A variant, and its loss before the first update: the policy is its own reference.
#[track_caller]
fn check_variant(settings: &[&str], first_loss: f64) {
    let run = after_sft();
    let mut command = small("dpo", run.path());
    set(&mut command, &["data.arithmetic.train_size=8", "dpo.num_epochs=12", "dpo.learning_rate=1e-3"]);
    set(&mut command, settings);
    finish(command);
    let rows = rows(&run.path().join("dpo/metrics.jsonl"));
    let number = |row: usize, name: &str| rows[row][name].as_f64().unwrap_or_else(|| panic!("{settings:?}: {name}"));
    assert!((number(0, "dpo_loss") - first_loss).abs() < 1e-6, "{settings:?}: {}", number(0, "dpo_loss"));
    for name in ["accuracy", "chosen_reward", "rejected_reward", "optim/grad_norm"] {
        assert!((0..12).all(|row| number(row, name).is_finite()), "{settings:?}: {name}");
    }
    let (first, last) = (number(0, "margin"), number(11, "margin"));
    assert!(first == 0.0 && last > 0.0, "{settings:?}: the margin went from {first} to {last}");
    assert!(number(11, "test/margin").is_finite());
}

#[test]
fn every_variant_widens_the_margin() {
    // Twelve steps are too few for pairs nobody has seen: these are the same eight in each.
    check_variant(&["dpo.loss_fn=sigmoid"], 2f64.ln());
    check_variant(&["dpo.loss_fn=sigmoid_norm", "dpo.dpo_beta=2"], 2f64.ln());
    check_variant(&["dpo.loss_fn=ipo", "dpo.dpo_beta=0.5"], 1.0);
}

#[test]
fn reinforcement_learning_goes_on_from_it() {
    let run = after_sft();
    finish(small("dpo", run.path()));
    let mut rl = small("rl", run.path());
    rl.args(["--set", "rl.learning_rate=0", "--set", "rl.max_steps=1"]);
    finish(rl);
    let weights = |stage, name| checkpoint(run.path(), stage, name, "model.safetensors");
    assert!(weights("dpo", "000012") == weights("rl", "000001"), "what dpo made is where rl starts");
    assert!(weights("dpo", "000012") != weights("sft", "000012"), "dpo moved the weights");
}

#[test]
fn new_adapters_are_held_to_the_model_under_them() {
    let run = folder();
    let mut command = small("dpo", run.path());
    command.args(["--set", "stages=[\"dpo\"]", "--set", "lora_rank=2"]);
    finish(command);
    let rows = rows(&run.path().join("dpo/metrics.jsonl"));
    assert_eq!(rows[0]["margin"], 0.0);
    assert!(rows[11]["margin"].as_f64().is_some_and(|margin| margin != 0.0));
}

/// Ten pairs, five of them too long, a pair a step: five steps of the stage.
#[track_caller]
fn check_epoch(stage: &str) {
    let folder = folder();
    let (data, run) = (folder.path().join("pairs.jsonl"), folder.path().join("run"));
    let pair = |n: usize| {
        let words = if n.is_multiple_of(2) { "very ".repeat(200) } else { String::new() };
        format!("{{\"prompt\":\"Is {n} {words}big?\",\"chosen\":\"yes\",\"rejected\":\"no\"}}\n")
    };
    std::fs::write(&data, (0..10).map(pair).collect::<String>()).expect("written");
    let mut command = crate::guests::rewarden();
    command.args([stage, "configs/gsm8k-smoke.toml", "--set", &format!("stages=[{stage:?}]"), "--set"]);
    command.arg(format!("data.path={}", data.display())).arg("--set").arg(format!("log_path={}", run.display()));
    let settings = ["batch_size=1", "num_epochs=1", "max_length=60"].map(|setting| format!("{stage}.{setting}"));
    set(&mut command, &settings.each_ref().map(String::as_str));
    set(&mut command, &["data.test_size=0"]);
    let said = String::from_utf8(finish(command).stderr).expect("UTF-8");
    assert!(said.contains(&format!("{stage}: 5 rows left out")), "{said}");
    assert_eq!(rows(&run.join(stage).join("metrics.jsonl")).len(), 5, "{stage}");
}

#[test]
fn an_epoch_is_as_long_as_what_is_learnt_from() {
    check_epoch("dpo");
    check_epoch("prm");
}
