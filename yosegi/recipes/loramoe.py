"""LoRAMoE for questions easy and hard, in two languages: does one bank learn all of them, and is nothing forgotten?

Claim   One bank of experts under a learnt router, balanced by the type of the question, learns easy and hard questions together
        better than one LoRA of as many parameters, and what the base knew stays. What its routers do: loramoe_balance.
Paper   Dou et al. 2024, arXiv:2312.09979 (LLaMA-2 7B): closed-book questions 38.5 and 13.4, and 21.6 and 7.3 fine-tuned without
        it (TriviaQA, NQ). It has no LoRA of equal parameters or equal time, and no random types: the controls here.
Ours    nano, 3 seeds, measured by the longer recipe of 1c545d0 (`dev/LOG.md`) and to be measured again: the bank learns no more
        than one LoRA of equal parameters (-.07, -.47 to .33), less than one of equal time (-.25), more than one that forgets as
        little (+.25, .18 to .33). Random types do as well as true ones.
Run     yosegi run loramoe                  nano, about ten minutes of one CPU core a seed; with --smoke seconds
        yosegi run loramoe --base smollm2 --easy en=gsm8k,ja=mgsm_ja --hard en=math,ja=math/ja …    needs the data folder

All read the same rows in the same order. Who learns at a lower rate forgets less: one LoRA more takes the rate at which it keeps
as much as the bank. Arms that differ from another only in their data or types take its learning rate. Fixed: a cosine schedule,
a warm-up of 3 %, no dropout, routers that start at zero, one for each projection. Which questions two arms have right alike, and
which answers could not be read, stands in the report ("Any two models", "Answers that could not be read").
"""

from dataclasses import dataclass
from functools import partial

from yosegi import Arm
from yosegi.errors import Invalid, UnknownName
from yosegi.evaluation.passages import Passages
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, arms_finding, claims, claims_finding, measures
from yosegi.study.kinds import Way, read_general, read_kinds, shown_finding
from yosegi.study.pace import cost_finding, equal_rank, equal_time, measure_pace
from yosegi.study.tables import changes
from yosegi.training.loramoe import EXPERTS
from yosegi.training.settings import FFN, LoraMoeSettings, Settings

GENERAL = ("capital", "unit", "mul", "add", "sub", "ennum", "janum")
CONTROLS = {
    "random types": ("random", "paper"),
    "types by language": ("language", "paper"),
    "attract": ("kind", "attract"),
}


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    base: str = "nano"
    easy: tuple[str, ...] = ("en=skills/wp_en", "ja=skills/wp_ja")  # LANGUAGE=TASK; no training split: only asked
    hard: tuple[str, ...] = ("en=skills/chain+wp_en", "ja=skills/chain+wp_ja")
    general: tuple[str, ...] = tuple(f"skills/{name}" for name in GENERAL)
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 2000  # training examples of a task
    asked: int = 100  # test questions of a task
    answer_tokens: int | None = None  # of an answer at most; by default what the task allows
    shots: int = 4  # worked examples for the base, where a task has a form for them (generated skills have none)
    kinds: tuple[str, ...] = ("easy", "hard", "both")  # what single LoRAs learn from
    mixes: tuple[str, ...] = ("each", "mixed")  # each language by itself; all of them
    experts: int = EXPERTS
    rank: int = 4  # of each expert
    alpha: float = 32  # the scale of an expert is α / rank, 8; that of a LoRA of equal parameters about the mean of six
    targets: str = FFN  # the linears that experts and LoRAs stand beside
    betas: tuple[float, ...] = (0.0, 0.1)  # weight of the balancing constraint; the controls take the last
    delta: float = 0.1  # how far apart the constraint wants the types
    controls: tuple[str, ...] = (*CONTROLS, "router off")
    rates: tuple[float, ...] = (2e-3, 5e-3, 1e-2)  # learning rates that each may choose among
    steps: int = 100
    batch: int = 32
    max_length: int = 512
    chosen_on: int = 25  # validation questions of a task, to choose a learning rate by
    timed: int = 4  # steps in each of three rounds, to measure the pace
    together: int = 64  # questions that are asked at once


