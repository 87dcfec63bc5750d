"""Question by question: what each model kept, gained and lost against its base, a strip of squares for each model."""

from collections import Counter
from typing import Any

from yosegi.reporting.answers import KINDS, RIGHT, Answers
from yosegi.reporting.context import Context
from yosegi.reporting.draw.marks import tiles
from yosegi.reporting.format import cut, json_for_page, text

TITLE = "Question by question"
LINK = "Questions"

CELLS = 120_000
"""So many squares are drawn on one page; with more, every second, third … question is drawn."""
COLUMNS = (40, 600)
MAPS = 60
TEXT = 1_200_000
"""Bytes of prompts and answers behind the squares of one page; with more, each is cut shorter."""
LENGTHS = (400, 200, 100, 50, 25)


def section(context: Context) -> dict[str, Any] | None:
    """Returns every task with answers, and how many are left out."""
    tasks = context.digests["questions"]
    maps = [task for task in tasks if task]
    return {"maps": maps, "left_out": len(tasks) - len(maps), "RIGHT": RIGHT} if tasks else None


def digest(context: Context, answers: Answers) -> dict[str, Any]:
    """Returns the strips of one task; nothing where there is no room for another."""
    made = len(context.digests["questions"])
    return draw(answers, f"q{made}", min(len(context.results.tasks), MAPS)) if made < MAPS else {}


def draw(answers: Answers, key: str, tasks: int) -> dict[str, Any]:
    """Returns the strips of one task, of so many on the page."""
    models = list(answers.rows)
    ids, kinds = answers.kinds()
    every = -(-len(ids) // max(COLUMNS[0], min(COLUMNS[1], CELLS // (tasks * len(models)))))
    drawn = ids[::every]
    strips = []
    for model in models:
        count = Counter(kinds[i][model] for i in ids)
        counts = {name: count[letter] for letter, name in KINDS.items()}
        paths = {KINDS[kind]: path for kind, path in tiles([[kinds[i][model] for i in drawn]]).items() if kind != "-"}
        is_base = answers.base_of.get(model) == model
        strips.append({"model": model, "is_base": is_base, "paths": paths, "counts": counts})
    written = ((length, *_texts(answers, drawn, kinds, length)) for length in LENGTHS)
    fits = ((text, length if cut else None) for length, text, cut in written if len(text.encode()) <= TEXT // tasks)
    texts, cut_to = next(fits, ("null", None))
    return {
        "task": answers.task,
        "key": key,
        "strips": strips,
        "questions": len(ids),
        "drawn": len(drawn),
        "every": every,
        "has_base": any(answers.base_of.get(m) in answers.rows and answers.base_of[m] != m for m in models),
        "fractions": any(row["score"] not in (0, 1) for seeds in answers.rows.values() for row in seeds[0].values()),
        "texts": texts,
        "cut_to": cut_to,
    }


def _texts(answers: Answers, ids: list[str], kinds: dict[str, dict[str, str]], length: int) -> tuple[str, bool]:
    """Returns what the pointer shows, as JSON: models, and each question with its predictions; and whether any text is cut.

    A prediction that repeats an earlier one of its question is that one's place; one that equals the target is -1.
    """
    rows, longest = [], 0
    for key in ids:
        of_models = [seeds[0].get(key) or {} for seeds in answers.rows.values()]
        prompt, target = (text(next(row for row in of_models if row).get(part)) for part in ("prompt", "target"))
        predictions: list[str | int] = []
        places: dict[str, int] = {target.strip(): -1}
        for place, row in enumerate(of_models):
            prediction = text(row.get("prediction"))
            known_at = places.setdefault(prediction.strip(), place)
            predictions.append(cut(prediction, length) if known_at == place else known_at)
            longest = max(longest, len(prediction) if known_at == place else 0, len(prompt), len(target))
        rows.append([key, cut(prompt, length), cut(target, length), "".join(kinds[key].values()), predictions])
    return json_for_page({"models": list(answers.rows), "items": rows}), longest > length
