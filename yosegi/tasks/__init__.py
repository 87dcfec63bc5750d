"""Tasks: examples, prompt and score. One benchmark a file; "task/part" names a part of one, as in `skills/reverse`.

A task finds its rows in a local folder, else on the Hugging Face Hub, else one line says what to fetch (readers/data.py).
"""

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from yosegi import registry
from yosegi.errors import Invalid
from yosegi.spec import make_method

T = TypeVar("T")
ENDINGS = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt", ".md", ".gz")


@dataclass(frozen=True)
class Example:
    """A prompt and the answer to it.

    `target` is the text that training teaches; `answers` are the texts that the score accepts. They differ where the target shows
    its steps and only the final answer counts. `meta` holds what scoring or a report needs besides.
    `messages`, each with its `role` and `content`, are the same as a conversation (engine/chat.py); most examples have none.
    `chat` is False of a text that is to go on, which no chat template cuts into turns.
    """

    id: str
    prompt: str
    target: str
    answers: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)
    messages: tuple[Mapping[str, str], ...] = ()
    chat: bool = True


@dataclass(frozen=True)
class Score:
    """The worth of one answer, from 0 to 1, and the answer as it was read out of the text (None if there was none to read).

    `metrics` are further measures of the same answer; each becomes a result row over the examples that have it.
    """

    value: float
    answer: str | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def parsed(self) -> bool:
        """Whether an answer could be read out of the text."""
        return self.answer is not None


@dataclass(frozen=True)
class Candidates:
    """Texts whose log-likelihood is wanted: each after `prompt`, or each by itself if the prompt is None."""

    texts: tuple[str, ...]
    prompt: str | None = None


class LogProb(NamedTuple("LogProb", [("sum_logprob", float), ("tokens", int)])):
    """The log-likelihood of a text: the sum of log p over its tokens (at most 0), and their number.

    `greedy` says whether each token was the likeliest; two log-likelihoods are equal whatever it is.
    """

    greedy = False

    @property
    def mean(self) -> float:
        """log p of a token."""
        return self.sum_logprob / max(1, self.tokens)


