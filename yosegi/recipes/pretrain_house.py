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

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from transformers.utils import logging

from yosegi import files
from yosegi.bases import house
from yosegi.bases.house import Document
from yosegi.engine.packing import blocks
from yosegi.errors import NoData
from yosegi.run import Run
from yosegi.tasks.readers import data
from yosegi.training.pretrain import mean_loss, pretrain


@dataclass(frozen=True)
class Config:
    """The settings decide the name of the base: another value of any field makes another base."""

    vocabulary: int = 8192
    """Entries of the tokenizer, a byte-level BPE in which every digit stands alone."""
    hidden: int = 160
    """Width of the model."""
    layers: int = 4
    """Number of blocks."""
    heads: int = 5
    """Attention heads of a block."""
    mlp: int = 448
    """Inner width of the MLP of a block."""
    length: int = 256
    """Tokens of a training row."""
    steps: int = 1000
    """Steps of the training."""
    batch: int = 16
    """Rows of a step."""
    lr: float = 4e-3
    """The highest learning rate."""
    seed: int = 0
    """Decides the first weights and the order of the rows."""
    compile: bool = True
    """Compile the loss: a third faster once the first minute is over."""
    publish: bool = True
    """Put the result into the cache, where the base `house` is looked for; else it stays in the run."""


SPECIAL = ["<|pad|>", "<|bos|>", "<|eos|>"]
"""The first entries of the vocabulary, in this order."""

SMOKE = Config(
    vocabulary=400, hidden=32, layers=1, heads=2, mlp=64, length=32, steps=20, batch=8, compile=False, publish=False
)


def main(config: Config, run: Run) -> None:
    """Texts -> tokenizer -> rows -> model -> card, and the whole into its place at once."""
    logging.disable_progress_bar()  # of transformers, for files that take no time
    training, validation = split(read(config))
    tokenizer = learn_tokenizer((document.text for document in training), config.vocabulary)

    def rows(documents: list[Document]) -> torch.Tensor:
        return blocks(
            tokenizer([document.text for document in documents])["input_ids"], config.length, SPECIAL.index("<|eos|>")
        )

    rows_NT, validation_NT = rows(training), rows(validation)
    on_gpu = torch.cuda.is_available()
    model = build(config)
    model.to("cuda" if on_gpu else "cpu")  # type: ignore[arg-type]
    pretrain(
        model,
        rows_NT,
        run,
        steps=config.steps,
        batch=config.batch,
        lr=config.lr,
        seed=config.seed,
        validation_NT=validation_NT,
        evaluate_every=300,
        checkpoint_every=100,
        micro=config.batch if on_gpu else 4,
        bf16=on_gpu,
        compile=config.compile,
    )

    measured = {}
    for language in sorted({document.language for document in validation}):
        of_NT = rows([document for document in validation if document.language == language])
        measured[language] = {"perplexity": exp(mean_loss(model, of_NT)), "tokens": of_NT.numel()}
        run.result({"model": "house", "task": f"corpus/{language}", "split": "validation", "metric": "perplexity",
                    "value": measured[language]["perplexity"], "n": len(of_NT), "seed": config.seed})  # fmt: skip
    card = {
        "name": house.name(asdict(config)),
        "recipe": "pretrain_house",
        "settings": asdict(config),
        "seed": config.seed,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "tokens_in_texts": rows_NT.numel(),
        "tokens_seen": config.steps * config.batch * config.length,
        "validation": measured,
        "sources": list(house.SOURCES),
        "held_out": list(house.HELD_OUT),
    }
    tokenizer.model_max_length = model.config.max_position_embeddings
    place = house.cache() / card["name"] if config.publish else run.path / "model"
    with files.new_folder(place) as new:
        model.save_pretrained(new)  # fp32: a bf16 copy is half the size, but many CPUs compute it ten times slower
        tokenizer.save_pretrained(new)
        files.write_json(new / "card.json", card)
        files.write(new / "README.md", describe(card))


def read(config: Config) -> list[Document]:
    """The documents of the data folder; a trial takes one in fifty, and without a folder makes do with sums."""
    if (where := data.folder()) is not None:
        return list(house.documents(where))[:: 1 if config.publish else 50]
    if config.publish:
        raise NoData("No data folder to pre-train on. Set YOSEGI_DATA or --data to a folder of JSONL files.")
    sums = [(a, b) for a in range(20) for b in range(20)]
    return (
        [Document("sums", "en", f"Question: What is {a} plus {b}?\nAnswer: {a + b}") for a, b in sums]
        + [Document("sums", "ja", f"質問: {a}足す{b}はいくつですか。\n答え: {a + b}") for a, b in sums]
        + [Document("sums", "code", f"def add_{a}_{b}():\n    return {a} + {b}  # {a + b}\n") for a, b in sums]
    )


def split(documents: list[Document]) -> tuple[list[Document], list[Document]]:
    """One document in fifty, chosen by its text, is for validation."""
    training: list[Document] = []
    validation: list[Document] = []
    for document in documents:
        (validation if data.hashed(document.text) % 50 == 0 else training).append(document)
    return training, validation


def learn_tokenizer(texts: Iterable[str], size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE: no text is beyond it. Digits stand alone, so that numbers can be computed with."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    pad, bos, eos = SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=eos)


def build(config: Config) -> LlamaForCausalLM:
    """A Llama with tied embeddings, freshly initialised."""
    torch.manual_seed(config.seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.hidden,
            intermediate_size=config.mlp,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            max_position_embeddings=4 * config.length,  # longer texts may be asked for, though none was trained on
            tie_word_embeddings=True,
            pad_token_id=SPECIAL.index("<|pad|>"),
            bos_token_id=SPECIAL.index("<|bos|>"),
            eos_token_id=SPECIAL.index("<|eos|>"),
        )
    )


def describe(card: dict) -> str:
    """The README of the model, from its card."""
    measured = "\n".join(
        f"| {language} | {m['perplexity']:.2f} | {m['tokens']:,} |" for language, m in card["validation"].items()
    )
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
