//! verl's trainers: what each key is called here. Names and defaults are those of its PPO trainer's YAML files.

use serde_json::Value;

use super::source::{Source, word};
use super::table::How::{Bool, Int, Number, OneMinus, OnePlus, Only, OrUnset, OrZero, Text, With, Words};
use super::table::{Dialect, LEARNT_AT, Outcome, Row, Without, data_file, float, number, pass_at, quotient, row, text};
use crate::args::{Recipe, System};

pub(super) const DIALECTS: [Dialect; 2] = [
    Dialect {
        system: System::Verl,
        name: "verl's PPO trainer",
        recipe: Recipe::Rl,
        programs: &["verl.trainer.main_ppo", "main_ppo.py", "main_dapo"],
        marks: &["actor_rollout_ref.*", "algorithm.*", "critic.*", "reward_model.*", "custom_reward_function.*"],
        rows: &[RUN, POLICY, ALGORITHM, SAMPLING, VALIDATION],
        without: &[WITHOUT_PPO, WITHOUT],
        implied: PPO_IMPLIES,
    },
    Dialect {
        system: System::Verl,
        name: "verl's SFT trainer",
        recipe: Recipe::Sft,
        programs: &["sft_trainer"],
        marks: &["optim.*", "model.partial_pretrain", "data.micro_batch_size_per_gpu", "data.max_length", "engine.*"],
        rows: &[RUN, SFT],
        without: &[WITHOUT_SFT, WITHOUT],
        implied: &[],
    },
];

const RUN: &[Row] = &[
    row("trainer.default_local_dir", "log_path", Text),
    row("trainer.experiment_name", "log_path", With(run_folder)),
    row("data.seed|trainer.seed", "seed", Int),
    row("data.train_files", "data.path", With(data_file)),
    row("data.val_files", "data.test_path", With(data_file)),
    row("data.train_max_samples", "data.max_examples", OrUnset),
    row("trainer.save_freq", "*.save_every", OrZero).or("0"),
    row("trainer.test_freq", "*.eval_every", OrZero).or("0"),
    row("trainer.max_actor_ckpt_to_keep|trainer.max_ckpt_to_keep", "*.keep_last", OrZero),
    row("trainer.total_training_steps", "*.max_steps", OrUnset),
];

const POLICY: &[Row] = &[
    row("actor_rollout_ref.model.path", "model_name", Text),
    row("actor_rollout_ref.model.lora_rank", "lora_rank", Int).or("0"),
    row("actor_rollout_ref.model.enable_gradient_checkpointing", "gradient_checkpointing", Bool),
    row("actor_rollout_ref.model.lora_alpha", "lora_alpha", Number),
    row("actor_rollout_ref.actor.optim.lr", "rl.learning_rate", Number).or("1e-6"),
    row(
        "actor_rollout_ref.actor.optim.lr_scheduler_type|actor_rollout_ref.actor.optim.warmup_style",
        "rl.lr_schedule",
        Words(SCHEDULES),
    )
    .or("\"constant\""),
    row("actor_rollout_ref.actor.optim.lr_warmup_steps", "rl.warmup_steps", OrUnset),
    row("actor_rollout_ref.actor.optim.lr_warmup_steps_ratio", "rl.warmup_ratio", Number),
    row("actor_rollout_ref.actor.optim.weight_decay", "rl.adam.weight_decay", Number).or("0.01"),
    row("actor_rollout_ref.actor.optim.betas", "rl.adam.beta1", With(first)),
    row("actor_rollout_ref.actor.optim.betas", "rl.adam.beta2", With(second)).or("0.999"),
    row("actor_rollout_ref.actor.optim.clip_grad|actor_rollout_ref.actor.grad_clip", "rl.adam.max_grad_norm", Number),
    row("trainer.total_epochs", "rl.num_epochs", Int).or("30"),
    row("data.train_batch_size", "rl.groups_per_batch", Int).or("1024"),
    row("actor_rollout_ref.actor.ppo_mini_batch_size", "rl.num_substeps", With(substeps))
        .note("data.train_batch_size / it"),
    row("data.train_batch_size", "rl.num_substeps", With(substeps_left_out))
        .note("it / 256, ppo_mini_batch_size's default"),
    row(
        "actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu|actor_rollout_ref.actor.ppo_micro_batch_size",
        "rl.micro_batch_size",
        Int,
    ),
    row("actor_rollout_ref.actor.ppo_epochs", "rl.num_substeps", Only("1", "a step learns once from each rollout")),
];

