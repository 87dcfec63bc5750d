"""A quiz about a corpus: one question for each definition sentence, and those that a teacher drafts, for a person to check."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.curate import definitions, drafts
from yosegi.errors import Invalid
from yosegi.tasks.corpus import Corpus
from yosegi.tasks.readers import data, records

TOKENS = 512
"""Of an answer of the teacher."""


def draft_quiz(
    corpus: Sequence[str],
    out: str | Path,
    *,
    choices: int = 8,
    shots: int = 3,
    overwrite: bool = False,
    teacher: str | None = None,
    limit: int = 100,
) -> dict[str, Any]:
    """Writes drafts of questions, each with `checked: false`; returns the file, the counts and the terms.

    Killed while a teacher is asked, the same call goes on: its answers are kept beside the file.

    Args:
        corpus: names of the task `corpus`, or files: .jsonl with texts, .txt.
        out: the .jsonl file, which `--task terms/OUT` then reads.
        choices: candidates of each question.
        shots: examples shown before each question.
        overwrite: replace the file, and what was checked in it.
        teacher: a model that also drafts questions about passages: http://host:port/v1#model, local/BASE or
            local{base=BASE,library=DIR,arm=ARM}.
        limit: passages that it reads at most.
    """
    out = Path(out)
    if not out.name.endswith(".jsonl"):
        raise Invalid(f"--out is a .jsonl file, not {str(out)!r}.")
    if out.exists() and not overwrite:
        raise Invalid(f"{out} exists; somebody may have checked it. --overwrite replaces it.")
    texts = [row for name in corpus for row in _texts(name)]
    terms = definitions.definitions(texts)
    rows, more = definitions.drafts(terms, choices, shots), {}
    if teacher is not None:
        read, passages = drafts.passages(texts, limit)
        writes = drafts.open_teacher(teacher, answers=out.with_suffix(".answers.jsonl"), max_tokens=TOKENS)
        drafted, dropped = drafts.draft(writes, read, choices)
        known = {term.word for term in terms}
        rows += [row for row in drafted if row["answer"] not in known]
        more = {"passages": passages, "read": len(read), "drafted": len(drafted), "dropped": dict(dropped)}
    if len(rows) < 2:
        why = (
            f"; of {more['read']} passages the teacher drafted {more['drafted']} questions ({more['dropped']})"
            if more
            else ""
        )
        raise Invalid(
            f"{', '.join(corpus)}: {len(terms)} definition sentences found (「X」とは、…をいう; X means …; X is defined as …)"
            f"{why}, and a quiz needs two. {'' if more else '--teacher drafts questions about other sentences.'}".rstrip()
        )
    files.write(out, files.lines(rows))
    questions = sum(row["split"] == "test" for row in rows)
    return {"out": str(out), "drafts": len(rows), "questions": questions, "terms": terms, **more}


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
