"""Decoding by continuous batching: requests join and leave the batch between two steps, in transformers' paged cache.

A step is one flat row of the tokens of many requests: whole prompts of the new ones, one token each of the running ones.
transformers runs the steps from a thread, and its batches depend on timing. Here the caller takes the steps, so equal requests
give equal batches, bit for bit (docs/adr/0023).

Three things are added to transformers' loop: the routers learn the request of every token before each step (`set_batch`), each
answer chooses its tokens by its own settings and its own noise (request.py), and the attention of a request costs what that
request looks at (paged.py).
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache import PagedAttentionCache, group_layers_by_attn_type
from transformers.generation.continuous_batching.cb_logits_processors import ContinuousBatchingLogitsProcessorList
from transformers.generation.continuous_batching.continuous_api import (
    BackgroundThreadStatus,
    ContinuousBatchProcessor,
    OutputRouter,
)
from transformers.generation.continuous_batching.distributed import DistributedHelper
from transformers.generation.continuous_batching.initialization import resolve_continuous_batching_config
from transformers.generation.continuous_batching.requests import FutureRequestState, RequestState, RequestStatus
from transformers.generation.continuous_batching.scheduler import FIFOScheduler
from transformers.generation.continuous_batching.utils import find_head_dim, find_num_key_value_heads
from transformers.generation.logits_process import LogitsProcessorList

from yosegi.bases import Base
from yosegi.engine import paged
from yosegi.engine.request import Completion, Request, SetBatch, scores
from yosegi.errors import Invalid

PAGE = 16
"""Tokens of a page of the cache."""
TOKENS = 1024
"""The most tokens of one step; a longer prompt takes several."""
WORDS = 19
"""Bits of a token, where those of several arms are told apart; no cache is kept for a larger vocabulary."""
CACHE = 4 * 2**30
"""The most bytes of the cache, unless one request alone needs more. The cache is only as large as the requests need."""


class Decoder:
    """Accepts requests at any time; each step adds one token to every running answer.

    Args:
        base: the model, with or without attached experts. It is unchanged between two steps.
        rows: the most answers that run at a time.
        blocks: pages of the cache, enough for all requests that are to run together.
        set_batch: called before each step.
        keep: whether the pages of prompts and answers stay in the cache while there is room, and a request that begins as an
            earlier one of its seat did reads only the rest. Its sums are then those of other batches.
    """

    def __init__(self, base: Base, rows: int, blocks: int, set_batch: SetBatch | None = None, keep: bool = False):
        self.model: Any = base.model
        self.set_batch, self.free, self.rows = set_batch, blocks, rows
        self.waiting: deque[Request] = deque()
        self.written: list[tuple[int, Completion]] = []  # answers with a token of the last step, and their rows in it
        self.running: dict[str, Request] = {}
        kinds = set(group_layers_by_attn_type(self.model.config.get_text_config()))
        self._grouped = self.model.config._attn_implementation == "sdpa" and kinds == {"full_attention"}
        self._choice = _Choice()
        with self.ready():
            self._processor, self._cache = _processor(self.model, max(rows, TOKENS), rows, blocks, self._choice, keep)
        self._cache.running = self.running

    @classmethod
    def sized(cls, base: Base, requests: Sequence[Request], rows: int, set_batch: SetBatch | None = None) -> "Decoder":
        """Returns a decoder that runs up to `rows` of these answers at a time, with no more cache than they need."""
        rows = max(rows, *(request.n for request in requests))
        needs = sorted(((blocks_of(request), request.n) for request in requests), reverse=True)
        answers = itertools.accumulate((n for _, n in needs), initial=0)
        together = sum(need for (need, _), before in zip(needs, answers, strict=False) if before < rows)
        most = CACHE // (PAGE * bytes_of_a_token(base.model))
        return cls(base, rows, max(needs[0][0], min(together, most)), set_batch)

    def add(self, *requests: Request) -> None:
        """Queues requests; they are admitted in this order as room becomes free."""
        for request in requests:
            if (need := blocks_of(request)) > (room := self._cache.num_blocks) or request.n > self.rows:
                raise Invalid(
                    f"{need * PAGE} tokens of {request.n} answers are more than {room * PAGE} tokens of {self.rows}."
                )
        self.waiting.extend(requests)

    def cancel(self, request: Request) -> None:
        """Removes a request before its end."""
        if request in self.waiting:
            self.waiting.remove(request)
        for key in [key for key, other in self.running.items() if other is request]:
            self._processor.scheduler.set_request_cancellation(key)
            self._leave(key)
        for completion in request.completions:
            completion.reason = completion.reason or "cancelled"

    @torch.no_grad()
    def step(self) -> bool:
        """Takes one step. Returns whether there was anything to do."""
        self.written = []
        self._admit()
        if self._cache.kept > self.free:  # the running answers will need the room
            self._cache.evict_cached_blocks()
        with self.ready():
            if not self._processor.prepare_next_batch():
                return False
            batch: list[Any] = self._processor.inputs_and_outputs.requests_in_batch  # type: ignore[union-attr]
            lengths = torch.tensor([future.query_length for future in batch])
            if self.set_batch:
                row_X = torch.repeat_interleave(torch.arange(len(batch)), lengths).to(self.model.device)
                self.set_batch([future.state.request for future in batch], row_X, None)
            if self._grouped:
                io: Any = self._processor.inputs_and_outputs
                if io.max_kv_read:
                    place_N = io.read_index_storage[0, : io.true_read_sizes[0]]
                else:  # nothing is cached yet, so transformers has not looked the places up
                    place_N = io.write_index_storage[0, : io.true_write_sizes[0]]
                self._cache.step = paged.step_of(batch, place_N)
            written = [(row, future.state.completion) for row, future in enumerate(batch) if future.has_new_token]
            self._choice.completions = [completion for _, completion in written]
            self._processor._generation_step(self.model)
            self._processor.update_batch()
        self.written = written
        for future in batch:
            if future.state.completion.reason:
                self._leave(future.state.request_id)
        return True

    def run(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Answers all requests and yields each when it is done."""
        left = list(requests)
        self.add(*left)
        with self.ready():
            while left:
                if not self.step():
                    raise RuntimeError("The scheduler has nothing to do, and some requests are not answered.")
                yield from (request for request in left if request.done)
                left = [request for request in left if not request.done]

    def _admit(self) -> None:
        """Admits what fits. Room is reserved for whole answers, so that none is evicted from the cache half way."""
        while self.waiting:
            request = self.waiting[0]
            if blocks_of(request) > self.free or len(self.running) + request.n > self.rows:
                return
            self.waiting.popleft()
            self.free -= blocks_of(request)
            for state in _states(request):
                self._processor.scheduler.add_waiting_request(state)
            self.running |= {_key(request, k): request for k in range(request.n)}

    def _leave(self, key: str) -> None:
        request = self.running.pop(key, None)
        if request is not None and request not in self.running.values():
            self.free += blocks_of(request)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """The model in evaluation mode with paged attention; mode and attention are restored afterwards. Steps that are taken
        inside need not switch back and forth."""
        training, attention = self.model.training, self.model.config._attn_implementation
        wanted = paged.NAME if self._grouped else {"eager": "paged|eager"}.get(attention, attention)
        if training:
            self.model.eval()
        if wanted != attention:
            self.model.set_attn_implementation(wanted)
        try:
            yield
        finally:
            if wanted != attention:
                self.model.set_attn_implementation(attention)
            if training:
                self.model.train()