const LOSS: &str = "actor_rollout_ref.actor.policy_loss.loss_mode";

const ALGORITHM: &[Row] = &[
    row("algorithm.adv_estimator", "rl.adv_estimator", Words(ESTIMATORS)).or(NO_CRITIC),
    row("algorithm.norm_adv_by_std_in_grpo", "rl.norm_adv_by_std", Bool)
        .when("algorithm.adv_estimator", "grpo")
        .or("true"),
    row("algorithm.adv_estimator", "rubric.combine", With(each_by_itself)),
    row("algorithm.gamma", "rl.adv_estimator", Only("1", "rewards are not discounted")),
    row("algorithm.lam", "rl.adv_estimator", Only("1", "there is no critic whose estimates it would smooth")),
    row(LOSS, "rl.loss_fn", Words(LOSSES)).or("\"ppo\""),
    row(LOSS, "rl.loss_agg_mode", With(mean_of_gspo)).note("its mean is always this"),
    row("actor_rollout_ref.actor.loss_agg_mode", "rl.loss_agg_mode", Words(MEANS))
        .unless(LOSS, "gspo")
        .or("\"token-mean\""),
    row("actor_rollout_ref.actor.clip_ratio_low", "rl.loss_fn_config.clip_low_threshold", OneMinus).note("1 - it"),
    row("actor_rollout_ref.actor.clip_ratio_high", "rl.loss_fn_config.clip_high_threshold", OnePlus).note("1 + it"),
    row("actor_rollout_ref.actor.clip_ratio", "rl.loss_fn_config.clip_low_threshold", OneMinus)
        .note("1 - it")
        .or("0.8"),
    row("actor_rollout_ref.actor.clip_ratio", "rl.loss_fn_config.clip_high_threshold", OnePlus)
        .note("1 + it")
        .or("1.2"),
    row("actor_rollout_ref.actor.clip_ratio_c", "rl.loss_fn_config.clip_ratio_c", Number)
        .unless(LOSS, "gspo")
        .or("3.0"),
    row("actor_rollout_ref.actor.entropy_coeff", "rl.entropy_coef", Number),
    row("actor_rollout_ref.actor.use_kl_loss", "rl.kl_in", Words(&[("true", "\"loss\""), ("false", "")])),
    row("actor_rollout_ref.actor.kl_loss_coef", "rl.kl_penalty_coef", Number)
        .when("actor_rollout_ref.actor.use_kl_loss", "true")
        .or("0.001"),
    row("actor_rollout_ref.actor.kl_loss_type", "rl.kl_estimator", Words(DIVERGENCES))
        .when("actor_rollout_ref.actor.use_kl_loss", "true")
        .or("\"k3\""),
    row("algorithm.use_kl_in_reward", "rl.kl_in", With(in_reward)),
    row("algorithm.kl_ctrl.kl_coef", "rl.kl_penalty_coef", Number)
        .when("algorithm.use_kl_in_reward", "true")
        .or("0.001"),
    row("algorithm.kl_penalty", "rl.kl_estimator", Words(DIVERGENCES))
        .when("algorithm.use_kl_in_reward", "true")
        .or("\"k1\""),
    row("algorithm.kl_ctrl.type", "rl.kl_penalty_coef", Only("fixed", "the coefficient is fixed"))
        .when("algorithm.use_kl_in_reward", "true"),
    row("algorithm.filter_groups.enable", "rl.remove_constant_reward_groups", Bool),
    row("algorithm.filter_groups.max_num_gen_batches", "rl.max_num_gen_batches", Int)
        .when("algorithm.filter_groups.enable", "true"),
    row(
        "reward_model.overlong_buffer.len|reward.reward_kwargs.overlong_buffer_cfg.len|reward_model.reward_kwargs.overlong_buffer_cfg.len",
        "rl.overlong_buffer_len",
        With(overlong),
    ),
    row(
        "reward_model.overlong_buffer.penalty_factor|reward.reward_kwargs.overlong_buffer_cfg.penalty_factor|reward_model.reward_kwargs.overlong_buffer_cfg.penalty_factor",
        "rl.overlong_penalty_factor",
        With(overlong),
    ),
];

