"""In which order rows are learnt: how often each group is read, and from when on.

By default all rows are read equally often, in shuffled epochs (engine/rows.py). With `schedule` each group has a share of the
places, whatever its size, and a curriculum lets harder groups in later (Bengio et al. 2009, "Curriculum Learning",
doi.org/10.1145/1553374.1553380). Every stretch of the order keeps the shares as well as whole rows allow, so that every batch
does; within a group each row has been read once more than another at most. The order depends on the arguments alone: a training
that goes on from a checkpoint reads on where it was.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from yosegi.engine.rows import order
from yosegi.errors import Invalid, UnknownName

PACES = ("growing", "staged")


def shares(
    sizes: Mapping[str, int], weights: Mapping[str, float] | None = None, temperature: float = 1.0
) -> dict[str, float]:
    """Returns which part of the places each group gets; together 1.

    Args:
        sizes: rows of each group.
        weights: of groups, relative to each other; by default the sizes.
        temperature: above 1 evens them out, w^(1/temperature): at 1 they stay as they are, at infinity all are alike.
    """
    if not temperature > 0:
        raise Invalid(f"temperature={temperature}: it has to be above 0.")
    UnknownName.check("group", weights or (), sizes)
    if missing := [name for name in sizes if weights is not None and name not in weights]:
        raise Invalid(f"The shares say nothing of {missing[0]!r}; 0 leaves it out.")
    given = {name: float((sizes if weights is None else weights)[name]) for name in sizes}
    if any(not (0 <= w < math.inf) for w in given.values()) or not any(given.values()):
        raise Invalid("Shares are numbers from 0 on, and one of them is above 0.")
    top = max(given.values())
    tempered = {name: (w / top) ** (1 / temperature) if w else 0.0 for name, w in given.items()}
    return {name: w / sum(tempered.values()) for name, w in tempered.items()}


def stages(
    share: Mapping[str, float], curriculum: Sequence[str] = (), pace: str = "growing"
) -> list[tuple[float, dict[str, float]]]:
    """Returns from which part of the training on (0 to 1) each group has which share.

    Args:
        share: of the groups (`shares`).
        curriculum: the groups from easy to hard. One that is not named is read all the time.
        pace: growing: the first alone, and one more joins at equal distances; staged: one after the other, each for as long as
            its share is of theirs together.
    """
    UnknownName.check("pace", [pace], PACES)
    UnknownName.check("group", curriculum, share)
    if len(set(curriculum)) < len(curriculum):
        raise Invalid("The curriculum names a group twice.")
    steps = [name for name in curriculum if share[name] > 0]
    if len(steps) < 2:
        return [(0.0, dict(share))]
    always = {name: s for name, s in share.items() if name not in curriculum}
    theirs = sum(share[name] for name in steps)
    result, start = [], 0.0
    for place, name in enumerate(steps):
        active = steps[: place + 1] if pace == "growing" else [name]
        total = sum(share[n] for n in active)
        result.append((start, {**always, **{n: share[n] * theirs / total for n in active}}))
        start += 1 / len(steps) if pace == "growing" else share[name] / theirs
    return result


def schedule(
    groups: Sequence[str],
    places: int,
    seed: int,
    *,
    weights: Mapping[str, float] | None = None,
    temperature: float = 1.0,
    curriculum: Sequence[str] = (),
    pace: str = "growing",
) -> list[int]:
    """Returns which row stands at which place of the training.

    Args:
        groups: of each row.
        places: number of rows that are read, all steps together.
        seed: of the order within the groups.
        weights: see `shares`, as for `temperature`.
        curriculum: see `stages`, as for `pace`.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    if not rows:
        raise Invalid("There are no examples to learn from.")
    steps = stages(
        shares({group: len(of_group) for group, of_group in rows.items()}, weights, temperature), curriculum, pace
    )
    taken: list[str] = []
    ends = [round(start * places) for start, _ in steps] + [places]
    for (first, last), (_, share) in zip(pairwise(ends), steps, strict=True):
        behind = dict.fromkeys(share, 0.0)
        for _ in range(last - first):  # each place goes to the group that is furthest behind its share
            for group, s in share.items():
                behind[group] += s
            taken.append(most := max(behind, key=behind.__getitem__))
            behind[most] -= 1
    queues = {
        group: iter(order(len(of_group), taken.count(group), seed * 1_000_003 + n) if group in taken else ())
        for n, (group, of_group) in enumerate(rows.items())
    }
    return [rows[group][next(queues[group])] for group in taken]
