"""Decoding by continuous batching: requests join and leave the batch between two steps, in transformers' paged cache.

A step is one flat row of the tokens of many requests: the prompts of those that have just come, one token of each that is being
answered. transformers runs it from a thread whose batches depend on timing; here whoever asks takes the steps, so the same
requests give the same batches, bit for bit (docs/adr/0023).

Three things are put in. The routers are told the request of every token before each step (`set_batch`). Tokens are chosen for
each answer by its own settings and with its own noise (request.py). And attention costs what its requests cost: transformers'
multiplies all queries of the row with the keys of all requests and masks most of it; here requests of like length are attended
together.

Shapes: X tokens of a step, B requests of like length, Q queries and K keys of each, H heads, D width of a head.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import AttentionInterface, GenerationConfig
from transformers.generation.configuration_utils import ContinuousBatchingConfig
from transformers.generation.continuous_batching.cache import PagedAttentionCache
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
from transformers.generation.logits_process import LogitsProcessorList
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from yosegi.bases import Base
from yosegi.engine.request import Completion, Request, SetBatch, scores
from yosegi.errors import Invalid

PAGE = 16
"""Tokens of a page of the cache."""
TOKENS = 1024
"""The most tokens of one step. A longer prompt is read in several."""
CACHE = 4 * 2**30
"""Bytes of the cache, at most, unless one request alone needs more. By default it is as large as the requests need it."""
ATTENTION = "yosegi_paged"


class Decoder:
    """Takes requests at any time, and every step brings each of those that run one token further.

    Args:
        base: the model, with or without experts in it. Between two steps it is as it was.
        rows: answers at a time, at most.
        blocks: pages of the cache: what all requests need that are to run together.
        set_batch: called before each step.
    """

    def __init__(self, base: Base, rows: int, blocks: int, set_batch: SetBatch | None = None):
        self.model: Any = base.model
        self.set_batch, self.free, self.rows = set_batch, blocks, rows
        self.waiting: deque[Request] = deque()
        self.running: dict[str, Request] = {}
        self._grouped = self.model.config._attn_implementation == "sdpa" and _full(self.model)
        self._choice = _Choice()
        with self._ready():
            self._processor, self._cache = _processor(self.model, max(rows, TOKENS), rows, blocks, self._choice)

    @classmethod
    def sized(cls, base: Base, requests: Sequence[Request], rows: int, set_batch: SetBatch | None = None) -> "Decoder":
        """A decoder that holds so many of these answers at a time, and no more memory than they need."""
        each = sorted((blocks_of(request) for request in requests for _ in range(request.n)), reverse=True)
        largest = max(blocks_of(request) * request.n for request in requests)
        most = CACHE // (PAGE * _bytes_of_a_token(base.model))
        rows = max(rows, *(request.n for request in requests))
        return cls(base, rows, max(largest, min(sum(each[:rows]), most)), set_batch)

    def add(self, *requests: Request) -> None:
        """Let requests join; they are answered in this order as places become free."""
        for request in requests:
            if (need := blocks_of(request) * request.n) > self._cache.num_blocks or request.n > self.rows:
                room = self._cache.num_blocks * PAGE
                raise Invalid(
                    f"A request of {need * PAGE} tokens and {request.n} answers is more than {room} and {self.rows}."
                )
        self.waiting.extend(requests)

    def cancel(self, request: Request) -> None:
        """Let a request leave before its end."""
        if request in self.waiting:
            self.waiting.remove(request)
        for key in [key for key, other in self.running.items() if other is request]:
            self._processor.scheduler.set_request_cancellation(key)
            self._leave(key)
        for completion in request.completions:
            completion.reason = completion.reason or "cancelled"

    @torch.no_grad()
    def step(self) -> bool:
        """One step. Returns whether there was anything to do."""
        self._admit()
        with self._ready():
            if not self._processor.prepare_next_batch():
                return False
            batch: list[Any] = self._processor.inputs_and_outputs.requests_in_batch  # type: ignore[union-attr]
            lengths = torch.tensor([future.query_length for future in batch])
            if self.set_batch:
                row_X = torch.repeat_interleave(torch.arange(len(batch)), lengths).to(self.model.device)
                self.set_batch([future.state.request for future in batch], row_X, None)
            if self._grouped:
                self._cache.groups = _groups(self._processor, batch)
            self._choice.completions = [future.state.completion for future in batch if future.has_new_token]
            self._processor._generation_step(self.model)
            self._processor.update_batch()
        for future in batch:
            if future.state.completion.reason:
                self._leave(future.state.request_id)
        return True

    def run(self, requests: Iterable[Request]) -> Iterator[Request]:
        """Answer all of them, and hand out each when it is done."""
        left = list(requests)
        self.add(*left)
        with self._ready():
            while left:
                if not self.step():
                    raise RuntimeError("The scheduler has nothing to do, and some requests are not answered.")
                yield from (request for request in left if request.done)
                left = [request for request in left if not request.done]

    def _admit(self) -> None:
        """Let in who fits. Room is kept for all of an answer, so that none is ever thrown out of the cache half way."""
        while self.waiting:
            request = self.waiting[0]
            need = blocks_of(request)
            if need * request.n > self.free or len(self.running) + request.n > self.rows:
                return
            self.waiting.popleft()
            self.free -= need * request.n
            states = _states(request)
            for state in states:
                self._processor.scheduler.add_waiting_request(state)
            self.running |= {_key(request, k): request for k in range(request.n)}

    def _leave(self, key: str) -> None:
        if (request := self.running.pop(key, None)) is not None:
            self.free += blocks_of(request)

    @contextmanager
    def _ready(self) -> Iterator[None]:
        """The model in evaluation, with this attention; as it was afterwards."""
        training, attention = self.model.training, self.model.config._attn_implementation
        wanted = ATTENTION if self._grouped else {"eager": "paged|eager"}.get(attention, attention)
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
    """Pages that one answer needs at its end."""
    return -(-(len(request.ids) + request.max_new_tokens) // PAGE)


def _key(request: Request, k: int) -> str:
    return f"{id(request)}__child#{k - 1}" if k else str(id(request))


@dataclass
class _State(RequestState):
    """transformers' state of one answer, which asks ours whether it is complete. The forks of a request are its other answers."""

    request: Any = None

    @property
    def completion(self) -> Completion:
        return self.request.completions[int(self.request_id.rpartition("#")[2]) + 1 if "#" in self.request_id else 0]

    @property
    def place(self) -> tuple[int, int]:
        """In the order of the call, whoever came first: requests beside each other often ask for the same expert."""
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
    """One that forks when the prompt is read; of a prompt of one token nothing is left to share."""
    if len(request.ids) > 1:
        return [_State(_key(request, 0), request.ids, request=request, num_children=request.n - 1)]
    return [_State(_key(request, k), request.ids, request=request) for k in range(request.n)]


