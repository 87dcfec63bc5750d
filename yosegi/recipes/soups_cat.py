"""LoRA Soups: two skills, learnt apart, asked together. Who puts them together best, with no example of the two at once?

Claim   Learnt concatenation (CAT: finished experts, one learnt weight each in every layer) composes two skills better than
        any merge with given weights, and better than one expert trained on the data of both.
Paper   Prabhakar et al. 2024, arXiv:2410.13025 (Llama-2 7B): on hard maths by programs CAT beats the merges by 43 % on
        average and data mixing by 12 %.
Ours    nano, 15 pairs, three seeds (`dev/LOG.md`): the plain sum composes best (.071, -.04 to .19), CAT does not (.022).
Run     yosegi run soups_cat                      sixteen pairs on nano, some twenty minutes of one CPU core a seed
        yosegi run soups_cat --kind real --base house     needs the data folder
        yosegi run soups_cat --smoke              seconds; the tests run this

Every arm has a few settings, and the same chance to choose among them: by log p of the answers on validation questions of the
two skills, with the first seed. Nothing is tuned on a composition, but that LoraHub has an arm with five examples of it.
"""

from dataclasses import dataclass
from statistics import fmean

from yosegi import tasks
from yosegi.bases import load
from yosegi.engine.arm import Arm
from yosegi.errors import UnknownName
from yosegi.evaluation.measure import evaluate
from yosegi.findings import save
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.search.lorahub import lorahub
from yosegi.study import Claim, Study, arms_finding, claims_finding, measures, of_tasks, sweep, task_by_task
from yosegi.tasks.readers.skills import COMPOSITIONS
from yosegi.training.settings import Settings

