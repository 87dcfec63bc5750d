"""What a training holds in memory, predicted: weights, gradients, optimiser state, activations, logits.

Weights, gradients and optimiser state are counted, and exact. Activations are what torch's autograd keeps of a Llama block until
the backward pass, read off its operations one by one (`_block`); `benchmarks/bench_plan.py` holds all of it against measurements.

Shapes: d hidden, f feed-forward, q and kv widths of queries and keys, T length, V vocabulary, E experts, r rank, O x I a linear.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from yosegi.errors import Invalid, UnknownName
from yosegi.estimate.shapes import ATTENTION, FFN, Shape

METHODS = ("full", "lora", "galore", "galore-per-layer", "apollo", "loramoe", "fleet", "grpo", "eval")
WHOLE = ("full", "galore", "galore-per-layer", "apollo")
"""Those in which whole weights move: those of the linears, or all (`Job.embeddings`)."""
SEVERAL = ("loramoe", "fleet", "grpo", "eval")
"""Those with several experts in a pass."""

COPIES = 6
"""Of every number that moves: itself, its gradient, AdamW's two moments, and what clipping and a checkpoint copy (measured)."""
TOKENS = {"cpu": 4096, "cuda": 65536}
"""How many tokens one pass reads at most, padding included: more gain nothing once the device is busy."""
EXACT, LOGITS = 4, 3
"""Bytes of a number that an expert learns; copies of the logits in fp32 that meet in the backward pass of the loss."""
SCORED = 2**27
"""The most logits of one pass of an evaluation (engine/score.py)."""
GAPS = 0.27
"""On a CPU, of all that a pass allocates, kept or not, the share that the process holds besides. glibc takes a little more than
an aligned tensor needs, gives the rest to small objects, and cannot use the hole for a tensor of the same size again. Measured on
a Llama of 135 M parameters: 0.24 to 0.37, as much with checkpointing; after some steps it does not grow."""