class _Scheduler(FIFOScheduler):
    """First come, first served; within a step in the order of the call."""

    def schedule_batch(
        self, token_budget: int, cache_budget: int
    ) -> tuple[list[FutureRequestState] | None, bool, int, int]:
        batch, *rest = super().schedule_batch(token_budget, cache_budget)
        return (batch and sorted(batch, key=lambda future: future.state.place), *rest)  # type: ignore[attr-defined]


class _Choice(ContinuousBatchingLogitsProcessorList):
    """Makes the scores whose largest is the next token. There are junk rows after those of the answers."""

    def __init__(self):
        super().__init__(LogitsProcessorList())
        self.do_processing, self.completions = True, []

    def __call__(self, input_ids: Tensor, scores_BV: Tensor, arguments: Tensor) -> Tensor:
        scores_BV[: len(self.completions)] = scores(scores_BV[: len(self.completions)], self.completions)
        return scores_BV


class _Processor(ContinuousBatchProcessor):
    """Without the collection of garbage at its end, which takes longer than many a small model's answers."""

    def __del__(self):
        pass


class _Alone(DistributedHelper):
    """Leaves torch's random numbers alone."""

    def set_tp_seed(self, seed: int | None, model_device: torch.device) -> None:
        pass


class _Nowhere(OutputRouter):
    """Finished requests are known already."""

    def deliver_batch(self, outputs: Any) -> None:
        pass

    def fail_and_deliver(self, state: RequestState, error: Exception) -> None:
        raise error


class _Cache(PagedAttentionCache):
    """Carries what the attention of one step needs to know."""

    groups: tuple[list["_Group"], Tensor]


def _processor(
    model: Any, tokens: int, rows: int, blocks: int, choice: _Choice
) -> tuple[ContinuousBatchProcessor, _Cache]:
    """transformers' processor of steps, on a cache of so many pages, without its thread."""
    config, helper = model.config.get_text_config(), _Alone(getattr(model, "_device_mesh", None), None)
    asked = ContinuousBatchingConfig(
        page_size=PAGE, num_blocks=blocks, max_batch_tokens=tokens, max_requests_per_batch=rows, allow_block_sharing=False,
        safety_margin=0.0, use_cuda_graph=False, use_async_batching=False, auto_switch_to_flash=False, max_blocks_per_request=0,
        max_memory_percent=1.0,
    )  # fmt: skip
    resolved = resolve_continuous_batching_config(config, asked, None, True, model.device)
    cache = _Cache(config, resolved, model.device, helper, model.dtype, model._supports_logits_to_keep())
    processor = _Processor(
        cache, config, GenerationConfig(do_sample=False), resolved, choice, None, None, _Nowhere(), BackgroundThreadStatus(),
        model.device, model.dtype, _Scheduler(cache, 0.0, rows), helper,
    )  # fmt: skip
    return processor, cache