LR, HALF, EITHER = {"lr": (1e-2, 5e-2)}, {"weight": (0.5,)}, {"weight": (0.5, 1.0)}
KEPT, DROPPED = {"density": (0.2, 0.5), **EITHER}, {"drop": (0.2, 0.5), **EITHER}
WAYS = {  # arm -> its router, merge or other method; its arguments; the settings that it chooses among
    "CAT": ("static", {"constraint": "softmax"}, LR),
    "CAT free": ("static", {"constraint": "free"}, LR),
    "CAT free from 1": ("static", {"constraint": "free", "start": "one"}, LR),
    "CAT one weight each": ("static", {"constraint": "free", "granularity": "global"}, LR),
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
MERGES = [way for way, (kind, *_) in WAYS.items() if ":" in kind and kind != "merge:cat"]
PAIRS = {  # two skills -> the task that asks for both, and the tasks that each is learnt from
    "skills": {pair: (f"skills/{pair}", *(f"skills/{skill}" for skill in pair.split("+"))) for pair in COMPOSITIONS},
    "real": {
        "maths+code": ("gsm_hard", "gsm8k", "mbpp,thealgorithms"),
        "law+questions": ("terms/ja_railway_law", "corpus/ja_railway_law", "jsquad"),
    },
}


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "nano"
    kind: str = "skills"  # skills: compositions of two generated skills; real: maths and code for programs, law and questions
    pairs: int = 99  # the first so many of that kind
    seeds: tuple[int, ...] = (0, 1, 2)  # each trains its own experts, from another start and in another order
    ways: tuple[str, ...] = tuple(WAYS)
    steps: int = 150  # of an expert on one skill; the one on the data of both takes twice as many
    rank: int = 8
    learning_rate: float = 5e-3  # of an expert on one skill
    batch: int = 32
    max_length: int = 512
    limit: int | None = None  # training examples of a task
    share: float = 0.05  # of each skill's examples, for what learns beside finished experts: the paper's small mix
    cat_steps: int = 100
    chosen_on: int = 20  # validation questions of a task, to choose settings by
    asked: int = 100  # test questions of a pair


SMOKE = Config(
    pairs=1, seeds=(0,), steps=2, limit=24, share=0.5, cat_steps=2, chosen_on=2, asked=2, batch=8,
    ways=("CAT", "CAT untrained random", "uniform (untrained CAT)", "TIES", "data mix", "learned routing"),
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train every skill alone, put each pair together in every way, and ask for both at once."""
    for what, known, given in (("way", WAYS, config.ways), ("kind of pairs", PAIRS, [config.kind])):
        for name in set(given) - set(known):
            raise UnknownName.among(f"{what} of soups_cat", name, known)
    base, pairs = load(config.base), dict(list(PAIRS[config.kind].items())[: config.pairs])
    study, seen = Study(base, run), config.kind == "skills"  # compositions of skills have questions that are no test questions
    ways = [way for way in config.ways if seen or "shots" not in WAYS[way][1]]

    def read(skill: str, split: str, limit: int | None) -> list[Example]:
        return [example for task in skill.split(",") for example in tasks.load(task).examples(split)[:limit]]

    def learn(skills: Mapping[str, str], lr: float, steps: int, seed: int) -> dict[str, Expert]:
        """An expert of each name, from the data of its skill, or of two."""
        settings = Settings(
            rank=config.rank, alpha=2 * config.rank, learning_rate=lr, max_steps=steps, max_length=config.max_length, dropout=0,
            per_device_train_batch_size=config.batch, seed=seed, init_seed=seed,
        )  # fmt: skip
        plain = settings.model_copy(update={"objective": "lm"})
        return study.train({
            name: Training(read(skill, "train", config.limit), plain if skill.startswith("corpus") else settings, skill.split(","))
            for name, skill in skills.items()
        }, seed)  # fmt: skip

    def alone(seed: int) -> dict[str, Expert]:
        skills = {name: skill for pair, (_, *both) in pairs.items() for name, skill in zip(pair.split("+"), both, strict=True)}
        return learn(skills, config.learning_rate, config.steps, seed)

    def together(way: str, option: Option, pair: str, seed: int) -> Arm | None:
        """One pair, put together in one way."""
        (kind, args, _), (test, *both), lr = WAYS[way], pairs[pair], option.get("lr", 0)
        kind, _, merge = kind.partition(":")
        experts = [alone(seed)[name] for name in pair.split("+")]
        if kind == "mix":
            data = {f"{name} mix {lr:g}": ",".join(reversed(some)) for name, (_, *some) in pairs.items()}
            return Arm(way, [learn(data, lr, 2 * config.steps, seed)[f"{pair} mix {lr:g}"]])
        if merge:
            more = {key: value for key, value in option.items() if key != "weight"}
            more |= {"rank": 2 * config.rank} if kind == "cut" else {}
            more |= {"seed": seed} if "drop" in option else {}
            return Arm(way, experts, merge=merge, merge_args={"weights": [option["weight"]] * 2, **more})
        mix = {skill: read(skill, "train", config.limit) for skill in both}
        if kind == "lorahub":
            few = [example for some in mix.values() for example in some[: config.chosen_on]]
            few = tasks.load(test).examples("validation")[: args["shots"]] if args else few
            found = lambda name: Arm(name, [lorahub(base, experts, few, **option, seed=seed, name=name)])  # noqa: E731
            return study.keep(f"{pair} {way}", seed, found)
        mix = {skill: some[: max(1, round(config.share * len(some)))] for skill, some in mix.items()}
        settings = {"lr": lr, "steps": config.cat_steps, "batch": config.batch // 2, "max_length": config.max_length}
        return study.route(f"{pair} {way} {lr:g}", seed, experts, kind, args, mix, settings)

    def on_validation(way: str, option: Option) -> list[float]:
        """The mean log p of the answers of the single skills, all pairs alike."""
        arms = {pair: together(way, option, pair, config.seeds[0]) for pair in pairs}
        asked = {pair: [e for skill in skills for e in read(skill, "validation", config.chosen_on)] for pair, (_, *skills) in pairs.items()}
        return [fmean(study.logp(arm, asked[pair]) for pair, arm in arms.items())]

    chosen = sweep(run.path / "settings.json", {way: WAYS[way][2] for way in ways}, on_validation)
    for seed in config.seeds:
        for pair, (test, *_) in pairs.items():
            arms = [Arm("base"), *(Arm(f"skill {n} alone", [alone(seed)[name]]) for n, name in enumerate(pair.split("+"), 1))]
            arms += [together(way, chosen[way], pair, seed) for way in ways]
            evaluate(base, arms, [tasks.load(test)], run, limit=config.asked, seed=seed, traced=0)

    both = [m.with_mean("the merges' mean", MERGES) for m in measures(run, {"pairs": [tasks.load(test).name for test, *_ in pairs.values()]})]
    papers = {"data mix": "+12 %", "the merges' mean": "+43 %"}
    claims = [Claim(f"CAT beats {other}", "CAT", other, "pairs", papers.get(other, "> 0")) for other in both[0].scores if other != "CAT"]
    about = f"{len(pairs)} pairs, {config.asked} questions a pair; nobody has seen an example of the two at once."
    save(run.path, "LoRA Soups: two skills at once", [
        arms_finding("Two skills at once, by every way to put them together", both, [about, *chosen.text()]),
        claims_finding(claims, both, note="The paper's numbers are relative gains of Llama-2 7B on GSM-Hard.", text=gains),
        task_by_task(both[0]),
        moved(study)
    ])
    print(f"Open {report([run.path], run.path / 'report.html')}")
