"""From an example to the text that a base reads: the plain prompt as it is, or a conversation in the base's template."""

from collections.abc import Sequence
from typing import NamedTuple

from yosegi.errors import UnknownName
from yosegi.tasks import Example

TEMPLATES = ("none",)


class Rendered(NamedTuple):
    """What is read, and what is to be written after it."""

    prompt: str
    target: str


def render(example: Example, shots: Sequence[Example] = (), template: str = "none") -> Rendered:
    """Returns the prompt and the target of an example as text.

    Args:
        example: the question. Where it has `messages` and no prompt and target, they are put one after another.
        shots: worked examples that are shown before it, in order.
        template: "none" puts the plain texts one after another, with an empty line between two examples.
    """
    if template not in TEMPLATES:
        raise UnknownName.among("chat template", template, TEMPLATES)
    turns = [] if example.target else [message["content"] for message in example.messages]
    prompt, target = ("\n\n".join(turns[:-1]), turns[-1]) if turns else (example.prompt, example.target)
    return Rendered("\n\n".join([*(shot.prompt + shot.target for shot in shots), prompt]), target)
