//! TRL's trainers: what each training argument is called here. Names and defaults are those of its configs and of
//! transformers' TrainingArguments below them.

mod convert;
mod without;

use super::table::How::{Bool, Int, Number, OneMinus, Only, OrUnset, OrZero, Text, With, Words};
use super::table::{Dialect, LEARNT_AT, Row, data_file, pass_at, row};
use crate::args::{Recipe, System};
use convert::{adam, attn, batch, both, epochs, groups, high, high_of_cispo, mlp, no_least, substeps, unembed, warmup};
use without::{WITHOUT, WITHOUT_EPOCHS, WITHOUT_GRPO};

pub(super) const DIALECTS: [Dialect; 5] = [
    Dialect {
        name: "TRL's GRPOTrainer",
        recipe: Recipe::Rl,
        programs: &["trl grpo", "grpo.py", "grpo_trainer"],
        marks: &[
            "num_generations",
            "max_completion_length",
            "reward_funcs",
            "reward_weights",
            "scale_rewards",
            "num_iterations",
            "epsilon_high",
            "generation_batch_size",
            "vllm_*",
        ],
        rows: &[RUN, GRPO, ADAPTERS],
        without: &[WITHOUT_GRPO, WITHOUT],
        ..TRL
    },
    Dialect {
        name: "TRL's RewardTrainer",
        recipe: Recipe::Prm,
        programs: &["trl reward", "reward_modeling.py", "reward_trainer"],
        marks: &["center_rewards_coefficient"],
        rows: &[RUN, BATCHES, REWARD, ADAPTERS],
        implied: &[("prm.loss_fn", "\"bradley_terry\"", "what RewardTrainer trains"), FULL],
        ..TRL
    },
    Dialect {
        name: "TRL's PRMTrainer",
        recipe: Recipe::Prm,
        programs: &["prm.py", "prm_trainer"],
        marks: &["step_separator", "train_on_last_step_only"],
        rows: &[RUN, BATCHES, STEPS, ADAPTERS],
        implied: &[("prm.loss_fn", "\"steps\"", "what PRMTrainer trains"), FULL],
        ..TRL
    },
    Dialect {
        name: "TRL's SFTTrainer",
        recipe: Recipe::Sft,
        programs: &["trl sft", "sft.py", "sft_trainer"],
        marks: &[
            "packing",
            "packing_strategy",
            "assistant_only_loss",
            "completion_only_loss",
            "dataset_text_field",
            "eval_packing",
            "max_seq_length",
        ],
        rows: &[RUN, BATCHES, SFT, ADAPTERS],
        implied: &[EVERY_TOKEN, FULL],
        ..TRL
    },
    Dialect {
        name: "TRL's DPOTrainer",
        recipe: Recipe::Dpo,
        programs: &["trl dpo", "dpo.py", "dpo_trainer"],
        // `beta` and `loss_type` are GRPOTrainer's too, which stands before.
        marks: &[
            "beta",
            "loss_type",
            "precompute_ref_log_probs",
            "rpo_alpha",
            "label_smoothing",
            "reference_free",
            "ref_model_*",
        ],
        rows: &[RUN, BATCHES, DPO, ADAPTERS],
        ..TRL
    },
];

const TRL: Dialect = Dialect {
    system: System::Trl,
    name: "",
    recipe: Recipe::Sft,
    programs: &[],
    marks: &[],
    rows: &[],
    without: &[WITHOUT_EPOCHS, WITHOUT],
    implied: &[FULL],
};

const FULL: (&str, &str, &str) = ("lora_rank", "0", "TRL trains every weight unless use_peft says otherwise");

const EVERY_TOKEN: (&str, &str, &str) = (
    "sft.train_on_what",
    "\"all_tokens\"",
    "TRL learns all of `messages`; with rows of `prompt` and `completion`, write \"last_assistant_message\"",
);

