"""By score: the examples that a score thinks well of are kept, and the others are dropped; one learner each.

Any score of the drawer scores/ divides: a classifier, keywords, the likelihood ratio of Moore and Lewis 2010
(https://aclanthology.org/P10-2041). The learner "dropped" is there to be looked at, or as the control that learns from what
the filter threw away. This is for examples that are in memory; pages by the million go through `yosegi curate`.

The evidence holds every example's number and the rule.
"""

from typing import Any

from yosegi.partitions import Data, Partition
from yosegi.scores import Score, Values, best, rule, share

BATCH = 64


def by_score(data: Data, score: Score, *, keep: float | None = None, threshold: float | str | None = None) -> Partition:
    """Learners "kept" and "dropped"; one that nobody belongs to is left out.

    Args:
        data: the examples of each task; what is scored is the prompt with its target.
        score: one of scores/, as `yosegi.scores.load("length")` makes it.
        keep: the share to keep of all examples; half of them if nothing is said.
        threshold: what the good side of the score has to reach, or a range "LOW..HIGH", instead of a share.
    """
    asked = rule(score, 0.5 if keep is None and threshold is None else keep, threshold)
    places = [(task, example) for task, examples in data.items() for example in examples]
    values: Values = []
    for start in range(0, len(places), BATCH):
        values += score.of([f"{e.prompt}{e.target}" for _, e in places[start : start + BATCH]])
    if asked.keep is not None:
        chosen = best(values, share(asked.keep, sum(value is not None for value in values)), score.best)
    else:
        chosen = [asked.passes(value) for value in values]
    groups: dict[str, list[Any]] = {"kept": [], "dropped": []}
    tasks: dict[str, dict[str, None]] = {"kept": {}, "dropped": {}}
    rows: list[dict[str, Any]] = []
    for (task, example), value, good in zip(places, values, chosen, strict=True):
        learner = "kept" if good else "dropped"
        groups[learner].append(example)
        tasks[learner][task] = None
        rows.append({"task": task, "id": example.id, "learner": learner, "score": value})
    there = [name for name, examples in groups.items() if examples]
    evidence = {"score": score.about(), "best": score.best, "rule": asked.about(), "note": score.note, "rows": rows}
    return Partition({n: groups[n] for n in there}, {n: tuple(tasks[n]) for n in there}, evidence)
