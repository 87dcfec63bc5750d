"""Prompts from where people have them: arguments, a file, standard input."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi.engine.chat import Prompt
from yosegi.errors import Invalid
from yosegi.tasks.readers import records

NAMES = ("prompt", "question", "instruction", "text")
"""Fields of a row that hold a prompt."""


def read_prompts(texts: Sequence[str], file: Path | None = None, system: str = "") -> list[Prompt]:
    """Returns prompts in order: the texts, then those of the file; without either, standard input is one prompt.

    Args:
        texts: prompts.
        file: one prompt per line; or rows, in any form that `records` reads, with `messages` or one of `NAMES`. "-" has the
            lines of standard input.
        system: a system message before each prompt.

    Raises:
        NoData: the file is not there. Invalid: a row holds no prompt.
    """
    found: list[Prompt] = list(texts)
    if file is not None and str(file) != "-" and file.suffix != ".txt":
        found += [_prompt(file, record) for record in records.read(file)]
    elif file is not None:
        lines = sys.stdin if str(file) == "-" else (str(record.row["text"]) for record in records.read(file))
        found += [line.strip() for text in lines for line in text.splitlines() if line.strip()]
    elif not texts and not sys.stdin.isatty() and (text := sys.stdin.read().strip()):
        found.append(text)
    return [_with_system(one, system) for one in found] if system else found


def _prompt(file: Path, record: records.Record) -> Prompt:
    row: dict[str, Any] = record.row
    if isinstance(turns := row.get("messages"), list) and turns and all(isinstance(turn, dict) for turn in turns):
        if turns[-1].get("role") == "assistant":  # the answer of a row that was meant for training
            turns = turns[:-1]
        return [{"role": str(turn.get("role")), "content": str(turn.get("content") or "")} for turn in turns]
    for name in NAMES:
        if isinstance(row.get(name), str):
            extra = row.get("input") if name == "instruction" else None
            return f"{row[name]}\n\n{extra}" if extra else row[name]
    raise Invalid(f"{file}, {record.place}, has no prompt: it needs messages, or one of {', '.join(NAMES)}.")


def _with_system(prompt: Prompt, system: str) -> Prompt:
    turns: Any = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return [{"role": "system", "content": system}, *(turn for turn in turns if turn["role"] != "system")]
