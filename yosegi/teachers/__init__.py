"""Teachers: they vote on the system that a question belongs to. (examples, Question) -> one Vote for each example.

In LoRA-PAR (arXiv:2507.20999) several language models play the model that is to be trained and vote: System 1 if it would
answer at once, System 2 if it would need a chain of steps. A teacher here is an OpenAI-compatible endpoint, a local model, a
rule, or chance; there may be more than two systems, from the fastest to the slowest. partitions/by_system counts the votes.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from yosegi import registry
from yosegi.errors import Invalid, UnknownName
from yosegi.spec import arguments_of, call, parse_method
from yosegi.tasks import Example

LOST = ("abstained", "unparsable", "failed")
"""Why a vote is missing: the teacher declined; its text could not be parsed; no answer came and none was stored."""


@dataclass(frozen=True)
class System:
    """A way to think. `name` is the name of its learner; `about` tells a teacher which questions belong to it."""

    name: str
    about: str


PAIR = (
    System("system1", "answered at once: recalled, read off the question, or reached by a single step of inference"),
    System(
        "system2", "answered by deliberation: several steps of logic or arithmetic, each building on the one before"
    ),
)
"""The two systems of the paper, in our words."""


@dataclass(frozen=True)
class Question:
    """What every teacher is asked about every example.

    Args:
        systems: the systems, from the fastest to the slowest.
        target_model: name and size of the model that the teachers play; "" is the paper's ablation without role-play.
    """

    systems: tuple[System, ...] = PAIR
    target_model: str = ""


@dataclass(frozen=True)
class Vote:
    """One teacher's answer about one example.

    Args:
        system: the number of the system, from 0; None if the vote is missing.
        rationale: the reason in the teacher's words.
        raw: the whole text of the teacher.
        lost: why the vote is missing: one of `LOST`.
        tokens_in: tokens read for it; 0 if unknown.
        tokens_out: tokens written.
    """

    system: int | None
    rationale: str = ""
    raw: str = ""
    lost: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class Teacher:
    """The contract of the drawer. The constructor is the configuration; `label` may be called again.

    Attributes:
        name: tells the teachers of one vote apart.
        price: the price of a million tokens (read, written), if known.
        spent: what the last call of `label` did: requests, retries, failed.
        seconds: how long it took.
        note: what a reader of its votes should know.
    """

    name: str
    price: tuple[float, float] | None = None
    note: str = ""
    seconds: float = 0.0

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """Returns one vote for each example, in their order."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """Returns what decides its votes, as JSON and without secrets: teachers with equal values vote alike."""
        return {"name": self.name}


def scale(k: int) -> tuple[System, ...]:
    """Returns the paper's two systems, or k of them by the length of the chain: system1 takes at most one step."""
    if not 2 <= k <= 9:
        raise Invalid(f"systems={k}: a question is sorted into 2 to 9 systems.")
    if k == 2:
        return PAIR
    middle = (f"needs a chain of about {i} steps, each building on the one before" for i in range(2, k))
    last = f"answered by deliberation: a chain of {k} or more steps, each building on the one before"
    abouts = [PAIR[0].about, *middle, last]
    return tuple(System(f"system{i}", about) for i, about in enumerate(abouts, 1))


def load(spec: str, **options: Any) -> Teacher:
    """Returns a teacher by its spec.

    Args:
        spec: `structure`, `local/BASE`, `http://host:port/v1#model`, or any method with its arguments: `local{base=smollm2}`.
        options: further arguments of its constructor; unknown ones are ignored, so that one set serves several teachers.
    """
    name, given = spec, dict[str, Any]()
    if spec.startswith(("http://", "https://")):
        name, given = "endpoint", registry.load("teachers", "endpoint").read_spec(spec)
    elif spec.startswith("local/"):
        name, given = "local", {"base": spec.removeprefix("local/")}
    elif "{" in spec:
        name, given = parse_method("teachers", spec)
    elif spec == "endpoint":
        raise Invalid("An endpoint is named by its address and model: http://host:port/v1#model.")
    elif ":" not in spec and spec not in registry.names("teachers"):
        raise UnknownName.among("teacher", spec, [*registry.names("teachers"), "http://host:port/v1#model"])
    make = registry.find("teachers", name)
    known = arguments_of(make)
    return call(name, make, {key: v for key, v in options.items() if key in known and v is not None} | given)
