"""By type: what kind of thing each example teaches, as it is labelled: knowledge or task, easy or hard, which language.

The types of LoRAMoE, Dou et al. 2024, arXiv:2312.09979, which knows two of them, by task; here they are any number, and a task
may have several. Who says so, for each example the first that speaks:

    types["gsm8k", "id-7"]          the example itself
    rules    "easy: level <= 2"     a field of its meta data (or `task`, or `id`), compared with == != <= < >= >; "hard" alone
                                    takes the rest. A number is read out of a text: "Level 2" is 2
    field    "lang"                 the value of a field
    types["gsm8k"]                  its task

An example that nobody speaks for is an error. The evidence holds the label of each and what it was read from.
"""

import operator
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from yosegi.errors import Invalid
from yosegi.partitions import Data, Partition
from yosegi.tasks import Example

Types = Mapping[str | tuple[str, str], str]
"""The type of a task, or of an example (its task and id)."""

OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
RULE = re.compile(r"\s*(?P<type>[^\s:]+)\s*(?::\s*(?P<field>\S+)\s*(?P<op>[=!<>]=|<|>)\s*(?P<value>.+?)\s*)?")


class Rule(NamedTuple):
    """One rule; without a field it takes everything."""

    text: str
    type: str
    field: str
    op: str
    value: str

    def holds(self, said: Any) -> bool:
        """Of the value of the field; never of one that is not there."""
        if said is None:
            return False
        ours, theirs = number(said), number(self.value)
        if self.op in ("==", "!="):  # the numbers inside of two names do not make them equal: gsm8k is not gsm8k/ja
            alike = ours is not None and ours == theirs and (_bare(said) or _bare(self.value))
            return (str(said) == self.value or alike) == (self.op == "==")
        return ours is not None and theirs is not None and OPERATORS[self.op](ours, theirs)


def _bare(said: Any) -> bool:
    """Whether it is a number and nothing else."""
    try:
        float(said)
    except (TypeError, ValueError):
        return False
    return True


def by_type(data: Data, types: Types | None = None, *, rules: Sequence[str] = (), field: str = "") -> Partition:
    """One learner a type, called as the type, in the order in which rules and types name them, then as they are met.

    Args:
        data: the examples of each task.
        types: of tasks and of single examples.
        rules: in order, "TYPE: FIELD OP VALUE" or "TYPE".
        field: of the meta data, that has the type.

    Raises:
        Invalid: an example has no type; a rule cannot be read; a task or an example that is named is not there.
    """
    types, read = dict(types or {}), [rule(text) for text in rules]
    ids = {task: {example.id for example in examples} for task, examples in data.items()}
    for place in types:
        task, example = (place, None) if isinstance(place, str) else place
        if task not in ids or (example is not None and example not in ids[task]):
            raise Invalid(f"types names {example or task!r}, which the data does not have.")
    groups: dict[str, list[Example]] = {name: [] for name in [*(r.type for r in read), *types.values()]}
    homes: dict[str, dict[str, None]] = {name: {} for name in groups}
    rows: list[dict[str, Any]] = []
    lost: list[str] = []
    for task, examples in data.items():
        for example in examples:
            said = _say(task, example, types, read, field)
            if said is None:
                lost.append(f"{example.id!r} of {task}")
                continue
            name, by = said
            groups.setdefault(name, []).append(example)
            homes.setdefault(name, {})[task] = None
            rows.append({"task": task, "id": example.id, "type": name, "by": by})
    if lost:
        raise Invalid(f"{len(lost)} examples have no type; the first is {lost[0]}. Give a rule or a type for its task.")
    used = [name for name, examples in groups.items() if examples]
    summary = {
        "examples": len(rows),
        "types": {name: {"examples": len(groups[name]), "tasks": list(homes[name])} for name in used},
        "empty": [name for name in groups if name not in used],
        "rules": list(rules),
        "field": field or None,
    }
    return Partition(
        {name: groups[name] for name in used},
        {name: tuple(homes[name]) for name in used},
        {"summary": summary, "rows": rows},
    )


def typed(found: Partition, data: Data) -> dict[str, dict[str, list[Example]]]:
    """Type -> task -> examples: what `train.loramoe` and `evaluate.groups` take.

    Args:
        found: the partition.
        data: what was divided.
    """
    whose = {id(example): task for task, examples in data.items() for example in examples}
    made: dict[str, dict[str, list[Example]]] = {}
    for name, examples in found.groups.items():
        for example in examples:
            made.setdefault(name, {}).setdefault(whose[id(example)], []).append(example)
    return made


def rule(text: str) -> Rule:
    """A rule as it is written."""
    if not (found := RULE.fullmatch(text)):
        raise Invalid(f"{text!r} is not a rule; it is TYPE: FIELD OP VALUE, as in 'easy: level <= 2', or TYPE alone.")
    said = {name: value or "" for name, value in found.groupdict().items()}
    if said["op"] in ("<=", "<", ">=", ">") and number(said["value"]) is None:
        raise Invalid(f"{text!r}: {said['op']} compares numbers, and {said['value']!r} is none.")
    return Rule(text, said["type"], said["field"], said["op"], said["value"])


def number(said: Any) -> float | None:
    """A number, or the last one in a text: that of "Level 2" and of "grade-2" is 2, that of "1,000 m" is 1000."""
    if isinstance(said, bool) or said is None:
        return None
    if isinstance(said, int | float):
        return float(said)
    found = re.findall(r"(?:(?<!\S)-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", str(said))
    return float(found[-1].replace(",", "")) if found else None


def _say(
    task: str, example: Example, types: Types, rules: Sequence[Rule], field: str
) -> tuple[str, dict[str, Any]] | None:
    """The type of an example, and what it was read from."""
    if (task, example.id) in types:
        return types[task, example.id], {"example": example.id}
    known = {**example.meta, "task": task, "id": example.id}
    for one in rules:
        if not one.field:
            return one.type, {"rule": one.text}
        if one.holds(known.get(one.field)):
            return one.type, {"rule": one.text, one.field: known[one.field]}
    if field and known.get(field) not in (None, ""):
        return str(known[field]), {"field": field}
    return (types[task], {"task": task}) if task in types else None
