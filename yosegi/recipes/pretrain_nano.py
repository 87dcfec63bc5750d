"""Make `nano`, the embedded base: pre-train 0.8 M parameters on twenty generated skills, measure each, write a card.

Claim   The mix decides what the model can do: common skills come out perfect, starved ones poor but ready to be learnt.
Paper   None; it is the ground the other recipes stand on.      Ours: the table in `yosegi/bases/nano/README.md`.
Run     yosegi run pretrain_nano            one CPU core, ten minutes
        yosegi run pretrain_nano --smoke    seconds; CI runs this
"""

import hashlib
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from yosegi import Arm, evaluate, files
from yosegi.bases import Base, nano
from yosegi.run import Run
from yosegi.tasks.skills import Skills
from yosegi.training.pretrain import PretrainSettings, pretrain

MIX = {"add": 3.0, "sub": 2.0, "mul": 1.0, "copy": 0.5, "upper": 0.5, "last": 0.4, "max": 0.4}
MIX |= {"capital": 0.3, "unit": 0.4, "binary": 0.4, "janum": 0.3, "ennum": 0.3}
STARVED = {"chain": 0.1, "wp_en": 0.04, "wp_ja": 0.03, "reverse": 0.015, "sort": 0.05, "succ": 0.06}
STARVED |= {"shift": 0.01, "double": 0.015}
"""How often each skill is drawn. The starved ones are seen just often enough for an expert to build on."""

WORD = re.compile(" ?[A-Za-z]{2,}|[ぁ-ゖ]{2,}|[ァ-ヶー]{2,}")
SPECIAL = ("<pad>", "<eos>", "<unk>")
PAD, EOS = 0, 1  # their places in it


@dataclass(frozen=True)
class Config:
    """What makes one nano; the weights follow from it, to the last bit on one kind of CPU."""

    steps: int = 3000  # optimiser steps
    batch: int = 16  # rows of a step
    length: int = 64  # tokens of a row
    lr: float = 4e-3  # highest learning rate
    decay: float = 0.6  # share of the steps over which it falls to zero
    hidden: int = 128  # width of the model; its MLP is 2.5 times that
    layers: int = 4  # depth of the model
    bf16: bool = False  # compute in bfloat16: faster where the hardware has it
    compile: bool = False  # compile the loss; needs a C++ compiler
    threads: int = 1  # sums are rounded in another order with another number of threads
    seed: int = 0  # decides the examples, their order and the first weights
    test: int = 200  # examples each skill is measured on
    install: bool = False  # copy the result into the package, as its new embedded base


SMOKE = Config(steps=20, batch=8, hidden=32, layers=2, test=8)


def main(config: Config, run: Run) -> Path:
    """Tokenizer, rows, model, training, measurement, card. Returns the folder of the model."""
    logging.disable_progress_bar()  # of transformers, for files that take no time
    torch.set_num_threads(config.threads)
    tokenizer = make_tokenizer()
    torch.manual_seed(config.seed)
    shape = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=config.hidden, intermediate_size=config.hidden * 5 // 2,
        num_hidden_layers=config.layers, num_attention_heads=4, max_position_embeddings=256, tie_word_embeddings=True,
        pad_token_id=PAD, bos_token_id=EOS, eos_token_id=EOS,
    )  # fmt: skip
    shape._attn_implementation = "eager"  # the fastest for short rows on a CPU
    model = LlamaForCausalLM(shape)
    settings = PretrainSettings(
        max_steps=config.steps, per_device_train_batch_size=config.batch, learning_rate=config.lr, decay=config.decay,
        seed=config.seed, precision="bf16" if config.bf16 else "fp32",
    )  # fmt: skip
    pretrain(model, make_rows(config, tokenizer), run, settings, compile=config.compile)

    model = model.half().float()  # measured as it will be loaded
    rows = evaluate(
        Base("nano", "", model, tokenizer), [Arm("nano")], list(map(Skills, Skills.parts())), run, limit=config.test
    )
    scores = {row["task"].removeprefix("skills/"): row["value"] for row in rows if row["metric"] == "accuracy"}

    with files.new_folder(run.path / "nano") as folder:
        model.half().save_pretrained(folder)
        (folder / "model.safetensors").chmod(0o644)  # the library writes it for its owner only
        tokenizer.save_pretrained(folder)
        files.write(folder / "README.md", card(config, scores, folder))
    if config.install:
        for file in (run.path / "nano").iterdir():
            shutil.copy(file, nano.folder())
    return run.path / "nano"


def make_tokenizer() -> PreTrainedTokenizerFast:
    """Frequent words whole, everything else one character a token; decoding gives back the text exactly.

    A word never touches punctuation, and a prompt ends in punctuation: prompt and target meet between two tokens.
    """
    texts = [f"{p}{t}" for name in MIX | STARVED for p, t in islice(Skills(name).draw("train", Random(name)), 2000)]
    seen = Counter(word for text in texts for word in WORD.findall(text))
    words = sorted((word for word, count in seen.items() if count >= 10), key=lambda word: (-len(word), word))
    characters = sorted({chr(code) for code in range(32, 127)} | {"\n"} | set("".join(texts)))
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *characters, *words))}

    # Letters that only begin or end like a word ("tender") stay letters: a word of letters has none beside it.
    guarded = (re.escape(w) + "(?![A-Za-z])" if w[-1] <= "z" else w for w in words)
    guarded = ("(?<![A-Za-z])" + w if w[0].isalpha() and w[0] <= "z" else w for w in guarded)
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("|".join((*guarded, "(?m:.)"))), "isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", bos_token="<eos>", unk_token="<unk>",
        model_max_length=256, clean_up_tokenization_spaces=False,
    )  # fmt: skip


def make_rows(config: Config, tokenizer: PreTrainedTokenizerFast) -> Tensor:
    """As many rows as will be read. Each begins where an example begins, as a question does; its last one is cut."""
    documents = _documents(config, tokenizer)
    rows: list[list[int]] = []
    for _ in range(config.steps * config.batch):
        row: list[int] = []
        while len(row) < config.length:
            row += next(documents)
        rows.append(row[: config.length])
    return torch.tensor(rows)


def _documents(config: Config, tokenizer: PreTrainedTokenizerFast) -> Iterator[list[int]]:
    """Examples of the training split without end, each followed by the end-of-text token."""
    random, mix = Random(config.seed), MIX | STARVED
    streams = {name: Skills(name).draw("train", random) for name in mix}
    while True:
        drawn = random.choices(list(mix), list(mix.values()), k=1000)
        texts = ["".join(next(streams[name])) for name in drawn]
        yield from ([*ids, EOS] for ids in tokenizer(texts).input_ids)


def card(config: Config, scores: dict[str, float], folder: Path) -> str:
    """Returns the README.md of the model."""
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    lines = [f"| {name} | {(MIX | STARVED).get(name, 0):g} | {score:.2f} |" for name, score in scores.items()]
    return nano.CARD.format(config=config, digest=digest, table="\n".join(lines))