const SAMPLING: &[Row] = &[
    row("actor_rollout_ref.rollout.n", "rl.group_size", Int),
    // Nothing but this learns from an answer alone.
    row("actor_rollout_ref.rollout.n", "rl.group_size", Int)
        .when("algorithm.adv_estimator", "reinforce_plus_plus")
        .or("1"),
    row("data.max_response_length", "rl.max_tokens", Int).or("512"),
    row("actor_rollout_ref.rollout.temperature", "rl.temperature", Number),
    row("actor_rollout_ref.rollout.temperature", "rl.temperature", Only("1", LEARNT_AT)),
    row("actor_rollout_ref.rollout.top_k", "rl.top_k", OrZero),
    row("actor_rollout_ref.rollout.top_p", "rl.top_p", Number),
];

const DO_SAMPLE: &str = "actor_rollout_ref.rollout.val_kwargs.do_sample";

const VALIDATION: &[Row] = &[
    row("actor_rollout_ref.rollout.val_kwargs.n", "eval.k", With(pass_at)).when(DO_SAMPLE, "true"),
    row("actor_rollout_ref.rollout.val_kwargs.n", "eval.num_samples", Int).when(DO_SAMPLE, "true"),
    row("actor_rollout_ref.rollout.val_kwargs.temperature", "eval.temperature", Number).when(DO_SAMPLE, "true"),
    row("actor_rollout_ref.rollout.val_kwargs.top_k", "eval.top_k", OrZero).when(DO_SAMPLE, "true"),
    row("actor_rollout_ref.rollout.val_kwargs.top_p", "eval.top_p", Number).when(DO_SAMPLE, "true"),
    row(DO_SAMPLE, "eval.temperature", Words(&[("true", ""), ("false", "0.0")])),
    row("data.max_response_length", "eval.max_tokens", Int).or("512"),
    row("data.val_max_samples", "eval.max_examples", OrUnset),
];

const PPO_IMPLIES: &[(&str, &str, &str)] = &[
    ("eval.k", "[1]", "verl validates with one answer, the likeliest"),
    ("eval.num_samples", "1", "verl validates with one answer, the likeliest"),
    ("eval.temperature", "0.0", "verl validates with one answer, the likeliest"),
];

const SFT: &[Row] = &[
    row("model.partial_pretrain|model.path", "model_name", Text),
    row("model.lora_rank", "lora_rank", Int).or("0"),
    row("model.enable_gradient_checkpointing", "gradient_checkpointing", Bool),
    row("model.lora_alpha", "lora_alpha", Number),
    row("optim.lr", "sft.learning_rate", Number).or("1e-5"),
    row("optim.lr_scheduler|optim.lr_scheduler_type", "sft.lr_schedule", Words(SCHEDULES)),
    row("optim.lr_warmup_steps", "sft.warmup_steps", OrUnset),
    row("optim.lr_warmup_steps_ratio|optim.warmup_steps_ratio", "sft.warmup_ratio", Number),
    row("optim.weight_decay", "sft.adam.weight_decay", Number).or("0.01"),
    row("optim.betas", "sft.adam.beta1", With(first)),
    row("optim.betas", "sft.adam.beta2", With(second)),
    row("optim.clip_grad", "sft.adam.max_grad_norm", Number),
    row("data.train_batch_size", "sft.batch_size", Int),
    row("data.micro_batch_size_per_gpu|data.micro_batch_size", "sft.micro_batch_size", Int),
    row("data.max_length", "sft.max_length", Int),
    row("data.truncation", "sft.max_length", Only("right", "conversations that are too long are cut at the end")),
    row("trainer.total_epochs", "sft.num_epochs", Int),
];

