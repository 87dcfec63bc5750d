"""Tasks: examples + prompt + score. One benchmark a file; "task/part" names a part of one, as in `skills/reverse`.

A task finds its rows in a local folder, then on the Hugging Face Hub, else one line says what to fetch (`_data.py`).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from yosegi import registry
from yosegi.errors import Invalid


@dataclass(frozen=True)
class Example:
    """One question and what it should be answered with.

    `target` is the text a model learns to write; `answers` are the texts the score accepts (the target's final answer).
    `messages`, each with its `role` and `content`, are the same as a conversation (engine/chat.py); most examples have none.
    """

    id: str
    prompt: str
    target: str
    answers: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True)
class Score:
    """How good one prediction is (0 to 1), the answer that was read out of it, and whether one could be read at all.

    `also` has further metrics: each becomes a result row of its own, over the examples that have it.
    """

    value: float
    answer: str | None = None
    also: Mapping[str, float] = field(default_factory=dict)

    @property
    def parsed(self) -> bool:
        """Whether an answer was found in the text."""
        return self.answer is not None


@dataclass(frozen=True)
class Candidates:
    """Texts: how likely each of them is will be asked of the model. After a prompt, or by itself where there is none."""

    texts: tuple[str, ...]
    prompt: str | None = None


class Nats(NamedTuple):
    """How likely a model finds a text: the sum of log p over its tokens, and how many they are."""

    sum: float
    tokens: int


class Task:
    """The contract of the drawer. A class in `tasks/NAME.py`; `load("NAME/part")` calls it with the part.

    `name` is "NAME" or "NAME/part"; `metric` says what the mean of the scores is called; generation ends at
    `max_new_tokens`, at the end-of-text token, or at a `stop` string (which is cut off). `rule` names what else decides a
    score, with its number ("normaliser 1"): results of different rules are not the same measurement.

    What is weighed by its likelihood are `candidates`; `judge` says what that is worth. Where nothing is to be written besides,
    `writes` is False: the score is what `judge` says, and the first text of the first candidates is the gold one.
    """

    name: str
    metric: str = "accuracy"
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    rule: str = ""
    writes: bool = True

    def examples(self, split: str) -> list[Example]:
        """The examples of "train", "validation" or "test": the same list every time, each id once."""
        raise NotImplementedError

    def documents(self, split: str) -> list[Example]:
        """The same for reading through (packing.py): what examples are cut from, where a task knows it."""
        return self.examples(split)

    def score(self, example: Example, prediction: str) -> Score:
        """One prediction against the accepted answers. The gold target always scores 1."""
        raise NotImplementedError

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Many predictions at once, for tasks that are quicker so (programs run side by side). By default one by one."""
        return [self.score(*pair) for pair in zip(examples, predictions, strict=True)]

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """What is weighed by its likelihood, by a name of the task's own. By default nothing."""
        return {}

    def judge(self, example: Example, nats: Mapping[str, Sequence[Nats]]) -> Score:
        """What the likelihoods are worth, under the names that `candidates` gave them. Of a task that `writes`, only the further
        metrics count."""
        raise NotImplementedError

    def chance(self, example: Example) -> float | None:
        """The score to expect of who guesses; None where nobody can guess."""
        return None

    def remark(self, split: str) -> str | None:
        """What a reader of the numbers has to know about these examples, if there is such a thing."""
        return None

    @classmethod
    def parts(cls) -> list[str]:
        """The names of the parts, for tasks that have them."""
        return []


def load(name: str) -> Task:
    """A task by its name: `gsm8k`, `skills/reverse`, `jsonl/path/to/file.jsonl`, `package.module:Class`."""
    kind, _, part = name.partition("/")
    if ":" in kind:
        return registry.find("tasks", name)()
    if kind not in registry.names("tasks") and name.endswith((".jsonl", ".jsonl.gz", ".txt")):
        raise Invalid(f"A file of your own is the task jsonl/PATH: jsonl/{name}")
    make: Callable[..., Task] = registry.find("tasks", kind)
    parts = [p for p in inspect.signature(make).parameters.values() if p.name == "part"]
    if part and not parts:
        raise Invalid(f"The task {kind!r} has no parts, so there is no {name!r}.")
    if part:
        return make(part)
    if parts and parts[0].default is inspect.Parameter.empty:
        there: list[str] = make.parts()[:40]  # type: ignore[attr-defined]
        raise Invalid(f"The task {kind!r} needs a part, as in {kind}/NAME{': ' * bool(there)}{', '.join(there)}.")
    return make()
