"""A conversation: turns of a user and of arms, which may change in the middle.

talk = Conversation(engine, arm)
for piece in talk.say("What is a lichen?"): ...
talk.arm = another
"""

from collections.abc import Iterator
from typing import Any

from yosegi.engine.arm import Arm
from yosegi.engine.engine import Engine


class Conversation:
    """Turns so far, and what answers the next one.

    Args:
        engine: of the base.
        arm: what answers; it may be set anew between two turns.
        system: a system message.
        seed: seed of the samples; each turn has its own.
        options: of `Engine.generate`, but for its seed.
    """

    def __init__(self, engine: Engine, arm: Arm, system: str = "", *, seed: int = 0, **options: Any):
        self.engine, self.arm, self.seed, self.options = engine, arm, seed, options
        self.begin(system)

    def begin(self, system: str = "") -> None:
        """Forgets the turns so far."""
        self.system = system
        self.messages = [{"role": "system", "content": system}] * bool(system)

    def say(self, text: str) -> Iterator[str]:
        """Yields the answer piece by piece. If the caller stops it (`close`), the turn keeps what was written by then; if the
        engine refuses the turn, it is forgotten."""
        asked, written = [*self.messages, {"role": "user", "content": text}], ""
        try:
            for piece in self.engine.stream(self.arm, asked, seed=f"{self.seed}/{len(asked)}", **self.options):
                written += piece
                yield piece
        except (GeneratorExit, KeyboardInterrupt):
            self.messages = [*asked, {"role": "assistant", "content": written}]
            raise
        self.messages = [*asked, {"role": "assistant", "content": written}]