const RUN: &[Row] = &[
    row("output_dir", "log_path", Text),
    row("seed", "seed", Int).or("42"),
    row("model_name_or_path|model", "model_name", Text),
    row("dataset_name|data_files", "data.path", With(data_file)),
    row("lr_scheduler_type", "*.lr_schedule", Words(SCHEDULES)),
    row("warmup_steps", "*.warmup_steps", With(warmup)),
    row("warmup_ratio", "*.warmup_ratio", Number),
    row("max_steps", "*.max_steps", OrUnset),
    row(
        "save_strategy",
        "*.save_every",
        Words(&[
            ("steps", ""),
            ("no", "0"),
            ("epoch", "!checkpoints come by steps"),
            ("best", "!checkpoints come by steps"),
        ]),
    ),
    row("save_steps", "*.save_every", Int).or("500"),
    row(
        "eval_strategy|evaluation_strategy",
        "*.eval_every",
        Words(&[("steps", ""), ("no", "0"), ("epoch", "!measurements come by steps")]),
    ),
    row("eval_steps", "*.eval_every", Int),
    row("save_total_limit", "*.keep_last", OrZero),
    row("weight_decay", "*.adam.weight_decay", Number),
    row("adam_beta1", "*.adam.beta1", Number),
    row("adam_beta2", "*.adam.beta2", Number).or("0.999"),
    row("adam_epsilon", "*.adam.eps", Number),
    row("gradient_checkpointing", "gradient_checkpointing", Bool),
    row("max_grad_norm", "*.adam.max_grad_norm", Number),
    row("optim", "*.adam.eps", With(adam)),
];

const BATCHES: &[Row] = &[
    row("num_train_epochs", "*.num_epochs", With(epochs)).or("3"),
    row("per_device_train_batch_size", "*.batch_size", With(batch))
        .note("times gradient_accumulation_steps, on one device")
        .or("8"),
    row("gradient_accumulation_steps", "*.batch_size", With(batch))
        .note("times per_device_train_batch_size, on one device"),
];

const SFT: &[Row] = &[
    row("packing", "sft.packing", Bool),
    row("learning_rate", "sft.learning_rate", Number).or("2e-5"),
    row("per_device_train_batch_size", "sft.micro_batch_size", Int).or("8"),
    row("max_length|max_seq_length", "sft.max_length", Int).or("1024"),
    row("assistant_only_loss", "sft.train_on_what", Words(&[("true", "\"all_assistant_messages\""), ("false", "")])),
    row(
        "completion_only_loss",
        "sft.train_on_what",
        Words(&[("true", "\"last_assistant_message\""), ("false", "\"all_tokens\"")]),
    ),
    row(
        "dataset_text_field",
        "sft.train_on_what",
        Only("messages", "rows say by their columns what they are: `messages`, or `prompt` and `completion`"),
    ),
];

const DPO: &[Row] = &[
    row("learning_rate", "dpo.learning_rate", Number).or("1e-6"),
    row("per_device_train_batch_size", "dpo.micro_batch_size", With(both)).note("a pair is two sequences").or("16"),
    row("max_length", "dpo.max_length", Int),
    row("beta", "dpo.dpo_beta", Number),
    row(
        "loss_type",
        "dpo.loss_fn",
        Words(&[("sigmoid", "\"sigmoid\""), ("sigmoid_norm", "\"sigmoid_norm\""), ("ipo", "\"ipo\"")]),
    ),
    row("ref_model_name_or_path", "dpo.reference", Text),
    row("label_smoothing", "dpo.loss_fn", Only("0", "pairs are taken at their word")),
    row("reference_free", "dpo.loss_fn", Only("false", "the losses compare with a reference")),
    row("rpo_alpha|ld_alpha", "dpo.loss_fn", Only("0", "the losses have no such term")),
];

const REWARD: &[Row] = &[
    row("learning_rate", "prm.learning_rate", Number),
    row("per_device_train_batch_size", "prm.micro_batch_size", With(both)).note("a pair is two sequences").or("16"),
    row("max_length", "prm.max_length", Int),
    row("center_rewards_coefficient", "prm.center_rewards_coefficient", Number),
];

const STEPS: &[Row] = &[
    row("learning_rate", "prm.learning_rate", Number),
    row("per_device_train_batch_size", "prm.micro_batch_size", Int).or("8"),
    row("max_length", "prm.max_length", Int),
    row("step_separator", "prm.step_separator", Text),
    row("train_on_last_step_only", "prm.train_on_last_step_only", Bool),
];

