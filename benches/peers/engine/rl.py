"""`peer/rl-step`: TRL's GRPOTrainer, 16 prompts of 16 tokens, 16 answers of up to 64 tokens to each, judged by the rule of
`gsm8k_rule.py`, one update a step. Tokens are those sampled."""

import contextlib
import json
import pathlib
import sys
import tempfile

import datasets
import transformers
import trl

from common import Watch, load, parse, peak_mb, report
from gsm8k_rule import score

IMPORT_MB = peak_mb()
PROMPTS, ANSWERS, LENGTH = 16, 16, 64
WARM_UP = 1


class Clock(transformers.TrainerCallback):
    """A lap from the end of a step to the end of the next, so nothing that happens between them is left out."""

    def __init__(self):
        self.watch, self.others = Watch(), None

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == WARM_UP:
            self.watch.start()
        else:
            self.watch.lap()
            self.others = self.watch.others()


def main():
    arguments = parse("steps", "micro-batch")
    rows = [json.loads(line) for line in (pathlib.Path(arguments.folder) / "prompts.jsonl").read_text().splitlines()]
    assert len(rows) == PROMPTS
    data = datasets.Dataset.from_list([{key: row[key] for key in ("prompt", "ground_truth")} for row in rows])
    sampled = []

    def reward(completions, ground_truth, completion_ids, **_):
        sampled.append(sum(map(len, completion_ids)))
        earned = [score(completion, truth) for completion, truth in zip(completions, ground_truth, strict=True)]
        # A random model earns nothing, and a trainer may leave out groups without a difference: every other answer is paid.
        return [one + at % 2 for at, one in enumerate(earned)]

    with tempfile.TemporaryDirectory() as folder:
        config = trl.GRPOConfig(
            output_dir=folder, max_steps=WARM_UP + arguments.steps, per_device_train_batch_size=arguments.micro_batch,
            gradient_accumulation_steps=PROMPTS * ANSWERS // arguments.micro_batch, num_generations=ANSWERS,
            max_completion_length=LENGTH, temperature=1.0, top_k=0, top_p=1.0, beta=0.0, num_iterations=1, max_grad_norm=1.0,
            seed=1, use_cpu=True, bf16=False, use_vllm=False,
            # TRL's default recomputes every layer; a model that fits has no use for it.
            activation_checkpointing=False,
            logging_strategy="no", save_strategy="no", report_to="none", disable_tqdm=True,
        )
        clock = Clock()
        trainer = trl.GRPOTrainer(
            load(arguments), reward, config, train_dataset=data, callbacks=[clock],
            processing_class=transformers.AutoTokenizer.from_pretrained(arguments.folder),
        )
        trainer.train()
    laps, told = clock.watch.laps, sampled[WARM_UP:]
    assert len(laps) == len(told) == arguments.steps, (laps, sampled)
    tokens = sum(told) / len(told)
    mean = round(tokens / (PROMPTS * ANSWERS), 1)
    return arguments, tokens, laps, clock.others, mean


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        arguments, tokens, laps, others, mean = main()
    report(
        "peer/rl-step", arguments, tokens, laps, others, IMPORT_MB, ["trl", "accelerate"], tokens_per_answer=mean,
        micro_batch=arguments.micro_batch,
    )
