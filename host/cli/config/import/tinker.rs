//! tinker-cookbook's trainers: what each key is called here, mostly the same. Names and defaults are those of its
//! `Config`s and of the recipes' command lines.

use serde_json::Value;

use super::source::Source;
use super::table::How::{Int, Number, Only, OrZero, Text, With, Words};
use super::table::{Dialect, Outcome, Row, Without, data_file, number, row, text};
use crate::args::{Recipe, System};

pub(super) const DIALECTS: [Dialect; 3] = [
    Dialect {
        system: System::Tinker,
        name: "tinker-cookbook's reinforcement learning",
        recipe: Recipe::Rl,
        programs: &["tinker_cookbook.recipes.math_rl", "tinker_cookbook.rl", "rl_loop", "rl_basic", "_rl.train"],
        marks: &[
            "groups_per_batch",
            "group_size",
            "max_tokens",
            "loss_fn",
            "env",
            "num_substeps",
            "kl_penalty_coef",
            "compute_post_kl",
            "remove_constant_reward_groups",
            "dataset_builder.group_size",
        ],
        rows: &[RUN, RL],
        without: &[WITHOUT_RL, WITHOUT],
        implied: RL_IMPLIES,
    },
    Dialect {
        system: System::Tinker,
        name: "tinker-cookbook's DPO",
        recipe: Recipe::Dpo,
        programs: &["tinker_cookbook.recipes.preference.dpo", "train_dpo"],
        marks: &["dpo_beta", "reference_model_name"],
        rows: &[RUN, DPO],
        without: &[WITHOUT],
        implied: &[UNCLIPPED],
    },
    Dialect {
        system: System::Tinker,
        name: "tinker-cookbook's supervised learning",
        recipe: Recipe::Sft,
        programs: &["tinker_cookbook.recipes.chat_sl", "tinker_cookbook.supervised", "sl_loop", "sl_basic"],
        // `log_path` is in all of its configs, and the others stand before.
        marks: &[
            "train_on_what",
            "dataset_builder.common_config.train_on_what",
            "infrequent_eval_every",
            "submit_ahead",
            "inline_evals",
            "log_path",
        ],
        rows: &[RUN, SFT],
        without: &[WITHOUT],
        implied: &[UNCLIPPED],
    },
];

const UNCLIPPED: (&str, &str, &str) = ("*.adam.max_grad_norm", "0.0", "tinker does not clip gradients unless asked");

const RL_IMPLIES: &[(&str, &str, &str)] = &[
    ("rl.lr_schedule", "\"constant\"", "tinker's rate does not fall in reinforcement learning"),
    ("rl.adv_estimator", "\"mean_center\"", "tinker takes the group's mean from a reward, and divides by nothing"),
    ("rl.loss_agg_mode", "\"token-sum\"", "tinker's losses are sums"),
    UNCLIPPED,
];

const RUN: &[Row] = &[
    row("log_path", "log_path", Text),
    row(
        "model_name|dataset_builder.model_name_for_tokenizer|dataset_builder.common_config.model_name_for_tokenizer",
        "model_name",
        Text,
    ),
    row(
        "renderer_name|dataset_builder.renderer_name|dataset_builder.common_config.renderer_name",
        "renderer_name",
        Words(RENDERERS),
    ),
    row("lora_rank", "lora_rank", Int),
    row("seed|dataset_builder.seed|dataset_builder.shuffle_seed", "seed", Int),
    row("load_checkpoint_path", "*.load_checkpoint_path", With(folder)),
    row("file_path|dataset_path|dataset_builder.file_path", "data.path", With(data_file)),
    row("test_size|dataset_builder.test_size", "data.test_size", Int),
    row("dataset|env|dataset_builder.dataset|dataset_builder.env", "data.path", With(named_rows)),
    row("save_every", "*.save_every", OrZero),
    row("max_steps", "*.max_steps", Int),
    row("adam_beta1", "*.adam.beta1", Number),
    row("adam_beta2", "*.adam.beta2", Number),
    row("adam_eps", "*.adam.eps", Number),
];

const RL: &[Row] = &[
    row("learning_rate", "rl.learning_rate", Number),
    row("groups_per_batch|dataset_builder.groups_per_batch|dataset_builder.batch_size", "rl.groups_per_batch", Int)
        .or("100"),
    row("group_size|dataset_builder.group_size", "rl.group_size", Int).or("4"),
    row("num_substeps", "rl.num_substeps", Int),
    row("max_tokens", "rl.max_tokens", Int),
    row("max_tokens", "eval.max_tokens", Int),
    row("temperature", "rl.temperature", Number),
    row("loss_fn", "rl.loss_fn", Words(LOSSES)),
    row("loss_fn_config.clip_low_threshold", "rl.loss_fn_config.clip_low_threshold", Number),
    row("loss_fn_config.clip_high_threshold", "rl.loss_fn_config.clip_high_threshold", Number),
    row("kl_penalty_coef", "rl.kl_penalty_coef", Number),
    row("kl_penalty_coef", "rl.kl_in", With(in_reward)),
    row("kl_penalty_coef", "rl.kl_estimator", With(log_ratio)),
    row("kl_discount_factor", "rl.kl_penalty_coef", Only("0", "a token pays for its own divergence only")),
    row("kl_reference_config.load_checkpoint_path", "rl.kl_reference", With(folder)),
    row("kl_reference_config.base_model", "rl.kl_reference", Text),
    row(
        "remove_constant_reward_groups",
        "rl.remove_constant_reward_groups",
        Words(&[("true", "true"), ("false", "false")]),
    ),
    row("num_epochs", "rl.num_epochs", Int),
    row("eval_every", "rl.eval_every", OrZero),
    row(
        "max_steps_off_policy|async_config.max_steps_off_policy",
        "rl.num_substeps",
        Only("0", "a step learns from what its own policy sampled"),
    ),
];