def blocks_of(request: Request) -> int:
    """Returns the pages that a request needs at its end. Its answers share the pages that its prompt fills."""
    shared = (len(request.ids) - 1) // PAGE
    return shared + request.n * (-(-(len(request.ids) + request.max_new_tokens) // PAGE) - shared)


def _key(request: Request, k: int) -> str:
    return f"{id(request)}__child#{k - 1}" if k else str(id(request))


@dataclass
class _State(RequestState):
    """transformers' state of one answer; our `Completion` decides when it ends. The forks of a request are its other answers."""

    request: Any = None

    @property
    def completion(self) -> Completion:
        return self.request.completions[int(self.request_id.rpartition("#")[2]) + 1 if "#" in self.request_id else 0]

    @property
    def place(self) -> tuple[int, int]:
        """The place in the caller's order: neighbouring requests often use the same expert."""
        return self.request.number, self.completion.k

    def update_and_check_completion(self, token_id: int, logprob: float | None) -> bool:
        self.generated_tokens.append(token_id)
        self.tokens_to_process = [token_id]
        if self.completion.push(token_id):
            self.status = RequestStatus.FINISHED
        return self.status == RequestStatus.FINISHED

    def create_equivalent_initial_request(self) -> "_State":
        ids = self.initial_tokens + self.generated_tokens
        return _State(self.request_id, ids, request=self.request, num_children=self.num_children)


def _states(request: Request) -> list[_State]:
    """One state that forks when the prompt is read; a prompt of one token leaves nothing to share, so each answer has its own."""
    if len(request.ids) > 1:
        return [_State(_key(request, 0), request.ids, request=request, num_children=request.n - 1)]
    return [_State(_key(request, k), request.ids, request=request) for k in range(request.n)]


class _Scheduler(FIFOScheduler):
    """First come, first served; within a step in the caller's order."""

    def schedule_batch(
        self, token_budget: int, cache_budget: int
    ) -> tuple[list[FutureRequestState] | None, bool, int, int]:
        batch, *rest = super().schedule_batch(token_budget, cache_budget)
        return (batch and sorted(batch, key=lambda future: future.state.place), *rest)  # type: ignore[attr-defined]


class _Choice(ContinuousBatchingLogitsProcessorList):
    """Computes the scores whose largest entry is the next token. Rows after those of the answers are padding."""

    def __init__(self):
        super().__init__(LogitsProcessorList())
        self.do_processing, self.completions = True, []

    def __call__(self, input_ids: Tensor, scores_BV: Tensor, arguments: Tensor) -> Tensor:
        scores_BV[: len(self.completions)] = scores(scores_BV[: len(self.completions)], self.completions)
        return scores_BV


class _Processor(ContinuousBatchProcessor):
    """Without the garbage collection at its end, which takes longer than the answers of a small model."""

    def __del__(self):
        pass


class _Alone(DistributedHelper):
    """Does not touch torch's global random state."""

    def set_tp_seed(self, seed: int | None, model_device: torch.device) -> None:
        pass


class _Nowhere(OutputRouter):
    """Delivers nothing: the caller of `step` knows what has finished."""

    def deliver_batch(self, outputs: Any) -> None:
        pass

    def fail_and_deliver(self, state: RequestState, error: Exception) -> None:
        raise error


class _Cache(PagedAttentionCache):
    """The cache, which also carries what the attention of one step needs. Pages are found by their tokens; keys and values depend
    on the arm as well, so the tokens of each seat are told apart from those of the others."""

    step: paged.Step
    running: dict[str, Request]

    @property
    def kept(self) -> int:
        """How many pages are kept that no request uses."""
        return sum(len(allocator.ledger.cached_blocks) for allocator in self.cache_allocators.values())

    def search_prefix_match(self, request_id: str, prompt_ids: list[int]) -> int:
        request = self.running[request_id]
        if request.known:  # the weights depend on more than the tokens
            return 0
        ids = (
            prompt_ids[:-1] if request.n > 1 else prompt_ids
        )  # one token is left to read before the fork, and one after it
        return super().search_prefix_match(request_id, _of_seat(request, ids))

    def mark_complete_blocks(self, state: Any, complete_blocks: dict[str, int]) -> None:
        if not complete_blocks or not self.use_prefix_sharing or state.request.known:
            return
        salted = SimpleNamespace(
            request_id=state.request_id, status=state.status, generated_tokens=[],
            initial_tokens=_of_seat(state.request, state.initial_tokens + state.generated_tokens),
        )  # fmt: skip
        super().mark_complete_blocks(salted, complete_blocks)  # type: ignore[arg-type]


def _of_seat(request: Request, ids: Sequence[int]) -> list[int]:
    """Returns tokens as numbers of 31 bits that only this seat has: any four in a row hold 48 bits of its number."""
    number = 0 if request.seat is None else request.seat.number
    salt = [(number >> 12 * n & 0xFFF) << WORDS for n in range(4)]
    return [token + salt[n % 4] for n, token in enumerate(ids)]


def _processor(
    model: Any, tokens: int, rows: int, blocks: int, choice: _Choice, keep: bool
) -> tuple[ContinuousBatchProcessor, _Cache]:
    """Returns transformers' batch processor and its cache, without the thread."""
    config, helper = model.config.get_text_config(), _Alone(getattr(model, "_device_mesh", None), None)
    asked = ContinuousBatchingConfig(
        page_size=PAGE, num_blocks=blocks, max_batch_tokens=tokens, max_requests_per_batch=rows,
        safety_margin=0.0, use_cuda_graph=False, use_async_batching=False, auto_switch_to_flash=False, max_blocks_per_request=0,
        max_memory_percent=1.0,
    )  # fmt: skip
    resolved = resolve_continuous_batching_config(config, asked, None, True, model.device)
    cache = _Cache(config, resolved, model.device, helper, model.dtype, model._supports_logits_to_keep())
    cache.use_prefix_sharing = keep and cache.use_prefix_sharing and config.vocab_size <= 1 << WORDS
    cache.allow_block_sharing = cache.use_prefix_sharing  # forks share their prompt in any case
    processor = _Processor(
        cache, config, GenerationConfig(do_sample=False), resolved, choice, None, None, _Nowhere(), BackgroundThreadStatus(),
        model.device, model.dtype, _Scheduler(cache, 0.0, rows), helper,
    )  # fmt: skip
    processor.inputs_and_outputs.compute_stream = None  # type: ignore[assignment] # all of a step in torch's current stream
    return processor, cache


def bytes_of_a_token(model: Any) -> int:
    """Returns the bytes that one token takes in the cache, all layers together."""
    config = model.config.get_text_config()
    width = find_num_key_value_heads(config) * find_head_dim(config)
    return 2 * config.num_hidden_layers * width * model.dtype.itemsize
