"""The engine: prompts in, answers out, by any arm and by several arms in one batch.

engine = yosegi.Engine(base)
engine.generate(arm, ["1+2=", "3+4="])                     one arm
engine.generate([base_arm, arrow], ["1+2=", "1+2="])       an arm for each prompt, in one batch
for piece in engine.stream(arm, "Once"): ...               piece by piece
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Unpack

from yosegi.bases import Base
from yosegi.engine.arm import Arm
from yosegi.engine.chat import Prompt, plain
from yosegi.engine.generate import ROWS, Answer, answers, batch_setter, requests_for, run, why_not_paged
from yosegi.engine.request import Options, Request, SetBatch
from yosegi.engine.spec import parse_arm
from yosegi.engine.switch import Switch, key
from yosegi.errors import Invalid


class Engine:
    """Answers prompts with one base, which is loaded once. Arms are attached while they answer and detached afterwards.

    Args:
        base: the model.
        rows: the most answers that run at a time.
    """

    def __init__(self, base: Base, rows: int = ROWS):
        self.base, self.rows = base, rows

    def generate(
        self,
        arm: Arm | str | Sequence[Arm],
        prompts: Sequence[Prompt],
        *,
        task: str = "",
        advance: Callable[[int], None] = lambda n: None,
        **options: Unpack[Options],
    ) -> list[Answer]:
        """Returns what the arm writes after each prompt, in order, the `n` answers to one prompt next to each other.

        Args:
            arm: what answers, "base" for the base alone; a list has one arm for each prompt.
            prompts: texts, or conversations: lists of messages with `role` and `content`.
            task: the task of the prompts, for routers that need it.
            advance: called with the number of prompts done.
            options: max_new_tokens (256), stop, temperature, top_p, top_k, seed, n: see `Options`.
        """
        arm = parse_arm(arm) if isinstance(arm, str) else arm
        arms = [arm] * len(prompts) if isinstance(arm, Arm) else list(arm)
        if len(arms) != len(prompts):
            raise Invalid(f"{len(prompts)} prompts need as many arms, or one; {len(arms)} were given.")
        alone, batches = bool(why_not_paged(self.base.model)), dict[Any, list[int]]()
        for place, one in enumerate(arms):
            batches.setdefault(id(one) if alone or one.base_delta else key(one), []).append(place)
        done: dict[int, Request] = {}
        for places in batches.values():
            asked = [prompts[i] for i in places]
            with self._batch([arms[i] for i in places], asked, task, options) as (requests, set_batch):
                for _ in run(self.base, requests, set_batch, self.rows):
                    advance(1)
            done.update(zip(places, requests, strict=True))
        return answers([done[place] for place in sorted(done)])

    def stream(self, arm: Arm, prompt: Prompt, *, task: str = "", **options: Unpack[Options]) -> Iterator[str]:
        """Yields the answer of `generate` piece by piece as it is written; a model without a paged cache gives it in one piece.

        Args:
            arm: what answers.
            prompt: a text or a conversation.
            task: the task of the prompt, for routers that need it.
            options: as of `generate`.
        """
        with self._batch([arm], [prompt], task, options) as ((request,), set_batch):
            answer, shown = request.completions[0], ""
            for _ in _steps(self.base, request, set_batch):
                text = answer.text if answer.reason else request.stop.settled(answer.ids)
                if len(text) > len(shown):
                    yield text[len(shown) :]
                    shown = text

    @contextmanager
    def _batch(
        self, arms: Sequence[Arm], prompts: Sequence[Prompt], task: str, options: Options
    ) -> Iterator[tuple[list[Request], SetBatch | None]]:
        """The requests and their `set_batch`, with the arms' experts attached."""
        if why_not_paged(self.base.model) or arms[0].base_delta:
            with arms[0].attached(self.base) as banks:
                known = arms[0].known(self.base, banks, task, [plain(prompt) for prompt in prompts])
                yield requests_for(self.base, prompts, known, **options), batch_setter(banks)
            return
        requests = requests_for(self.base, prompts, **options)
        with Switch(self.base, key(arms[0])) as switch:
            for arm in {id(arm): arm for arm in arms}.values():
                seat, places = switch.open(arm), [i for i, other in enumerate(arms) if other is arm]
                known = switch.known(seat, [plain(prompts[i]) for i in places], task)
                for i, about in zip(places, known, strict=True):
                    requests[i].seat, requests[i].known = seat, about
            yield requests, switch.set_batch


def _steps(base: Base, request: Request, set_batch: SetBatch | None) -> Iterator[None]:
    """Yields after every token; for a model without a paged cache, after the last."""
    if why_not_paged(base.model):
        yield from (None for _ in run(base, [request], set_batch))
        return
    from yosegi.engine.decode import Decoder

    decoder = Decoder.sized(base, [request], 1, set_batch)
    decoder.add(request)
    while decoder.step():
        yield