SMOKE = Config(
    general=("skills/capital",), seeds=(0,), limit=24, asked=3, mixes=("mixed",), kinds=("both",), experts=2, rank=2,
    controls=("random types", "router off"), rates=(5e-3,), steps=2, batch=4, chosen_on=2, timed=2,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Measure the pace, choose learning rates, train every arm, ask."""
    UnknownName.check("control of loramoe", config.controls, [*CONTROLS, "router off"])
    if not (config.rates and config.betas and config.seeds) or config.experts < 2 or config.timed < 1:
        raise Invalid("loramoe needs a learning rate, a beta, a seed, two experts and a timed step at least.")
    base, tokens, first, top = config.load(), config.answer_tokens, config.seeds[0], config.betas[-1]
    kinds = read_kinds({"easy": config.easy, "hard": config.hard}, config.limit, tokens)
    general = read_general(config.general, kinds, config.asked, tokens)
    known = [task for task in general if not isinstance(task, Passages)]
    study, whole = Study(base, run), kinds.whole
    moe = LoraMoeSettings(
        rank=config.rank, alpha=config.alpha, targets=config.targets, delta=config.delta, max_steps=config.steps,
        per_device_train_batch_size=config.batch, max_length=config.max_length, dropout=0,
    )  # fmt: skip
    narrow = Settings(**{key: getattr(moe, key) for key in Settings.model_fields if key != "objective"})
    lora = narrow.model_copy(update={"rank": equal_rank(base, moe, config.experts)})
    one, small = f"LoRA both, {whole}", f"LoRA rank {config.rank}"
    longer, keeps = "LoRA both, as long", "LoRA both, keeps as much"

    def bank(beta: float, language: str = whole) -> str:
        return f"LoRAMoE β {beta:g}, {language}"

    def balanced(beta: float, language: str = whole, like: str = "", types: str = "kind", match: str = "paper") -> Way:
        return Way(moe.model_copy(update={"beta": beta, "match": match}), "both", language, types, like, config.experts)

    ways = {one: Way(lora), small: Way(narrow)} | {bank(beta): balanced(beta) for beta in config.betas}
    for language in [*kinds.languages * ("each" in config.mixes), *[whole] * ("mixed" in config.mixes)]:
        ways = {f"LoRA {kind}, {language}": Way(lora, kind, language, like=one) for kind in config.kinds} | ways
        ways = {bank(beta, language): balanced(beta, language, bank(beta)) for beta in config.betas} | ways
    for name, (types, match) in CONTROLS.items():
        if name in config.controls and (types != "language" or len(kinds.languages) > 1):
            ways[f"LoRAMoE, {name}"] = balanced(top, whole, bank(top), types, match)
    ways = {name: way for name, way in ways.items() if kinds.can_learn(way.kind, way.language)}
    timed = {name: way.timed(base, kinds, name) for name, way in ways.items() if not way.like}
    pace = measure_pace(run.path / "pace.json", base, timed, config.timed)
    if steps := equal_time(pace, one, bank(top), config.steps):
        ways[longer] = Way(lora.model_copy(update={"max_steps": steps}))
    rates = kinds.choose_rates(study, ways, config.rates, known, config.chosen_on, first)
    chosen = {name: rates.chosen[way.like or name]["lr"] for name, way in ways.items()}
    if option := rates.keeping(one, bank(top)):
        ways[keeps], chosen[keeps] = Way(lora), option["lr"]
    arms: dict[str, Arm | None] = {}
    for seed in config.seeds:
        arms = kinds.fit_all(study, ways, chosen, seed)
        if "router off" in config.controls and (arm := arms[bank(top)]):
            arms["LoRAMoE, router off"] = Arm("", arm.experts)
        ask = partial(study.evaluate, arms, seed=seed, limit=config.asked, batch_size=config.together)
        ask(kinds.of(), traced=8 * (seed == first))
        ask(general, general=True)

    scores = measures(run, kinds.measured(run, general, first), keys={"known": ("letter", "score")}, over_tasks=False)
    others = {one: "> 0", small: "> 0", bank(config.betas[0]): "> 0"} | dict.fromkeys((longer, keeps), "> 0 (ours)")
    others |= {f"LoRAMoE, {name}": "≈ 0" if name == "attract" else "> 0 (ours)" for name in (*CONTROLS, "router off")}
    table = {"all": others} | {kind: {one: "> 0", f"LoRA {kind}, {whole}": "≈ 0"} for kind in ("easy", "hard")}
    table |= {
        group: {"base": "≈ 0", one: "> 0", bank(config.betas[0]): "> 0", keeps: "≈ 0"} for group in ("known", "texts")
    }
    table |= {language: {bank(top, language): "≈ 0"} for language in kinds.languages}
    about = "LoRAs have as many parameters as the bank with its routers, except the one that is named by its rank."
    study.save("LoRAMoE: easy and hard, and nothing forgotten?", [
        arms_finding("One bank or one LoRA, for easy and hard questions", scores, [about]),
        claims_finding(claims({group: {bank(top): others} for group, others in table.items()}), scores),
        rates.finding("Learnt and kept, at every learning rate", ["log p, learnt", "log p, known"][: 1 + bool(known)]),
        changes([measure for measure in scores if measure.group in ("known", "texts")], heading="What is still known"),
        shown_finding(study, [*kinds.of(), *known], config.shots, first, config.asked, tokens),
        cost_finding(pace, {name: arm.experts[0].card["metrics"] for name, arm in arms.items() if arm}),
    ])  # fmt: skip
