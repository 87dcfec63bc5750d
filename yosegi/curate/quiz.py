"""A quiz about a corpus: one question for each definition sentence that is found, for a person to check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.curate import definitions
from yosegi.errors import Invalid
from yosegi.tasks.corpus import Corpus
from yosegi.tasks.readers import data, records


def draft_quiz(
    corpus: Sequence[str], out: str | Path, *, choices: int = 8, shots: int = 3, overwrite: bool = False
) -> dict[str, Any]:
    """Writes drafts of questions, each with `checked: false`; returns the file, the counts and the terms.

    Args:
        corpus: names of the task `corpus`, or files: .jsonl with texts, .txt.
        out: the .jsonl file, which `--task terms/OUT` then reads.
        choices: candidates of each question.
        shots: examples shown before each question.
        overwrite: replace the file, and what was checked in it.
    """
    out = Path(out)
    if not out.name.endswith(".jsonl"):
        raise Invalid(f"--out is a .jsonl file, not {str(out)!r}.")
    if out.exists() and not overwrite:
        raise Invalid(f"{out} exists; somebody may have checked it. --overwrite replaces it.")
    terms = definitions.definitions([row for name in corpus for row in _texts(name)])
    if len(terms) < 2:
        raise Invalid(
            f"{', '.join(corpus)}: {len(terms)} definition sentences found (「X」とは、…をいう; X means …; X is defined as …), "
            "and a quiz needs two."
        )
    rows = definitions.drafts(terms, choices, shots)
    files.write(out, files.lines(rows))
    questions = sum(row["split"] == "test" for row in rows)
    return {"out": str(out), "drafts": len(rows), "questions": questions, "terms": terms}


def _texts(name: str) -> list[dict[str, Any]]:
    """Returns the rows of the train split of one corpus, each with a unique id."""
    if name.endswith((".jsonl", ".jsonl.gz", ".txt")):
        pages = records.read(name)
        rows = [{**row, "id": key} for key, (_, row) in zip(records.names(pages, name), pages, strict=True)]
        title = Path(name).name
    else:
        title = Corpus(name.removeprefix("corpus/")).part
        rows = data.rows(f"corpus/{title}", None, f"The corpus {title}")
    if bad := next((row for row in rows if not isinstance(row.get("text"), str)), None):
        raise Invalid(f"{name}: the row {bad.get('id')!r} has no text.")
    if not (seen := [row for row in rows if row.get("split", "train") == "train"]):
        raise Invalid(f"{name} has no rows that training sees (split train).")
    return [{"title": title, **row, "id": f"{title}/{str(row['id']).removeprefix(f'{title}/')}"} for row in seen]
