"""One domain, from a folder of texts: GaLore or LoRA, at which rank and rate? What is learnt, and what is forgotten?

Claim   Continued pre-training on the texts of one domain teaches its terms; GaLore reads them as well as whole weights and better
        than LoRA; some of what was known is forgotten.
Paper   Zhao et al. 2024, arXiv:2403.03507: GaLore as good as full training (perplexity 34.88 and 34.06, 60M), better than LoRA
        (34.99). A 7B model on 0.3 B tokens of Japanese novels, told in a blog: LoRA r 256 ends at a loss of 2.55, GaLore r 128 at
        about 2.7, at one learning rate for both; QA_exact +0.08, logp_mrr +0.09 over the base.
Ours    Measured by the longer recipe of 1c545d0 with a base of 2.6 M parameters, railway law, 3 seeds (`dev/LOG.md`): GaLore r 64
        reads better than LoRA r 64 (+.12, .08 to .16) and forgets twice as much (1.77 and .87 nats); at LoRA's rate GaLore r 8
        is .45 worse than at its own. No term was learnt. With this base it is to be measured.
Run     yosegi run domain           needs the data folder; hours of a CPU a seed; with --smoke seconds
        yosegi run domain --domain file/kept.jsonl --quiz terms/quiz.jsonl    your own texts and terms

Every arm chooses among learning rates of its method's own grid, by the loss on validation texts after a short training. Then all
read the same tokens in the same order; the quicker ones once more, for as long as the slowest takes. The terms are asked of all;
nothing is chosen by them. Whether the experts can be merged: domain_merge.
"""

from dataclasses import dataclass, replace

from yosegi import Arm
from yosegi.errors import Invalid
from yosegi.evaluation.passages import Passages
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, arms_finding, claims, claims_finding, measures
from yosegi.study.pace import beside_base, cost_finding, equal_time
from yosegi.study.tables import changes
from yosegi.study.texts import INVENTED, Readers, curve_finding, invented, methods_of


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    domain: str = "corpus/ja_railway_law"  # with a validation split; "invented": a small world, for the smoke run
    quiz: str = "terms/ja_railway_law"  # its terms: asked openly (QA_exact) and ranked (logp_mrr)
    second: tuple[str, ...] = ("corpus/ja_food_novel", "corpus/ja_food_essays")  # another domain, to ask both of each
    general: tuple[str, ...] = (
        "corpus/ja_general",
        "corpus/en_general_wiki",
    )  # for a control, and for what is forgotten
    lora: tuple[int, ...] = (4, 64)  # ranks of LoRA; α is twice the rank
    galore: tuple[int, ...] = (8, 64)  # ranks of GaLore's projection
    full: bool = True  # also train whole weights with AdamW
    lora_rates: tuple[float, ...] = (2e-4, 5e-4, 2e-3)
    galore_rates: tuple[float, ...] = (4e-4, 1e-3, 4e-3)  # a quarter of these moves the weights
    full_rates: tuple[float, ...] = (2e-5, 1e-4, 3e-4)
    controls: bool = True  # read general texts instead of the domain; GaLore at the rate that LoRA chose
    equal_time: bool = True  # train the quicker ones once more, for as long as the slowest takes
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 190
    batch: int = 8  # rows of a step
    pack: int = 256  # tokens of a row; 190 x 8 x 256 tokens are read in all
    update_gap: int = 50  # steps between GaLore's looks at the gradients; the paper's 200 would be one look
    pilot: int = 40  # steps, to choose a learning rate by
    every: int = 38  # steps between two looks at the validation texts
    watched: int = 24  # validation passages of each kind that are looked at while training
    passages: int = 40  # validation passages of each corpus that are scored in the end
    timed: int = 2  # steps in each of three rounds, to measure pace and memory; 0 measures neither