const SFT: &[Row] = &[
    row("learning_rate", "sft.learning_rate", Number),
    row("lr_schedule", "sft.lr_schedule", Words(SCHEDULES)),
    row("num_epochs", "sft.num_epochs", Int),
    row("batch_size|dataset_builder.batch_size|dataset_builder.common_config.batch_size", "sft.batch_size", Int),
    row("max_length|dataset_builder.max_length|dataset_builder.common_config.max_length", "sft.max_length", Int),
    row(
        "train_on_what|dataset_builder.train_on_what|dataset_builder.common_config.train_on_what",
        "sft.train_on_what",
        Words(TRAIN_ON_WHAT),
    ),
    row("eval_every", "sft.eval_every", OrZero).or("10"),
];

const DPO: &[Row] = &[
    row("learning_rate", "dpo.learning_rate", Number),
    row("lr_schedule", "dpo.lr_schedule", Words(SCHEDULES)),
    row("num_epochs", "dpo.num_epochs", Int),
    row("batch_size|dataset_builder.batch_size|dataset_builder.common_config.batch_size", "dpo.batch_size", Int),
    row("max_length|dataset_builder.max_length|dataset_builder.common_config.max_length", "dpo.max_length", Int),
    row("dpo_beta", "dpo.dpo_beta", Number),
    row("reference_model_name", "dpo.reference", Text),
    row("eval_every", "dpo.eval_every", OrZero),
];

const RENDERERS: &[(&str, &str)] = &[
    ("qwen3", "\"qwen3\""),
    ("qwen3_disable_thinking", "\"qwen3_disable_thinking\""),
    ("llama3", "\"chat_template\""),
    ("qwen3_instruct", "\"chat_template\""),
];

const SCHEDULES: &[(&str, &str)] = &[("linear", "\"linear\""), ("cosine", "\"cosine\""), ("constant", "\"constant\"")];

const LOSSES: &[(&str, &str)] =
    &[("importance_sampling", "\"importance_sampling\""), ("ppo", "\"ppo\""), ("cispo", "\"cispo\"")];

const TRAIN_ON_WHAT: &[(&str, &str)] = &[
    ("last_assistant_message", "\"last_assistant_message\""),
    ("last_assistant_turn", "\"last_assistant_turn\""),
    ("all_assistant_messages", "\"all_assistant_messages\""),
    ("all_messages", "\"all_messages\""),
    ("all_tokens", "\"all_tokens\""),
    ("all_user_and_system_messages", "\"all_user_and_system_messages\""),
    ("customized", "\"customized\""),
];

const WITHOUT_RL: &[Without] = &[
    ("compute_post_kl", "metrics compare the policy with its sampler, not with its update"),
    ("num_groups_to_log", "rollouts.jsonl holds every answer"),
    ("rollout_json_export", "rollouts.jsonl holds every answer"),
    ("rollout_error_tolerance*", "`[rubric]` says what a fault does"),
    ("termination*", "there is one turn in training"),
    ("stream_minibatch_config*", "num_substeps divides a batch"),
    ("async_config*", "a step learns from what its own policy sampled"),
];

const WITHOUT: &[Without] = &[
    ("base_url", "nothing is asked of a service"),
    ("wandb_*", "metrics go to metrics.jsonl and TensorBoard files"),
    ("behavior_if_log_dir_exists", "an earlier run is set aside, never overwritten"),
    ("rolling_*", "keep_last says how many checkpoints stay"),
    ("ttl_seconds", "keep_last says how many checkpoints stay"),
    ("recipe_name", "log_path names a run"),
    ("enable_trace", "there is no trace"),
    ("span_chart_every", "there is no trace"),
    ("evaluator_builders*", "`[eval]` says what is evaluated"),
    ("infrequent_*", "`[eval]` says what is evaluated"),
    ("inline_evals", "`[eval]` says what is evaluated"),
    ("submit_ahead", "nothing is asked of a service"),
    ("async_periodic_saves", "a checkpoint is whole before the next step"),
    ("num_replicas", "one process trains"),
    ("dataset_builder*", "rows come from files: [data]"),
];

/// Rows that the cookbook knows by name.
fn named_rows(source: &Source, value: &Value) -> Outcome {
    data_file(source, value).map_err(|_| {
        "the cookbook's name for its rows: save them as JSON lines, and name the file in data.path".to_owned()
    })
}

/// A folder; a checkpoint of tinker's service is none.
fn folder(_: &Source, value: &Value) -> Outcome {
    let path = text(value)?;
    match path.starts_with("tinker://") {
        true => Err("weights on tinker's service: download them, and name their folder".to_owned()),
        false => Ok(Some(toml::Value::String(path))),
    }
}

/// tinker charges the divergence to the reward.
fn in_reward(_: &Source, value: &Value) -> Outcome {
    where_charged("reward", value)
}

/// What it charges is the plain difference of log-probabilities.
fn log_ratio(_: &Source, value: &Value) -> Outcome {
    where_charged("k1", value)
}

fn where_charged(ours: &str, coefficient: &Value) -> Outcome {
    Ok((number(coefficient)? != 0.0).then(|| toml::Value::String(ours.to_owned())))
}
