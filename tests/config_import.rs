//! `rewarden config import`: whose configs are read, what becomes of their keys, and what cannot be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::guests::{rewarden, root};
use crate::training::{fails, finish, folder, rows};

fn sample(name: &str) -> PathBuf {
    root().join("tests/data/import").join(name)
}

fn import(file: &Path) -> Command {
    let mut command = rewarden();
    command.args(["config", "import"]).arg(file).env("HOME", "/home/me").env_remove("ROWS");
    command
}

/// Where no line may say a key.
const NOTHING: &str = "";

/// A sample, some lines of the TOML (keys by their whole path), and parts of the list of what is left. Whatever comes out
/// is a config.
#[track_caller]
fn check(name: &str, lines: &[(&str, &str)], left: &[&str]) {
    check_file(&sample(name), lines, left);
}

/// The same of a config that is said here.
#[track_caller]
fn check_said(config: &str, lines: &[(&str, &str)], left: &[&str]) {
    let folder = folder();
    let file = folder.path().join("said.yaml");
    fs::write(&file, config).expect("written");
    check_file(&file, lines, left);
}

#[track_caller]
fn check_file(file: &Path, lines: &[(&str, &str)], left: &[&str]) {
    let folder = folder();
    let toml = folder.path().join("imported.toml");
    let mut command = import(file);
    command.arg("--output").arg(&toml);
    let output = finish(command);
    assert!(output.stdout.is_empty(), "{output:?}");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    let text = fs::read_to_string(&toml).expect("written");
    let table: toml::Table = text.parse().unwrap_or_else(|e| panic!("{e}\n{text}"));
    for (key, expected) in lines {
        let found = key.split('.').try_fold(&toml::Value::Table(table.clone()), |at, key| at.get(key)).cloned();
        // [`NOTHING`] is no TOML.
        let expected = format!("v = {expected}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
        assert_eq!(found, expected, "{key} in\n{text}");
    }
    for part in left {
        assert!(said.contains(part), "{part:?} is not in\n{said}");
    }
    for line in text.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        assert!(line.contains(" # "), "{line:?} does not say where it comes from");
    }
    let mut dry = rewarden();
    dry.arg("run").arg(&toml).arg("--dry-run");
    finish(dry);
}

#[test]
fn a_script_that_starts_verl() {
    check(
        "run_grpo.sh",
        &[
            ("stages", "[\"rl\"]"),
            ("log_path", "\"runs/qwen3_math\""),
            ("model_name", "\"Qwen/Qwen3-0.6B\""),
            ("lora_rank", "0"),
            ("data.path", "\"/home/me/rows/train.parquet\""),
            ("data.test_path", "\"/home/me/rows/test.parquet\""),
            ("rl.learning_rate", "5e-7"),
            ("rl.groups_per_batch", "64"),
            ("rl.num_substeps", "4"),
            ("rl.group_size", "8"),
            ("rl.max_tokens", "2048"),
            ("rl.kl_in", "\"loss\""),
            ("rl.kl_penalty_coef", "0.002"),
            ("rl.kl_estimator", "\"k3\""),
            ("rl.loss_fn", "\"ppo\""),
            ("rl.loss_fn_config.clip_low_threshold", "0.8"),
            ("rl.loss_fn_config.clip_high_threshold", "1.28"),
            ("rl.norm_adv_by_std", "true"),
            ("rl.save_every", "0"),
            ("rl.max_steps", "200"),
            ("eval.max_tokens", "2048"),
            ("eval.temperature", "0.0"),
        ],
        &[
            "verl's PPO trainer: 17 keys translated, 5 not",
            "line 14: data.max_prompt_length = 512: no counterpart: prompts are never cut",
            "line 23: actor_rollout_ref.rollout.name = \"vllm\": no counterpart",
            "line 31: custom_reward_function.path = \"$REWARDS/math.py\": no counterpart: a Python function: `rewarden plugin",
        ],
    );
}