SMOKE = Config(
    base="nano", domain=INVENTED, lora=(2,), galore=(4,), full=False, lora_rates=(3e-3, 1e-2), galore_rates=(1e-2,), seeds=(0,),
    steps=3, batch=2, pack=64, update_gap=1, pilot=2, every=1, watched=2, passages=2, timed=1,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Choose learning rates, read, ask."""
    if not (config.seeds and config.lora and config.galore and config.lora_rates and config.galore_rates):
        raise Invalid("domain needs a seed, and a rank and a learning rate for LoRA and for GaLore at least.")
    if config.domain == INVENTED:
        new = invented(run.path / "texts")
        second, general = (new["second"],), (new["general"],)
        config = replace(config, domain=new["domain"], quiz=new["quiz"], second=second, general=general)
    texts = {"domain": (config.domain,), "second": config.second, "general": config.general}
    base, methods = config.load(), methods_of(config.lora, config.galore, config.full)
    narrow, wide = (f"LoRA r {config.lora[n]}" for n in (0, -1))
    low, high = (f"GaLore r {config.galore[n]}" for n in (0, -1))
    study = Study(base, run)
    readers = Readers(study, texts, methods, config.batch, config.pack, config.update_gap, config.watched)
    readers.training(
        narrow, config.lora_rates[0], 0, config.steps, every=config.every
    )  # refused here, not after the pilots
    grids = {"lora": config.lora_rates, "galore": config.galore_rates, "full": config.full_rates}
    rates, pace = readers.choose_rates(grids, config.pilot, config.seeds[0]), readers.pace(config.timed)

    # Arm -> the method and its learning rate, what it reads, and for how long.
    ways = {arm: (arm, rates.chosen[arm]["lr"], "domain", config.steps) for arm in methods}
    if config.controls:
        ways[f"{narrow}, general texts"] = (*ways[narrow][:2], "general", config.steps)
        ways[f"{low} at LoRA's rate"] = (low, ways[narrow][1], "domain", config.steps)
    if config.second:
        ways[f"{wide}, second domain"] = (*ways[wide][:2], "second", config.steps)
    slowest = max(pace, key=lambda arm: pace[arm]["seconds"], default="")
    longer = {arm: equal_time(pace, arm, slowest, config.steps) for arm in pace if config.equal_time}
    longer = {f"{arm}, equal time": (*ways[arm][:3], steps) for arm, steps in longer.items() if steps}
    arms: dict[str, Arm] = {}
    for seed in config.seeds:
        plans = (ways | longer).items()
        trained = {a: readers.training(method, lr, seed, n, reads, config.every) for a, (method, lr, reads, n) in plans}
        arms = study.arms(trained, seed)
        study.evaluate(arms, [config.quiz, f"{config.quiz}/rank"], seed)
        for names, general in (((config.domain, *config.second), False), (config.general, True)):
            passages = [Passages(name, most=config.passages) for name in names]
            study.evaluate(arms, passages, seed, split="validation", general=general)

    groups = {"QA_exact": [config.quiz], "logp_mrr": [f"{config.quiz}/rank"], **texts}
    scores = measures(run, groups, logp=[*texts], over_tasks=False)
    ours, terms = "> 0 (ours)", {arm: {"base": "> 0"} for arm in methods}
    table = {
        "domain": {
            wide: {low: "+0.15", **dict.fromkeys(longer, ours)}, high: {wide: "> 0", "full": "≈ 0"},
            low: {f"{low} at LoRA's rate": ours}, narrow: {f"{narrow}, general texts": ours},
        },
        "QA_exact": terms | {wide: {"base": "+0.08"}},
        "logp_mrr": terms | {narrow: {"base": "> 0", f"{narrow}, general texts": ours}, wide: {"base": "+0.09"}},
        "general": {"base": dict.fromkeys(methods, "> 0")},
    }  # fmt: skip
    experts = {arm: [f"{arm} s{seed}" for seed in config.seeds] for arm in (*methods, *longer)}
    read = {arm: experts[arm] for arm in methods}
    again = {arm: names for arm, names in experts.items() if f"{arm}, equal time" not in longer}
    tokens, costs = config.batch * config.pack, {name: arm.experts[0].card["metrics"] for name, arm in arms.items()}
    study.save("One domain: what is learnt, what it costs", [
        arms_finding("Every way through one domain", scores, ["Of texts the log p of a token: more is better."], figure=1),
        curve_finding(run, "The domain, at equal tokens", read, "domain", "tokens read", lambda arm, step: step * tokens),
        curve_finding(run, "General texts meanwhile", read, "general", "tokens read", lambda arm, step: step * tokens),
        curve_finding(run, "The domain, at equal time", again, "domain", "seconds",
                      lambda arm, step: step * pace[arm.removesuffix(", equal time")]["seconds"]) if longer else None,
        rates.finding("Each with its own learning rate", ["- loss"], [f"Loss on validation texts after {config.pilot} steps."]),
        cost_finding(pace, costs, predicted=beside_base(base, methods, config.batch, config.pack)),
        changes(scores[:2], heading="Terms gained and lost"),
        claims_finding(claims(table), scores, "Held against the sources"),
    ])  # fmt: skip
