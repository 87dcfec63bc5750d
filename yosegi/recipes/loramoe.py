"""LoRAMoE for questions easy and hard, in two languages: one bank for all of them, and nothing forgotten?

Claim   One bank of experts under a learnt router, balanced by the type of the question, learns easy and hard questions together
        better than one LoRA of as many parameters; without the balancing few experts come to bear all; what the base knew stays.
Paper   Dou et al. 2024, arXiv:2312.09979 (LLaMA-2 7B): closed-book questions 38.5 and 13.4, where fine-tuning without it left
        21.6 and 7.3 (TriviaQA, NQ); without the constraint the load's coefficient of variation climbs to about 3. It has no LoRA
        of equal parameters or equal time, and no types by lot: the controls here.
Ours    nano, 3 seeds (`dev/LOG.md`): no collapse without β (load CV .59; .03 with it). The bank learns no more than one LoRA of
        equal parameters (-.07, -.47 to .33) and less than one of equal time (-.25, -.49 to -.01), but more than one that
        forgets as little (+.25, .18 to .33). A sixth of what was known is lost. Types by lot do as well as true ones. House with
        real questions, 3 seeds: nobody answers them; by log p bank and LoRA are alike (+.04, -.06 to .13).
Run     yosegi run loramoe                                     nano; about ten minutes of one CPU core a seed
        yosegi run loramoe --base house --easy en=gsm8k,ja=mgsm_ja --hard en=math,ja=math/ja …    needs the data folder
        yosegi run loramoe --smoke                             seconds; the tests run this

Every way may choose among the same learning rates, by log p of the answers on validation questions, with the first seed; banks
that differ from another only in their types take that one's. All read the same rows in the same order. A bank whose router is
stuck at 1/N is one LoRA of N times the rank, so "LoRA both" is also the bank that cannot route. Whoever learns at a lower rate
forgets less: one LoRA more takes the rate at which it keeps as much as the bank, by validation questions of what is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from yosegi import files
from yosegi.bases import Base, load
from yosegi.engine.arm import Arm
from yosegi.engine.kept import arms as kept_arms
from yosegi.engine.kept import load_arm, save_arm
from yosegi.engine.score import score_answers
from yosegi.errors import Diverged, Invalid, UnknownName
from yosegi.evaluation.measure import evaluate
from yosegi.evaluation.routing import trace
from yosegi.library.store import Library
from yosegi.progress import progress
from yosegi.recipes._moe import findings
from yosegi.recipes._moe_data import KEEPS, LONGER, OFF, Pace, Plan, bank, equal_rank, keeper, lora, read, typed_rows
from yosegi.reporting import report
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.fleet import fleet
from yosegi.training.loramoe import EXPERTS, loramoe
from yosegi.training.settings import FFN, LoraMoeSettings, Settings

CONTROLS = ("random types", "types by language", "attract", "router off")


@dataclass(frozen=True)
class Config:
    """What is compared."""

    base: str = "nano"
    """The base the experts stand beside."""
    easy: tuple[str, ...] = ("en=skills/wp_en", "ja=skills/wp_ja")
    """Easy tasks, as LANGUAGE=TASK. One without a training split is only asked."""
    hard: tuple[str, ...] = ("en=skills/chain+wp_en", "ja=skills/chain+wp_ja")
    """Hard ones."""
    general: tuple[str, ...] = (
        "skills/capital", "skills/unit", "skills/mul", "skills/add", "skills/sub", "skills/ennum", "skills/janum",
    )  # fmt: skip
    """What the base knows: is it forgotten?"""
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 2000
    """Training examples a task."""
    asked: int = 100
    """Test questions a task."""
    answer_tokens: int | None = None
    """At most so many tokens of an answer; by default what the task allows."""
    shots: int = 4
    """Worked examples for the base, where a task has a form for them (generated skills have none)."""
    kinds: tuple[str, ...] = ("easy", "hard", "both")
    """What single LoRAs learn from."""
    mixes: tuple[str, ...] = ("each", "mixed")
    """each: of every language by itself; mixed: of all of them."""
    experts: int = EXPERTS
    rank: int = 4
    """Of each expert."""
    alpha: float = 32
    """α / rank is the scale of an expert, and of a LoRA of equal parameters: 8, and about 1 as the mean of six experts has it."""
    targets: str = FFN
    betas: tuple[float, ...] = (0.0, 0.1)
    """Weight of the balancing constraint; the controls take the last."""
    delta: float = 0.1
    controls: tuple[str, ...] = CONTROLS
    rates: tuple[float, ...] = (2e-3, 5e-3, 1e-2)
    """Learning rates that each way may choose among."""
    steps: int = 100
    batch: int = 32
    max_length: int = 512
    chosen_on: int = 25
    """Validation questions a task, to choose a learning rate by."""
    traced: int = 24
    """Questions of each kind and language whose routing is read."""
    ablated: int = 50
    """Questions a task that are asked again without each expert."""
    timed: int = 4
    """Steps of each way in each of three rounds, to measure its pace."""
    together: int = 64
    """Questions asked at once."""


SMOKE = Config(
    general=("skills/capital",), seeds=(0,), limit=24, asked=3, mixes=("mixed",), kinds=("both",), experts=2, rank=2,
    controls=("random types", "router off"), rates=(5e-3,), steps=2, batch=4, chosen_on=2, traced=2, ablated=2, timed=2,
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """Something that is trained: one LoRA, or a bank.

    Args:
        name: of the arm.
        kind: easy, hard or both.
        language: or "mixed".
        rank: of the LoRA, or of each expert.
        steps: of its training.
        beta: of a bank; None for one LoRA.
        types: of a bank: "kind", "language" or "random".
        match: of a bank's constraint.
    """

    name: str
    kind: str
    language: str
    rank: int
    steps: int
    beta: float | None = None
    types: str = "kind"
    match: str = "paper"


def main(config: Config, run: Run) -> None:
    """Measure the pace, choose learning rates, train every way, ask, look at the routers."""
    if unknown := [name for name in config.controls if name not in CONTROLS]:
        raise UnknownName.among("control of loramoe", unknown[0], CONTROLS)
    if not (config.rates and config.betas and config.seeds):
        raise Invalid("loramoe needs a learning rate, a beta and a seed at least.")
    if config.experts < 2 or config.timed < 1:
        raise Invalid("loramoe needs two experts and one timed step at least.")
    base, plan = load(config.base), read(config)
    for seed in config.seeds:
        study = Study(base, plan, config, run, seed)
        arms = study.arms(settled(run, study))
        first = seed == config.seeds[0]
        evaluate(
            base, arms, plan.asked, run, limit=config.asked, seed=seed, traced=8 if first else 0, batch_size=config.together
        )  # fmt: skip
        if first and (shown := list(plan.shown.values())):
            how: dict[str, Any] = {"limit": config.asked, "seed": seed, "traced": 0, "batch_size": config.together}
            evaluate(base, arms[:1], shown, run, **how)
        study.look(arms)
    findings(run, config, plan, base)
    print(f"Open {report([run.path], run.path / 'report.html')}")


class Study:
    """What is trained with one seed. What was trained once is found on disk again."""

    def __init__(self, base: Base, plan: Plan, config: Config, run: Run, seed: int):
        self.base, self.plan, self.config, self.run, self.seed = base, plan, config, run, seed
        self.library = Library(run.path / "libraries" / f"moe-s{seed}", base.hash, base.name)
        self.rank = equal_rank(base, config)
        self.kept_lost = run.path / f"lost-s{seed}.json"
        self.lost: dict[str, str] = files.read_json(self.kept_lost) if self.kept_lost.exists() else {}

    def ways(self) -> list[Way]:
        """Everything that is trained, those that choose a learning rate first."""
        config, whole, top = self.config, self.plan.whole, self.config.betas[-1]
        r, steps = config.rank, config.steps
        longer = self.paces().longer(steps)
        found = [
            Way(lora("both", whole), "both", whole, self.rank, steps),
            Way(f"LoRA rank {r}", "both", whole, r, steps),
        ]
        found += [Way(LONGER, "both", whole, self.rank, longer)] if longer else []
        found += [Way(bank(beta, whole), "both", whole, r, steps, beta) for beta in config.betas]
        languages = [
            *(self.plan.languages if "each" in config.mixes else ()),
            *([whole] if "mixed" in config.mixes else ()),
        ]
        for language in dict.fromkeys(languages):
            found += [Way(lora(kind, language), kind, language, self.rank, steps) for kind in config.kinds]
            found += [Way(bank(beta, language), "both", language, r, steps, beta) for beta in config.betas]
        more = {
            "random types": ("random", "paper"),
            "types by language": ("language", "paper"),
            "attract": ("kind", "attract"),
        }
        found += [
            Way(f"LoRAMoE, {name}", "both", whole, r, steps, top, *more[name])
            for name in config.controls
            if name in more and (name != "types by language" or len(self.plan.languages) > 1)
        ]
        by_name = {way.name: way for way in found if self.plan.learns(way.kind, way.language)}
        return list(by_name.values())

    def choosing(self) -> list[Way]:
        """Those that may choose a learning rate."""
        own = [lora("both", self.plan.whole), f"LoRA rank {self.config.rank}", LONGER]
        own += [bank(beta, self.plan.whole) for beta in self.config.betas]
        return [way for way in self.ways() if way.name in own]

    def arms(self, chosen: dict[str, float]) -> list[Arm]:
        """The base, then every way with its learning rate."""
        plan, top = self.plan, bank(self.config.betas[-1], self.plan.whole)
        rates = {way: chosen.get(way.name) or chosen[_like(way, plan.whole)] for way in self.ways()}
        if KEEPS in chosen:
            rates[Way(KEEPS, "both", plan.whole, self.rank, self.config.steps)] = chosen[KEEPS]
        self._loras({way: rate for way, rate in rates.items() if way.beta is None})
        arms = [Arm("base")]
        for way, rate in rates.items():
            if (arm := self.arm(way, rate)) is not None:
                arms.append(arm)
        for arm in [arm for arm in arms if arm.name == top and "router off" in self.config.controls]:
            arms.append(Arm(OFF, arm.experts))
        costs = {}
        for arm in arms[1:]:
            measured = arm.experts[0].card["metrics"]
            costs[arm.name] = {
                "params": measured["trainable_params"], "steps": measured["steps"],
                "wall_s": measured["wall_s"] / measured.get("fleet", 1),
                "rate": next((rate for way, rate in rates.items() if way.name == arm.name), None),
            }  # fmt: skip
        files.write_json(self.run.path / f"arms-s{self.seed}.json", {"arms": costs, "lost": self.lost})
        return arms

    def arm(self, way: Way, rate: float) -> Arm | None:
        """One way at one learning rate; None if it diverges."""
        name = self._name(way, rate)
        if way.beta is None:
            self._loras({way: rate})
            return Arm(way.name, [self.library[name]]) if self._has(name) else None
        if name not in kept_arms(self.library) and not self._train(way, rate):
            return None
        return replace(load_arm(self.library, name), name=way.name)

    def logp(self, arm: Arm, asked: Sequence[Sequence[Example]]) -> float:
        """Of the answers to some questions of each of several tasks, each task counted alike."""
        with arm.attached(self.base) as banks:
            return fmean(
                fmean(score_answers(self.base, some, banks=banks, batch_size=self.config.together)) for some in asked
            )

    def paces(self) -> Pace:
        """How long a step takes and what it needs; measured once and kept, so that a resumed study is the same one."""
        path = self.run.path / "pace.json"
        if not path.exists():
            whole = self.plan.whole
            rows, typed = self.plan.rows("both", whole), self.plan.typed(whole)

            def one(rank: int) -> Any:
                how = self._settings(Settings, 1e-5, rank=rank)
                return lambda run, steps: fleet(
                    self.base, {"pace": rows}, run, how.model_copy(update={"max_steps": steps})
                )

            def many(beta: float) -> Any:
                how = self._settings(LoraMoeSettings, 1e-5, rank=self.config.rank, beta=beta)
                experts = self.config.experts
                return lambda run, steps: loramoe(
                    self.base, typed, run, how.model_copy(update={"max_steps": steps}), experts=experts, name="pace"
                )

            trainings = {lora("both", whole): one(self.rank), f"LoRA rank {self.config.rank}": one(self.config.rank)}
            trainings |= {bank(beta, whole): many(beta) for beta in self.config.betas}
            with progress("measure the pace", 1) as bar:
                files.write_json(path, Pace.measure(self.base, trainings, self.config.timed))
                bar.advance()
        return Pace(files.read_json(path), lora("both", self.plan.whole), bank(self.config.betas[-1], self.plan.whole))

    def look(self, arms: Sequence[Arm]) -> None:
        """What the routers of banks for all languages do, and what each expert of the balanced one is worth."""
        plan, whole = self.plan, self.plan.whole
        path = self.run.path / f"routes-s{self.seed}.json"
        mixed = {way.name for way in self.ways() if way.beta is not None and way.language == whole}
        if not path.exists():
            found = {}
            for arm in (arm for arm in arms if arm.name in mixed):
                with arm.attached(self.base) as banks:
                    assert banks is not None
                    found[arm.name] = trace(
                        self.base, banks, plan.cells(self.config.traced), None, self.config.max_length
                    )
                    del found[arm.name]["tokens"]
            files.write_json(path, found)
        path = self.run.path / f"ablation-s{self.seed}.json"
        balanced = next((arm for arm in arms if arm.name == bank(self.config.betas[-1], whole)), None)
        if balanced is None or path.exists():
            return
        names = [expert.name for expert in balanced.experts]
        worth: list[dict[str, list[float]]] = []
        with progress("without each expert", len(names) + 1) as bar:
            for without in [(), *((name,) for name in names)]:
                with replace(balanced, ablate=without).attached(self.base) as banks:
                    worth.append({
                        task.name: score_answers(self.base, task.examples("test")[: self.config.ablated], banks=banks)
                        for task in plan.asked
                    })  # fmt: skip
                bar.advance()
        files.write_json(path, worth)

    def _loras(self, rates: dict[Way, float]) -> None:
        """Those that are missing, side by side where they are trained alike."""
        fleets: dict[tuple[int, int, float], dict[str, Way]] = {}
        for way, rate in rates.items():
            if not self._has(name := self._name(way, rate)) and name not in self.lost:
                fleets.setdefault((way.rank, way.steps, rate), {})[name] = way
        for (rank, steps, rate), some in fleets.items():
            groups = {name: self.plan.rows(way.kind, way.language) for name, way in some.items()}
            about = {name: self.plan.names(way.kind, way.language) for name, way in some.items()}
            how = self._settings(Settings, rate, rank=rank, max_steps=steps)
            try:
                fleet(self.base, groups, self.run, how, tasks=about, keep=self.library.add)
            except Diverged as error:
                self._lose({name: str(error) for name in some if not self._has(name)})

    def _train(self, way: Way, rate: float) -> bool:
        """A bank into the library; False if it diverges."""
        assert way.beta is not None
        typed = self.plan.typed(way.language)
        name, data = self._name(way, rate), typed_rows(typed, self.plan, way.types, self.seed)
        in_order = {task: rows for of_kind in typed.values() for task, rows in of_kind.items()}
        how = self._settings(
            LoraMoeSettings, rate, rank=way.rank, max_steps=way.steps, beta=way.beta, delta=self.config.delta,
            match=way.match, init_seed=100 * self.seed,
        )  # fmt: skip
        if name in self.lost:
            return False
        try:
            made = loramoe(self.base, data, self.run, how, experts=self.config.experts, name=name, in_order=in_order)
        except Diverged as error:
            self._lose({name: str(error)})
            return False
        for expert in made.experts:
            self.library.add(expert, overwrite=True)  # of these names is only what a killed call has left
        save_arm(self.library, made)
        return True

    def _settings(self, kind: Any, rate: float, **more: Any) -> Any:
        """What all ways have in common: LoRAMoE's schedule, and the same order of the rows."""
        config = self.config
        same = {
            "alpha": config.alpha, "targets": config.targets, "learning_rate": rate, "dropout": 0, "warmup_share": 0.03,
            "lr_scheduler_type": "cosine", "per_device_train_batch_size": config.batch, "max_length": config.max_length,
            "seed": self.seed, "init_seed": self.seed,
        }  # fmt: skip
        return kind(**same | more)

    def _lose(self, some: dict[str, str]) -> None:
        """Remember what diverged, also for a call that goes on after this one was killed."""
        self.lost |= some
        files.write_json(self.kept_lost, self.lost)

    def _has(self, name: str) -> bool:
        return self.library.path.is_dir() and name in self.library

    def _name(self, way: Way, rate: float) -> str:
        return f"{way.name} {rate:g} s{self.seed}"