const GRPO: &[Row] = &[
    row("num_train_epochs", "rl.num_epochs", With(epochs)).or("3"),
    row("learning_rate", "rl.learning_rate", Number).or("1e-6"),
    row("num_generations", "rl.group_size", Int).or("8"),
    row("per_device_train_batch_size", "rl.micro_batch_size", Int).or("8"),
    row("generation_batch_size", "rl.groups_per_batch", With(groups)).note("/ num_generations"),
    row("per_device_train_batch_size", "rl.groups_per_batch", With(groups))
        .note("times gradient_accumulation_steps / num_generations, on one device")
        .or("1"),
    row("gradient_accumulation_steps", "rl.groups_per_batch", With(groups))
        .note("times per_device_train_batch_size / num_generations, on one device"),
    row("steps_per_generation", "rl.num_substeps", With(substeps)).note("/ gradient_accumulation_steps"),
    row("num_iterations", "rl.num_substeps", Only("1", "a step learns once from each rollout")),
    row("importance_sampling_level", "rl.loss_fn", Words(&[("token", ""), ("sequence", "\"gspo\"")])),
    row("loss_type", "rl.loss_fn", Words(LOSSES)).or("\"dapo\""),
    row("loss_type", "rl.loss_agg_mode", Words(MEANS)).or("\"token-mean\""),
    row("loss_type", "rl.loss_fn_config.clip_low_threshold", With(no_least))
        .note("nothing bounds the ratio from below"),
    row("epsilon", "rl.loss_fn_config.clip_low_threshold", OneMinus)
        .unless("loss_type", "cispo")
        .note("1 - it")
        .or("0.8"),
    row("epsilon_high", "rl.loss_fn_config.clip_high_threshold", With(high)),
    row("loss_type", "rl.loss_fn_config.clip_high_threshold", With(high_of_cispo)).note("epsilon is its bound"),
    row("epsilon", "rl.loss_fn_config.clip_high_threshold", With(high)).note("1 + it").or("1.2"),
    row(
        "scale_rewards",
        "rl.norm_adv_by_std",
        Words(&[
            ("group", "true"),
            ("true", "true"),
            ("none", "false"),
            ("false", "false"),
            ("batch", "!rewards are divided by the deviation of their group, or not at all"),
        ]),
    )
    .or("true"),
    row(
        "multi_objective_aggregation",
        "rubric.combine",
        Words(&[("sum_then_normalize", ""), ("normalize_then_sum", "\"normalize_then_sum\"")]),
    ),
    row(
        "multi_objective_aggregation",
        "rl.adv_estimator",
        Words(&[("sum_then_normalize", ""), ("normalize_then_sum", "\"gdpo\"")]),
    ),
    row("beta", "rl.kl_penalty_coef", Number),
    row("mask_truncated_completions", "rl.mask_truncated_completions", Bool),
    row("max_completion_length", "rl.max_tokens", Int).or("512"),
    row("max_completion_length", "eval.max_tokens", Int).or("512"),
    row("temperature", "rl.temperature", Number),
    row("temperature", "rl.temperature", Only("1", LEARNT_AT)),
    row("top_p", "rl.top_p", Number),
    row("top_k", "rl.top_k", OrZero),
    row("num_generations_eval", "eval.k", With(pass_at)),
    row("num_generations_eval", "eval.num_samples", Int),
    row("top_entropy_quantile", "rl.loss_fn", Only("1", "every token of an answer is learnt from")),
    row("repetition_penalty", "rl.temperature", Only("1", "the sampler does not punish repetition")),
    row("min_p", "rl.top_p", Only("0", "top_k and top_p are the sampler's bounds")),
];

const ADAPTERS: &[Row] = &[
    row("use_peft", "lora_rank", Words(&[("true", ""), ("false", "0")])),
    row("lora_r", "lora_rank", Int).when("use_peft", "true").or("16"),
    row("lora_alpha", "lora_alpha", Number).when("use_peft", "true"),
    row("lora_target_modules", "train_attn", With(attn)).when("use_peft", "true"),
    row("lora_target_modules", "train_mlp", With(mlp)).when("use_peft", "true"),
    row("lora_target_modules", "train_unembed", With(unembed)).when("use_peft", "true"),
    row("lora_dropout", "lora_rank", Only("0", "adapters have no dropout")).when("use_peft", "true"),
    row("load_in_4bit|load_in_8bit", "model_name", Only("false", "weights are not quantised")),
];

const SCHEDULES: &[(&str, &str)] = &[
    ("linear", "\"linear\""),
    ("cosine", "\"cosine\""),
    ("constant", "\"constant\""),
    ("constant_with_warmup", "\"constant\""),
];

const LOSSES: &[(&str, &str)] = &[
    ("grpo", "\"grpo\""),
    ("dr_grpo", "\"dr_grpo\""),
    ("dapo", "\"dapo\""),
    ("bnpo", "\"ppo\""),
    ("cispo", "\"cispo\""),
];

const MEANS: &[(&str, &str)] = &[
    ("grpo", "\"seq-mean-token-mean\""),
    ("dr_grpo", "\"seq-mean-token-sum-norm\""),
    ("dapo", "\"token-mean\""),
    ("bnpo", "\"token-mean\""),
    ("cispo", "\"token-mean\""),
];
