"""House: a base of the house's own, pre-trained from scratch on real text in English, Japanese and Python.

It is small enough to be trained on one CPU thread in an hour, and big enough that experts on real data differ.
Its worth is what it has *not* read: everything that experts are later trained or measured on stays out of it, so an
expert's gain is the expert's. This file is the one place where that is written down:

    SOURCES    the files it reads, and how a row of each becomes a text
    HELD_OUT   what it never reads, whatever SOURCES says; `held_out` says it for tasks of natural instructions

The weights are made by `yosegi run pretrain_house` and lie in the cache (`$YOSEGI_CACHE`, else ~/.cache/yosegi).
"""

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from yosegi import files
from yosegi.errors import NoData

Row = dict[str, Any]

NAME = "house-c9189d50611f"
"""The folder of the base that `pretrain_house` makes with its own settings: `name(Config())`, held equal by a test."""

HELD_OUT = (
    "math_*/*",  # GSM8K, gsm8k_ja, MATH and their kin: what the math experts learn
    "code/mbpp*",
    "corpus/ja_railway_law*",  # the domain corpora: what continued pre-training adds
    "corpus/ja_food_*",
    "*_terms",
    "instruct/self_instruct*",  # the rest is for evaluation only; some of it carries a canary
    "instruct/bbh*",
    "instruct/ifeval*",
    "instruct/elyza*",
    "instruct/jmt*",
    "code/humaneval*",
    "*mmlu*",
)
"""Patterns of files that are never read. To these come the tasks that `held_out` names, all but TRAINING splits, and
any text with a question out of those: benchmarks share questions, and natural instructions are made of benchmarks."""

TRAINING = ("train", "practice")
"""The splits that may be read. Exercism has only one, which it calls practice."""

LANGUAGES = {"en": "en", "mixed": "en", "ja": "ja", "python": "code"}


class Document(NamedTuple):
    """One text, where it came from and what it is written in: "en", "ja" or "code"."""

    source: str
    language: str
    text: str


def held_out(task: str) -> bool:
    """Whether a task of natural instructions is kept out: those, about half, whose name has an odd SHA-1."""
    return int(hashlib.sha1(task.encode(), usedforsecurity=False).hexdigest(), 16) % 2 == 1


def kept_out(source: str) -> bool:
    """Whether a file, named by its path without the ending, is one that the base never reads."""
    return any(fnmatch(source, pattern) for pattern in HELD_OUT)


def texts(data: Path) -> Iterator[str]:
    """The texts that the base is trained on, each once, out of a data folder."""
    for document in documents(data):
        yield document.text


def documents(data: Path) -> Iterator[Document]:
    """`texts` with their sources and languages. A context that many questions share is told once; a text with a
    question that is also asked where nothing may be read is left out."""
    contexts: set[str] = set()
    told: set[str] = set()
    asked = set(_asked(data))
    for source, write in SOURCES.items():
        if kept_out(source):
            continue
        definitions = _definitions(data, source)
        for row in files.read_jsonl(_file(data, source)):
            if row["split"] not in TRAINING or ("task" in row and held_out(row["task"])):
                continue
            row["definition"] = definitions.get(row.get("task", ""), "")
            if (context := row.get("context")) in contexts:
                row["context"] = None
            elif context:
                contexts.add(context)
            text = write(row).strip()
            if text not in told and asked.isdisjoint(_lines(text)):
                told.add(text)
                yield Document(source, LANGUAGES[row["lang"]], text)


def name(settings: dict[str, Any]) -> str:
    """The name of a base: a hash of what makes it, the settings of its training and the lists of this file."""
    recipe = {"settings": settings, "sources": list(SOURCES), "held_out": HELD_OUT, "training": TRAINING}
    return f"house-{hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]}"


def cache() -> Path:
    """Where bases made on this machine lie."""
    return Path(os.environ.get("YOSEGI_CACHE") or Path.home() / ".cache" / "yosegi") / "bases"


def folder() -> Path:
    """The folder of the base: weights, tokenizer and card, as transformers reads them."""
    if not (here := cache() / NAME).is_dir():
        raise NoData(
            f"The base 'house' is not on this machine ({here}); an hour of one CPU thread: yosegi run pretrain_house"
        )
    return here


def _file(data: Path, source: str) -> Path:
    if not (file := data / f"{source}.jsonl").is_file():
        raise NoData(
            f"The base 'house' is trained on {source}.jsonl, which the data folder {str(data)!r} does not have."
        )
    return file


