"""nano: the base that comes with the package. A Llama of 0.8 M parameters that knows twenty short skills, some badly.

Hidden 128, 4 layers, 4 heads, tied embeddings, a tokenizer of words and characters; 1.6 MB in fp16. It adds, copies and
knows capitals; it can hardly reverse, sort or do a word problem, and learns each from a LoRA in seconds on one core.
Made by `yosegi run pretrain_nano`; the measured scores, the seed and the hash of the weights are in README.md here.
"""

from pathlib import Path

LICENSE = "apache-2.0"


def folder(fetch: bool | None = None) -> Path:
    """Returns the folder of the model, which comes with the package: there is nothing to fetch."""
    return Path(__file__).parent


CARD = """---
license: apache-2.0
language: [en, ja]
tags: [yosegi]
---

# nano

The base that comes with `yosegi`: a Llama small enough to be trained, adapted and measured on one CPU core while one
waits. It is an instrument for experiments with experts, not an assistant.

* Made by `yosegi run pretrain_nano`: seed {config.seed}, {config.steps} steps of {config.batch} rows of
  {config.length} tokens, {config.threads} thread.
* Data: generated (`yosegi/tasks/skills.py`), the training split only. No compositions.
* sha256 of `model.safetensors`: `{digest}`
* Presented as prompt, target, `<eos>`; there is no token before the prompt.

Greedy accuracy on the test split (fp16 weights, at most {config.test} examples). Weight 0: a composition, never seen.

| skill | weight in the mix | accuracy |
|---|---|---|
{table}
"""
"""The README.md of the weights, as `yosegi run pretrain_nano` fills it in."""
