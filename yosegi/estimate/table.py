"""Memory of five methods at seven sizes, by formula, beside what Zhao et al. 2024, "GaLore", arXiv:2403.03507 published.

Theirs is pre-training: all in bf16, and the embedding and the head learn, whatever the method. LoRA is then the whole model,
and the factors and tables that move once more: that is how their numbers come out. The published ones are estimates too.
"""

from typing import NamedTuple

from yosegi.estimate.memory import Job, activations, held
from yosegi.estimate.shapes import PRESETS, Shape

APOLLO = 4
"""Times less than GaLore's is its rank here: the paper has it as good with a half or a quarter."""
RANKS = {"60m": 128, "130m": 256, "350m": 256, "1b": 512, "7b": 1024, "13b": 1024, "70b": 1024}
"""Of the paper; for 13b and 70b, which it does not have, that of its 7b."""
GALORE_PAPER = {
    ("60m", "full"): (0.12, 0.23), ("130m", "full"): (0.25, 0.51), ("350m", "full"): (0.68, 1.37), ("1b", "full"): (2.60, 5.20),
    ("60m", "lora"): (0.20, 0.17), ("130m", "lora"): (0.44, 0.37), ("350m", "lora"): (1.04, 0.72), ("1b", "lora"): (3.79, 2.38),
    ("60m", "galore"): (0.12, 0.13), ("130m", "galore"): (0.25, 0.28), ("350m", "galore"): (0.68, 0.54),
    ("1b", "galore"): (2.60, 1.78),
}  # fmt: skip
"""(weights, optimiser state) in GB, appendix C."""
GB = 2**30


class Line(NamedTuple):
    """One method at one size, in GB."""

    size: str
    method: str
    rank: int
    weights: float
    gradients: float
    optimizer: float
    activations: float
    published_weights: float | None
    published_optimizer: float | None


def table(batch: int = 1, length: int = 256, checkpointing: bool = False) -> list[Line]:
    """Returns all sizes and methods, for so many sequences at once."""
    lines = []
    for size, shape in PRESETS.items():
        for method in ("full", "lora", "galore", "galore-per-layer", "apollo"):
            rank = RANKS[size] // (APOLLO if method == "apollo" else 1)
            job = Job(
                method, rank, batch=batch, length=length, dtype="bf16", bf16=True, dropout=0, checkpointing=checkpointing,
                device="cuda", embeddings=True,
            )  # fmt: skip
            weights, gradients, optimizer = pretraining(shape, job)
            kept = activations(shape, job)[0]
            published = GALORE_PAPER.get((size, method.removesuffix("-per-layer")), (None, None))
            line = (weights / GB, gradients / GB, optimizer / GB, kept / GB)
            lines.append(Line(size, method, rank, *line, *published))
    return lines


def pretraining(shape: Shape, job: Job) -> tuple[float, float, float]:
    """Returns the bytes of (weights, gradients, optimiser state) where all is bf16, and embedding and head learn as well."""
    if job.method != "lora":
        return held(shape, job)
    linears = shape.linears().values()
    learnt = shape.other_params + shape.layers * sum(min(job.rank, O, I) * (O + I) for O, I in linears)
    return 2 * (shape.params + learnt), 2 * learnt, 4 * learnt
