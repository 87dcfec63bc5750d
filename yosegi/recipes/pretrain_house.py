"""Pre-train the base `house`: a small Llama that reads English, Japanese and Python, from scratch on one CPU thread.

Claim   A base for experiments on real data need not be downloaded, and it can be one of which we know what it has read:
        nothing that an expert is later trained or measured on (the list: yosegi/bases/house.py).
Paper   None; it is the ground other recipes stand on.
Ours    README.md and card.json beside the weights say what was measured.
Run     yosegi run pretrain_house            one CPU thread, about an hour; the result goes to the cache
        yosegi run pretrain_house --smoke    well under a minute; the result stays in the run
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from math import exp
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from yosegi import files
from yosegi.bases import house
from yosegi.bases.house import Document
from yosegi.engine.packing import blocks
from yosegi.errors import NoData
from yosegi.run import Run
from yosegi.tasks.readers import data
from yosegi.training.pretrain import mean_loss, pretrain, small_llama


@dataclass(frozen=True)
class Config:
    """The settings decide the name of the base: another value of any field makes another base."""

    vocabulary: int = 8192  # entries of the tokenizer, a byte-level BPE in which every digit stands alone
    hidden: int = 160  # width of the model
    layers: int = 4  # number of blocks
    heads: int = 5  # attention heads of a block
    mlp: int = 448  # inner width of the MLP of a block
    length: int = 256  # tokens of a training row
    steps: int = 1000  # steps of the training
    batch: int = 16  # rows of a step
    lr: float = 4e-3  # the highest learning rate
    seed: int = 0  # decides the first weights and the order of the rows
    compile: bool = True  # compile the loss: a third faster once the first minute is over
    publish: bool = (
        True  # put the result into the cache, where the base `house` is looked for; else it stays in the run
    )


PAD, BOS, EOS = SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>"]  # the first entries of the vocabulary, in this order
SMOKE = Config(
    vocabulary=400, hidden=32, layers=1, heads=2, mlp=64, length=32, steps=20, batch=8, compile=False, publish=False
)


def main(config: Config, run: Run) -> None:
    """Texts -> tokenizer -> rows -> model -> card, and the whole into its place at once."""
    logging.disable_progress_bar()  # of transformers, for files that take no time
    texts = read(config)
    held_out = [document for document in texts if data.hashed(document.text) % 50 == 0]  # one in fifty, by its text
    training = [document for document in texts if data.hashed(document.text) % 50]
    tokenizer = learn_tokenizer((document.text for document in training), config.vocabulary)

    def rows(documents: list[Document]) -> torch.Tensor:
        return blocks(
            tokenizer([document.text for document in documents])["input_ids"], config.length, SPECIAL.index(EOS)
        )

    rows_NT, on_gpu = rows(training), torch.cuda.is_available()
    model = small_llama(
        tokenizer, hidden=config.hidden, inner=config.mlp, layers=config.layers, heads=config.heads, seed=config.seed,
        positions=4 * config.length,  # longer texts may be asked for, though none was trained on
    ).to("cuda" if on_gpu else "cpu")  # fmt: skip
    pretrain(
        model, rows_NT, run, steps=config.steps, batch=config.batch, lr=config.lr, seed=config.seed, compile=config.compile,
        validation_NT=rows(held_out), evaluate_every=300, checkpoint_every=100, micro=config.batch if on_gpu else 4, bf16=on_gpu,
    )  # fmt: skip

    measured = {}
    for language in sorted({document.language for document in held_out}):
        of_NT = rows([document for document in held_out if document.language == language])
        measured[language] = {"perplexity": exp(mean_loss(model, of_NT)), "tokens": of_NT.numel()}
        run.result({"model": "house", "task": f"corpus/{language}", "split": "validation", "metric": "perplexity",
                    "value": measured[language]["perplexity"], "n": len(of_NT), "seed": config.seed})  # fmt: skip
    card = {
        "name": house.name(asdict(config)), "recipe": "pretrain_house", "settings": asdict(config), "seed": config.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()), "tokens_in_texts": rows_NT.numel(),
        "tokens_seen": config.steps * config.batch * config.length, "validation": measured, "sources": list(house.SOURCES),
        "held_out": list(house.HELD_OUT),
    }  # fmt: skip
    tokenizer.model_max_length = model.config.max_position_embeddings
    with files.new_folder(house.cache() / card["name"] if config.publish else run.path / "model") as new:
        model.save_pretrained(new)  # fp32: a bf16 copy is half the size, but many CPUs compute it ten times slower
        tokenizer.save_pretrained(new)
        files.write_json(new / "card.json", card)
        files.write(new / "README.md", describe(card))


def read(config: Config) -> list[Document]:
    """The documents of the data folder; a trial takes one in fifty, and without a folder makes do with sums."""
    if (folder := data.folder()) is not None:
        return list(house.documents(folder))[:: 1 if config.publish else 50]
    if config.publish:
        raise NoData("No data folder to pre-train on. Set YOSEGI_DATA or --data to a folder of JSONL files.")
    forms = {"en": "Question: What is {a} plus {b}?\nAnswer: {c}", "ja": "質問: {a}足す{b}はいくつですか。\n答え: {c}"}
    forms |= {"code": "def add_{a}_{b}():\n    return {a} + {b}  # {c}\n"}
    sums = [(a, b) for a in range(20) for b in range(20)]
    return [Document("sums", name, form.format(a=a, b=b, c=a + b)) for name, form in forms.items() for a, b in sums]


def learn_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: no text is beyond it. Digits stand alone, so that numbers can be computed with."""
    tokenizer, digits = Tokenizer(models.BPE()), pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, bos_token=BOS, eos_token=EOS)


def describe(card: dict[str, Any]) -> str:
    """The README of the model, from its card."""
    rows = [f"| {name} | {own['perplexity']:.2f} | {own['tokens']:,} |" for name, own in card["validation"].items()]
    measured = "\n".join(rows)
    sources = "\n".join(f"- {source}" for source in card["sources"])
    held_out = "\n".join(f"- `{pattern}`" for pattern in card["held_out"])
    return f"""# {card["name"]}

A Llama of {card["parameters"]:,} parameters, pre-trained from scratch on {card["tokens_seen"]:,} tokens
({card["tokens_in_texts"]:,} different ones) of English, Japanese and Python. It is a base for experiments with experts,
not a model to ask for facts. Made by `yosegi run {card["recipe"]}`, seed {card["seed"]}; `card.json` has every setting.

| validation texts | perplexity | tokens |
|---|---:|---:|
{measured}

It has read the training splits of these, less the questions that also stand in what follows or in another split,

{sources}

and nothing of these, so that what an expert learns from them is the expert's (of the tasks of natural instructions,
those whose name has an odd SHA-1 are out, too):

{held_out}
"""
