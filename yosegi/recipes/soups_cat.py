"""LoRA Soups: two skills, learnt apart, asked together. Who puts them together best, with no example of the two at once?

Claim   Learnt concatenation (CAT: finished experts, one learnt weight each in every layer) composes two skills better than
        any merge with given weights, and better than one expert trained on the data of both.
Paper   Prabhakar et al. 2024, arXiv:2410.13025 (Llama-2 7B): on hard maths by programs CAT beats the merges by 43 % on
        average and data mixing by 12 %.
Ours    nano, 15 pairs, three seeds, by the longer recipe of 1c545d0 (`dev/LOG.md`; to be measured again): the plain sum is the
        best (.071, -.04 to .19), CAT is not (.022).
Run     yosegi run soups_cat             nano, some twenty minutes of one CPU core a seed; with --smoke seconds
        yosegi run soups_cat --kind real --base smollm2   needs the data folder

Every arm chooses its settings by log p on validation questions of the single skills; nothing is tuned on a composition.
"""

from dataclasses import dataclass
from functools import partial
from statistics import fmean

from yosegi import Arm, Expert
from yosegi.errors import UnknownName
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.search.lorahub import lorahub
from yosegi.study import Option, Study, Training, arms_finding, claims, claims_finding, measures, read, sweep
from yosegi.study.tables import movement, task_by_task
from yosegi.tasks.readers.skills import COMPOSITIONS
from yosegi.training.settings import Settings

LR, HALF, EITHER = {"lr": (1e-2, 5e-2)}, {"weight": (0.5,)}, {"weight": (0.5, 1.0)}
KEPT, DROPPED = {"density": (0.2, 0.5), **EITHER}, {"drop": (0.2, 0.5), **EITHER}
WAYS = {  # arm -> its router, merge or other method; its arguments; the settings that it chooses among
    "CAT": ("static", {"constraint": "softmax"}, LR),
    "CAT free": ("static", {"constraint": "free"}, LR),
    "CAT free from 1": ("static", {"constraint": "free", "start": "one"}, LR),
    "CAT one weight each": ("static", {"constraint": "free"}, {**LR, "granularity": ("global",)}),
    "CAT untrained random": ("static", {"start": "random"}, {"lr": (0.0,)}),
    "uniform (untrained CAT)": ("merge:cat", {}, HALF),
    "sum": ("merge:cat", {}, {"weight": (1.0,)}),
    "linear on factors": ("merge:linear", {}, EITHER),
    "svd": ("merge:svd", {}, EITHER),
    "TIES": ("cut:ties", {}, KEPT),  # cut to the rank of CAT, the sum of both; svd is cut to that of one
    "DARE": ("cut:dare", {}, DROPPED),
    "DARE-TIES": ("cut:dare_ties", {}, DROPPED),
    "magnitude prune": ("cut:magnitude_prune", {}, KEPT),
    "KnOTS-TIES": ("cut:knots", {}, KEPT),
    "SLERP": ("merge:slerp", {}, HALF),
    "learned routing": ("softmax", {}, {"lr": (1e-3, 1e-2)}),
    "LoraHub on the mix": ("lorahub", {}, {"budget": (40,)}),
    "LoraHub 5 shots of the pair": ("lorahub", {"shots": 5}, {"budget": (40,)}),
    "data mix": ("mix", {}, {"lr": (2e-3, 5e-3)}),
}
MERGES = [way for way, (kind, *_) in WAYS.items() if ":" in kind and kind != "merge:cat"]  # merges with given weights
PAIRS = {  # the pair -> the task that asks for both skills, and the tasks that each is learnt from
    "skills": {pair: (f"skills/{pair}", {name: f"skills/{name}" for name in pair.split("+")}) for pair in COMPOSITIONS},
    "real": {
        "law+questions": ("terms/ja_railway_law", {"law": "corpus/ja_railway_law", "questions": "jsquad"}),
        "maths+code": ("gsm_hard", {"maths": "gsm8k", "code": "mbpp,thealgorithms"}),
    },
}


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    base: str = "nano"
    kind: str = "skills"  # skills: compositions of generated skills; real: maths and code, law and questions
    pairs: int = 99  # the first so many of that kind
    seeds: tuple[int, ...] = (0, 1, 2)  # each trains its own experts, from another start and in another order
    ways: tuple[str, ...] = tuple(WAYS)
    steps: int = 150  # of an expert on one skill; the one on the data of both takes twice as many
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 5e-3  # of an expert on one skill
    batch: int = 32
    max_length: int = 512
    limit: int | None = None  # training examples of a task
    share: float = 0.05  # of each skill's examples, for what learns beside finished experts: the paper's small mix
    cat_steps: int = 100  # of what learns beside finished experts
    cat_batch: int = 16
    chosen_on: int = 20  # validation questions of a task, to choose settings by
    asked: int = 100  # test questions of a pair


