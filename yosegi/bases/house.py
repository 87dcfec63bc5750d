"""House: a base of the house's own, pre-trained from scratch on real text in English, Japanese and Python.

It is small enough to be trained on one CPU thread in an hour, and big enough that experts on real data differ.
Its worth is what it has *not* read: everything that experts are later trained or measured on stays out of it, so that
the gain of an expert is its own. This file is the one place where that is written down:

    SOURCES    the files it reads, and the template by which a row of each becomes a text
    HELD_OUT   what it never reads, whatever SOURCES lists; `held_out` decides about tasks of natural instructions

The weights are made by `yosegi run pretrain_house` and lie in the cache (`$YOSEGI_CACHE`, else ~/.cache/yosegi).
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
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
    """Returns whether a task of natural instructions is kept out: those, about half, whose name has an odd SHA-1."""
    return int(hashlib.sha1(task.encode(), usedforsecurity=False).hexdigest(), 16) % 2 == 1


def kept_out(source: str) -> bool:
    """Returns whether a file, named by its path without the ending, is one that the base never reads."""
    return any(fnmatch(source, pattern) for pattern in HELD_OUT)


def documents(data: Path) -> Iterator[Document]:
    """Yields the texts that the base is trained on, each once, out of a data folder. A context that many questions share is in
    the first of them only; a text with a question that also stands in a file that is kept out is left out."""
    contexts: set[str] = set()
    texts: set[str] = set()
    forbidden = set(_forbidden(data))
    for source, template in SOURCES.items():
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
            text = _write(row, template).strip()
            if text not in texts and forbidden.isdisjoint(_lines(text)):
                texts.add(text)
                yield Document(source, LANGUAGES[row["lang"]], text)


def name(settings: dict[str, Any]) -> str:
    """Returns the name of a base: a hash of the settings of its training and the lists of this file."""
    recipe = {"settings": settings, "sources": list(SOURCES), "held_out": HELD_OUT, "training": TRAINING}
    return f"house-{hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()[:12]}"


def cache() -> Path:
    """Returns the folder of bases made on this machine."""
    return Path(os.environ.get("YOSEGI_CACHE") or Path.home() / ".cache" / "yosegi") / "bases"


def folder(fetch: bool | None = None) -> Path:
    """Returns the folder of the base: weights, tokenizer and card, as transformers reads them."""
    if not (path := cache() / NAME).is_dir():
        raise NoData(
            f"The base 'house' is not on this machine ({path}); an hour of one CPU thread: yosegi run pretrain_house"
        )
    return path


def _file(data: Path, source: str) -> Path:
    if not (file := data / f"{source}.jsonl").is_file():
        raise NoData(
            f"The base 'house' is trained on {source}.jsonl, which the data folder {str(data)!r} does not have."
        )
    return file


def _forbidden(data: Path) -> Iterator[str]:
    """Yields the questions that must not be read, from every file of the folder: the same may stand in two benchmarks."""
    for file in sorted(data.glob("*/*.jsonl*")):
        source = f"{file.parent.name}/{file.name.split('.')[0]}"
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for row in map(json.loads, lines):
                if kept_out(source) or (row.get("split") or "train") not in TRAINING:
                    for field in ("question", "instruction"):
                        yield from _lines(row.get(field) or "")


def _lines(text: str) -> Iterator[str]:
    """Yields the lines of a text that are too long to be in two texts by chance, also without the labels before them."""
    for line in text.split("\n"):
        parts = line.strip().split(": ")  # "Input: Question: Where …"
        for first in range(len(parts)):
            if len(rest := ": ".join(parts[first:])) >= 20:
                yield rest


def _definitions(data: Path, source: str) -> dict[str, str]:
    """Returns what each task of natural instructions asks for; {} for other sources."""
    if not source.startswith("instruct/") or "ni_v" not in source:
        return {}
    rows = files.read_jsonl(_file(data, source.replace("_train", "_tasks")))
    return {row["task"]: row["definition"] for row in rows if not held_out(row["task"])}


def _write(row: Row, template: str) -> str:
    """Returns a row as a text, plainly, as such a text would be found."""
    question, answer = ("質問", "答え") if row["lang"] == "ja" else ("Question", "Answer")
    known = {key: "" if value is None else value for key, value in row.items()}
    known |= {"Q": question, "A": answer, "label": LABELS.get(row.get("label") or "", "")}
    if row.get("context"):
        known["context"] = f"{row['context']}\n\n"
    if row.get("choices"):
        lettered = zip("ABCDEFGH", row["choices"], strict=False)
        known["lettered"] = "".join(f"{letter}. {choice}\n" for letter, choice in lettered)
        known["choice"] = row["choices"][row["answer_index"]]
    return template.format_map(known)


LABELS = {
    "acceptable": "はい", "unacceptable": "いいえ", "entailment": "含意", "contradiction": "矛盾", "neutral": "中立",
}  # fmt: skip
PROSE = "{title}\n\n{text}"
CHAT = "Instruction: {instruction}\n{input}\nResponse: {outputs[0]}"
INSTANCE = "Definition: {definition}\n\nInput: {input}\n\nOutput: {outputs[0]}"
CHOICE = "{Q}: {question}\n{lettered}{A}: {answer}. {choice}"
REASONED = "Question: {question}\nAnswer: {solution} The answer is {answer}."
READ = "{context}{Q}: {question}\n{A}: {answers[0]}"

SOURCES = {
    "corpus/en_general_wiki": PROSE,
    "corpus/ja_general": PROSE,
    "instruct/oasst_train": CHAT,
    "instruct/ni_v1_train": INSTANCE,
    "instruct/sni_v2_train": INSTANCE,
    "knowledge_en/arc_challenge_train": CHOICE,
    "knowledge_en/arc_easy_train": CHOICE,
    "knowledge_en/boolq_train": CHOICE,
    "knowledge_en/commonsenseqa_train": CHOICE,
    "knowledge_en/creak_cot_train": REASONED,
    "knowledge_en/openbookqa_train": CHOICE,
    "knowledge_en/qasc_cot_train": REASONED,
    "knowledge_ja/jaquad_train": READ,
    "knowledge_ja/jcommonsenseqa_train": CHOICE,
    "nlu_ja/jcola_train": "文: {sentence1}\n自然な日本語か: {label}",
    "nlu_ja/jsick_train": "前提: {sentence1}\n仮説: {sentence2}\n関係: {label}",
    "domain_qa/medquad_train": READ,
    "domain_qa/pubmedqa_train": "{context}Question: {question}\nAnswer: {answer}. {long_answer}",
    "code/exercism_py": "{instruction}\n\n```python\n{solution}\n```",
    "code/thealgorithms_py": "{prompt}{solution}",  # the docstring in the prompt is the instruction
}