#[test]
fn the_whole_config_of_verl() {
    check(
        "ppo.yaml",
        &[
            ("log_path", "\"checkpoints/maths/cispo\""),
            ("model_name", "\"Qwen/Qwen3-1.7B\""),
            ("lora_rank", "16"),
            ("lora_alpha", "64.0"),
            ("rl.num_substeps", "1"),
            ("rl.loss_fn", "\"cispo\""),
            ("rl.loss_agg_mode", "\"seq-mean-token-mean\""),
            ("rl.loss_fn_config.clip_low_threshold", "0.9"),
            ("rl.loss_fn_config.clip_ratio_c", NOTHING),
            ("rl.adam.beta2", "0.95"),
            ("rl.lr_schedule", "\"cosine\""),
            ("rl.kl_penalty_coef", NOTHING),
            ("rl.top_k", "0"),
            ("eval.k", "[1, 4]"),
            ("eval.num_samples", "4"),
            ("eval.temperature", "0.6"),
        ],
        &[
            "line 16: actor_rollout_ref.actor.ppo_epochs = 2: a step learns once from each rollout",
            "clip_ratio_c = 3.0: value not supported: `rl.loss_fn_config.clip_ratio_c`: `cispo` does not clip its loss",
            "algorithm.adv_estimator = \"gae\": gae, the default there, needs a critic",
            "algorithm.kl_ctrl.kl_coef = 0.001: not in force: algorithm.use_kl_in_reward is not true",
        ],
    );
    check(
        "verl_sft.yaml",
        &[
            ("stages", "[\"sft\"]"),
            ("sft.batch_size", "128"),
            ("sft.micro_batch_size", "4"),
            ("sft.max_length", "4096"),
            ("sft.num_epochs", "2"),
            ("sft.adam.max_grad_norm", "0.5"),
            ("lora_rank", "32"),
        ],
        &["line 1: data.truncation = \"error\": conversations that are too long are cut at the end"],
    );
}

#[test]
fn configs_of_trl() {
    check(
        "grpo.yaml",
        &[
            ("rl.num_epochs", "1"),
            ("rl.groups_per_batch", "8"),
            ("rl.group_size", "8"),
            ("rl.micro_batch_size", "16"),
            ("rl.loss_fn", "\"dr_grpo\""),
            ("rl.loss_fn_config.clip_low_threshold", "0.8"),
            ("rl.loss_fn_config.clip_high_threshold", "1.28"),
            ("rl.norm_adv_by_std", "false"),
            ("rl.kl_penalty_coef", "0.04"),
            ("rl.eval_every", "0"),
            ("rl.save_every", "500"),
            ("lora_rank", "32"),
            ("train_attn", "true"),
            ("train_mlp", "false"),
            ("data.path", NOTHING),
        ],
        &["line 3: dataset_name = \"me/questions\": not a file of JSON lines or Parquet", "hub_token = (not shown)"],
    );
    check(
        "sft.json",
        &[
            ("sft.batch_size", "32"),
            ("sft.num_epochs", "3"),
            ("sft.packing", "true"),
            ("sft.train_on_what", "\"all_assistant_messages\""),
            ("sft.warmup_steps", "5"),
            ("sft.warmup_ratio", NOTHING),
            ("sft.max_steps", NOTHING),
            ("lora_rank", "0"),
            ("seed", "42"),
        ],
        &[
            "lr_scheduler_type = \"polynomial\": value not supported; linear, cosine",
            "warmup_ratio = 0.1: value not supported: `sft.warmup_ratio`: set either",
            "max_grad_nrom = 1.0: unknown key; a known one is max_grad_norm",
        ],
    );
}

#[test]
fn pairs_of_trl() {
    check(
        "dpo.yaml",
        &[
            ("stages", "[\"dpo\"]"),
            ("dpo.loss_fn", "\"ipo\""),
            ("dpo.dpo_beta", "0.2"),
            ("dpo.batch_size", "32"),
            ("dpo.micro_batch_size", "8"),
            ("dpo.learning_rate", "1e-6"),
            ("dpo.num_epochs", NOTHING),
            ("data.path", "\"rows/pairs.jsonl\""),
        ],
        &["num_train_epochs = 1.5: value not supported; it must be a whole number", "save_strategy = \"epoch\""],
    );
    check(
        "reward.yaml",
        &[("prm.loss_fn", "\"bradley_terry\""), ("prm.center_rewards_coefficient", "0.01"), ("prm.num_epochs", "3")],
        &["TRL's RewardTrainer: 6 keys translated, 0 not"],
    );
}

