"""By type: one learner for each labelled type of example: knowledge or task, easy or hard, a language.

The types of LoRAMoE, Dou et al. 2024, arXiv:2312.09979, which has two of them, by task; here there are any number, and a task
may have several. The type of an example is the first of these that applies:

    types["gsm8k", "id-7"] the type of the example itself rules "easy: level <= 2" a field of its meta data (or `task`, or `id`),
    compared with == != <= < >= >; "hard" alone takes
                                    the rest. A number is read out of a text: "Level 2" is 2
    field    "lang"                 the value of a field
    types["gsm8k"]                  the type of its task

An example without a type is an error. The evidence has each example's type and where it came from.
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
    """One rule; without a field it applies to everything."""

    text: str
    type: str
    field: str
    op: str
    value: str

    def holds(self, value: Any) -> bool:
        """Returns whether the value of the field satisfies the rule; a missing value never does."""
        if value is None:
            return False
        left, right = number(value), number(self.value)
        if self.op in ("==", "!="):  # equal numbers inside two names do not make them equal: gsm8k is not gsm8k/ja
            alike = left is not None and left == right and any(map(_is_number, (value, self.value)))
            return (str(value) == self.value or alike) == (self.op == "==")
        return left is not None and right is not None and OPERATORS[self.op](left, right)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def by_type(data: Data, types: Types | None = None, *, rules: Sequence[str] = (), field: str = "") -> Partition:
    """Returns one learner for each type, in the order of rules and types, then of the data.

    Args:
        data: the examples of each task.
        types: the types of tasks and of single examples.
        rules: "TYPE: FIELD OP VALUE" or "TYPE", in their order.
        field: the field of the meta data that has the type.

    Raises:
        Invalid: an example has no type, a rule cannot be parsed, or `types` names a task or an example that the data lacks.
    """
    types, read = dict(types or {}), [rule(text) for text in rules]
    ids = {task: {example.id for example in examples} for task, examples in data.items()}
    for place in types:
        task, example = (place, None) if isinstance(place, str) else place
        if task not in ids or (example is not None and example not in ids[task]):
            raise Invalid(f"types names {example or task!r}, which the data does not have.")
    rows: list[dict[str, Any]] = []
    labelled: list[tuple[str, str, Example]] = []
    untyped: list[str] = []
    for task, examples in data.items():
        for example in examples:
            typed_by = _type(task, example, types, read, field)
            if typed_by is None:
                untyped.append(f"{example.id!r} of {task}")
                continue
            name, reason = typed_by
            labelled.append((name, task, example))
            rows.append({"task": task, "id": example.id, "type": name, "by": reason})
    if untyped:
        raise Invalid(
            f"{len(untyped)} examples have no type; the first is {untyped[0]}. Give a rule or a type for its task."
        )
    names = [*(r.type for r in read), *types.values()]
    made = Partition.of(labelled, {}, names)
    summary = {
        "examples": len(rows),
        "types": {name: {"examples": len(made.groups[name]), "tasks": list(made.tasks[name])} for name in made.groups},
        "empty": [name for name in dict.fromkeys(names) if name not in made.groups],
        "rules": list(rules),
        "field": field or None,
    }
    return Partition(made.groups, made.tasks, {"summary": summary, "rows": rows})


def typed(partition: Partition, data: Data) -> dict[str, dict[str, list[Example]]]:
    """Returns type -> task -> examples of a partition of `data`, for `training.loramoe` and `evaluation.groups`."""
    task_of = {id(example): task for task, examples in data.items() for example in examples}
    by_name: dict[str, dict[str, list[Example]]] = {}
    for name, examples in partition.groups.items():
        for example in examples:
            by_name.setdefault(name, {}).setdefault(task_of[id(example)], []).append(example)
    return by_name


def rule(text: str) -> Rule:
    """Parses a rule."""
    if not (match := RULE.fullmatch(text)):
        raise Invalid(f"{text!r} is not a rule; it is TYPE: FIELD OP VALUE, as in 'easy: level <= 2', or TYPE alone.")
    part = {name: value or "" for name, value in match.groupdict().items()}
    if part["op"] in ("<=", "<", ">=", ">") and number(part["value"]) is None:
        raise Invalid(f"{text!r}: {part['op']} compares numbers, and {part['value']!r} is none.")
    return Rule(text, part["type"], part["field"], part["op"], part["value"])


def number(value: Any) -> float | None:
    """Returns a number, or the last one in a text: "Level 2" and "grade-2" are 2, "1,000 m" is 1000."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    numbers = re.findall(r"(?:(?<!\S)-)?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?", str(value))
    return float(numbers[-1].replace(",", "")) if numbers else None


def _type(
    task: str, example: Example, types: Types, rules: Sequence[Rule], field: str
) -> tuple[str, dict[str, Any]] | None:
    """Returns the type of an example and where it came from."""
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
