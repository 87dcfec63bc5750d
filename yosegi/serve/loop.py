"""The one thread that owns the model: it takes jobs, opens and closes seats, steps the decoder, and says when there is news.

    turn      arms of one key (mix and heads, switch.key) share a batch; others get their turn when the running ones are done, and
              jobs that came after the first that waits for another key do not go ahead
    failure   logits that are not finite end that request. If a step raises, its jobs start again, those of each arm alone: the
              arm that raises again fails. Tokens are drawn with the same noise, so answers go on where they were.

Nothing here knows HTTP. Text is decoded and JSON is written by the readers, in another thread.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from yosegi.bases import Base
from yosegi.engine import echo, packing
from yosegi.engine.decode import PAGE, Decoder, bytes_of_a_token
from yosegi.engine.request import Request, TokenLogProb
from yosegi.engine.rows import context_length
from yosegi.errors import Invalid
from yosegi.serve.job import Busy, Failed, Job, Late, Stopping, told
from yosegi.serve.seats import Seats
from yosegi.serve.settings import ServeSettings

log = logging.getLogger("yosegi.serve")


class Loop:
    """Answers jobs until it is stopped.

    Args:
        base: the model, which belongs to this loop from now on.
        settings: the limits.
        observe: called with the name of what happened and a number: "tokens", "prompt", "step", "first", …
    """

    def __init__(self, base: Base, settings: ServeSettings, observe: Callable[[str, float], None] = lambda *_: None):
        self.base, self.settings, self.observe = base, settings, observe
        self.context, self.layers = context_length(base), [name for name, _ in base.model.named_modules()]
        self.apart = packing.keeps_apart(base.model)
        self.blocks = self._blocks()
        self.decoder = self._decoder()
        self.seats = Seats(base, settings.arms)
        self.waiting, self.running = deque[Job](), dict[Request, tuple[Job, int]]()
        self.scoring = deque[tuple[Job, int]]()
        self.jobs: dict[Job, None] = {}
        self._turn: tuple[Any, int] = (None, 0)  # the key, and the last job that was there when its turn began
        self._inbox, self._news = deque[tuple[str, Any]](), threading.Condition()
        self._count = self._answers = 0
        self._ready, self._paged = ExitStack(), False
        self._over: list[Job] = []
        self._looked = 0.0
        self._stopped = self.draining = False
        self._thread = threading.Thread(target=self._run, name="yosegi-model", daemon=True)

    # Called from other threads

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Takes a job.

        Raises:
            Busy: too much is waiting. Stopping: the server is about to end. Invalid: it can never fit.
        """
        for request in job.requests:
            if request.n > self.settings.rows:
                raise Invalid(
                    f"n={request.n} is more than the {self.settings.rows} answers that are written at a time here."
                )
        with self._news:
            if self.draining:
                raise Stopping("The server is about to end.")
            if self._answers and self._answers + job.answers > self.settings.rows + self.settings.queue:
                raise Busy(f"{self._answers} answers are being written or wait. Come again.")
            self._answers += job.answers
            self._count += 1
            job.number = self._count
            self._inbox.append(("job", job))
            self._news.notify()

    def cancel(self, job: Job) -> None:
        """Ends a job that nobody waits for any more."""
        self._tell("cancel", job)

    def drain(self) -> None:
        """Takes no more jobs; those that it has go on."""
        with self._news:
            self.draining = True

    def end_all(self) -> None:
        """Ends every job where it is."""
        self.drain()
        self._tell("end", None)

    def stop(self) -> None:
        """Ends the thread; jobs that are left fail."""
        self.drain()
        self._tell("stop", None)
        if self._thread.is_alive():
            self._thread.join()

    @property
    def busy(self) -> int:
        """How many answers are being written or wait."""
        return self._answers

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def _tell(self, what: str, about: Any) -> None:
        with self._news:
            self._inbox.append((what, about))
            self._news.notify()

    # The thread

    def _run(self) -> None:
        while not self._stopped:
            try:
                self._read_inbox()
                changed = self._round()
                if changed:
                    self._tell_readers(changed)
            except Exception as error:  # whatever it is, the server lives on
                log.exception("the model's thread")
                self._recover(error)
        self._leave_paged()
        for job in list(self.jobs):
            self._finish(job, Stopping("The server ended."))
        self._tell_readers(self._over)
        self.seats.turn()

    def _read_inbox(self) -> None:
        with self._news:
            if not self._inbox and not self.jobs:
                self._leave_paged()
                self._news.wait()
            inbox, self._inbox = self._inbox, deque()
        self._over = []
        for what, about in inbox:
            if what == "job":
                self.jobs[about] = None
                self.waiting.append(about)
            elif what == "cancel" and about in self.jobs:
                self.observe("cancelled", 1)
                self._finish(about)
            elif what == "end":
                for job in list(self.jobs):
                    self._finish(job)
            elif what == "stop":
                self._stopped = True

    def _round(self) -> list[Job]:
        """One step of everything. Returns the jobs with something new."""
        now = time.monotonic()
        if now - self._looked > 0.25:
            self._looked = now
            for job in [job for job in self.jobs if job.deadline < now]:
                self._finish(job, Late(f"The answer took more than {self.settings.timeout:g} seconds."))
        self._admit()
        changed: dict[Job, None] = {}
        if self.scoring:
            changed |= dict.fromkeys(self._score())
        if self.running:
            changed |= dict.fromkeys(self._step())
        return [*changed, *(job for job in self._over if job not in changed)]

    def _admit(self) -> None:
        """Starts the jobs whose turn it is."""
        if not self.waiting:
            return
        current, last = self._turn
        if not self.running and not self.scoring and not any(job.key == current for job in self.waiting):
            current, last = self.waiting[0].key, self.waiting[-1].number
            if current != self._turn[0]:
                self._leave_paged()
                self.decoder.set_batch = self.seats.turn(current[0])
            self._turn = current, last
        other = min((job.number for job in self.waiting if job.key != current), default=None)
        if other is None:
            chosen = list(self.waiting)
        elif not self.running and not self.scoring and self.waiting[0].key != current:
            self._turn = (None, 0)  # the oldest waits for another key, and nothing runs: its turn
            self._admit()
            return
        else:
            chosen = [job for job in self.waiting if job.key == current and (job.number < other or job.number <= last)]
        if not chosen:
            return
        for job in chosen:
            self.waiting.remove(job)
        for job in self._seated(chosen):
            try:
                self._begin(job)
            except Exception as error:
                self._finish(job, told(error, theirs=True))

    def _seated(self, jobs: Sequence[Job]) -> list[Job]:
        """Returns the jobs whose seats are open now; those of a seat that does not fit the model are finished."""
        asked = dict.fromkeys(job.seat for job in jobs)
        if not self.seats.has(asked):
            self._leave_paged()
        failed = self.seats.open(asked, {job.seat for job in self.jobs})
        for job in [job for job in jobs if job.seat in failed]:
            self._finish(job, told(failed[job.seat], theirs=True))
        return [job for job in jobs if job.seat not in failed]

    def _begin(self, job: Job) -> None:
        if job.seat.arm.needs:
            self._leave_paged()
            for request, known in zip(
                job.requests, self.seats.switch.known(job.seat, job.prompts, job.task), strict=True
            ):
                request.known = known
        for place, request in enumerate(job.requests):
            request.seat, request.number = job.seat, job.number
            self.observe("prompt", len(request.ids))
            if job.echo is not None:
                self.scoring.append((job, place))
            if job.echo is None or request.max_new_tokens > 1:
                self._start(job, place)

    def _start(self, job: Job, place: int) -> None:
        request = job.requests[place]
        self.running[request] = job, place
        self.decoder.add(request)

    def _score(self) -> Iterable[Job]:
        """Reads one row of prompts whose log-likelihoods are wanted."""
        self._leave_paged()
        asked = list(self.scoring)[: self.settings.rows]
        requests = [
            request if (request := job.requests[place]).max_new_tokens == 1 else _probe(request) for job, place in asked
        ]
        row = next(echo.rows(requests, self.apart))
        chosen = [self.scoring.popleft() for _ in row]
        most = max(job.echo or 0 for job, _ in chosen)
        try:
            scored = echo.read(self.base, row, self.seats.switch.set_batch, most)
        except Exception as error:
            if len({job for job, _ in chosen}) > 1:  # which of them it was shows when each is read by itself
                for job, place in chosen:
                    self._score_alone(job, place)
            else:
                self._finish(chosen[0][0], told(error))
            return [job for job, _ in chosen]
        self._scored(chosen, row, scored)
        return [job for job, _ in chosen]

    def _score_alone(self, job: Job, place: int) -> None:
        if job.over:
            return
        request = job.requests[place]
        row = [request if request.max_new_tokens == 1 else _probe(request)]
        for completion in row[0].completions:
            completion.ids.clear()
            completion.logprobs.clear()
        try:
            self._scored([(job, place)], row, echo.read(self.base, row, self.seats.switch.set_batch, job.echo or 0))
        except Exception as error:
            self._finish(job, told(error))

    def _scored(
        self, chosen: Sequence[tuple[Job, int]], row: Sequence[Request], scored: Sequence[list[TokenLogProb]]
    ) -> None:
        for n, ((job, place), request, logprobs) in enumerate(zip(chosen, row, scored, strict=True)):
            job.scored[place] = [TokenLogProb(one.logp, one.top[: job.echo]) for one in logprobs]
            if request is job.requests[place] and request.routing:
                for completion in request.completions:
                    job.routing.setdefault(completion, []).append(self.seats.switch.routing(job.seat, n))
            self._end_if_done(job)

    def _step(self) -> Iterable[Job]:
        """Takes one step of the decoder."""
        if not self._paged:
            self._ready.enter_context(self.decoder.ready())
            self._paged = True
        started = time.perf_counter()
        self.decoder.step()
        self.observe("step", time.perf_counter() - started)
        written = self.decoder.written
        self.observe("tokens", len(written))
        changed: dict[Job, None] = {}
        for row, completion in written:
            request = completion.request
            job, _ = self.running[request]
            if job.first is None:
                job.first = time.monotonic()
                self.observe("first", job.first - job.began)
            if request.routing and completion.reason != "failed":
                job.routing.setdefault(completion, []).append(self.seats.switch.routing(job.seat, row))
            changed[job] = None
        for job in changed:
            self._end_if_done(job)
        return [job for job in changed if job.stream]

    def _end_if_done(self, job: Job) -> None:
        if job.over:
            return
        if any(c.reason == "failed" for request in job.requests for c in request.completions):
            self._finish(
                job, Failed("The logits of this arm are not finite numbers: an expert or a setting of it is damaged.")
            )
        elif job.complete:
            self._finish(job)

    def _finish(self, job: Job, error: Exception | None = None) -> None:
        """Ends a job, whatever state it is in."""
        if job.over:
            return
        for request in job.requests:
            if self.running.pop(request, None) is not None and not request.done:
                self.decoder.cancel(request)
        if job in self.waiting:
            self.waiting.remove(job)
        self.scoring = deque(one for one in self.scoring if one[0] is not job)
        self.jobs.pop(job, None)
        job.error, job.over = error, True
        with self._news:
            self._answers -= job.answers
        self._over.append(job)

    def _tell_readers(self, jobs: Sequence[Job]) -> None:
        for wake in dict.fromkeys(job.wake for job in jobs):
            wake([job for job in jobs if job.wake == wake])

    def _recover(self, error: Exception) -> None:
        """Starts again after a step that raised: everything new but the model and the jobs."""
        self._over = []
        try:
            self._leave_paged()
            self.seats.turn()
        except Exception:  # it is as it is; attach refuses if experts are left
            log.exception("detaching")
        self.decoder = self._decoder()
        begun = {job: None for job, _ in [*self.running.values(), *self.scoring]}
        self.running.clear()
        self.scoring.clear()
        self._turn = None, 0
        single = len({job.seat for job in begun}) <= 1
        for job in begun:
            if single:
                self._finish(job, told(error))
                continue
            job.alone = True
            job.requests[:] = [replace(request) for request in job.requests]
            job.scored.clear()
            job.routing.clear()
        self.waiting.extendleft(reversed([job for job in begun if not job.over]))
        if not begun:  # it was none of the jobs that run: the oldest that waits must not be tried for ever
            for job in list(self.waiting)[:1]:
                self._finish(job, told(error))
        self._tell_readers(self._over)

    def _leave_paged(self) -> None:
        """Gives the model its own attention back, for whatever is no step of the decoder."""
        self._paged = False
        self._ready.close()

    def _decoder(self) -> Decoder:
        return Decoder(self.base, self.settings.rows, self.blocks, keep=True)

    def _blocks(self) -> int:
        """Pages of the cache: for `rows` answers of the whole context, or what the memory that is allowed holds."""
        whole = -(-self.context // PAGE)
        most = int(self.settings.cache_gb * 2**30) // (PAGE * bytes_of_a_token(self.base.model))
        return max(whole, min(most, self.settings.rows * whole))


def _probe(request: Request) -> Request:
    """A prompt that is only scored; its answers are written by the decoder."""
    return replace(request, max_new_tokens=1, n=1, logprobs=None, routing=False)
