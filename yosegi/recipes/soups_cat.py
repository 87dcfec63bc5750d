"""LoRA Soups: two skills, learnt apart, asked together. Who puts them together best, with no example of the two at once?

Claim   Learnt concatenation (CAT: finished experts, one learnt weight each in every layer) composes two skills better than
        any merge with given weights, and better than one expert trained on the data of both.
Paper   Prabhakar et al. 2024, arXiv:2410.13025 (Llama-2 7B): on hard maths by programs CAT beats the merges by 43 % on
        average and data mixing by 12 %.
Ours    `dev/LOG.md`: the compositions of the generated skills on `nano`, three seeds; programs for GSM-Hard and railway law on
        `house`.
Run     yosegi run soups_cat                      sixteen pairs on nano, some twenty minutes of one CPU core a seed
        yosegi run soups_cat --kind real --base house     needs the data folder
        yosegi run soups_cat --smoke              seconds; the tests run this

Every way has a few settings, and the same chance to choose among them: by log p of the answers on validation questions of the
two skills, with the first seed. Nothing is tuned on a composition, but that LoraHub has an arm with five examples of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from yosegi import files, tasks
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms, load_arm, save_arm
from yosegi.errors import Invalid
from yosegi.evaluation.likelihood import likelihood
from yosegi.evaluation.measure import evaluate
from yosegi.library.store import Library
from yosegi.progress import progress
from yosegi.recipes._soups import PAIRS, Pair, findings
from yosegi.registry import find
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.search.lorahub import lorahub
from yosegi.tasks import Example
from yosegi.training.cat import begin, cat, moved
from yosegi.training.fleet import fleet
from yosegi.training.settings import Settings

RATES = ({"lr": 1e-2}, {"lr": 5e-2})
HALF, WHOLE = {"weight": 0.5}, {"weight": 1.0}
KEPT = tuple({"density": density, **weight} for density in (0.2, 0.5) for weight in (HALF, WHOLE))
DROPPED = tuple({"drop": drop, **weight} for drop in (0.2, 0.5) for weight in (HALF, WHOLE))
WAYS: dict[str, tuple[str, dict[str, Any], tuple[dict[str, Any], ...]]] = {
    "CAT": ("static", {"constraint": "softmax"}, RATES),
    "CAT free": ("static", {"constraint": "free"}, RATES),
    "CAT free from 1": ("static", {"constraint": "free", "start": "one"}, RATES),
    "CAT one weight each": ("static", {"constraint": "free", "granularity": "global"}, RATES),
    "CAT untrained random": ("static", {"start": "random"}, ({"lr": 0.0},)),
    "uniform (untrained CAT)": ("merge", {"method": "cat"}, (HALF,)),
    "sum": ("merge", {"method": "cat"}, (WHOLE,)),
    "linear on factors": ("merge", {"method": "linear"}, (HALF, WHOLE)),
    "svd": ("merge", {"method": "svd"}, (HALF, WHOLE)),
    "TIES": ("merge", {"method": "ties", "rank": "widths"}, KEPT),
    "DARE": ("merge", {"method": "dare", "rank": "widths"}, DROPPED),
    "DARE-TIES": ("merge", {"method": "dare_ties", "rank": "widths"}, DROPPED),
    "magnitude prune": ("merge", {"method": "magnitude_prune", "rank": "widths"}, KEPT),
    "KnOTS-TIES": ("merge", {"method": "knots", "rank": "widths"}, KEPT),
    "SLERP": ("merge", {"method": "slerp"}, (HALF,)),
    "learned routing": ("softmax", {}, ({"lr": 1e-3}, {"lr": 1e-2})),
    "LoraHub on the mix": ("lorahub", {}, ({"budget": 40},)),
    "LoraHub 5 shots of the pair": ("lorahub", {"shots": 5}, ({"budget": 40},)),
    "data mix": ("mix", {}, ({"lr": 2e-3}, {"lr": 5e-3})),
}
"""What the arm is called -> how it is made, with what, and the settings it may choose among.

