"""How long a training takes, predicted: multiply-adds at the machine's rate, and bytes at its memory's.

    time of a step = FLOPs / (rate · utilisation)  +  bytes / bandwidth

It is an estimate: `low` and `high` are apart by the square of `machines.APART`.
"""

from dataclasses import dataclass, replace

from yosegi.errors import Invalid
from yosegi.estimate.machines import APART, UTILISATION, Machine
from yosegi.estimate.memory import WHOLE, Job, activations, held, moving_params
from yosegi.estimate.shapes import Shape

TOUCHED = 8
"""How often an activation that is kept is read or written, beside the GEMMs, forward and backward (fitted to a CPU's steps)."""
LINK = 20e9
"""Bytes a second between two GPUs of one machine, over PCIe 4: what data-parallel processes add up their gradients with. In a
ring every gradient is sent almost twice."""


@dataclass(frozen=True)
class Pace:
    """The pace of all devices together. `low` and `high` are the tokens a second that would not surprise."""

    step_s: float
    tokens_per_s: float
    low: float
    high: float
    flops: float
    bytes: float


def predict(shape: Shape, job: Job, machine: Machine) -> Pace | None:
    """Returns the pace of a training; None where nothing is known of the machine but its memory."""
    if not machine.flops or not machine.bandwidth:
        return None
    if machine.count < 1:
        raise Invalid(f"{machine.count} devices cannot train anything.")
    work, moved = flops(shape, job), traffic(shape, job)
    seconds = work / (machine.flops * UTILISATION[machine.device]) + moved / machine.bandwidth
    if job.method == "grpo":
        seconds += writing(shape, job, machine)
    tokens = job.tokens * machine.count
    if machine.count > 1 and job.method != "fleet":  # whose experts are dealt out, and have nothing to tell each other
        seconds += 2 * held(shape, job)[1] * (machine.count - 1) / machine.count / LINK
    pace, apart = tokens / seconds, APART[machine.device]
    return Pace(seconds, pace, pace / apart, pace * apart, work, moved)


def flops(shape: Shape, job: Job) -> float:
    """Returns the FLOPs of one step and device: 2 for each weight and token in the forward pass, as much for the gradient of the
    input, and as much again for that of a trained weight (Kaplan et al. 2020, arXiv:2001.08361, section 2.1).

    Attention adds 2 T q a token and block (half of T x T, twice), and 2.5 times that on the way back, where it is computed again
    (Dao 2023, "FlashAttention-2", arXiv:2307.08691).
    """
    whole = job.method in WHOLE
    dense = 2.0 * shape.linear_params
    attention = 2.0 * job.length * shape.q * shape.layers
    head = 2.0 * shape.vocab * shape.hidden * job.answers
    forward, backward = dense + attention + head, (1 + whole) * dense + (1 + job.all_moves) * head + 2.5 * attention
    if job.checkpointing:
        backward += dense + attention
    if not whole:
        numbers = moving_params(shape, job)
        if job.method == "fleet":  # every token is read by one expert alone
            numbers /= job.experts
        forward, backward = forward + 2 * numbers, backward + (4 + 2 * job.checkpointing) * numbers
    total = job.tokens * (forward + backward)
    if (
        job.method == "loramoe" and job.tokens > job.at_once
    ):  # a step that is cut is read twice, for the load of all of it
        total += job.tokens * forward
    if job.method == "grpo":  # log p of where it began, and of the reference
        total += job.tokens * 2 * forward
    if job.method in ("galore", "galore-per-layer"):  # P^T G, and P N back: 4 m r n of every linear, once a step
        for O, I in shape.linears().values():
            total += shape.layers * 4.0 * O * I * min(job.rank, O, I)
    if job.method == "apollo":  # P G, and two looks at every number of G
        for O, I in shape.linears().values():
            total += shape.layers * 2.0 * O * I * (min(job.rank, O, I) + 2)
    return total


def traffic(shape: Shape, job: Job) -> float:
    """Returns the bytes of one step and device: activations, weights that are packed or cast in each pass, and the optimiser's
    seven (weight, gradient and two moments are read; weight and moments are written)."""
    passes = -(-job.tokens // job.at_once)
    kept = activations(shape, replace(job, checkpointing=False))[0]
    moved = float(TOUCHED * kept * passes)
    if job.dtype == "4bit":  # unpacked on the way there and back, each time written and read
        moved += passes * 2 * shape.linear_params * (0.52 + 2 * job.compute)
    elif job.compute < job.stream:
        moved += passes * 2 * shape.linear_params * (job.stream + job.compute)
    _, gradients, optimizer = held(shape, job)
    moving = held(shape, job)[0] if job.method in WHOLE else 4 * moving_params(shape, job)
    return moved + 2 * moving + max(gradients, moving) + 2 * optimizer


def writing(shape: Shape, job: Job, machine: Machine) -> float:
    """Returns the seconds that GRPO's answers take: half of the length is prompt; of the rest every token reads all weights, and
    the keys and values of what came before."""
    steps = job.length // 2
    weights = held(shape, job)[0]
    cache = job.rows * 0.75 * job.length * shape.layers * 2 * shape.kv * job.compute
    gemm = 2.0 * job.rows * (shape.params + moving_params(shape, job)) / (machine.flops * UTILISATION[machine.device])
    return steps * max((weights + cache) / machine.bandwidth, gemm)
