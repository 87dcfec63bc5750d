"""Teachers: who says which system a question belongs to. (examples, Question) -> one Vote an example.

LoRA-PAR (arXiv:2507.20999) lets several language models play the model that is to be trained, and vote: System 1 if it would
answer at once, System 2 if it would have to chain several steps. A teacher here is any OpenAI-compatible endpoint, a local
model, a rule or a lot; systems are two or more, from the fastest to the slowest. The vote is counted in partitions/by_system.
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
"""Why a vote may be missing: the teacher would not say; its words could not be read; no answer came, and none was kept."""


@dataclass(frozen=True)
class System:
    """A way to think. `name` is what its learner is called; `about` tells a teacher which questions belong to it."""

    name: str
    about: str


PAIR = (
    System("system1", "answered at once: recalled, read off the question, or reached by a single step of inference"),
    System(
        "system2", "answered by deliberation: several steps of logic or arithmetic, each building on the one before"
    ),
)
"""The paper's two, in our words."""


@dataclass(frozen=True)
class Question:
    """What every teacher is asked about every example.

    Args:
        systems: from the fastest to the slowest.
        target_model: the name and size of whom the teachers play; "" is the paper's ablation without role-play.
    """

    systems: tuple[System, ...] = PAIR
    target_model: str = ""


@dataclass(frozen=True)
class Vote:
    """One teacher's answer about one example.

    Args:
        system: which of the systems, counted from 0; None if the vote is missing.
        rationale: why, in the teacher's words.
        raw: all that it said.
        lost: if the vote is missing, why: one of `LOST`.
        tokens_in: that were read for it, 0 where nobody told.
        tokens_out: that were written.
    """

    system: int | None
    rationale: str = ""
    raw: str = ""
    lost: str = ""
    tokens_in: int = 0
    tokens_out: int = 0


class Teacher:
    """The contract of the drawer. The constructor is the configuration; `label` may be called again.

    `name` tells teachers of one vote apart. `price` is what a million tokens cost (read, written), if anyone said so.
    `spent` counts what the last call of `label` did, such as requests and retries, and `seconds` is how long it took; `note`
    is what a reader should know of it.
    """

    name: str
    price: tuple[float, float] | None = None
    note: str = ""
    seconds: float = 0.0

    def __init__(self) -> None:
        self.spent: Counter[str] = Counter()

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """One vote an example, in their order."""
        raise NotImplementedError

    def about(self) -> dict[str, Any]:
        """What decides its votes, as JSON and without secrets: two teachers that say the same vote the same."""
        return {"name": self.name}


def scale(k: int) -> tuple[System, ...]:
    """The paper's two systems, or k of them by the length of the chain: system1 takes no more than one step."""
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
        options: more for its constructor; those it does not take are left out, so that one set serves several teachers.
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