What is cut keeps the rank of CAT, the sum of both ranks; svd alone is cut to that of one."""


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "nano"
    """The base the experts stand beside."""
    kind: str = "skills"
    """skills: compositions of two generated skills; real: maths and code for programs, law and questions for law."""
    pairs: int = 99
    """The first so many pairs of that kind."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each trains its own experts, from another start and in another order."""
    ways: tuple[str, ...] = tuple(WAYS)
    steps: int = 150
    """Of an expert on one skill; the one on the data of both takes twice as many."""
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 5e-3
    """Of an expert on one skill."""
    batch: int = 32
    max_length: int = 512
    limit: int | None = None
    """Training examples a skill."""
    share: float = 0.05
    """Of each skill's examples, for what learns beside finished experts: the paper's small mix."""
    cat_steps: int = 100
    cat_batch: int = 16
    chosen_on: int = 20
    """Validation questions of each skill, to choose settings by."""
    asked: int = 100
    """Test questions a pair."""


SMOKE = Config(
    pairs=1, seeds=(0,), steps=2, limit=24, share=0.5, cat_steps=2, chosen_on=2, asked=2, batch=8,
    ways=("CAT", "CAT untrained random", "uniform (untrained CAT)", "TIES", "data mix", "learned routing"),
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train the skills apart, put each pair together in every way, ask."""
    if unknown := [way for way in config.ways if way not in WAYS]:
        raise Invalid(f"soups_cat knows no way {unknown[0]!r}; there are: {', '.join(WAYS)}.")
    if config.kind not in PAIRS:
        raise Invalid(f"kind={config.kind!r}: there are {', '.join(PAIRS)}.")
    base, pairs = load(config.base), PAIRS[config.kind]()[: config.pairs]
    for seed in config.seeds:
        soup = Soup(base, pairs, config, run, seed)
        chosen = settled(run, soup)
        for pair in pairs:
            arms = [Arm("base"), *(Arm(f"skill {n + 1} alone", [e]) for n, e in enumerate(soup.experts(pair)))]
            arms += [soup.arm(pair, way, chosen[way]) for way in config.ways if possible(way, pair)]
            evaluate(base, arms, [tasks.load(pair.test)], run, limit=config.asked, seed=seed, traced=0)
    findings(run, config, pairs)
    print(f"Open {report([run.path], run.path / 'report.html')}")


class Soup:
    """The experts of one seed, and every way to put two of them together. What was trained once is found on disk again."""

    def __init__(self, base: Base, pairs: Sequence[Pair], config: Config, run: Run, seed: int):
        self.base, self.pairs, self.config, self.run, self.seed = base, pairs, config, run, seed
        self.names = {skill: f"{skill.name}-s{seed}" for pair in pairs for skill in pair.skills}
        self.library = self._trained(
            f"skills-s{seed}",
            {name: (skill.examples("train", config.limit), skill) for skill, name in self.names.items()},
            config.steps,
            config.learning_rate,
        )
        self.mixes: dict[float, Library] = {}

    def experts(self, pair: Pair) -> list[Expert]:
        """The two, each trained alone."""
        return self.library.load(self.names[skill] for skill in pair.skills)

    def arm(self, pair: Pair, way: str, option: Mapping[str, Any]) -> Arm:
        """One pair put together."""
        kind, how, _ = WAYS[way]
        experts = self.experts(pair)
        if kind == "merge":
            method, more = how["method"], {key: value for key, value in option.items() if key != "weight"}
            if "rank" in how:
                more["rank"] = sum(expert.rank for expert in experts)
            if "drop" in more:
                more["seed"] = self.seed
            return Arm(way, experts, merge=method, merge_args={"weights": [option["weight"]] * len(experts), **more})
        if kind == "lorahub":
            return Arm(way, [self._lorahub(pair, way, how.get("shots"), option["budget"])])
        if kind == "mix":
            return Arm(way, [self._mixed(option["lr"])[f"{pair.name}-s{self.seed}"]])
        args = {key: value for key, value in how.items() if key != "granularity"}
        learnt = self._learnt(pair, way, kind, args, how.get("granularity", "module"), option["lr"])
        return Arm(way, experts, kind, args, learnt)

    def logp(self, arm: Arm, pair: Pair) -> float:
        """Mean log p of the answers to validation questions of both skills."""
        some = [e for skill in pair.skills for e in skill.examples("validation", self.config.chosen_on)]
        with arm.attached(self.base) as banks:
            return fmean(likelihood(self.base, some, banks=banks, batch_size=128))

    def _learnt(
        self, pair: Pair, way: str, router: str, args: dict[str, Any], granularity: str, rate: float
    ) -> Mapping[str, Tensor]:
        """What CAT, or a router of tokens, learns from the small mix."""
        name = f"{pair.name} {way} {rate:g}"
        if name not in arms(self.library):
            experts, method, config = self.experts(pair), find("routers", router)(**args), self.config
            torch.manual_seed(self.seed)  # a random start is drawn from torch's generator
            start = begin(self.base, experts, method)
            learnt: Mapping[str, Tensor] = start
            if rate:
                mix = {s.name: s.examples("train", config.limit) for s in pair.skills}
                mix = {skill: some[: max(1, round(config.share * len(some)))] for skill, some in mix.items()}
                how = Settings(
                    learning_rate=rate, max_steps=config.cat_steps, per_device_train_batch_size=config.cat_batch,
                    max_length=config.max_length, seed=self.seed,
                )  # fmt: skip
                learnt = cat(
                    self.base, experts, method, mix, self.run, how,
                    name=f"{name} s{self.seed}", granularity=granularity, state=start,
                ).router_state  # fmt: skip
            recipe = {"lr": rate, "granularity": granularity, "moved": moved(start, learnt)}
            save_arm(self.library, Arm(name, experts, router, args, learnt, training=recipe))
        return load_arm(self.library, name).router_state

    def _lorahub(self, pair: Pair, way: str, shots: int | None, budget: int) -> Expert:
        """Weights found without gradients: on the small mix, or as in the paper on a few examples of the pair itself."""
        library = Library(self.run.path / "libraries" / f"lorahub-s{self.seed}", self.base.hash, self.base.name)
        name = f"{pair.name} {way}"
        if not library.path.is_dir() or name not in library:
            some = [e for s in pair.skills for e in s.examples("train", self.config.chosen_on)]
            if shots is not None:
                some = tasks.load(pair.test).examples("validation")[:shots]
            library.add(lorahub(self.base, self.experts(pair), some, budget=budget, seed=self.seed, name=name))
        return library[name]

    def _mixed(self, rate: float) -> Library:
        """The experts that learnt the data of both skills at once, at this learning rate."""
        if rate not in self.mixes:
            groups = {
                f"{pair.name}-s{self.seed}": (
                    [e for skill in pair.skills for e in skill.examples("train", self.config.limit)],
                    pair.skills[-1],
                )
                for pair in self.pairs
            }
            self.mixes[rate] = self._trained(f"mix-{rate:g}-s{self.seed}", groups, 2 * self.config.steps, rate)
        return self.mixes[rate]

    def _trained(self, name: str, groups: Mapping[str, tuple[list[Example], Any]], steps: int, rate: float) -> Library:
        """A fleet, or what is missing of it."""
        library = Library(self.run.path / "libraries" / name, self.base.hash, self.base.name)
        missing = [n for n in groups if not library.path.is_dir() or n not in library]
        for objective in dict.fromkeys(groups[n][1].objective for n in missing):
            some = {n: groups[n][0] for n in missing if groups[n][1].objective == objective}
            how = Settings(
                rank=self.config.rank, alpha=self.config.alpha, learning_rate=rate, max_steps=steps, objective=objective,
                per_device_train_batch_size=self.config.batch, max_length=self.config.max_length, dropout=0,
                seed=self.seed, init_seed=self.seed,
            )  # fmt: skip
            fleet(self.base, some, self.run, how, tasks={n: (groups[n][1].name,) for n in some}, keep=library.add)
        return library


def settled(run: Run, soup: Soup) -> dict[str, dict[str, Any]]:
    """The settings of every way, chosen with the first seed and kept for all."""
    path = run.path / "settings.json"
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    work = [way for way in soup.config.ways if way not in found]
    with progress("choose settings", len(work)) as bar:
        for way in work:
            options = WAYS[way][2]
            pairs = [pair for pair in soup.pairs if possible(way, pair)]
            if not pairs:
                continue
            values = [fmean(soup.logp(soup.arm(pair, way, option), pair) for pair in pairs) for option in options]
            best = options[max(range(len(options)), key=values.__getitem__)]
            found[way] = {
                "chosen": best,
                "logp": [[option, value] for option, value in zip(options, values, strict=True)],
            }
            files.write_json(path, found)
            bar.advance(note=f"{way}: {best}")
    return {way: of["chosen"] for way, of in found.items()}


def possible(way: str, pair: Pair) -> bool:
    """Few examples of a pair have to be there."""
    return pair.shots or "shots" not in WAYS[way][1]
