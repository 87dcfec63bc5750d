"""What the routes stand on: the model's loop, the library, the arms, and the way from a body to a job."""

import asyncio
import copy
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from yosegi.bases import Base
from yosegi.core.model import linears, shape
from yosegi.engine.chat import ask, plain
from yosegi.engine.generate import why_not_paged
from yosegi.engine.request import Request, Stop
from yosegi.engine.rows import encode_prompts, pad_id, start_of_text
from yosegi.engine.switch import Seat
from yosegi.errors import Invalid, UnknownName
from yosegi.library.card import check_name
from yosegi.library.similarity import similarity
from yosegi.serve.answer import Answer, Tokens
from yosegi.serve.arms import Arms, methods, weighted
from yosegi.serve.job import Busy, Job
from yosegi.serve.loop import Loop
from yosegi.serve.metrics import Metrics
from yosegi.serve.schemas import Asked, ChatBody, CompletionBody
from yosegi.serve.settings import ServeSettings
from yosegi.serve.shelf import Shelf

PREPARING = 32
"""The most models that wait to be prepared."""
COMPARED = 200
"""The most experts whose similarity is worked out."""
log = logging.getLogger("yosegi.serve")


class TooLong(Invalid):
    """A prompt and its answer are longer than the context."""


class Service:
    """One base with one library.

    Args:
        base: the model. Nobody else may use it until `close`.
        library: the folder of the experts; None for the base alone.
        settings: the limits.

    Raises:
        Invalid: the model has no paged cache.
    """

    def __init__(self, base: Base, library: Path | None, settings: ServeSettings):
        if why := why_not_paged(base.model):
            raise Invalid(f"{base.name} cannot be served, as {why}; yosegi generate and chat answer with it.")
        self.base, self.settings, self.metrics = base, settings, Metrics()
        self.name = Path(base.name).name.removesuffix(".gguf") or "base"
        modules = dict(base.model.named_modules())
        shapes = {name: shape(modules[name]) for name in linears(base.model)}
        self.shelf = Shelf(library, base.hash, self.name, shapes) if library is not None else None
        self.loop = Loop(base, settings, self.metrics.observe)
        self.arms = Arms(self.shelf, self.loop.layers, settings, self.name)
        self.reading = replace(base, tokenizer=copy.deepcopy(base.tokenizer))  # for the thread that encodes
        self.stop, self.tokens = Stop(base), Tokens(base.tokenizer)
        self.vocabulary = int(base.model.get_input_embeddings().weight.shape[0])  # type: ignore[operator]
        self.started = int(time.time())
        self._encoding = ThreadPoolExecutor(1, "yosegi-text")
        self._preparing, self._waiting = ThreadPoolExecutor(1, "yosegi-arms"), 0
        self._merging = ThreadPoolExecutor(1, "yosegi-merge")  # so that nobody but other merges waits for a slow one
        self._similar: tuple[Any, Any] = (None, None)

    async def open(self) -> None:
        """Starts the model's thread and looks at the library."""
        self._asyncio = asyncio.get_running_loop()
        if self.shelf is not None:
            await self._in_order(self.shelf.look)
            if self.settings.watch:
                self._watcher = asyncio.create_task(self._watch())
        self.loop.start()

    async def close(self) -> None:
        """Ends it all; the base is as it was."""
        if (watcher := getattr(self, "_watcher", None)) is not None:
            watcher.cancel()
        await asyncio.to_thread(self.loop.stop)
        self._encoding.shutdown(wait=False, cancel_futures=True)
        self._preparing.shutdown(wait=False, cancel_futures=True)
        self._merging.shutdown(wait=False, cancel_futures=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self.settings.watch)
            try:
                await self._in_order(self.shelf.look)  # type: ignore[union-attr]
            except Exception:
                log.exception("looking at the library")

    async def _in_order(self, act: Callable[..., Any], *given: Any) -> Any:
        """Runs something in the thread of the arms, one after another."""
        return await self._asyncio.run_in_executor(self._preparing, partial(act, *given))

    async def seat(self, asked: Asked) -> Seat:
        """Returns the seat of the arm that is asked for.

        Raises:
            UnknownName: there is none. Invalid: it is not served. Busy: too many wait to be prepared.
        """
        text = asked.model
        if asked.experts:
            if text not in ("base", self.name):
                raise Invalid(f"experts are weighted on the base; the model is {text!r} already.")
            text = weighted(asked.experts)
        if (seat := self.arms.ready(text)) is not None:
            return seat
        if self._waiting >= PREPARING:
            raise Busy(f"{self._waiting} models are being prepared. Come again.")
        self._waiting += 1
        try:
            arm, version = await self._in_order(self.arms.asked, text)
            thread = self._merging if arm.merge else self._preparing
            return await self._asyncio.run_in_executor(thread, self.arms.seat, text, arm, version)
        finally:
            self._waiting -= 1

    async def complete(self, body: CompletionBody) -> Answer:
        """Starts the answers of a completion."""
        seat = await self.seat(body)
        prompts: list[Any] = body.prompts
        if isinstance(prompts[0], str):
            texts: list[str] = list(prompts)
            rows = await self._encoded(texts)
        else:
            rows, texts = [list(ids) for ids in prompts], []
            for ids in rows:
                if not ids or not all(0 <= token < self.vocabulary for token in ids):
                    raise Invalid(f"prompt: token ids are 0 to {self.vocabulary - 1}, at least one.")
            if body.echo or seat.arm.needs:
                texts = [self.base.tokenizer.decode(ids) for ids in rows]
        limits = [self._limit(len(ids), body.max_tokens, body.max_tokens) for ids in rows]
        scored = (body.logprobs or 0) if body.echo and body.logprobs is not None else None
        job = self._job(body, seat, rows, limits, texts, body.logprobs)
        job.echo, job.silent = (0 if scored is None and not body.max_tokens else scored), not body.max_tokens
        answer = Answer(
            job, self.tokens, body.model, chat=False, logprobs=body.logprobs, routing=body.routing,
            echo=texts if body.echo else (), usage=body.stream_options.include_usage,
        )  # fmt: skip
        self.loop.submit(job)
        return answer

    async def chat(self, body: ChatBody) -> Answer:
        """Starts the answers of a chat."""
        seat, turns = await self.seat(body), [message.turn for message in body.messages]
        (ids,) = await self._encoded([await self._run(ask, self.reading, turns)])
        asked = body.max_completion_tokens or body.max_tokens
        limit = self._limit(len(ids), asked or self.settings.max_tokens, asked or 1)
        logprobs = body.top_logprobs if body.logprobs else None
        job = self._job(body, seat, [ids], [limit], [plain(turns)], logprobs)
        answer = Answer(
            job, self.tokens, body.model, chat=True, logprobs=logprobs, routing=body.routing,
            usage=body.stream_options.include_usage,
        )  # fmt: skip
        self.loop.submit(job)
        return answer

    def _job(
        self, body: Asked, seat: Seat, rows: Sequence[list[int]], limits: Sequence[int], texts: Sequence[str],
        logprobs: int | None,
    ) -> Job:  # fmt: skip
        seed = secrets.randbits(63) if body.seed is None else body.seed
        stop = self.stop.at(body.stop)  # type: ignore[arg-type]
        requests = [
            Request(
                ids, stop, limit, **body.sampling, seed=f"{seed}/{place}" if place else seed, logprobs=logprobs,
                routing=bool(body.routing), survives=True,
            )
            for place, (ids, limit) in enumerate(zip(rows, limits, strict=True))
        ]  # fmt: skip
        deadline = time.monotonic() + self.settings.timeout
        return Job(seat, requests, self._wake, texts, body.task, stream=body.stream, deadline=deadline)

    def _limit(self, read: int, wanted: int, least: int) -> int:
        """Returns how many tokens an answer may have.

        Raises:
            TooLong: the context has not so much room.
        """
        room = self.loop.context - read
        if room < least:
            raise TooLong(
                f"This model's context is {self.loop.context} tokens; the prompt has {read} and the answer at least {least}."
            )
        return max(1, min(wanted, room))

    async def _encoded(self, texts: Sequence[str]) -> list[list[int]]:
        nothing = start_of_text(self.reading) or [pad_id(self.base)]
        return [ids or nothing for ids in await self._run(encode_prompts, self.reading, texts)]

    async def _run(self, act: Callable[..., Any], *given: Any) -> Any:
        return await self._asyncio.run_in_executor(self._encoding, partial(act, *given))

    def _wake(self, jobs: Sequence[Job]) -> None:
        with suppress(RuntimeError):  # the server has ended
            self._asyncio.call_soon_threadsafe(_set, list(jobs))

    # What there is

    def models(self) -> list[dict[str, Any]]:
        """Returns the items of /v1/models."""
        rows = [self._model(self.name, "base", hash=self.base.hash)]
        if self.shelf is None:
            return rows
        rows += [
            self._model(name, "expert", rank=card.get("rank"), tasks=card.get("task"))
            for name, card in self.shelf.cards().items()
        ]
        rows += [
            self._model(
                name, "arm", router=card["merge"] or card["router"], experts=[e["name"] for e in card["experts"]]
            )
            for name, card in sorted(self.shelf.kept.items())
        ]
        return rows + [self._model(name, "expert", error=why) for name, why in self.shelf.broken.items()]

    def model(self, name: str) -> dict[str, Any]:
        """Returns one of them."""
        rows = {row["id"]: row for row in self.models()}
        rows.setdefault("base", rows[self.name])
        if name not in rows:
            raise UnknownName.among("model", name, rows)
        return rows[name]

    def _model(self, name: str, kind: str, **more: Any) -> dict[str, Any]:
        about = {"kind": kind, **{key: value for key, value in more.items() if value is not None}}
        return {"id": name, "object": "model", "created": self.started, "owned_by": "yosegi", "yosegi": about}

    def experts(self) -> list[dict[str, Any]]:
        """Returns what the cards say of each expert; of a damaged one, what is wrong."""
        if self.shelf is None:
            return []
        found = [
            {
                "name": name, "rank": card.get("rank"), "alpha": card.get("alpha"), "tasks": list(card.get("task") or ()),
                "parameters": self.shelf.entries[name].parameters, "metrics": card.get("metrics") or {},
            }
            for name, card in self.shelf.cards().items()
        ]  # fmt: skip
        return found + [{"name": name, "error": why} for name, why in self.shelf.broken.items()]

    async def take(self, name: str) -> dict[str, Any]:
        """Takes an expert as it now lies in the folder, and returns what its card says.

        Raises:
            UnknownName: there is none. Invalid: it cannot be used.
        """
        assert self.shelf is not None
        await self._in_order(self.shelf.look, check_name(name))
        if name not in self.shelf:
            if why := self.shelf.broken.get(name):
                raise Invalid(f"The expert {name!r} cannot be used: {why}.")
            raise UnknownName.among("expert of this library", name, self.shelf)
        return next(row for row in self.experts() if row["name"] == name)

    async def library(self) -> dict[str, Any]:
        """Returns what the page shows of the library."""
        about: dict[str, Any] = {"base": self.name, "context": self.loop.context, "chat": bool(self.base.chat_template)}
        if self.shelf is None:
            return {**about, "experts": [], "arms": [], "methods": [], "similarity": None}
        arms = [
            {"name": name, "router": card["merge"] or card["router"], "experts": [e["name"] for e in card["experts"]]}
            for name, card in sorted(self.shelf.kept.items())
        ]
        similar = await self._in_order(self._similarity)
        return {**about, "experts": self.experts(), "arms": arms, "methods": methods(), "similarity": similar}

    def _similarity(self) -> list[list[float]] | None:
        """The cosines of the experts that can be used, in their order; None if there are too many."""
        assert self.shelf is not None
        marks = [(name, card.get("sha256")) for name, card in self.shelf.cards().items()]
        if not marks or len(marks) > COMPARED:
            return None
        if self._similar[0] != marks:
            self._similar = marks, similarity(self.shelf.load()).double().round(decimals=4).tolist()
        return self._similar[1]


def _set(jobs: Sequence[Job]) -> None:
    for job in jobs:
        job.signal.set()
