"""The card of a trained expert: beside which base, from what, how, at what cost."""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi.bases import Base
from yosegi.run import peak_memory
from yosegi.training.precision import wants_bf16
from yosegi.training.settings import Settings


def card(
    base: Base,
    settings: Settings,
    tasks: Sequence[str],
    data_hash: str,
    measured: Mapping[str, Any],
    *,
    training: Mapping[str, Any] | None = None,
    init_seed: int | None = None,
    parents: Sequence[str] = (),
) -> dict[str, Any]:
    """Returns the card of one expert (library/card.py adds the checksum and the date).

    Args:
        base: what it stands beside.
        settings: how it was trained.
        tasks: on what, by name.
        data_hash: of its rows.
        measured: steps, examples, tokens, seconds, trainable parameters, bytes: whatever its training counted.
        training: what was decided beyond the settings.
        init_seed: of its own start, where it is not that of the settings.
        parents: the experts it began as.
    """
    cost = {
        "precision": "bf16" if wants_bf16(base, settings.precision) else "fp32",
        "peak_mem_mb": round(peak_memory()),
    }
    return {
        "base": base.name,
        "base_hash": base.hash,
        **({"dtype": base.dtype} if base.dtype != "fp32" else {}),
        "task_type": "SEQ_2_SEQ_LM" if base.seq2seq else "CAUSAL_LM",
        "task": list(tasks),
        "data_hash": data_hash,
        "init": settings.init,
        "init_seed": settings.init_seed if init_seed is None else init_seed,
        "targets": settings.targets,
        "training": {**settings.model_dump(), **(training or {})},
        "parents": list(parents),
        "metrics": {**measured, **cost},
    }
