"""Any arm as a model of EleutherAI's evaluation harness; the other way round, its tasks are ours (tasks/lm_eval.py).

    python -m yosegi.evaluation.harness run --model yosegi --model_args base=smollm2,library=experts,arm=arrow --tasks arc_easy

is `lm-eval` with one model more: the harness has no place where a package could name its own. In Python:

    lm_eval.simple_evaluate(Harness("smollm2", "arrow", library="experts"), tasks=["arc_easy"])
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from yosegi.bases import Base, load
from yosegi.engine.arm import Arm
from yosegi.engine.engine import Engine
from yosegi.engine.score import score_logprobs
from yosegi.engine.spec import parse_arm
from yosegi.errors import Invalid, MissingExtra
from yosegi.library.card import check_base
from yosegi.library.store import Library
from yosegi.tasks import LogProb

try:
    from lm_eval.api.model import LM
except ImportError as error:
    raise MissingExtra.named("lm_eval", "eval") from error


class Harness(LM):
    """One arm, which the harness asks for log-likelihoods and answers.

    Args:
        base: the name of a base, or one that is loaded.
        arm: a spec, as `yosegi eval --arm` takes it.
        library: the folder of the experts.
        batch_size: sequences at a time.
        loading: how the base is loaded: dtype, device, load_in_4bit, attn_implementation.
    """

    def __init__(
        self, base: str | Base = "nano", arm: str | Arm = "base", library: str | None = None, batch_size: Any = 64,
        max_batch_size: Any = None, **loading: Any,
    ):  # fmt: skip
        super().__init__()
        # The harness applies the template itself (--apply_chat_template), so prompts come here as they are to be read.
        if str(loading.get("device", "")).startswith("cuda") and not torch.cuda.is_available():
            loading["device"] = "auto"  # the harness says cuda:0 where nobody said anything
        self.base = base if isinstance(base, Base) else load(base, chat_template="none", **loading)
        self.arm = arm if isinstance(arm, Arm) else parse_arm(arm, None if library is None else Library(library))
        for expert in self.arm.experts:
            check_base(expert, self.base.name, self.base.hash)
        if self.base.chat_template:
            raise Invalid('The harness writes the prompts: load the base with chat_template="none".')
        self.batch_size = int(batch_size) if str(batch_size).isdigit() else 64

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Returns log p of each continuation, and whether each of its tokens is the likeliest."""
        texts = [(context or None, text) for context, text in (request.args for request in requests)]
        return [(value.sum_logprob, value.greedy) for value in self._scored(texts)]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Returns log p of each text by itself."""
        return [value.sum_logprob for value in self._scored([(None, request.args[0]) for request in requests])]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Returns the likeliest answers, or drawn ones where the task asks for a temperature."""
        answers: dict[int, str] = {}
        for how, places in _alike(requests):
            asked = [requests[place].args[0] for place in places]
            written = Engine(self.base).generate(self.arm, asked, **how)
            answers.update(zip(places, (answer.text for answer in written), strict=True))
        return [answers[place] for place in range(len(requests))]

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Returns a conversation as the text after which the base answers."""
        return self.base.tokenizer.apply_chat_template(
            chat_history, tokenize=False, add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )  # fmt: skip

    @property
    def tokenizer_name(self) -> str:
        """The name that caches of prompts are kept under."""
        return f"{self.base.name}-{self.base.hash}".replace("/", "__")

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """Returns the template of the base's tokenizer."""
        return self.base.tokenizer.chat_template if chat_template else None

    def _scored(self, texts: Sequence[tuple[str | None, str]]) -> list[LogProb]:
        with self._attached([prompt or text for prompt, text in texts]) as more:
            return score_logprobs(self.base, texts, batch_size=self.batch_size, **more)

    @contextmanager
    def _attached(self, prompts: Sequence[str]) -> Iterator[dict[str, Any]]:
        with self.arm.attached(self.base) as banks:
            yield {"banks": banks, "known": self.arm.known(self.base, banks, "", prompts)}


def _alike(requests: Sequence[Any]) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Yields how answers are written, and which requests ask for it."""
    places: dict[str, list[int]] = {}
    for place, request in enumerate(requests):
        places.setdefault(repr(sorted(request.args[1].items())), []).append(place)
    for several in places.values():
        given = requests[several[0]].args[1]
        stop = given.get("until") or ()
        sampled = given.get("do_sample", given.get("temperature", 0) > 0)
        yield (
            {
                "stop": tuple(stop) if isinstance(stop, list | tuple) else (stop,),
                "max_new_tokens": int(given.get("max_gen_toks", given.get("max_new_tokens", 256))),
                "temperature": float(given.get("temperature", 1.0)) if sampled else 0.0,
                "top_p": float(given.get("top_p", 1.0)) if sampled else 1.0,
            },
            several,
        )


def main() -> None:
    """Runs the harness with the model `yosegi`."""
    from lm_eval.__main__ import cli_evaluate
    from lm_eval.api.registry import model_registry

    model_registry.register("yosegi", target="yosegi.evaluation.harness:Harness")
    sys.argv[0] = "lm-eval"
    cli_evaluate()


if __name__ == "__main__":
    main()
