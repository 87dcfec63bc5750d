"""LoraHub: a new task from a handful of examples, by weights for experts that were trained on others. No gradients.

Huang et al. 2023, "LoraHub: Efficient Cross-Task Generalization via Dynamic LoRA Composition", arXiv:2307.13269.

    minimise over w in [-1.5, 1.5]^E, from w = 0 (the base):   cross-entropy of the examples + 0.05 mean |w|

They blend A and B apart, (Σ w B)(Σ w A): with one expert its delta is then times w², and the sign of w is lost. Here the
answers are blended, Σ w B A, unless `mix="factors"` asks for theirs. They optimise with nevergrad's NGOpt; here it is CMA-ES
(cma.py), so budgets are alike and the path is not. They draw 20 experts at random; here all that
are given take part. With more experts than examples it will overfit: hold some examples out, or use `yosegi search`, which does
(`--sampler cmaes --negative --task NAME:logp --trials 40` is this objective on validation questions).
Shapes: E experts, R rank, I in, O out.
"""

from collections.abc import Sequence
from statistics import fmean
from typing import Any

import optuna
import torch

from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import named
from yosegi.engine.arm import Arm
from yosegi.engine.fold import fold
from yosegi.engine.score import score_answers
from yosegi.errors import Invalid, NotFinite
from yosegi.library.origin import check_origin
from yosegi.merges import merge
from yosegi.progress import progress
from yosegi.search.cma import Evolution
from yosegi.search.space import Space
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
    """Returns the experts as one, weighted for a task that a few examples show.

    Args:
        base: their base.
        experts: of other tasks, usually.
        examples: of the new task, five in the paper.
        budget: how many weights are tried, w = 0 first.
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
    arm = Arm("lorahub", experts, merge="cat")
    space, losses = Space((arm,), low=-BOUND, high=BOUND), list[tuple[float, list[float]]]()
    varied: dict[str, Any] = {**space.varied(arm)}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        sampler=Evolution(varied, dict.fromkeys(varied, 0.0), seed, SIGMA), direction="maximize"
    )
    study.enqueue_trial(dict.fromkeys(varied, 0.0), {"baseline": "base"})
    with Workbench(base, experts) as bench, progress("lorahub", budget) as bar:
        for _ in range(budget):
            params = space.ask(trial := study.ask())
            (w_E,) = space.weights(params)
            banks = bench.apply(Arm.weighted("lorahub", experts, w_E, mix=mix))
            try:
                loss = penalty * space.size(params) - fmean(score_answers(base, examples, banks=banks))
            except NotFinite:
                loss = 1e9
            losses.append((loss, w_E))
            study.tell(trial, -loss)
            bar.advance(1, f"loss {min(losses)[0]:.4f}")
    loss, w_E = min(losses)
    card = {
        "training": {
            "merge": "lorahub", "weights": w_E, "mix": mix, "penalty": penalty, "budget": budget, "seed": seed,
            "examples": len(examples), "loss": loss, "loss_of_base": losses[0][0],
        }
    }  # fmt: skip
    if mix == "factors":
        expert = _factors(experts, w_E, name)
    else:
        expert = fold(Arm.weighted(name, experts, w_E), name, rank)
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
