"""Writes what both sides load: a small Qwen3 with random weights as a Hugging Face folder, and the prompts of `peer/rl-step`.

    python engine/model.py FOLDER      # config.json, model.safetensors, tokenizer.json, prompts.jsonl

The same commit writes the same bytes. A line of `prompts.jsonl` has the `question`, its `ground_truth`, the `prompt` as the
Qwen3 chat format renders it and the `tokens` of that.
"""

import json
import pathlib
import sys

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers, trainers

from answer import RESPONSE

# Of these only <|im_end|> ends an answer, for either side.
PAD, IM_START, IM_END = SPECIALS = ["<|pad|>", "<|im_start|>", "<|im_end|>"]
VOCABULARY = 512
SHAPE = dict(
    vocab_size=VOCABULARY, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4,
    num_key_value_heads=2, head_dim=64, max_position_embeddings=1024, rms_norm_eps=1e-6, rope_theta=1e6,
    tie_word_embeddings=True, attention_bias=False, hidden_act="silu", initializer_range=0.02,
)
PROMPTS, PROMPT_TOKENS = 16, 16
# Qwen's, but for contractions: words with their space, single digits, runs of punctuation, line ends.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LICENSE = pathlib.Path(__file__).parents[3] / "LICENSE"


def questions():
    pairs = [(10 + 5 * at, 97 - 3 * at) for at in range(PROMPTS)]
    return [(f"Sum {a} and {b}", str(a + b)) for a, b in pairs]


def rendered(question):
    return f"{IM_START}user\n{question}{IM_END}\n{IM_START}assistant\n"


def tokenizer():
    """Byte-level merges of English that never changes, the license, of an answer and of the prompts: 512 tokens."""
    tokens = tokenizers.Tokenizer(models.BPE())
    split = pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated")
    tokens.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokens.decoder = decoders.ByteLevel()
    texts = LICENSE.read_text().splitlines() + [RESPONSE] + [f"user\n{question}\nassistant\n" for question, _ in questions()]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    learn = trainers.BpeTrainer(vocab_size=VOCABULARY, special_tokens=SPECIALS, initial_alphabet=alphabet, show_progress=False)
    tokens.train_from_iterator(texts, learn)
    assert tokens.get_vocab_size() == VOCABULARY
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, eos_token=IM_END, pad_token=PAD)


def main():
    folder = pathlib.Path(sys.argv[1])
    words = tokenizer()
    torch.manual_seed(1)
    config = transformers.Qwen3Config(**SHAPE, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id)
    transformers.Qwen3ForCausalLM(config).float().save_pretrained(folder)
    words.save_pretrained(folder)
    rows = []
    for question, ground_truth in questions():
        prompt = rendered(question)
        tokens = words(prompt)["input_ids"]
        assert len(tokens) == PROMPT_TOKENS, (prompt, words.convert_ids_to_tokens(tokens))
        rows.append({"question": question, "ground_truth": ground_truth, "prompt": prompt, "tokens": tokens})
    # Last: run_engine.sh takes a folder that has it for whole.
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


if __name__ == "__main__":
    main()
