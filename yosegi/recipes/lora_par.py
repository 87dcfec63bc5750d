"""LoRA-PAR: questions that are answered at once and questions that are worked out, and entries of an expert for each kind.

Claim   Split the questions by how they are thought through (System 1, System 2) and the entries of the expert by which kind they
        matter to; learn the first by SFT and the second by GRPO, each with its own entries. With two fifths of the entries this
        does as well as all of them, and better than as many entries drawn at random.
Paper   Huang et al. 2025, arXiv:2507.20999 (Llama-2 7B, GSM8K): 34.6 on LoRA and 41.9 on PiSSA (θ .95), beside LoRA 31.9, PiSSA
        33.6, PiSSA + RL 37.5. It has no LoRA + RL on Llama-2, and no random entries with RL: the controls here.
Ours    nano, 3 seeds, by the longer recipe of 1c545d0 (`dev/LOG.md`; to be measured again): PAR .32, all entries .16, random .39,
        PiSSA + RL .60.
Run     yosegi run lora_par --smoke     seconds; without it nano, some twenty minutes of one CPU core a seed
        yosegi run lora_par --base smollm2 --tasks gsm8k,mgsm_ja …    real questions, with the data folder
"""

from dataclasses import dataclass
from itertools import product

from yosegi import Arm
from yosegi.errors import Invalid
from yosegi.partitions.by_system import by_system
from yosegi.recipes import OnBase
from yosegi.run import Run
from yosegi.study import Study, Training, arms_finding, claims, claims_finding, load, measures
from yosegi.study.stages import Stages
from yosegi.study.tables import by_number, grid, regions_finding
from yosegi.teachers import load as teacher
from yosegi.training.settings import GrpoSettings, Settings

NAMES = {"kaiming": "LoRA", "pissa": "PiSSA", "olora": "OLoRA", "normal": "normal"}
CLAIMS = claims({"System 2": {
    "PAR α 1 β 1": {
        "random on PiSSA + RL": "> 0", "PAR, all entries": "> 0", "PiSSA + RL": "+1.5", "PiSSA": "+5.4", "PAR, RL first": "+13.2",
        "PAR α 0 β 1": "+10.8", "PAR α 1 β 0": "+6.6"},
    "PAR on normal": {"LoRA + RL": "> 0"}, "PiSSA + RL": {"PiSSA": "+3.9"},
    "importance on PiSSA": {"random on PiSSA": "+3.9", "PiSSA": "≈ 0"},
}})  # fmt: skip


@dataclass(frozen=True)
class Config(OnBase):
    """What is compared."""

    base: str = "nano"
    tasks: tuple[str, ...] = ("skills/succ", "skills/sort", "skills/double", "skills/chain")  # questions of both kinds
    teachers: tuple[str, ...] = ()  # who labels them (`yosegi label`); else the steps of the reference solution do
    target_model: str = ""  # whom the teachers play, name and size
    warm: int = 40  # SFT steps of the base on other System 2 examples: what nobody gets right has no reward
    known: tuple[str, ...] = ("skills/add", "skills/capital")  # what the base does well: does it forget?
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 1500  # training examples of a task
    asked: int = 100  # test questions of a task
    measured: int = 100  # examples of each system that importance is measured on
    theta: float = 0.9
    thetas: tuple[float, ...] = (0.3, 0.5, 0.7, 0.9, 0.95)  # of the curve of accuracy against what moves
    grid: tuple[float, ...] = (0.0, 0.5, 1.0)  # α and β of the grid
    rank: int = 8
    alpha: float = 16
    sft_steps: int = 100
    batch: int = 32
    learning_rate: float = 5e-3
    grpo_steps: int = 40
    questions: int = 8  # of a step of GRPO
    generations: int = 16
    grpo_learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)  # each start chooses one, with all entries moving
    pilot: int = 20  # steps of GRPO to choose by, on validation questions
    kl_coef: float = 0.04
    rewards: tuple[str, ...] = ("correct",)
    max_length: int = 512
    max_completion_length: int | None = None  # tokens of an answer at most; by default what the task allows
    inits: tuple[str, ...] = ("pissa", "normal", "kaiming", "olora")


SMOKE = Config(
    seeds=(0,), limit=24, asked=3, measured=4, thetas=(0.9,), grid=(1.0,), sft_steps=2, batch=4, grpo_steps=1, questions=2,
    generations=2, inits=("pissa",), rank=2, warm=1, grpo_learning_rates=(1e-3, 3e-3), pilot=1, known=("skills/capital",),
    max_completion_length=4,
)  # fmt: skip


