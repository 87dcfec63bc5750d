"""Experts of one domain, merged with others: what does a blend keep of each part, and does searching for its weights pay?

Claim   Task vectors add up: an expert that has read a domain, blended with one of another domain and one that answers questions,
        keeps what it learnt; searched weights keep more than hand-set ones, and forget less than the expert alone.
Paper   Told in a blog (7B model, 0.3 B tokens of Japanese novels): experts merged by hand-set weights, the best found by trial.
Ours    Measured by `domain` of 1c545d0 with a base of 2.6 M parameters, railway law and cookery, 3 seeds (`dev/LOG.md`): half of
        each has both at a price (railway -4.042, cookery -5.054, general -5.389); the search takes .41 to .48 of the railway
        expert. With this base it is to be measured.
Run     yosegi run domain_merge             needs the data folder; hours of a CPU a seed
        yosegi run domain_merge --smoke     seconds; the tests run this

The learning rates are those that `domain` chose. Weights are searched by one half of the terms and by passages that are measured
nowhere: validation passages of the domains that `passages` leaves, and general ones to train on. Asked is the other half.
"""

from dataclasses import dataclass, replace

from yosegi import Arm, merge, tasks
from yosegi.errors import Invalid
from yosegi.evaluation.passages import Passages
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.search.probe import Goal, Probe
from yosegi.search.settings import SearchSettings, open_search
from yosegi.search.study import search
from yosegi.search.trials import choose, tried
from yosegi.spec import quote
from yosegi.study import Study, arms_finding, claims, claims_finding, measures
from yosegi.study.tables import changes
from yosegi.study.texts import INVENTED, Readers, invented

SEARCHED = "searched weights"


@dataclass(frozen=True)
class Config(OnBase):
    """What is merged."""

    domain: str = "corpus/ja_railway_law"  # with a validation split; "invented": a small world, for the smoke run
    quiz: str = "terms/ja_railway_law"  # its terms
    second: tuple[str, ...] = ("corpus/ja_food_novel", "corpus/ja_food_essays")  # another domain
    general: tuple[str, ...] = ("corpus/ja_general", "corpus/en_general_wiki")  # what is forgotten
    questions: str = "jcommonsenseqa"  # a task of questions and answers; may be empty
    lora: int = 64  # rank of the LoRAs of both domains
    galore: int = 64  # rank of GaLore's projection
    small: int = 4  # rank of the LoRA of the questions
    lora_rate: float = 1e-3
    galore_rate: float = 2e-3
    questions_rate: float = 5e-4  # that of long texts can be ruinous for short answers
    seeds: tuple[int, ...] = (0, 1, 2)
    steps: int = 190
    batch: int = 8  # rows of a step
    pack: int = 256  # tokens of a row
    update_gap: int = 50  # steps between GaLore's looks at the gradients
    passages: int = 40  # validation passages of each corpus that are scored in the end
    hand_set: tuple[float, ...] = (0.5, 1.0)  # given weights, each of these for all parts
    trials: int = 40  # of the search; 0 for none
    searched: int = 16  # passages of each corpus that the search looks at