#[test]
fn configs_of_tinker() {
    check(
        "math_rl.txt",
        &[
            ("rl.group_size", "16"),
            ("rl.loss_fn", "\"ppo\""),
            ("rl.loss_fn_config.clip_high_threshold", "1.1"),
            ("rl.kl_in", "\"reward\""),
            ("rl.adv_estimator", "\"mean_center\""),
            ("rl.loss_agg_mode", "\"token-sum\""),
            ("rl.lr_schedule", "\"constant\""),
            ("rl.num_substeps", NOTHING),
            ("rl.adam.max_grad_norm", "0.0"),
        ],
        &[
            "line 3: env = \"gsm8k\": the cookbook's name for its rows",
            "line 10: num_substeps = 128: value not supported: `rl.num_substeps`: must be between 1 and `rl.groups_per_batch`",
        ],
    );
    check(
        "tinker_sft.json",
        &[
            ("data.path", "\"chats.jsonl\""),
            ("renderer_name", "\"qwen3\""),
            ("sft.batch_size", "128"),
            ("sft.max_length", "32768"),
            ("sft.train_on_what", "\"all_assistant_messages\""),
            ("sft.load_checkpoint_path", NOTHING),
        ],
        &["load_checkpoint_path = \"tinker://run/weights/7\": weights on tinker's service"],
    );
    check(
        "tinker_dpo.sh",
        &[("stages", "[\"dpo\"]"), ("dpo.dpo_beta", "0.1"), ("log_path", "\"logs/dpo\"")],
        &["line 5: renderer_name = \"role_colon\": value not supported; qwen3"],
    );
}

/// What is learnt must not change on the way, neither by our defaults nor by theirs.
#[test]
fn the_objective_of_tinker_stays() {
    let rl = "groups_per_batch: 8\n";
    let kl = ("rl.kl_estimator", "\"k1\"");
    check_said(
        &format!("{rl}kl_penalty_coef: 0.1\n"),
        &[kl, ("rl.kl_in", "\"reward\"")],
        &["2 keys translated, 0 not"],
    );
    check_said(&format!("{rl}kl_penalty_coef: 0\n"), &[("rl.kl_estimator", NOTHING)], &["2 keys translated, 0 not"]);
}

#[test]
fn the_objective_of_verl_stays() {
    let said = |lines: &str| format!("algorithm.adv_estimator: grpo\nactor_rollout_ref.rollout.n: 4\n{lines}\n");
    let kl = |estimator| [("rl.kl_estimator", estimator)];
    check_said(&said("algorithm.use_kl_in_reward: true"), &kl("\"k1\""), &[]);
    check_said(&said("algorithm.use_kl_in_reward: true\nalgorithm.kl_penalty: low_var_kl"), &kl("\"k3\""), &[]);
    check_said(
        &said("actor_rollout_ref.actor.use_kl_loss: true\nalgorithm.use_kl_in_reward: true"),
        &[("rl.kl_estimator", "\"k3\""), ("rl.kl_in", "\"loss\"")],
        &["algorithm.use_kl_in_reward = true: the divergence is charged once"],
    );
    let gspo = [
        ("rl.loss_agg_mode", "\"seq-mean-token-mean\""),
        ("rl.loss_fn_config.clip_low_threshold", "0.8"),
        ("rl.loss_fn_config.clip_ratio_c", NOTHING),
    ];
    check_said(&said("actor_rollout_ref.actor.policy_loss.loss_mode: gspo"), &gspo, &["3 keys translated, 0 not"]);
    check_said(
        &said("actor_rollout_ref.actor: {policy_loss: {loss_mode: gspo}, loss_agg_mode: token-mean}"),
        &gspo,
        &["loss_agg_mode = \"token-mean\": not in force: actor_rollout_ref.actor.policy_loss.loss_mode is gspo"],
    );
    check_said(
        &said("actor_rollout_ref.rollout.temperature: 0.6"),
        &[("rl.temperature", "0.6")],
        &["temperature = 0.6: sampling is the same, learning is not: there training divides the logits"],
    );
    check_said(&said("actor_rollout_ref.rollout.temperature: 1.0"), &[], &["3 keys translated, 0 not"]);
    let size = |size| [("rl.group_size", size)];
    let alone = "rl.group_size`: must be at least 2: an answer is compared with the others";
    check_said("algorithm.adv_estimator: grpo\nactor_rollout_ref.rollout.n: 1\n", &size(NOTHING), &[alone]);
    check_said("algorithm.adv_estimator: grpo\n", &size(NOTHING), &["1 keys translated, 0 not"]);
    check_said("algorithm.adv_estimator: reinforce_plus_plus\n", &size("1"), &["1 keys translated, 0 not"]);
    check_said(
        "algorithm.adv_estimator: gdpo\nactor_rollout_ref.rollout.n: 4\n",
        &[("rl.adv_estimator", "\"gdpo\""), ("rubric.combine", "\"normalize_then_sum\"")],
        &["2 keys translated, 0 not"],
    );
}

