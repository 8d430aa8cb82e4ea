#!/usr/bin/env bash
# GRPO on grade-school math, for verl.
set -x

project=math
ROWS=${ROWS:-"${HOME}/rows"}
longest=$((1024 * 2))

python3 -m verl.trainer.main_ppo \
    algorithm.adv_estimator=grpo \
    data.train_files="['$ROWS/train.parquet']" \
    data.val_files=$ROWS/test.parquet \
    data.train_batch_size=64 \
    data.max_prompt_length=512 \
    data.max_response_length=${longest} \
    actor_rollout_ref.model.path='Qwen/Qwen3-0.6B' \
    actor_rollout_ref.actor.optim.lr=5e-7 \
    actor_rollout_ref.actor.ppo_mini_batch_size=16 \
    actor_rollout_ref.actor.use_kl_loss=True \
    actor_rollout_ref.actor.kl_loss_coef=0.002 \
    actor_rollout_ref.actor.kl_loss_type=low_var_kl \
    actor_rollout_ref.actor.clip_ratio_high=0.28 \
    actor_rollout_ref.rollout.name=vllm \
    actor_rollout_ref.rollout.n=8 \
    'trainer.logger=["console","wandb"]' \
    trainer.project_name=$project \
    trainer.experiment_name=qwen3_math \
    ++trainer.save_freq=-1 \
    trainer.test_freq=5 \
    trainer.total_training_steps=200 \
    custom_reward_function.path=$REWARDS/math.py $@
