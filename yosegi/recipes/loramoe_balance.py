"""What the routers of LoRAMoE do: do few experts come to bear all, which experts are active, what is each expert worth?

Claim   Without the balancing constraint few experts come to bear all; with it the load is even, and experts serve their own type.
Paper   Dou et al. 2024, arXiv:2312.09979 (LLaMA-2 7B): without it the load's coefficient of variation climbs to about 3, which
        six experts cannot reach (√5 = 2.24 at most).
Ours    nano, 100 steps, routers that start at zero, 3 seeds, measured by the longer recipe of 1c545d0 (`dev/LOG.md`): no collapse
        without it (.59; .03 with it), and types drawn at random do as well. That is --steps 100 --router_start zero; the defaults
        are now nearer to the authors', a random start and a longer training. One seed of β 0 under them: no collapse (.45; at a
        rate of .03 1.15 after 400 steps, learning badly). The rest is to be measured.
Run     yosegi run loramoe_balance          nano, some twenty-five minutes of one CPU core a seed
        yosegi run loramoe_balance --smoke  seconds; the tests run this
"""

from dataclasses import dataclass
from typing import Literal

from yosegi.errors import Invalid
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, arms_finding, claims, claims_finding, measures
from yosegi.study.banks import (
    ablate,
    ablation_finding,
    load_finding,
    own_type,
    read_routes,
    routes_finding,
    weight_maps,
)
from yosegi.study.kinds import Way, cells, read_general, read_kinds
from yosegi.training.loramoe import EXPERTS, LoraMoeSettings, share_out


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    base: str = "nano"
    easy: tuple[str, ...] = ("en=skills/wp_en", "ja=skills/wp_ja")  # LANGUAGE=TASK, of the first type
    hard: tuple[str, ...] = ("en=skills/chain+wp_en", "ja=skills/chain+wp_ja")  # of the second
    general: tuple[str, ...] = tuple(
        f"skills/{name}" for name in ["capital", "unit", "mul", "add", "sub", "ennum", "janum"]
    )
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 2000  # training examples of a task
    asked: int = 100  # test questions of a task
    experts: int = EXPERTS
    rank: int = 4  # of each expert
    alpha: float = 32  # the scale of an expert is α / rank
    betas: tuple[float, ...] = (0.0, 0.1)  # weight of the balancing constraint
    delta: float = 0.1  # how far apart the constraint wants the types
    router_start: Literal["zero", "random"] = "random"  # random, as the authors' code has it, or zero: equal weights
    random_types: bool = True  # a bank whose types are drawn at random, under the last of these
    learning_rate: float = 5e-3
    steps: int = 1000
    batch: int = 32
    max_length: int = 512
    traced: int = 24  # questions of each kind and language whose routing is read
    ablated: int = 50  # questions of a task that are asked again without each expert


SMOKE = Config(
    general=("skills/capital",), seeds=(0,), limit=24, asked=3, experts=2, rank=2, steps=4, batch=4, traced=2, ablated=2,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train a bank for each weight of the constraint, watch its load, read its routers, leave each expert out."""
    if not (config.betas and config.seeds) or config.experts < 2:
        raise Invalid("loramoe_balance needs a beta, a seed and two experts at least.")
    base, kinds = config.load(), read_kinds({"easy": config.easy, "hard": config.hard}, config.limit)
    general, study = read_general(config.general, kinds, config.asked), Study(base, run)
    ways = {}
    for beta in config.betas:
        settings = LoraMoeSettings(
            rank=config.rank, alpha=config.alpha, beta=beta, delta=config.delta, router_start=config.router_start,
            max_steps=config.steps, per_device_train_batch_size=config.batch, max_length=config.max_length, dropout=0,
        )  # fmt: skip
        ways[f"β {beta:g}"] = Way(settings, experts=config.experts)
        if config.random_types and beta == config.betas[-1]:
            ways[f"β {beta:g}, random types"] = Way(settings, types="random", experts=config.experts)
    plain, ours = f"β {config.betas[0]:g}", f"β {config.betas[-1]:g}"
    types = share_out(config.experts, 2)
    labels = [f"{expert} ({('easy', 'hard')[kind]})" for expert, kind in enumerate(types)]
    groups = kinds.groups() | {"known": general}
    few = {
        name: [e for task in tasks for e in task.sample("test", config.ablated)]
        for name, tasks in groups.items()
        if tasks
    }

    routes, ablations = {}, {}
    for seed in config.seeds:
        rates = dict.fromkeys(ways, config.learning_rate)
        arms = {name: arm for name, arm in kinds.fit_all(study, ways, rates, seed).items() if arm}
        study.evaluate(arms, [*kinds.of(), *general], seed, limit=config.asked, traced=8 * (seed == config.seeds[0]))
        routes[seed] = read_routes(study, arms, cells(groups, config.traced), seed)
        if ours in arms:
            ablations[seed] = ablate(study, arms[ours], few, labels, seed)

    banks = {name: [f"{name} {config.learning_rate:g} s{seed}" for seed in config.seeds] for name in ways}
    apart = [(f"easy {language}", f"hard {language}") for language in kinds.languages]
    pairs = {f"easy and hard, {language}": pair for language, pair in zip(kinds.languages, apart, strict=True)}
    for kind in ("easy", "hard"):
        first, *others = kinds.languages
        pairs |= {f"{first} and {other}, {kind}": (f"{kind} {first}", f"{kind} {other}") for other in others}
    scores = measures(run, {"all": kinds.of(), "known": general}, over_tasks=False)
    specialised = own_type(ablations, ["easy", "hard"], types)
    claimed = claims({
        "all": {ours: {plain: "> 0", f"{ours}, random types": "> 0 (ours)"}},
        "known": {ours: {plain: "> 0", "base": "≈ 0"}},
        "all kinds": {"without another type": {"without its own type": "> 0"}},
    })  # fmt: skip
    study.save("What the routers of LoRAMoE do", [
        load_finding(run, banks, config.experts, (plain, ours) if plain != ours else None),
        routes_finding(routes, types, pairs),
        *(weight_maps(routes[config.seeds[0]][ours], labels, apart) if ours in routes[config.seeds[0]] else []),
        *([ablation_finding(ablations, [f"Log p of the gold answer, {ours}."])] if ablations else []),
        arms_finding("What the banks have learnt", scores),
        claims_finding(claimed, [*scores, specialised]),
    ])  # fmt: skip
