"""`peer/sample`: `generate` at temperature 1 over the whole vocabulary, prompts of 16 tokens, 128 more, no early end."""

import torch

from common import load, parse, peak_mb, report, timed

IMPORT_MB = peak_mb()
PROMPT, ANSWER = 16, 128
USUAL_BATCH = 64


def main():
    arguments = parse("batch", "times")
    model = load(arguments).eval()
    # An argument of None would mean "as the folder says".
    model.generation_config.eos_token_id = None
    ids = torch.randint(0, model.config.vocab_size, (arguments.batch, PROMPT))

    def sample(tokens=ANSWER):
        out = model.generate(
            input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, do_sample=True, temperature=1.0,
            top_k=0, top_p=1.0,
        )
        assert out.shape == (arguments.batch, PROMPT + tokens)

    with torch.no_grad():
        sample(8)
        laps, others = timed(sample, arguments.times)
    name = "peer/sample" if arguments.batch == USUAL_BATCH else f"peer/sample-{arguments.batch}"
    report(name, arguments, arguments.batch * ANSWER, laps, others, IMPORT_MB)


if __name__ == "__main__":
    main()
