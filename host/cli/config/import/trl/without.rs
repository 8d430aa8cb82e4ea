//! Arguments of TRL's trainers that have no counterpart, and why.

use super::super::table::Without;

pub(super) const WITHOUT_GRPO: &[Without] = &[
    (
        "num_train_epochs",
        "reinforcement learning counts steps: rows of data / groups_per_batch * epochs is rl.max_steps",
    ),
    (
        "reward_funcs",
        "Python functions: `rewarden plugin new --lang python` makes a plugin to put one in, and a [[reward]] names it",
    ),
    (
        "reward_model_name_or_path",
        "a reward model that is trained here goes into a [[reward_model]]; others are not read",
    ),
    ("reward_weights", "each [[reward]] has its weight"),
    ("vllm_*", "the sampler is the trainer's own"),
    ("use_vllm", "the sampler is the trainer's own"),
    ("max_prompt_length", "prompts are never cut"),
    ("delta", "clip_ratio_c bounds the loss where the advantage is negative, in another way"),
    ("sync_ref_model", "the reference stays what it is"),
    ("ref_model_*", "the reference stays what it is"),
    ("log_completions", "rollouts.jsonl holds every answer"),
    ("num_completions_to_print", "rollouts.jsonl holds every answer"),
    ("max_tool_calling_iterations", "there is no tool in training"),
];

pub(super) const WITHOUT_EPOCHS: &[Without] = &[
    ("max_prompt_length", "max_length bounds prompt and answer together"),
    ("max_completion_length", "max_length bounds prompt and answer together"),
    ("eos_token", "the renderer ends messages as the model's template does"),
    ("packing", "nothing is padded"),
    ("packing_strategy", "conversations are never split"),
    ("eval_packing", "held-out conversations are never packed"),
    ("padding_free", "nothing is padded"),
];

pub(super) const WITHOUT: &[Without] = &[
    ("dataset_*", "rows come from files, [data], and say by their columns what they are"),
    ("datasets", "rows come from files: data.path, and further ones in [[data.mix]] with their ratio"),
    ("chat_template*", "renderer_name says how messages become tokens"),
    ("per_device_eval_batch_size", "memory is bounded by micro_batch_size"),
    ("gradient_checkpointing_*", "what comes into a layer is kept, and nothing else"),
    ("auto_find_batch_size", "memory is bounded by micro_batch_size"),
    ("bf16*", "the device decides the precision"),
    ("fp16*", "the device decides the precision"),
    ("tf32", "the device decides the precision"),
    ("dtype", "the device decides the precision"),
    ("torch_dtype", "the device decides the precision"),
    ("attn_implementation", "the decoder has one"),
    ("torch_compile*", "nothing is compiled"),
    ("use_liger_kernel", "nothing is compiled"),
    ("report_to", "metrics go to metrics.jsonl and TensorBoard files"),
    ("run_name", "log_path names a run"),
    ("logging_*", "every step is logged"),
    ("log_level*", "RUST_LOG says what is logged"),
    ("push_to_hub*", "nothing is uploaded"),
    ("hub_*", "nothing is uploaded"),
    ("resume_from_checkpoint", "`--resume` goes on with a run; load_checkpoint_path starts from a model"),
    ("overwrite_output_dir", "an earlier run is set aside, never overwritten"),
    ("load_best_model_at_end", "a stage hands on what it ends with"),
    ("metric_for_best_model", "a stage hands on what it ends with"),
    ("save_*", "checkpoints are safetensors, and resume exactly"),
    ("do_train", "`stages` says what is done"),
    ("do_eval", "`stages` says what is done"),
    ("dataloader_*", "rows are read at once"),
    ("remove_unused_columns", "further columns go to the rewards"),
    ("deepspeed*", "one process trains"),
    ("fsdp*", "one process trains"),
    ("ddp_*", "one process trains"),
    ("use_cpu", "the device is found"),
    ("lora_*", "adapters have a rank, an alpha, and three places: train_attn, train_mlp, train_unembed"),
    ("use_rslora", "the adapters' share is lora_alpha / lora_rank"),
    ("model_revision", "the newest commit of a model on the hub is taken, or the one in the cache"),
    ("trust_remote_code", "no code of a model is run"),
    ("config", "another file: import that one"),
];