def settled(run: Run, study: Study) -> dict[str, float]:
    """The learning rate of every way, chosen with the first seed and kept for all."""
    path, config, plan = run.path / "settings.json", study.config, study.plan
    found: dict[str, Any] = files.read_json(path) if path.exists() else {}
    work = [way for way in study.choosing() if way.name not in found]
    learnt, known = plan.validation(plan.learnt, config.chosen_on), plan.validation(plan.known, config.chosen_on)
    if not learnt:
        raise Invalid("None of these tasks has validation questions to choose a learning rate by.")
    with progress("choose learning rates", len(work)) as bar:
        for way in work:
            arms = [(rate, study.arm(way, rate)) for rate in config.rates]
            tried = [
                [rate, study.logp(arm, learnt), study.logp(arm, known) if known else None]
                for rate, arm in arms if arm is not None
            ]  # fmt: skip
            if not tried:
                raise Diverged(f"{way.name} diverges at every learning rate of {list(config.rates)}.")
            best = max(tried, key=lambda one: one[1])[0]
            found[way.name] = {"chosen": best, "tried": tried}
            files.write_json(path, found)
            bar.advance(note=f"{way.name}: {best:g}")
    rates = {way: of["chosen"] for way, of in found.items()}
    keeps = keeper(found[lora("both", plan.whole)], found[bank(config.betas[-1], plan.whole)])
    return rates if keeps is None else rates | {KEEPS: keeps}


def _like(way: Way, whole: str) -> str:
    """Whose learning rate a way takes that chooses none itself."""
    return lora("both", whole) if way.beta is None else bank(way.beta, whole)