#[test]
fn the_objective_of_trl_stays() {
    let said = |lines: &str| format!("num_generations: 8\n{lines}\n");
    let clip =
        |low, high| [("rl.loss_fn_config.clip_low_threshold", low), ("rl.loss_fn_config.clip_high_threshold", high)];
    check_said(&said("loss_type: cispo\nepsilon_high: 5.0"), &clip("0.0", "5.0"), &["3 keys translated, 0 not"]);
    check_said(&said("loss_type: cispo"), &clip("0.0", "0.2"), &["2 keys translated, 0 not"]);
    check_said(&said("loss_type: cispo\nepsilon: 0.3"), &clip("0.0", "0.3"), &["3 keys translated, 0 not"]);
    check_said(&said("loss_type: grpo\nepsilon: 0.3"), &clip("0.7", "1.3"), &["3 keys translated, 0 not"]);
    check_said(&said("beta: 0"), &clip("0.8", "1.2"), &["2 keys translated, 0 not"]);
    check_said(
        &said("importance_sampling_level: sequence"),
        &[("rl.loss_fn", "\"gspo\""), ("rl.loss_agg_mode", "\"token-mean\"")],
        &[],
    );
    check_said(
        &said("multi_objective_aggregation: normalize_then_sum"),
        &[("rubric.combine", "\"normalize_then_sum\""), ("rl.adv_estimator", "\"gdpo\"")],
        &["2 keys translated, 0 not"],
    );
    check_said(&said("temperature: 0.9"), &[("rl.temperature", "0.9")], &["temperature = 0.9: sampling is the same"]);
    let learnt = |words| [("sft.train_on_what", words)];
    check_said("packing: true\n", &learnt("\"all_tokens\""), &[]);
    check_said("packing: true\nassistant_only_loss: false\n", &learnt("\"all_tokens\""), &[]);
    check_said("assistant_only_loss: true\n", &learnt("\"all_assistant_messages\""), &[]);
    check_said("completion_only_loss: true\n", &learnt("\"last_assistant_message\""), &[]);
}

#[test]
fn what_only_saves_memory_is_translated() {
    let on = [("gradient_checkpointing", "true")];
    check_said("packing: true\ngradient_checkpointing: true\n", &on, &["2 keys translated, 0 not"]);
    check_said("packing: true\npadding_free: true\n", &[], &["padding_free = true: no counterpart: nothing is padded"]);
    check_said("optim.lr: 1e-5\nmodel.enable_gradient_checkpointing: true\n", &on, &["2 keys translated, 0 not"]);
    check_said(
        "actor_rollout_ref.model: {enable_gradient_checkpointing: true, use_remove_padding: true}\n",
        &on,
        &["use_remove_padding = true: no counterpart: nothing is padded"],
    );
}

#[test]
fn none_is_forgotten() {
    let source = fs::read_to_string(file!()).or_else(|_| fs::read_to_string(root().join("tests/config_import.rs")));
    let source = source.expect("this file");
    for entry in fs::read_dir(root().join("tests/data/import")).expect("samples") {
        let name = entry.expect("an entry").file_name().into_string().expect("UTF-8");
        assert!(source.contains(&format!("\"{name}\"")), "tests/data/import/{name} is tried by no test");
    }
}

/// A file of this name and content, and what the error must say.
#[track_caller]
fn check_bad(name: &str, content: impl AsRef<[u8]>, expected: &[&str]) {
    let folder = folder();
    let file = folder.path().join(name);
    fs::write(&file, content).expect("written");
    fails(import(&file), &[&["cannot import", name], expected].concat());
}

#[test]
fn bad_files_are_named_with_their_line() {
    check_bad("a.yaml", "learning_rate: 1\nfoo: [1, 2\nbar: 3\n", &["line 3:"]);
    check_bad("a.yaml", "- a\n- b\n", &["line 1: a config is a mapping"]);
    check_bad("a.yaml", "# nothing\n", &["holds no key"]);
    check_bad("a.yaml", b"a: 1\nb: \xff\n", &["line 2: not UTF-8"]);
    check_bad("a.json", "{\n \"a\": 1,\n \"b\": }\n", &["not valid JSON", "line 3"]);
    check_bad("a.json", "[1]", &["one JSON object"]);
    check_bad("a.sh", "python x.py \\\n a.b='c\n\n", &["line 2: the quotation mark ' is not closed"]);
    check_bad("a.yaml", "foo: 1\n", &["no key tells whose config this is", "--from"]);
    fails(import(Path::new("nothing.yaml")), &["cannot import nothing.yaml", "No such file"]);
}