const SCHEDULES: &[(&str, &str)] = &[("constant", "\"constant\""), ("cosine", "\"cosine\""), ("linear", "\"linear\"")];

const ESTIMATORS: &[(&str, &str)] = &[
    ("grpo", "\"grpo\""),
    ("grpo_vectorized", "\"grpo\""),
    ("rloo", "\"rloo\""),
    ("rloo_vectorized", "\"rloo\""),
    ("reinforce_plus_plus", "\"reinforce_plus_plus\""),
    ("gdpo", "\"gdpo\""),
    ("gae", NO_CRITIC),
];

const NO_CRITIC: &str = "!gae, the default there, needs a critic; `grpo` compares the answers of a group instead";

const LOSSES: &[(&str, &str)] = &[("vanilla", "\"ppo\""), ("gspo", "\"gspo\""), ("cispo", "\"cispo\"")];

const MEANS: &[(&str, &str)] = &[
    ("token-mean", "\"token-mean\""),
    ("token-sum", "\"token-sum\""),
    ("seq-mean-token-sum", "\"seq-mean-token-sum\""),
    ("seq-mean-token-mean", "\"seq-mean-token-mean\""),
    ("seq-mean-token-sum-norm", "\"seq-mean-token-sum-norm\""),
];

const DIVERGENCES: &[(&str, &str)] = &[
    ("kl", "\"k1\""),
    ("k1", "\"k1\""),
    ("mse", "\"k2\""),
    ("k2", "\"k2\""),
    ("low_var_kl", "\"k3\""),
    ("k3", "\"k3\""),
];

const WITHOUT_PPO: &[Without] = &[
    ("trainer.val_before_train", "evaluation begins before the first step"),
    ("critic.*", "there is no critic"),
    ("custom_reward_function.*", "a Python function: `rewarden plugin new --lang python` makes a plugin to put it in"),
    (
        "reward.custom_reward_function.*",
        "a Python function: `rewarden plugin new --lang python` makes a plugin to put it in",
    ),
    ("reward_model.reward_manager", "the rubric asks the rewards; `[rubric]` says how"),
    ("reward.reward_manager.*", "the rubric asks the rewards; `[rubric]` says how"),
    ("reward_model.overlong_buffer.*", "rl.overlong_buffer_len above 0 turns it on"),
    ("*overlong_buffer_cfg.*", "rl.overlong_buffer_len above 0 turns it on"),
    ("reward_model.*", "a reward model that is trained here goes into a [[reward_model]]; others are not read"),
    ("reward.reward_model.*", "a reward model that is trained here goes into a [[reward_model]]; others are not read"),
    ("reward.sandbox_fusion.*", "plugins are sandboxed without a service"),
    ("actor_rollout_ref.rollout.multi_turn.*", "there is no tool or second turn in training"),
    ("actor_rollout_ref.rollout.*", "the sampler is the trainer's own, and has no such setting"),
    ("actor_rollout_ref.ref.*", "the reference is the policy before training, and has no settings of its own"),
    ("actor_rollout_ref.hybrid_engine", "the sampler is the trainer's own"),
    ("data.max_prompt_length", "prompts are never cut"),
    ("data.filter_overlong_prompts*", "prompts are never cut"),
    ("data.truncation", "prompts are never cut"),
    ("data.gen_batch_size", "further tasks come in batches of rl.groups_per_batch"),
    ("algorithm.*", "the losses and estimators have no such setting"),
];

const WITHOUT_SFT: &[Without] = &[
    ("engine.*", "one process trains"),
    ("data.multiturn.*", "rows say by their columns what they are; sft.train_on_what says what is learnt"),
    ("ulysses_sequence_parallel_size", "one process trains"),
];