class _Group(NamedTuple):
    """Requests of a step that are attended together, each padded with its own last token."""

    token_BQ: Tensor | None  # None for all tokens of the step, one each
    shape: tuple[int, int]  # (B, K)
    mask_BQK: Tensor | None


def _groups(processor: ContinuousBatchProcessor, batch: Sequence[FutureRequestState]) -> tuple[list[_Group], Tensor]:
    """The groups of a step, and where in the cache their keys are, group after group."""
    io: Any = processor.inputs_and_outputs
    query = [future.query_length for future in batch]
    past = [future.state.position_offset - q for future, q in zip(batch, query, strict=True)]
    if io.max_kv_read:
        places = io.read_index_storage[0, : io.true_read_sizes[0]]
    else:  # nobody has anything in the cache yet: transformers has not looked the places up
        places = io.write_index_storage[0, : io.true_write_sizes[0]]
    device = places.device
    q_N, past_N = torch.tensor(query), torch.tensor(past)
    k_N = q_N + past_N
    token_N, key_N = q_N.cumsum(0) - q_N, k_N.cumsum(0) - k_N
    alike: dict[tuple[int, int], list[int]] = {}
    for n, (q, p) in enumerate(zip(query, past, strict=True)):
        if q:
            alike.setdefault((q.bit_length() if q > 1 else 0, (q + p).bit_length()), []).append(n)
    groups, read = [], []
    for members in alike.values():
        n_B = torch.tensor(members)
        last_B1, end_B1 = q_N[n_B, None] - 1, k_N[n_B, None] - 1
        token_BQ = torch.arange(int(last_B1.max()) + 1).minimum(last_B1)
        key_BK = torch.arange(int(end_B1.max()) + 1)
        mask_BQK = key_BK <= (past_N[n_B, None] + token_BQ)[..., None]
        full = bool(mask_BQK.all())
        read.append((key_N[n_B, None] + key_BK.minimum(end_B1)).flatten())
        whole = len(alike) == 1 and token_BQ.shape[1] == 1
        groups.append(_Group(
            None if whole else (token_N[n_B, None] + token_BQ).to(device),
            (len(n_B), len(key_BK)),
            None if full else mask_BQK[:, None].to(device),
        ))  # fmt: skip
    return groups, places[torch.cat(read).to(device)]


def _attention(
    module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None = None, **more: Any
) -> tuple[Tensor, None]:  # fmt: skip
    """Attention [1, H, X, D] -> [1, X, H, D] of the tokens of one step, group by group."""
    cache = more["cache"]
    groups, read = cache.groups
    allocator = cache.layer_to_allocator[module.layer_idx]
    key_XHD, value_XHD = (new[0].transpose(0, 1).to(cache.dtype) for new in (key, value))
    key_RHD, value_RHD = allocator.update(
        key_XHD, value_XHD, module.layer_idx, read, more["write_index"][allocator.index]
    )
    sizes = [B * K for _, (B, K), _ in groups]
    out_XHD = None
    for (token_BQ, (B, K), mask_BQK), key_NHD, value_NHD in zip(
        groups, key_RHD.split(sizes), value_RHD.split(sizes), strict=True
    ):
        query_BHQD = query[0].transpose(0, 1)[:, :, None] if token_BQ is None else query[0][:, token_BQ].transpose(0, 1)
        key_BHKD, value_BHKD = (
            side.view(B, K, *side.shape[1:]).transpose(1, 2).to(query.dtype) for side in (key_NHD, value_NHD)
        )
        out_BQHD, _ = sdpa_attention_forward(
            module, query_BHQD, key_BHKD, value_BHKD, mask_BQK, scaling=scaling, is_causal=False
        )
        if token_BQ is None:
            return out_BQHD.transpose(0, 1), None
        if out_XHD is None:
            out_XHD = out_BQHD.new_empty(query.shape[2], *out_BQHD.shape[2:])
        out_XHD[token_BQ] = out_BQHD
    return out_XHD[None], None  # type: ignore[index]


AttentionInterface.register(ATTENTION, _attention)


def _full(model: Any) -> bool:
    """Whether all layers look at everything before them."""
    config = model.config.get_text_config()
    kinds = getattr(config, "layer_types", None) or [
        "sliding_attention" if getattr(config, "sliding_window", None) else "full_attention"
    ]
    return set(kinds) == {"full_attention"}


def _bytes_of_a_token(model: Any) -> int:
    """What one token takes in the cache, all layers together."""
    config = model.config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * width * model.dtype.itemsize