SMOKE = Config(
    base="nano", domain=INVENTED, questions="", lora=2, galore=4, small=2, seeds=(0,), steps=3, batch=2, pack=64, update_gap=1,
    passages=2, hand_set=(0.5,), trials=2, searched=2,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train the parts, blend them by hand and by search, ask the blends and their parts."""
    if not config.second and not config.questions:
        raise Invalid("domain_merge needs a second domain or questions to merge the domain's experts with.")
    if config.domain == INVENTED:
        new = invented(run.path / "texts")
        second, general = (new["second"],), (new["general"],)
        config = replace(config, domain=new["domain"], quiz=new["quiz"], second=second, general=general)
    kinds = {"domain": (config.domain,), "second": config.second, "general": config.general}
    texts = kinds | ({"questions": (config.questions,)} if config.questions else {})
    lora = ("lora", config.lora)
    methods = {
        "LoRA": lora,
        "GaLore": ("galore", config.galore),
        "second domain": lora,
        "questions": ("lora", config.small),
    }
    plans = {"LoRA": (config.lora_rate, "domain"), "GaLore": (config.galore_rate, "domain")}
    plans |= {"second domain": (config.lora_rate, "second"), "questions": (config.questions_rate, "questions")}
    plans = {arm: (lr, reads) for arm, (lr, reads) in plans.items() if texts.get(reads)}
    base, choices = config.load(), list[str]()
    study = Study(base, run)
    readers = Readers(study, texts, methods, config.batch, config.pack, config.update_gap)

    def searched(parts: dict[str, Arm], seed: int) -> Arm:
        """Weights that are good at all of it: half of the terms, and passages of both domains and of none."""
        rank = tasks.load(f"{config.quiz}/rank/halved")
        goals = [Goal(rank, rank.metric)]
        for kind, names in kinds.items():
            split, after = ("train", None) if kind == "general" else ("validation", config.passages)
            unseen = [Passages(name, split, config.searched, after) for name in names]
            unseen = [passages for passages in unseen if passages.examples(split)]
            goals += [Goal(passages, "logp", 1 / len(unseen)) for passages in unseen]
        settings = SearchSettings(
            task=[rank.name], base=config.base, library=str(study.library(seed).path), penalty=0.0, trials=config.trials,
            experts=[quote(arm.experts[0].name) for arm in parts.values()], seed=seed,
        )  # fmt: skip
        opened = replace(open_search(settings, base), probe=Probe(base, goals))
        best = choose(tried(search(opened, Run(run.path / "search" / f"s{seed}")), opened.space))
        weights = zip(parts, opened.space.weights(best.params)[0], strict=True)
        choices.append(
            f"Seed {seed} took {best.label}: {', '.join(f'{part} {weight:.2f}' for part, weight in weights)}."
        )
        return replace(best.arm, name=SEARCHED)

    for seed in config.seeds:
        trained = {arm: readers.training(arm, lr, seed, config.steps, reads) for arm, (lr, reads) in plans.items()}
        parts = study.arms(trained, seed)
        experts, blends = {arm: part.experts[0] for arm, part in parts.items()}, dict(parts)
        pairs = [["LoRA", arm] for arm in parts if arm != "LoRA" and len(parts) > 2]
        for weight in config.hand_set:
            for blend in (*pairs, [*parts]):
                name = f"{' + '.join(blend) if blend in pairs else 'all parts'}, {weight:g} each"
                weights = {"weights": [weight] * len(blend)}
                blends[name] = Arm("", [experts[arm] for arm in blend], merge="cat", merge_args=weights)
        blends["all parts, TIES"] = Arm("", [merge(list(experts.values()), "ties", name="TIES")])  # slow, so made once
        if config.trials:
            blends[SEARCHED] = searched(parts, seed)
        study.evaluate(blends, [f"{config.quiz}/halved", f"{config.quiz}/rank/halved"], seed)
        for names, general in (((config.domain, *config.second), False), (config.general, True)):
            passages = [Passages(name, most=config.passages) for name in names]
            study.evaluate(blends, passages, seed, split="validation", general=general)

    groups = {"QA_exact": [f"{config.quiz}/halved"], "logp_mrr": [f"{config.quiz}/rank/halved"], **kinds}
    scores, ours = measures(run, groups, logp=[*kinds], over_tasks=False), "> 0 (ours)"
    hand_set = {f"all parts, {weight:g} each": ours for weight in config.hand_set}
    table = {
        "logp_mrr": {SEARCHED: hand_set | {"LoRA": ours}},
        "domain": {SEARCHED: {"LoRA": "≈ 0"}},
        "general": {SEARCHED: {"LoRA": ours}},
    }
    about = "Asked are the terms of the test half, which no search saw. Of texts the log p of a token: more is better."
    study.save("One domain, merged with others", [
        arms_finding("Merges and their parts", scores, [about, *choices], figure=1),
        changes(scores[2:], heading="What is kept and what is forgotten"),
        claims_finding(claims(table), scores, "Searched weights against hand-set ones"),
    ])  # fmt: skip