class Task:
    """The contract of the drawer: a class in `tasks/NAME.py`, which `load("NAME/part")` calls with the part.

    Most tasks say where their rows come from (`source`) and how a row becomes an example (`example`); others define `examples`.

    A task that `generates` is asked to write an answer, and `score` grades it. A task may also, or only, have `candidates`: their
    log-likelihoods go to `score_logprobs`. Of a task that generates, these give further metrics; of one that does not, the score
    itself, and the first text of its first candidates is the right one.

    Attributes:
        name: "NAME" or "NAME/part".
        source: the rows, split by split (readers/data.py).
        metric: the name of the mean of the scores.
        max_new_tokens: where generation ends at the latest.
        stop: strings at which generation ends; the answer is what stands before them.
        rule: the version of a scoring rule, such as "normaliser 1". Results under different rules are not compared.
        generates: whether the model is asked to write an answer.
        shuffled: whether the first examples are as fair a sample as any.
        known_splits: those of a task without a source.
        samples: how many answers are drawn for each example; with one, it is the greedy one.
        temperature: of these draws.
        has_gold: whether there are right answers. Otherwise the answers are kept to be read, and only counted.
    """

    name: str
    source: Any = None
    metric: str = "accuracy"
    max_new_tokens: int = 64
    stop: tuple[str, ...] = ()
    rule: str = ""
    generates: bool = True
    shuffled: bool = False
    known_splits: Sequence[str] = ()
    samples: int = 1
    temperature: float = 0.8
    has_gold: bool = True

    def examples(self, split: str) -> list[Example]:
        """Returns the examples of "train", "validation" or "test": the same list every time, each id once."""
        return [self.example(row) for row in self.rows(split)]

    def rows(self, split: str) -> list[dict[str, Any]]:
        """Returns the rows of a split, in upstream order."""
        return self.source.rows(split)

    def example(self, row: dict[str, Any]) -> Example:
        """Returns a row as an example."""
        raise NotImplementedError

    def sample(self, split: str, limit: int | None) -> list[Example]:
        """Returns at most so many examples of a split, a fair sample of all."""
        examples = self.examples(split)
        return examples[:limit] if self.shuffled else subset(examples, limit)

    def documents(self, split: str) -> list[Example]:
        """Returns whole documents for packed training, where the examples are passages of longer texts."""
        return self.examples(split)

    def score(self, example: Example, prediction: str) -> Score:
        """Grades one answer. The gold target always scores 1. A task defines this or `scores`."""
        if type(self).scores is Task.scores:
            raise NotImplementedError
        return self.scores([example], [prediction])[0]

    def scores(self, examples: Sequence[Example], predictions: Sequence[str]) -> list[Score]:
        """Grades many answers at once, as tasks do whose answers are programs and run side by side."""
        return [self.score(*pair) for pair in zip(examples, predictions, strict=True)]

    def several(self, scores: Sequence[Score]) -> Score:
        """Returns the score of several answers to one example, as tasks have them that draw `samples`: their mean."""
        return Score(sum(score.value for score in scores) / len(scores), scores[0].answer)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the texts whose log-likelihood is wanted, in groups that the task names itself."""
        return {}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Grades the log-likelihoods of the candidates, which come in the groups that `candidates` named."""
        raise NotImplementedError

    def overall(self, examples: Sequence[Example], items: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Returns measures of all answers at once that are no mean over them. An item has the score, metrics and prediction."""
        return {}

    def chance(self, example: Example) -> float | None:
        """Returns the expected score of a random guess; None if guessing makes no sense."""
        return None

    def note(self, split: str) -> str | None:
        """Returns a warning that belongs beside every number measured on these examples, if there is one."""
        return None

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the names of the parts, for tasks that have parts."""
        return []


def subset(examples: Sequence[T], limit: int | None, key: Callable[[T], str] = attrgetter("id")) -> list[T]:
    """Returns at most so many examples, drawn from all by a hash of their ids, in order. A larger limit adds to a smaller."""

    if limit is None or limit >= len(examples):
        return list(examples)

    def drawn(place: int) -> bytes:
        return hashlib.sha1(f"limit/{key(examples[place])}".encode(), usedforsecurity=False).digest()

    return [examples[place] for place in sorted(sorted(range(len(examples)), key=drawn)[:limit])]


def load(name: str) -> Task:
    """Returns a task by its name.

    Args:
        name: `gsm8k`, `skills/reverse`, `file/x.jsonl`, `file{path=x.jsonl,metric=number}`, `lm_eval:NAME:SHOTS`, or
            `package.module:Class`.
    """
    if name.startswith("lm_eval:"):
        (_, what), shots = name.split(":", 1), None
        if (last := what.rpartition(":"))[0] and last[2].isdigit():
            what, shots = last[0], int(last[2])
        return registry.find("tasks", "lm_eval")(what, shots)
    kind, _, part = name.partition("/")
    if "{" in kind:
        return _named(make_method("tasks", name), name)
    if kind not in registry.names("tasks") and (name.startswith("hf:") or name.endswith(ENDINGS)):
        raise Invalid(f"Data of your own is the task file/PATH: file/{name}")
    make: type[Task] = registry.find("tasks", kind)
    parameters = inspect.signature(make).parameters.values()
    first = next((one for one in parameters if one.kind is not one.KEYWORD_ONLY), None)
    if part and first is None:
        raise Invalid(f"The task {kind!r} has no parts, so there is no {name!r}.")
    if not part and first is not None and first.default is first.empty:
        known = make.parts()[:40]
        raise Invalid(f"The task {kind!r} needs a part, as in {kind}/NAME{': ' * bool(known)}{', '.join(known)}.")
    return _named(make(*filter(None, [part])), name)


def _named(task: Task, name: str) -> Task:
    """A class from outside need not say its name."""
    if not hasattr(task, "name"):
        task.name = name
    return task