def ways(config: Config) -> dict[str, str]:
    """Returns every arm: where it begins, then its stages, each as DATA: ENTRIES (study/stages.py)."""
    ways: dict[str, str] = {}
    for init in config.inits:
        name, theta = NAMES[init], f"theta {config.theta:g}"
        ways[name] = f"{init} | all: all"
        if init != "olora":
            ways[f"{name} + RL"] = f"{init} | all: all | grpo: all"
        if init in ("pissa", "normal"):  # with B = 0 no entry matters
            ways[f"random on {name}"] = f"{init} | all: random {theta}"
            ways[f"random on {name} + RL"] = f"{init} | fast: random alpha 1 | grpo: random beta 1"
            ways[f"importance on {name}"] = f"{init} | all: {theta}"
        if init == "normal":
            ways["PAR on normal"] = "normal | fast: alpha 1 | grpo: beta 1"
        elif init == "pissa":
            for a, b in product(config.grid, config.grid):
                ways[f"PAR α {a:g} β {b:g}"] = f"pissa | fast: alpha {a:g} | grpo: beta {b:g}"
            ways["PAR, all entries"] = "pissa | fast: all | grpo: all"
            ways["PAR, RL first"] = "pissa | grpo: beta 1 | fast: alpha 1"
            for linears in ("QKVGUD", "QKV", "GUD"):
                ways |= {f"θ {t:g} {linears}": f"pissa {linears} | all: theta {t:g}" for t in config.thetas}
                ways[f"θ 1 {linears}"] = f"pissa {linears} | all: all"
                ways[f"random {config.theta:g} {linears}"] = f"pissa {linears} | all: random {theta}"
    return ways


def main(config: Config, run: Run) -> None:
    """Label the questions, measure the entries, train both stages, ask."""
    loaded, known = (load(names, config.max_completion_length) for names in (config.tasks, config.known))
    data = {task.name: task.examples("train")[: config.limit] for task in loaded}
    arms, teachers = ways(config), [teacher(spec, answers=run.path / "answers.jsonl") for spec in config.teachers]
    labelled = by_system(data, teachers, target_model=config.target_model)
    if len(labelled.groups) < 2:
        raise Invalid("All of these questions are of one system; LoRA-PAR needs both kinds.")
    (fast, slow), names = list(labelled.groups.values())[:2], list(labelled.tasks.values())[1]
    hard, easy = ([task for task in loaded if (task.name in names) == is_hard] for is_hard in (True, False))
    sft = Settings(
        rank=config.rank, alpha=config.alpha, learning_rate=config.learning_rate, max_steps=config.sft_steps, dropout=0,
        per_device_train_batch_size=config.batch, max_length=config.max_length,
    )  # fmt: skip
    grpo = GrpoSettings(
        max_steps=config.grpo_steps, num_generations=config.generations, per_device_train_batch_size=config.questions,
        max_completion_length=config.max_completion_length, rewards=dict.fromkeys(config.rewards, 1.0),
        kl_coef=config.kl_coef, weight_decay=0, max_grad_norm=1,
    )  # fmt: skip
    study = Study(config.load(), run)
    if config.warm:
        others = [example for task in hard for example in task.examples("train")[config.limit : 2 * config.limit]]
        warm = Training(others, sft.model_copy(update={"max_steps": config.warm}))
        study = Study(study.new_base(study.train({"warm": warm}, 0)["warm"]), run)
    stages = Stages(study, fast, slow, hard, sft, grpo, measured=config.measured, theta=config.theta)
    starts = [init for init in config.inits if init != "olora"]
    rates = stages.choose_rates(starts, config.grpo_learning_rates, config.pilot, config.asked, config.seeds[0])
    for seed in config.seeds:
        trained = {arm: Arm("", [expert]) for arm, expert in stages.train(arms, seed).items()}
        study.evaluate(trained, [*loaded, *known], seed, limit=config.asked, batch_size=128)

    scores = measures(run, {"System 2": hard, "System 1": easy, "known before": config.known})
    about = labelled.evidence["summary"]
    curves = {letters: {t: f"θ {t:g} {letters}" for t in (*config.thetas, 1.0)} for letters in ("QKVGUD", "QKV", "GUD")}
    by_theta = [arm for arm in arms if arm.endswith(tuple(curves))]
    sizes = "; ".join(f"{name}: {system['examples']}" for name, system in about["systems"].items())
    labels = f"Labelled by {', '.join(about['teachers'])}: {sizes}."
    others = ["base", *(arm for arm in arms if arm not in by_theta)]
    figure = by_number("System 2 by θ", scores[0], curves, "θ")
    study.save("LoRA-PAR: System 1 and System 2", [
        arms_finding("Every way through the two stages", scores, [labels, *rates.text()], arms=others),
        claims_finding(CLAIMS, scores, note="The paper: points of GSM8K of Llama-2 7B (the order of stages: Qwen2.5 7B)."),
        regions_finding({seed: stages.entries(config.inits[0], seed) for seed in config.seeds}),
        grid("How much of the shared entries moves in each stage", scores[0], "PAR α {:g} β {:g}", config.grid, config.grid),
        arms_finding("The share of the importance that may move (θ), SFT", scores[:1], arms=by_theta, figure=figure),
    ])  # fmt: skip