const WITHOUT: &[Without] = &[
    ("trainer.project_name", "a run is a folder"),
    ("trainer.experiment_name", "a run is a folder, and trainer.default_local_dir names it"),
    ("trainer.logger", "metrics go to metrics.jsonl and TensorBoard files"),
    ("trainer.n_gpus_per_node", "one process trains"),
    ("trainer.nnodes", "one process trains"),
    ("trainer.resume_*", "`--resume` goes on with a run"),
    ("trainer.*", "nothing here is said of a run in that way"),
    ("ray_kwargs.*", "one process trains"),
    ("ray_init.*", "one process trains"),
    ("global_profiler.*", "there is no profiler"),
    ("hydra.*", "settings of Hydra itself"),
    (
        "defaults",
        "files that Hydra would put together are not read: print the whole config with `--cfg job`, and import that",
    ),
    ("data.*_key", "rows say by their columns what they are"),
    ("data.shuffle", "rows are always shuffled, by the run's seed"),
    ("data.*", "data is read without it"),
    ("*fsdp_config.*", "one process trains"),
    ("*megatron.*", "one process trains"),
    ("*strategy", "one process trains"),
    ("*enable_gradient_checkpointing", "gradient_checkpointing is the policy's"),
    ("*use_remove_padding", "nothing is padded"),
    ("*use_dynamic_bsz", "memory is bounded by micro_batch_size"),
    ("*max_token_len_per_gpu", "memory is bounded by micro_batch_size"),
    ("*ulysses_sequence_parallel_size", "one process trains"),
    ("*target_modules", "train_attn, train_mlp and train_unembed say where adapters are"),
    ("*total_training_steps", "the schedule knows the steps of its stage"),
];

/// `runs/NAME`, where no folder is named.
fn run_folder(_: &Source, value: &Value) -> Outcome {
    text(value).map(|name| Some(toml::Value::String(format!("runs/{name}"))))
}

fn first(_: &Source, value: &Value) -> Outcome {
    number(value.get(0).unwrap_or(value)).map(|n| Some(float(n)))
}

fn second(_: &Source, value: &Value) -> Outcome {
    number(value.get(1).unwrap_or(value)).map(|n| Some(float(n)))
}

/// GDPO normalises each reward by itself; here that is the rubric's business.
fn each_by_itself(_: &Source, value: &Value) -> Outcome {
    Ok((word(value) == "gdpo").then(|| toml::Value::String("normalize_then_sum".to_owned())))
}

/// GSPO is a mean over sequences whatever `loss_agg_mode` says.
fn mean_of_gspo(_: &Source, value: &Value) -> Outcome {
    Ok((word(value) == "gspo").then(|| toml::Value::String("seq-mean-token-mean".to_owned())))
}

fn in_reward(source: &Source, value: &Value) -> Outcome {
    let in_loss = source.word("actor_rollout_ref.actor.use_kl_loss").as_deref() == Some("true");
    match (word(value) == "true", in_loss) {
        (true, true) => Err("the divergence is charged once: in the loss, as use_kl_loss says".to_owned()),
        (charges, _) => Ok(charges.then(|| toml::Value::String("reward".to_owned()))),
    }
}

/// Updates of a step, each from its own part of the batch.
fn substeps(source: &Source, value: &Value) -> Outcome {
    let batch = source.number("data.train_batch_size").unwrap_or(1024.0);
    quotient(batch, number(value)?, "the number of updates")
}

/// verl itself does not start where its default does not divide the batch.
fn substeps_left_out(source: &Source, value: &Value) -> Outcome {
    match source.get("actor_rollout_ref.actor.ppo_mini_batch_size") {
        Some(_) => Ok(None),
        None => quotient(number(value)?, 256.0, "the number of updates").or(Ok(None)),
    }
}

/// Only where the buffer is turned on.
fn overlong(source: &Source, value: &Value) -> Outcome {
    let tables = [
        "reward_model.overlong_buffer",
        "reward.reward_kwargs.overlong_buffer_cfg",
        "reward_model.reward_kwargs.overlong_buffer_cfg",
    ];
    let is_on = tables.iter().any(|table| source.word(&format!("{table}.enable")).as_deref() == Some("true"));
    match (is_on, number(value)?) {
        (false, _) => Err("not in force: `enable` beside it is not true".to_owned()),
        (true, n) if n.fract() == 0.0 => Ok(Some(toml::Value::Integer(n as i64))),
        (true, n) => Ok(Some(float(n))),
    }
}