SMOKE = Config(
    pairs=1, seeds=(0,), steps=2, limit=24, share=0.5, cat_steps=2, chosen_on=2, asked=2, batch=8,
    ways=("CAT", "CAT untrained random", "uniform (untrained CAT)", "TIES", "data mix", "learned routing"),
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train every skill alone, put each pair together in every way, and ask for both at once."""
    UnknownName.check("way of soups_cat", config.ways, WAYS)
    UnknownName.check("kind of pairs", [config.kind], PAIRS)
    base, pairs = config.load(), dict(list(PAIRS[config.kind].items())[: config.pairs])
    study, alone = Study(base, run), {name: task for _, skills in pairs.values() for name, task in skills.items()}
    both = {pair: ",".join(skills.values()) for pair, (_, skills) in pairs.items()}

    def learn(skills: dict[str, str], lr: float, steps: int, seed: int) -> dict[str, Expert]:
        """Returns an expert of each name, trained on the data of its skill."""
        settings = Settings(
            rank=config.rank, alpha=config.alpha, learning_rate=lr, max_steps=steps, per_device_train_batch_size=config.batch,
            max_length=config.max_length, dropout=0, seed=seed, init_seed=seed,
        )  # fmt: skip
        return study.train({name: Training.on(skill, settings, config.limit) for name, skill in skills.items()}, seed)

    def together(way: str, option: Option, pair: str, seed: int) -> Arm | None:
        """Returns one pair, put together in one way."""
        (kind, args, _), (test, skills), lr = WAYS[way], pairs[pair], option.get("lr", 0.0)
        kind, _, merge = kind.partition(":")
        experts = [learn(alone, config.learning_rate, config.steps, seed)[name] for name in skills]
        if kind == "mix":
            trained = learn({f"{name} lr {lr:g}": both[name] for name in both}, lr, 2 * config.steps, seed)
            return Arm(way, [trained[f"{pair} lr {lr:g}"]])
        if merge:
            args = {"weights": [option["weight"]] * 2} | {key: v for key, v in option.items() if key != "weight"}
            args |= ({"rank": 2 * config.rank} if kind == "cut" else {}) | ({"seed": seed} if "drop" in option else {})
            return Arm(way, experts, merge=merge, merge_args=args)
        if kind == "lorahub":
            few = read(test, "validation", 5) if args else read(both[pair], "train", config.chosen_on)
            return study.keep(f"{pair} {way}", seed, partial(lorahub, base, experts, few, seed=seed, **option))
        mix = {task: read(task, "train", config.limit)[:: round(1 / config.share)] for task in skills.values()}
        settings = {"learning_rate" if key == "lr" else key: value for key, value in option.items()}
        settings |= {"steps": config.cat_steps, "batch_size": config.cat_batch, "max_length": config.max_length}
        return study.route(f"{pair} {way} lr {lr:g}", seed, experts, kind, args, mix, settings)

    def on_validation(way: str, option: Option) -> list[float]:
        """Returns the mean log p of the answers to questions of the single skills, all pairs alike."""
        arms = {pair: together(way, option, pair, config.seeds[0]) for pair in pairs}
        asked = {pair: read(both[pair], "validation", config.chosen_on) for pair in pairs}
        return [fmean(study.logp(arm, asked[pair]) for pair, arm in arms.items() if arm)]

    ways = [way for way in config.ways if config.kind == "skills" or "shots" not in WAYS[way][1]]
    options = sweep(run.path / "settings.json", {way: WAYS[way][2] for way in ways}, on_validation)
    for seed in config.seeds:
        experts = learn(alone, config.learning_rate, config.steps, seed)
        for pair, (test, skills) in pairs.items():
            arms = {f"skill {n} alone": Arm("", [experts[name]]) for n, name in enumerate(skills, 1)}
            arms |= {way: together(way, options.chosen[way], pair, seed) for way in ways}
            study.evaluate(arms, [test], seed, limit=config.asked)

    tests, papers = [test for test, _ in pairs.values()], {"data mix": "+12 %", "the merges' mean": "+43 %"}
    scores = [measure.with_mean("the merges' mean", MERGES) for measure in measures(run, {"pairs": tests})]
    table = {"CAT": {arm: papers.get(arm, "> 0") for arm in scores[0].scores if arm != "CAT"}}
    study.save("LoRA Soups: two skills at once", [
        arms_finding(f"Two skills at once, by every way to put them together ({len(pairs)} pairs)", scores, options.text()),
        claims_finding(claims({"pairs": table}), scores, note="The paper has relative gains of Llama-2 7B on GSM-Hard."),
        task_by_task(scores[0]),
        movement(study.library(seed) for seed in config.seeds),
    ])  # fmt: skip
