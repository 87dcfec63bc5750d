"""One domain, from a folder of texts: GaLore or LoRA, at which rank and rate? What is learnt, what forgotten, and does it merge?

Claim   Continued pre-training on the texts of one domain teaches its terms. LoRA of a large rank reads them better than GaLore;
        some of what was known is forgotten; blended with other experts it keeps what it learnt.
Paper   Zhao et al. 2024, arXiv:2403.03507, has GaLore as good as full training (perplexity 34.88 and 34.06, 60M) and better than
        LoRA (34.99; 25.36 and 33.92 at 130M). A 7B model on 0.3 B tokens of Japanese novels, told in a blog: LoRA r 256 ends at
        a loss of 2.55, GaLore r 128 at about 2.7, at one learning rate for both; QA_exact +0.08, logp_mrr +0.09 over the base.
Ours    house, railway law, 3 seeds (`dev/LOG.md`): GaLore r 64 reads better than LoRA r 64 (+.12, .08 to .16) and forgets
        twice as much (1.77 and .87 nats); at LoRA's rate GaLore r 8 is .45 worse than at its own. No term was learnt.
Run     yosegi run domain                                      house; needs the data folder; 40 minutes of one core a seed
        yosegi run domain --domain file/kept.jsonl --quiz terms/quiz.jsonl    your own texts and terms
        yosegi run domain --smoke                              seconds; the tests run this

Every way chooses among learning rates of its method's own grid, with the first seed and a short training, by the loss on
validation texts of what it reads. Then all read the same tokens in the same order; and once more, for as long as the slowest
took. The terms are asked of all; nothing is chosen by them but the weights of the searched merge, by one half of them and by
texts that are measured nowhere. It is measured on the other half.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from yosegi import files, tasks
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.engine.arm import Arm
from yosegi.errors import Diverged, Invalid
from yosegi.evaluation.measure import evaluate
from yosegi.library.store import Library
from yosegi.recipes._domain import findings
from yosegi.recipes._domain_texts import MADE_UP, Texts, made_up, spread
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.search import outcome
from yosegi.search.exam import Exam, Goal
from yosegi.search.live import fold
from yosegi.search.plan import Plan
from yosegi.search.study import search
from yosegi.study.pace import SPARE, measure_pace
from yosegi.training import dense, sft
from yosegi.training.settings import DenseSettings, GaloreSettings, Settings
from yosegi.training.validation import Validation

SEARCHED = "searched weights"


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "house"
    """The base that reads."""
    domain: str = "corpus/ja_railway_law"
    """The texts of the domain, with a validation split. "made up": a small world, for the smoke run."""
    quiz: str = "terms/ja_railway_law"
    """Its terms, with choices and statements: asked openly (QA_exact) and ranked (logp_mrr)."""
    second: tuple[str, ...] = ("corpus/ja_food_novel", "corpus/ja_food_essays")
    """Another domain: what its expert is worth on both, and merged. May be empty."""
    general: tuple[str, ...] = ("corpus/ja_general", "corpus/en_general_wiki")
    """Texts of no domain: their training split for the control that reads these instead, validation for what is forgotten."""
    questions: str = "jcommonsenseqa"
    """A task of questions and answers, for an expert to merge with. May be empty."""
    lora: tuple[int, ...] = (4, 64)
    """Ranks of LoRA; α is twice the rank."""
    galore: tuple[int, ...] = (8, 64)
    """Ranks of GaLore's projection. Its expert keeps all that changed."""
    full: bool = True
    """Also train whole weights with AdamW."""
    lora_rates: tuple[float, ...] = (1e-3, 3e-3, 1e-2)
    galore_rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    """A quarter of these moves the weights."""
    full_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    controls: bool = True
    """Read general texts instead of the domain; GaLore at the rate that LoRA chose."""
    equal_time: bool = True
    """Train the quicker ways once more, for as long as the slowest takes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 190
    batch: int = 8
    """Rows a step."""
    pack: int = 256
    """Tokens of a row: 190 x 8 x 256 is once through the railway law with `house`."""
    update_gap: int = 50
    """Steps between GaLore's looks at the gradients; the paper's 200 would be one look."""
    pilot: int = 40
    """Steps, to choose a learning rate by."""
    every: int = 38
    """Steps between two looks at the validation texts."""
    watched: int = 24
    """Validation passages of each kind that are looked at while training."""
    passages: int = 40
    """Validation passages of each corpus that are weighed in the end."""
    timed: int = 2
    """Steps of each way in each of three rounds, to measure its pace and memory; 0 measures neither."""
    hand_set: tuple[float, ...] = (0.5, 1.0)
    """Weights of merges that nobody searched: each of these for both parts."""
    trials: int = 40
    """Of the search for weights, by half of the terms and by texts of both domains and of none."""
    searched: int = 16
    """Passages of each corpus that the search looks at, and that are measured nowhere: validation passages of the domains that
    `passages` leaves, general ones of the training split."""
    together: int = 64
    """Sequences at once."""


SMOKE = Config(
    base="nano", domain=MADE_UP, questions="", lora=(2,), galore=(4,), full=False, lora_rates=(3e-3, 1e-2),
    galore_rates=(1e-2,), seeds=(0,), steps=2, batch=2, pack=64, update_gap=1, pilot=1, every=1, watched=2, passages=2, timed=1,
    trials=2, searched=2, hand_set=(0.5,),
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """Something that is trained.

    Args:
        name: of the arm.
        method: lora, galore or full.
        rank: of the LoRA, or of GaLore's projection; 0 for full.
        reads: domain, second, general or questions.
        rate: the way whose learning rate it takes; "" for its own.
        longer: as long as the slowest takes, instead of as many steps.
    """

    name: str
    method: str
    rank: int = 0
    reads: str = "domain"
    rate: str = ""
    longer: bool = False


def main(config: Config, run: Run) -> None:
    """Choose learning rates, read, ask, merge."""
    if not (config.seeds and config.lora and config.galore and config.lora_rates and config.galore_rates):
        raise Invalid("domain needs a seed, and a rank and a learning rate for LoRA and for GaLore at least.")
    if config.domain == MADE_UP:
        made = made_up(run)
        config = replace(
            config, domain=made["domain"], quiz=made["quiz"], second=(made["second"],), general=(made["general"],)
        )
    base = load(config.base)
    quiz = [tasks.load(config.quiz), tasks.load(f"{config.quiz}/rank")]
    halved = [tasks.load(f"{config.quiz}/halved"), tasks.load(f"{config.quiz}/rank/halved")]
    known = [Texts(name, most=config.passages) for name in config.general]
    learnt = [Texts(name, most=config.passages) for name in (config.domain, *config.second)]
    for seed in config.seeds:
        study = Study(base, config, run, seed)
        if config.timed:
            study.paces()
        arms = [Arm("base"), *study.arms()]
        merged = study.merged(arms)
        how: dict[str, Any] = {"seed": seed, "traced": 0, "batch_size": config.together}
        evaluate(base, arms, quiz, run, **how)
        evaluate(base, study.beside(arms, merged), halved, run, **how)
        evaluate(base, [*arms, *merged], learnt, run, split="validation", **how)
        evaluate(base, [*arms, *merged], known, run, split="validation", general=True, **how)
    findings(run, config, base, Study(base, config, run, config.seeds[0]).ways())
    print(f"Open {report([run.path], run.path / 'report.html')}")


class Study:
    """What is trained with one seed. What was trained once is found on disk again."""

    def __init__(self, base: Base, config: Config, run: Run, seed: int):
        self.base, self.config, self.run, self.seed = base, config, run, seed
        self.library = Library(run.path / "libraries" / f"domain-s{seed}", base.hash, base.name)
        self.read = {
            "domain": (config.domain,), "second": config.second, "general": config.general,
            "questions": (config.questions,) if config.questions else (),
        }  # fmt: skip
        self.lost: dict[str, str] = {}

    def choosing(self) -> list[Way]:
        """Those that choose a learning rate of their own: one method at one rank, reading the domain."""
        config = self.config
        found = [Way(f"LoRA r {r}", "lora", r) for r in config.lora]
        found += [Way(f"GaLore r {r}", "galore", r) for r in config.galore]
        return [*found, *([Way("full", "full")] if config.full else [])]

    def ways(self) -> list[Way]:
        """Everything that is trained."""
        config, found = self.config, self.choosing()
        lora, galore = (next(way for way in found if way.method == method) for method in ("lora", "galore"))
        most = [way for way in found if way.method == "lora"][-1]
        more: list[Way] = []
        if config.controls:
            more.append(Way(f"{lora.name}, general texts", "lora", lora.rank, "general", lora.name))
            more.append(Way(f"{galore.name} at LoRA's rate", "galore", galore.rank, rate=lora.name))
        if config.second:
            more.append(Way(f"{most.name}, second domain", "lora", most.rank, "second", most.name))
        if config.questions:
            more.append(Way(f"{lora.name}, questions", "lora", lora.rank, "questions"))
        if config.equal_time and config.timed:
            longer = [way for way in found if self.steps(replace(way, longer=True)) > SPARE * config.steps]
            more += [replace(way, name=f"{way.name}, equal time", rate=way.name, longer=True) for way in longer]
        return [*found, *more]

    def arms(self) -> list[Arm]:
        """Every way, trained with the learning rate it chose."""
        chosen, found, costs = self.rates(), [], {}
        for way in self.ways():
            rate = chosen[way.rate or way.name]
            expert = self.expert(way, rate, self.steps(way), self.run, f"{way.name} s{self.seed}")
            if expert is not None:
                found.append(Arm(way.name, [expert]))
                measured = expert.card["metrics"]
                costs[way.name] = {"rate": rate, "reads": way.reads} | {
                    key: measured.get(key) for key in ("steps", "tokens", "trainable_params", "wall_s", "optimizer_mb")
                }
        files.write_json(self.run.path / f"arms-s{self.seed}.json", {"arms": costs, "lost": self.lost})
        return found

    def rates(self) -> dict[str, float]:
        """Of each way that chooses (`settings.json`): the one whose short training ends lowest on validation texts of what it
        reads. Questions choose for themselves: the rate of long texts can be ruinous for short answers."""
        path, config, pilot = self.run.path / "settings.json", self.config, Run(self.run.path / "pilot")
        losses: dict[str, dict[str, float | None]] = files.read_json(path) if path.exists() else {}
        for way in [*self.choosing(), *(way for way in self.ways() if way.reads == "questions")]:
            of = losses.setdefault(way.name, {})
            grid: Sequence[float] = getattr(config, f"{way.method}_rates")
            for rate in grid if len(grid) > 1 else ():
                if f"{rate:g}" not in of:
                    name = f"{way.name} at {rate:g}"
                    shelf, watch = Library(pilot.path / "library"), Validation(self.watched(way.reads), config.pilot)
                    tried = self.expert(way, rate, config.pilot, pilot, name, shelf, watch)
                    rows = files.read_jsonl(pilot.path / "metrics.jsonl") if tried else []
                    seen = [
                        row["validation_loss"]
                        for row in rows
                        if row["expert"] == name and row.get("validation") == way.reads
                    ]
                    of[f"{rate:g}"] = seen[-1] if seen else None
                    files.write_json(path, losses)
            if len(grid) == 1:
                of[f"{grid[0]:g}"] = None
            elif all(loss is None for loss in of.values()):
                raise Diverged(f"{way.name} diverges at every learning rate: lower --{way.method}_rates.")
        files.write_json(path, losses)
        known = {
            name: {rate: inf if loss is None else loss for rate, loss in of.items()} for name, of in losses.items()
        }
        return {name: float(min(of, key=of.__getitem__)) for name, of in known.items()}

    def steps(self, way: Way) -> int:
        """As many as all, or as many as fit into the time of the slowest."""
        if not way.longer:
            return self.config.steps
        paces = self.paces()
        name = way.name.removesuffix(", equal time")
        slowest = max(paces[other.name]["seconds"] for other in self.choosing())
        return round(self.config.steps * slowest / max(paces[name]["seconds"], 1e-9))

    def paces(self) -> dict[str, dict[str, float]]:
        """Seconds a step, and megabytes at most beside the base; measured once and kept, so a resumed study is the same one."""
        path = self.run.path / "pace.json"
        if not path.exists():

            def training(way: Way) -> Callable[[Run, int], Any]:
                return lambda run, steps: self.train(way, 1e-5, steps, run, "pace", None)

            timings = {way.name: training(way) for way in self.choosing()}
            measure_pace(path, self.base, timings, self.config.timed)
        return files.read_json(path)

    def expert(
        self, way: Way, rate: float, steps: int, run: Run, name: str, library: Library | None = None,
        watch: Validation | None = None,
    ) -> Expert | None:  # fmt: skip
        """Trained, or found in the library; None if it diverges."""
        library = self.library if library is None else library
        if name not in library:
            watch = watch or Validation(self.watched("domain", "second", "general"), self.config.every)
            try:
                self.train(way, rate, steps, run, name, watch, library.add)
            except Diverged as error:
                self.lost[name] = str(error)
                return None
        return library[name]

    def train(
        self,
        way: Way,
        rate: float,
        steps: int,
        run: Run,
        name: str,
        watch: Validation | None,
        keep: Any = lambda e: None,
    ) -> Expert:
        """One training."""
        config, names = self.config, self.read[way.reads]
        asks = way.reads == "questions"
        how: dict[str, Any] = {
            "objective": "sft" if asks else "lm", "learning_rate": rate, "lr_scheduler_type": "cosine", "max_steps": steps,
            "per_device_train_batch_size": config.batch, "pack": config.pack, "seed": self.seed, "save_steps": 50, "dropout": 0.0,
        }  # fmt: skip
        loaded = [tasks.load(one) for one in names]
        examples = [e for task in loaded for e in (task.examples("train") if asks else task.documents("train"))]
        if way.method == "lora":
            settings = Settings(rank=way.rank, alpha=2 * way.rank, init_seed=self.seed, **how)
            return sft.train(self.base, examples, name, run, settings, task=names, validation=watch, keep=keep)
        if way.method == "full":
            return dense.train(
                self.base, examples, name, run, DenseSettings(rank=0, **how), task=names, validation=watch, keep=keep
            )
        own = {"rank": way.rank, "update_gap": config.update_gap}
        galore = GaloreSettings(rank=0, optimizer_args=own, **how)
        return dense.train(self.base, examples, name, run, galore, task=names, validation=watch, keep=keep)

    def watched(self, *kinds: str) -> dict[str, list[Any]]:
        """Validation passages of each kind."""
        return {
            kind: spread(
                [e for name in self.read[kind] for e in tasks.load(name).examples("validation")], self.config.watched
            )
            for kind in kinds
            if self.read[kind]
        }

    def parts(self, arms: Sequence[Arm]) -> list[Arm]:
        """What is merged: the widest LoRA and the widest GaLore of the domain, the second domain, the questions."""
        last = {way.method: way.name for way in self.choosing()}
        names = [
            last["lora"],
            last["galore"],
            *(way.name for way in self.ways() if way.reads in ("second", "questions")),
        ]
        return [arm for arm in arms if arm.name in names]

    def beside(self, arms: Sequence[Arm], merged: Sequence[Arm]) -> list[Arm]:
        """The base, the parts, the merges."""
        return [arms[0], *self.parts(arms), *merged]

    def merged(self, arms: Sequence[Arm]) -> list[Arm]:
        """Task vectors added by hand-set weights, and by those that a search found."""
        parts = self.parts(arms)
        if len(parts) < 2 or parts[0].name != [way.name for way in self.choosing() if way.method == "lora"][-1]:
            return []
        found = []
        groups = [[parts[0], other] for other in parts[1:]] + ([parts] if len(parts) > 2 else [])
        for some in groups:
            names = " + ".join(part.name for part in some) if len(some) < len(parts) or len(parts) == 2 else "all parts"
            for weight in self.config.hand_set:
                experts = [part.experts[0] for part in some]
                w = {"weights": [weight] * len(some)}
                found.append(Arm(f"{names}, {weight:g} each", experts, merge="cat", merge_args=w))
        found.append(Arm("all parts, TIES", [part.experts[0] for part in parts], merge="ties"))
        return [*found, *([self.search(parts)] if self.config.trials else [])]

    def search(self, parts: Sequence[Arm]) -> Arm:
        """Weights for all parts that are good at all of it: half of the terms by logp_mrr, and by log p a token passages of the
        domain, of the second domain and of no domain."""
        config, folder = self.config, self.run.path / "search" / f"s{self.seed}"
        names, rank = tuple(part.experts[0].name for part in parts), f"{config.quiz}/rank/halved"
        goals = [Goal(tasks.load(rank), tasks.load(rank).metric)]
        for corpora in ((config.domain,), config.second):
            left = [Texts(name, most=config.searched, but=config.passages) for name in corpora]
            left = [texts for texts in left if texts.examples("validation")]
            goals += [Goal(texts, "logp", 1 / len(left)) for texts in left]
        goals += [
            Goal(Texts(name, "train", config.searched), "logp", 1 / len(config.general)) for name in config.general
        ]
        plan = Plan(
            str(self.library.path), (rank,), config.base, names, penalty=0.0, seed=self.seed, batch_size=config.together
        )
        opened = replace(plan.open(self.base), exam=Exam(self.base, goals, rounds=4, batch_size=config.together))
        run = Run(folder)
        study = search(plan, run, trials=config.trials, opened=opened)
        every = outcome.tried(study, opened.space)
        best = outcome.choose(every)
        weights = {part.name: best.recipe.weights_GE[0][n] for n, part in enumerate(parts)}
        means = {one.label: list(one.means) for one in every if one.baseline or one is best}
        told = {
            "chosen": best.label,
            "weights": weights,
            "means": means,
            "goals": opened.exam.labels,
            "trials": len(every),
        }
        files.write_json(folder / "chosen.json", told)
        expert = fold(opened.experts, best.recipe, opened.groups, SEARCHED)
        return Arm(SEARCHED, [expert] if expert.factors else [])
