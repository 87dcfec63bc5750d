"""By score: examples with a good score are kept and the others dropped; one learner each.

Any score of scores/ can be used: a classifier, keywords, the likelihood ratio of Moore and Lewis 2010
(https://aclanthology.org/P10-2041). The learner "dropped" is for inspection, or the control that trains on what the filter
removed. This is for examples in memory; millions of pages go through `yosegi curate`. The evidence has every example's score and
the rule.
"""

from typing import Any

from yosegi.partitions import Data, Partition
from yosegi.scores import Score, Values, best, rule, share

BATCH = 64


def by_score(data: Data, score: Score, *, keep: float | None = None, threshold: float | str | None = None) -> Partition:
    """Returns the learners "kept" and "dropped", or the one of them that has examples.

    Args:
        data: the examples of each task; the score reads the prompt with its target.
        score: one of scores/, as `yosegi.scores.load("length")` makes it.
        keep: the share of the examples to keep; half of them if neither is given.
        threshold: instead of a share what the good side of the score must reach, or a range "LOW..HIGH".
    """
    chosen_rule = rule(score, 0.5 if keep is None and threshold is None else keep, threshold)
    places = [(task, example) for task, examples in data.items() for example in examples]
    values: Values = []
    for start in range(0, len(places), BATCH):
        values += score.of([f"{e.prompt}{e.target}" for _, e in places[start : start + BATCH]])
    if chosen_rule.keep is not None:
        good = best(values, share(chosen_rule.keep, sum(value is not None for value in values)), score.best)
    else:
        good = [chosen_rule.passes(value) for value in values]
    learners = ["kept" if one else "dropped" for one in good]
    rows: list[dict[str, Any]] = [
        {"task": task, "id": example.id, "learner": learner, "score": value}
        for (task, example), learner, value in zip(places, learners, values, strict=True)
    ]
    evidence = {
        "score": score.about(),
        "best": score.best,
        "rule": chosen_rule.about(),
        "note": score.note,
        "rows": rows,
    }
    labelled = ((learner, *place) for learner, place in zip(learners, places, strict=True))
    return Partition.of(labelled, evidence, ("kept", "dropped"))
