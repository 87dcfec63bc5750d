"""What is in a file of rows, before anything learns from it: how it was understood, lengths, what is cut, what comes twice."""

import sys
from collections import Counter
from collections.abc import Sequence
from statistics import quantiles
from typing import Any

from yosegi.bases import Base
from yosegi.engine.rows import cut_words, tokenise
from yosegi.objectives import IGNORED
from yosegi.tasks import Example
from yosegi.tasks.file import File

LEARNT = ("«", "»")
"""Around the part of an example that is learnt."""


def check_rows(task: File, base: Base | None = None, max_length: int = 1024, shown: int = 3) -> dict[str, Any]:
    """Returns what `yosegi data check` prints.

    Args:
        task: the rows.
        base: whose tokens are counted; without one it is characters.
        max_length: tokens of a training row.
        shown: how many examples are given as the model reads them.
    """
    every = [example for examples in task.splits.values() for example in examples]
    answered = [example for example in every if example.target]
    lengths = {"prompt": [len(e.prompt) for e in every], "answer": [len(e.target) for e in answered]}
    result: dict[str, Any] = {"rows": len(every), "read_as": dict(task.kinds), "metric": task.metric}
    result |= {"splits": {name: len(examples) for name, examples in task.splits.items()}, "unit": "characters"}
    texts = [_marked((e.prompt, e.target)) for e in every[:shown]]
    if base is not None and answered:
        rows = tokenise(base, answered, sys.maxsize)
        learnt = [sum(label != IGNORED for label in row["labels"]) for row in rows]
        whole = [len(row["input_ids"]) + len(row["labels"]) * base.seq2seq for row in rows]
        lengths = {"prompt": [w - n for w, n in zip(whole, learnt, strict=True)], "answer": learnt, "row": whole}
        cut = tokenise(base, answered, max_length).cut
        result |= {"unit": "tokens", "base": base.name, "cut": cut_words(cut, len(rows)), "max_length": max_length}
        texts = [_decoded(base, row) for row in rows[:shown]]
    result["lengths"] = {name: _spread(values) for name, values in lengths.items() if values}
    return result | {"duplicates": _duplicates(task.splits), "examples": texts}


def _spread(values: Sequence[int]) -> dict[str, int]:
    cuts = quantiles(values, n=20, method="inclusive") if len(values) > 1 else [values[0]] * 19
    return {"median": round(cuts[9]), "95%": round(cuts[18]), "longest": max(values)}


def _duplicates(splits: dict[str, list[Example]]) -> dict[str, int]:
    """Rows that say the same twice, questions with several answers, and questions of the test that can be learnt."""
    pairs = Counter((e.prompt, e.target) for examples in splits.values() for e in examples)
    prompts = Counter(prompt for prompt, _ in pairs if prompt)
    learnt = {e.prompt for e in splits.get("train", ()) if e.prompt}
    return {
        "repeated rows": sum(pairs.values()) - len(pairs),
        "questions with several answers": sum(count > 1 for count in prompts.values()),
        "test questions that are learnt, too": sum(e.prompt in learnt for e in splits.get("test", ())),
    }


def _marked(text: tuple[str, str]) -> str:
    return f"{text[0]}{LEARNT[0]}{text[1]}{LEARNT[1]}" if text[1] else text[0]


def _decoded(base: Base, row: dict[str, list[int]]) -> str:
    """The tokens of a row as text; what is learnt of it is marked."""
    decode = base.tokenizer.decode
    if base.seq2seq:
        return _marked((decode(row["input_ids"]), decode(row["labels"])))
    parts, start = list[str](), 0
    learnt = [label != IGNORED for label in row["labels"]]
    for end in range(1, len(learnt) + 1):
        if end == len(learnt) or learnt[end] != learnt[start]:
            text = decode(row["input_ids"][start:end])
            parts.append(_marked(("", text)) if learnt[start] else text)
            start = end
    return "".join(parts)