/// Files that would fill memory, or the stack, if anyone let them.
#[test]
fn bombs_are_refused() {
    let aliases = |n: usize| format!("a{n}: &a{n} [{}]\n", vec![format!("*a{}", n - 1); 9].join(","));
    let bomb = (1..12).map(aliases).collect::<String>();
    check_bad("a.yaml", format!("a0: &a0 [x]\n{bomb}"), &["line 6: the file holds more than 50000 values"]);
    check_bad("a.yaml", "a: &a\n  b: *a\n", &["line 2: an alias stands inside of what it stands for"]);
    check_bad("a.yaml", format!("a:\n  {}x\n", "- ".repeat(100_000)), &["line 2: values are nested deeper than 32"]);
    check_bad("a.yaml", format!("a: {}", "[".repeat(100_000)), &["line 1:"]);
    check_bad("a.json", "{\"a\":".repeat(100_000), &["recursion limit"]);
    check_bad("a.json", format!("{}1{}", "{\"a\":".repeat(50), "}".repeat(50)), &["nested deeper than 32"]);
    check_bad("a.yaml", "a: 1\n".repeat(300_000), &["longer than 1024 KiB"]);
    check_bad("a.sh", format!("a=xx\n{}python x.py a.b=$a", "a=$a$a$a$a\n".repeat(40)), &["longer than 65536 bytes"]);
    check_bad("a.sh", format!("python x.py {}", "${a:-".repeat(100_000)), &["longer than 65536 bytes"]);
}

#[test]
fn what_was_asked_for_goes_before_what_keys_tell() {
    let folder = folder();
    let file = folder.path().join("args.yaml");
    fs::write(&file, "learning_rate: 3e-5\noutput_dir: 'x\"]\\n[y'\n").expect("written");
    fails(import(&file), &["--from"]);
    let mut trl = import(&file);
    trl.args(["--from", "trl"]);
    fails(trl, &["TRL's SFTTrainer, TRL's DPOTrainer", "--stage"]);
    let mut dpo = import(&file);
    dpo.args(["--from", "trl", "--stage", "dpo"]);
    let text = String::from_utf8(finish(dpo).stdout).expect("UTF-8");
    let table: toml::Table = text.parse().expect("a hostile value stays a value");
    assert_eq!(table["dpo"]["learning_rate"].as_float(), Some(3e-5));
    let mut none = import(&file);
    none.args(["--from", "verl", "--stage", "dpo"]);
    fails(none, &["no trainer of that system does that stage"]);
}

#[test]
fn an_imported_config_trains() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let row = |n: usize| format!("{{\"prompt\":\"What is {n}?\",\"completion\":\"It is {n}.\"}}\n");
    fs::write(at("rows.jsonl"), (0..8).map(row).collect::<String>()).expect("written");
    let args = serde_json::json!({
        "model_name_or_path": "tiny", "dataset_name": at("rows.jsonl"), "output_dir": at("run"), "max_steps": 3,
        "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "completion_only_loss": true,
    });
    fs::write(at("args.json"), args.to_string()).expect("written");
    let mut command = import(&at("args.json"));
    command.arg("-o").arg(at("run.toml"));
    finish(command);
    let mut run = rewarden();
    run.arg("run").arg(at("run.toml"));
    finish(run);
    let rows = rows(&at("run/sft/metrics.jsonl"));
    assert_eq!(rows.iter().map(|row| row["num_sequences"].as_u64()).collect::<Vec<_>>(), [Some(4); 3]);
}

#[test]
fn an_earlier_file_is_not_overwritten() {
    let folder = folder();
    let output = folder.path().join("edited.toml");
    fs::write(&output, "mine").expect("written");
    let mut command = import(&sample("grpo.yaml"));
    command.arg("--output").arg(&output);
    fails(command, &["edited.toml", "not there yet"]);
    assert_eq!(fs::read_to_string(&output).expect("there"), "mine");
}