def _asked(data: Path) -> Iterator[str]:
    """The questions that must not be read, from every file of the folder: the same one may stand in two benchmarks."""
    for file in sorted(data.glob("*/*.jsonl*")):
        source = f"{file.parent.name}/{file.name.split('.')[0]}"
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if kept_out(source) or (row.get("split") or "train") not in TRAINING:
                    for field in ("question", "instruction"):
                        yield from _lines(row.get(field) or "")


def _lines(text: str) -> Iterator[str]:
    """The lines of a text that are too long to be in two texts by chance, also without the labels before them."""
    for line in text.split("\n"):
        parts = line.strip().split(": ")  # "Input: Question: Where …"
        for first in range(len(parts)):
            if len(said := ": ".join(parts[first:])) >= 20:
                yield said


def _definitions(data: Path, source: str) -> dict[str, str]:
    """What each task of natural instructions asks for; {} for other sources."""
    if not source.startswith("instruct/") or "ni_v" not in source:
        return {}
    rows = files.read_jsonl(_file(data, source.replace("_train", "_tasks")))
    return {row["task"]: row["definition"] for row in rows if not held_out(row["task"])}


# How a row becomes a text: plainly, as such a text would be found.


def _prose(row: Row) -> str:
    return "\n\n".join(part for part in (row["title"], row["text"]) if part)


def _choice(row: Row) -> str:
    ask, answer = ("質問", "答え") if row["lang"] == "ja" else ("Question", "Answer")
    choices = "".join(f"{letter}. {choice}\n" for letter, choice in zip("ABCDEFGH", row["choices"], strict=False))
    return f"{ask}: {row['question']}\n{choices}{answer}: {row['answer']}. {row['choices'][row['answer_index']]}"


def _reasoned(row: Row) -> str:
    return f"Question: {row['question']}\nAnswer: {row['solution']} The answer is {row['answer']}."


def _read(row: Row) -> str:
    ask, answer = ("質問", "答え") if row["lang"] == "ja" else ("Question", "Answer")
    context = f"{row['context']}\n\n" if row["context"] else ""
    return f"{context}{ask}: {row['question']}\n{answer}: {row['answers'][0]}"


def _research(row: Row) -> str:
    context = f"{row['context']}\n\n" if row["context"] else ""
    return f"{context}Question: {row['question']}\nAnswer: {row['answer']}. {row['long_answer']}"


def _acceptable(row: Row) -> str:
    return f"文: {row['sentence1']}\n自然な日本語か: {'はい' if row['label'] == 'acceptable' else 'いいえ'}"


def _entails(row: Row) -> str:
    relation = {"entailment": "含意", "contradiction": "矛盾", "neutral": "中立"}[row["label"]]
    return f"前提: {row['sentence1']}\n仮説: {row['sentence2']}\n関係: {relation}"


def _chat(row: Row) -> str:
    return f"Instruction: {row['instruction']}\n{row['input'] or ''}\nResponse: {row['outputs'][0]}"


def _function(row: Row) -> str:
    return row["prompt"] + row["solution"]  # the docstring in the prompt is the instruction


def _exercise(row: Row) -> str:
    return f"{row['instruction']}\n\n```python\n{row['solution']}\n```"


def _instance(row: Row) -> str:
    return f"Definition: {row['definition']}\n\nInput: {row['input']}\n\nOutput: {row['outputs'][0]}"


SOURCES: dict[str, Callable[[Row], str]] = {
    "corpus/en_general_wiki": _prose,
    "corpus/ja_general": _prose,
    "instruct/oasst_train": _chat,
    "instruct/ni_v1_train": _instance,
    "instruct/sni_v2_train": _instance,
    "knowledge_en/arc_challenge_train": _choice,
    "knowledge_en/arc_easy_train": _choice,
    "knowledge_en/boolq_train": _choice,
    "knowledge_en/commonsenseqa_train": _choice,
    "knowledge_en/creak_cot_train": _reasoned,
    "knowledge_en/openbookqa_train": _choice,
    "knowledge_en/qasc_cot_train": _reasoned,
    "knowledge_ja/jaquad_train": _read,
    "knowledge_ja/jcommonsenseqa_train": _choice,
    "nlu_ja/jcola_train": _acceptable,
    "nlu_ja/jsick_train": _entails,
    "domain_qa/medquad_train": _read,
    "domain_qa/pubmedqa_train": _research,
    "code/exercism_py": _exercise,
    "code/thealgorithms_py": _function,
}
