"""LoraHub: a new task from a handful of examples, by weights for experts that were trained on others. No gradients.

Huang et al. 2023, "LoraHub: Efficient Cross-Task Generalization via Dynamic LoRA Composition", arXiv:2307.13269.

    minimise over w in [-1.5, 1.5]^E, from w = 0 (the base):   cross-entropy of the examples + 0.05 mean |w|

They blend A and B apart, (Σ w B)(Σ w A): with one expert its delta is then times w², and the sign of w is lost. Here the
answers are blended, Σ w B A, unless `mix="factors"` asks for theirs. They optimise with nevergrad's NGOpt; here it is CMA-ES
(`cmaes`), which this package has anyway, so budgets are alike and the path is not. They draw 20 experts at random; here it is
whoever is given. With more experts than examples it will overfit: hold some examples out, or use `yosegi search`, which does
(`--sampler cmaes --negative --task NAME:logp --trials 40` is this objective on validation questions).
Shapes: E experts, R rank, I in, O out.
"""

from collections.abc import Sequence
from statistics import fmean

import numpy as np
import torch
from cmaes import CMA

from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import named
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers
from yosegi.errors import Invalid, NotFinite
from yosegi.library.origin import check_origin
from yosegi.merges import merge
from yosegi.progress import progress
from yosegi.search.workbench import Workbench
from yosegi.tasks import Example

BOUND, PENALTY, BUDGET, SIGMA = 1.5, 0.05, 40, 0.5


def lorahub(
    base: Base,
    experts: Sequence[Expert],
    examples: Sequence[Example],
    *,
    budget: int = BUDGET,
    mix: str = "outputs",
    penalty: float = PENALTY,
    seed: int = 0,
    name: str = "lorahub",
    rank: int | None = None,
) -> Expert:
    """The experts as one, weighed for a task that a few examples show.

    Args:
        base: beside which they stand.
        experts: on other tasks, usually.
        examples: of the new task, five in the paper.
        budget: how many weights are tried, w = 0 among them.
        mix: outputs, or factors for parity with the paper's code (equal ranks, one origin).
        penalty: on mean |w|.
        seed: of the optimiser.
        name: of the result.
        rank: of the result; by default the ranks add up, and nothing is lost. Only for outputs.

    Raises:
        Invalid: no experts, no examples, no budget; ranks that differ, or a rank given, with factors.
    """
    named(mix)
    if not experts or not examples or budget < 1:
        raise Invalid(
            f"LoraHub needs experts, examples and a budget; {len(experts)}, {len(examples)}, {budget} were given."
        )
    if mix == "factors":
        check_origin(experts, "mixed", "mix=outputs")
        if rank is not None:
            raise Invalid("mix=factors keeps the rank of the experts; rank is for mix=outputs.")
    tried: list[tuple[float, list[float]]] = []
    with Workbench(base, experts) as bench, progress("lorahub", budget) as bar:

        def loss(w_E: Sequence[float]) -> float:
            banks = bench.apply(Arm.weighted("lorahub", experts, w_E, mix=mix))
            try:
                value = -fmean(score_answers(base, examples, banks=banks)) + penalty * sum(map(abs, w_E)) / len(w_E)
            except NotFinite:
                value = 1e9
            tried.append((value, list(w_E)))
            bar.advance(1, f"loss {min(tried)[0]:.4f}")
            return value

        loss([0.0] * len(experts))
        bounds_E2 = np.tile([-BOUND, BOUND], (len(experts), 1))
        optimiser = CMA(np.zeros(len(experts)), SIGMA, bounds=bounds_E2, seed=seed)
        while len(tried) < budget:
            told: list[tuple[np.ndarray, float]] = []
            for _ in range(min(optimiser.population_size, budget - len(tried))):
                w = optimiser.ask()
                told.append((w, loss(w.tolist())))
            if len(told) == optimiser.population_size:
                optimiser.tell(told)
    found, w_E = min(tried)
    card = {
        "training": {
            "merge": "lorahub", "weights": w_E, "mix": mix, "penalty": penalty, "budget": budget, "seed": seed,
            "examples": len(examples), "loss": found, "loss_of_base": tried[0][0],
        }
    }  # fmt: skip
    if mix == "factors":
        expert = _factors(experts, w_E, name)
    elif rank is not None:
        expert = merge(experts, "svd", w_E, name, rank=rank)
    else:
        expert = merge(experts, "cat", w_E, name)
    return Expert(name, expert.factors, {**expert.card, **card})


def _factors(experts: Sequence[Expert], w_E: Sequence[float], name: str) -> Expert:
    """(Σ w s B)(Σ w A), layer by layer: what mix=factors answered, of the experts' own rank."""
    factors: dict[str, Factors] = {}
    for layer in dict.fromkeys(layer for expert in experts for layer in expert.factors):
        here = [(w, e.factors[layer]) for w, e in zip(w_E, experts, strict=True) if layer in e.factors]
        A_RI = sum((w * f.A_RI.float() for w, f in here), torch.zeros(()))
        B_OR = sum((w * f.scale * f.B_OR.float() for w, f in here), torch.zeros(()))
        factors[layer] = Factors(A_RI, B_OR)
    card = merge(experts, "cat", [0.0] * len(experts), name).card  # its base and its parents
    return Expert(name, factors, {**card, "relative_error": None})