@dataclass(frozen=True)
class Job:
    """What is to be trained, and how. Names and defaults are those of `yosegi train`.

    Args:
        method: one of METHODS.
        rank: of an expert, or of GaLore's and APOLLO's projection.
        experts: of LoRAMoE in one layer; of a fleet, of GRPO and of an evaluation in one pass.
        targets: linears of a block: all-linear, attention, ffn, or names.
        batch: sequences of a step, of each expert; of GRPO questions, each with `generations` answers.
        dtype: fp32, bf16 or 4bit, as `bases.Base` has it; `bf16` says whether bf16 is computed in.
        answers: share of the tokens that is learnt, and needs logits.
        tokens_per_pass: most tokens that go through the model at once.
        embeddings: whether embedding, head and norms learn too where whole weights move, as in pre-training; `yosegi train` moves
            linears only, and keeps what they were.
    """

    method: str = "lora"
    rank: int = 8
    experts: int = 1
    targets: str | Sequence[str] = "all-linear"
    batch: int = 16
    length: int = 1024
    dtype: str = "fp32"
    bf16: bool = False
    checkpointing: bool = False
    dropout: float = 0.05
    answers: float = 1.0
    device: str = "cpu"
    generations: int = 8
    tokens_per_pass: int | None = None
    embeddings: bool = False

    def __post_init__(self) -> None:
        UnknownName.check("method", [self.method], METHODS)
        UnknownName.check("precision of a base", [self.dtype], ("fp32", "bf16", "4bit"))
        if self.dtype == "4bit" and self.method in WHOLE:
            raise Invalid(f"{self.method} moves the weights themselves: they cannot be in four bits.")
        if min(self.rank, self.experts, self.batch, self.length, self.generations) < 1 or not 0 < self.answers <= 1:
            raise Invalid("rank, experts, batch, length and generations are at least 1, and answers a share above 0.")

    @property
    def rows(self) -> int:
        """Returns the sequences of a step."""
        each = self.batch * (self.generations if self.method == "grpo" else 1)
        return each * (self.experts if self.method in ("fleet", "grpo") else 1)

    @property
    def tokens(self) -> int:
        """Returns the tokens of a step."""
        return self.rows * self.length

    @property
    def at_once(self) -> int:
        """Returns the tokens that go through the model at once: a step is cut into passes."""
        return min(self.rows, max(1, (self.tokens_per_pass or TOKENS[self.device]) // self.length)) * self.length

    @property
    def stacked(self) -> int:
        """Returns the experts in one layer."""
        return self.experts if self.method in SEVERAL else 1

    @property
    def all_moves(self) -> bool:
        """Whether every weight of the model moves."""
        return self.method in WHOLE and self.embeddings

    @property
    def stream(self) -> int:
        """Returns the bytes of a number in the residual stream: the embeddings', which four bits leave as they are."""
        return 4 if self.dtype == "fp32" or (self.dtype == "4bit" and self.device == "cpu") else 2

    @property
    def compute(self) -> int:
        """Returns the bytes of a number in a GEMM."""
        return 2 if self.bf16 else self.stream


@dataclass(frozen=True)
class Memory:
    """Bytes, by what they are for. `peak` is what is held at once at the worst moment, less than the sum; `gaps`, what the
    allocator loses, are beyond it."""

    weights: int
    gradients: int
    optimizer: int
    activations: int
    logits: int
    copies: int = 0
    cache: int = 0
    gaps: int = 0
    peak: int = 0


def predict(shape: Shape, job: Job) -> Memory:
    """Returns the memory of one process, which on several GPUs every one of them holds.

    The peak is the larger of two moments: the backward pass begins, with all activations and the loss; it ends, with all
    gradients and the activations of one block. With checkpointing no block is computed again before the loss is gone.
    """
    weights, gradients, optimizer = held(shape, job)
    kept, one = activations(shape, job)
    logits = (
        round(job.at_once * job.answers) * shape.vocab * 4 * (LOGITS + (job.method == "grpo"))
    )  # divided by a temperature
    moving = moving_params(shape, job) if job.method not in (*WHOLE, "eval") else 0
    copies = (COPIES - 4) * EXACT * moving if job.device == "cpu" else 0
    read = activations(shape, replace(job, checkpointing=False))[0] if job.checkpointing else kept
    gaps = round(GAPS * (read + logits)) if job.device == "cpu" else 0
    cache = 0
    if job.method == "eval":
        logits = min(round(job.at_once * job.answers) * shape.vocab, SCORED) * 4 * 2
        return Memory(weights, 0, 0, one, logits, 0, cache, round(GAPS * (kept + logits)), weights + one + logits)
    if job.method == "grpo":  # keys and values of all answers while they are written
        cache = job.rows * job.length * shape.layers * 2 * shape.kv * job.compute
    before = gradients if job.tokens > job.at_once else 0  # those of earlier passes of the step
    begins = kept - (one if job.checkpointing else 0) + logits + before
    ends = gradients + max(one, copies)
    peak = weights + optimizer + max(begins, kept + before, ends, cache)
    return Memory(weights, gradients, optimizer, kept, logits, copies, cache, gaps, peak)


def moving(numbers: int) -> int:
    """Returns the bytes that so many trained numbers need, with gradient, AdamW's moments and copies."""
    return COPIES * EXACT * numbers


def moving_params(shape: Shape, job: Job) -> int:
    """Returns how many numbers are trained: the linears', or all; or E r (I + O) of every linear, and a router of E rows of I."""
    if job.method in WHOLE:
        linears = shape.layers * sum(O * I for O, I in shape.linears(job.targets).values())
        return shape.params if job.embeddings else linears
    E = job.stacked
    factors = sum(E * job.rank * (O + I) for O, I in shape.linears(job.targets).values())
    routers = sum(E * I for _, I in shape.linears(job.targets).values()) if job.method == "loramoe" else 0
    return shape.layers * (factors + routers)


def held(shape: Shape, job: Job) -> tuple[int, int, int]:
    """Returns the bytes of (weights, gradients, optimiser state), counted.

    AdamW keeps two moments of every moving number in its own precision, and one step count of 4 bytes a tensor (torch). GaLore
    keeps, of an m x n linear of a block with m <= n, a projector of m r and two moments of r n (arXiv:2403.03507, table 1), and
    AdamW's two of all else. With an update per layer only the largest gradient exists at a time. APOLLO keeps the two moments and
    no projector (its directions are drawn again from a seed: arXiv:2412.05270, table 1), in fp32, and a length for each linear.
    """
    each = {"fp32": 4, "bf16": 2, "4bit": 0}[job.dtype]
    base = shape.params * each
    if job.dtype == "4bit":
        sizes = [O * I for O, I in shape.linears().values()]
        base = shape.layers * sum(map(nf4, sizes)) + shape.other_params * job.stream
    if job.method in WHOLE:
        linears, moving = (
            shape.linears() if job.embeddings else shape.linears(job.targets),
            each * moving_params(shape, job),
        )
        tensors = shape.tensors if job.embeddings else shape.layers * len(linears)
        base += (
            0 if job.embeddings or job.device != "cpu" else moving
        )  # what they were, to put it back and to know the change
        if job.method == "full":
            return base, moving, 2 * moving + 4 * tensors
        state = 2 * shape.other_params if job.embeddings else 0
        for O, I in linears.values():
            m, n = sorted((O, I))
            r = min(job.rank, m)
            state += shape.layers * (2 * r * n + (0 if job.method == "apollo" else m * r))
        if job.method == "apollo":
            return base, moving, 4 * (state + shape.layers * len(linears) + tensors)
        largest = max(shape.vocab * shape.hidden if job.embeddings else 0, *(O * I for O, I in linears.values()))
        return base, moving if job.method == "galore" else each * largest, each * state
    learnt = moving_params(shape, job)
    tensors = shape.layers * len(shape.linears(job.targets)) * (3 if job.method == "loramoe" else 2)
    return base + EXACT * learnt, EXACT * learnt, 2 * EXACT * learnt + 4 * tensors


def nf4(numbers: int) -> int:
    """Returns the bytes of a packed linear: half a byte a number, a scale of one byte for 64, one of four for 256 of those, two
    tables (Dettmers et al. 2023, "QLoRA", arXiv:2305.14314, as bitsandbytes lays it out)."""
    scales = ceil(numbers / 64)
    return ceil(numbers / 2) + scales + 4 * ceil(scales / 256) + 4 * 16 + 4 * 256 + 4


def activations(shape: Shape, job: Job) -> tuple[int, int]:
    """Returns the bytes of (all that is kept for the backward pass, without the loss; what one block keeps)."""
    tokens, d, whole = job.at_once, shape.hidden, job.method in WHOLE
    per_block, attention = _block(shape, job)
    one = round(tokens * per_block)
    last = tokens * (4 * d + 4 + (d * job.stream if job.all_moves else 0)) + 2 * job.length * shape.dim * job.stream
    last += round(tokens * job.answers) * d * job.compute if job.all_moves else 0
    casts = 0
    if job.compute < job.stream and job.dtype == "fp32":  # the backward pass needs the weights that autocast rounds
        casts, last = shape.linear_params // shape.layers * 2, last + shape.vocab * d * 2
    if job.compute == 2 and not whole:  # so are those of the experts
        casts += 2 * job.stacked * job.rank * sum(O + I for O, I in shape.linears(job.targets).values())
    if job.checkpointing:  # of every block its input; one block at a time as if nothing were saved
        return tokens * shape.layers * d * job.stream + one + casts + last, one + casts
    first = 0.0
    if not job.all_moves:  # what stands before the first expert, or weight that moves, needs no gradient
        named = shape.linears(job.targets)
        early = [name for name in named if name in ATTENTION[:3]]
        first = 4 * d + 4
        if not early:  # (an expert on o_proj alone would be a little more)
            first, early = 2 * first + attention, [name for name in named if name in FFN[:2]]
        if job.dropout and not whole:
            first += len(early) * d * (job.stream if job.device == "cpu" else 1)
    return round(tokens * (shape.layers * per_block - first)) + shape.layers * casts + last, one + casts


def _block(shape: Shape, job: Job) -> tuple[float, float]:
    """Returns the bytes a token that one block keeps, and of attention alone: the operations of transformers' Llama, in order.

    norm        x in fp32, and 1 / rms; x / rms too if the norm's weight moves
    linears     their input, once if all read the same tensor; autocast makes every one a copy of its own
    attention   q, k, v after rotation, the output, a log-sum-exp for each head: torch's fused kernels keep no T x T matrix
    feed-forward  gate, silu(gate), up, and their product
    experts     dropout's noise (on a GPU one byte) and what is left of x, for each; h of rank r; LoRAMoE's z, w and x in fp32
    """
    d, f, q, kv, s = shape.hidden, shape.inner, shape.q, shape.kv, job.compute
    whole, mixed = job.method in WHOLE, job.compute < job.stream
    named = shape.linears() if job.all_moves else shape.linears(job.targets)
    norms = 2 * (4 * d + 4 + (d * job.stream if job.all_moves else 0))
    attention = s * (2 * q + 2 * kv) + 4 * shape.heads
    total: float = norms + attention + (s * f * 3 if shape.gated else s * f)
    for group, width, size, there in (
        (("q_proj", "k_proj", "v_proj"), d, job.stream, False),
        (("o_proj",), q, s, True),
        (("gate_proj", "up_proj"), d, job.stream, False),
        (("down_proj",), f, s, False),
    ):
        readers = [name for name in group if name in named]
        if not readers:
            continue
        copied = mixed and size > s
        if whole or not job.dropout:
            total += 0 if there else width * (s * len(readers) if copied else size)
        else:
            noise = size if job.device == "cpu" else 1
            total += len(readers) * width * (noise + (s if copied else size))
        if job.method == "loramoe":  # the router reads all of x, in fp32
            kept = size == 4 and (job.dropout == 0 and not copied)
            total += 0 if kept or (there and size == 4) else width * 4 * (1 if size == 4 else len(readers))
    if not whole:
        E = job.experts if job.method == "loramoe" else 1
        each = E * job.rank * s + (E * (job.rank * s + 4) if job.method == "loramoe" else 0)
        total += each * len(named)
    return total, attention
