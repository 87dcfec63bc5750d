"""What the library of LoRAs rests on, measured: are like experts worth training together, and does a delta know its own inputs?

Claim   (a) The more alike two private experts are, the more their tasks gain from one expert for both. (b) An expert's delta
        moves inputs of its own task more than another expert's does. (c) Arrow, which builds on (b), comes near the oracle.
        (d) Some number of clusters between one and one a task is best.
Paper   Ostapenko et al. 2024, arXiv:2405.11157: (a) positive correlation; (b) the ratio of norms is above 1 for all samples;
        (c) Arrow ≈ oracle; (d) ten clusters for 256 tasks.
Ours    `dev/LOG.md`: twelve skills on `nano`, 66 pairs, three seeds.
Run     yosegi run insights             some fifteen minutes of one CPU core a seed
        yosegi run insights --smoke     seconds; the tests run this
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from scipy.stats import pearsonr
from torch import Tensor

from yosegi import files, tasks
from yosegi.bases import Base, load
from yosegi.core.expert import Expert
from yosegi.core.model import attach
from yosegi.engine.rows import to_batch, tokenise
from yosegi.evaluation.likelihood import likelihood
from yosegi.library.similarity import similarity
from yosegi.library.store import Library
from yosegi.progress import progress
from yosegi.recipes._insights import arrow_finding, clusters_finding, ratio_finding, similarity_finding
from yosegi.reporting import report
from yosegi.routers.arrow import Arrow
from yosegi.routers.by_request import ByRequest
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.build import build
from yosegi.training.fleet import fleet
from yosegi.training.settings import Mbc, Private, Random, Settings, Shared

Data = Mapping[str, Sequence[Example]]


@dataclass(frozen=True)
class Config:
    """What is measured."""

    base: str = "nano"
    """The base the experts stand beside."""
    tasks: tuple[str, ...] = tuple(
        f"skills/{name}"
        for name in ("reverse", "sort", "succ", "chain", "wp_en", "wp_ja", "double", "shift", "upper", "last", "add", "max")
    )  # fmt: skip
    """One private expert each, and one expert each pair."""
    seeds: tuple[int, ...] = (0, 1, 2)
    limit: int = 600
    """Training examples a task."""
    asked: int = 50
    """Test examples a task."""
    epochs: float = 2.5
    """Passes over the data of a task, alone or in a pair."""
    clusters: tuple[int, ...] = (2, 3, 4, 6, 9)
    """Numbers of clusters between one expert for all and one a task."""
    rank: int = 8
    alpha: float = 16
    learning_rate: float = 5e-3
    batch: int = 32
    draws: int = 2000
    """Of the bootstrap and the permutations."""


SMOKE = Config(
    tasks=("skills/reverse", "skills/sort", "skills/succ", "skills/last"), seeds=(0,), limit=16, asked=4, epochs=1.0,
    clusters=(2,), batch=4, draws=50,
)  # fmt: skip


def main(config: Config, run: Run) -> None:
    """Train, measure, draw."""
    base = load(config.base)
    loaded = [tasks.load(name) for name in config.tasks]
    data = {task.name: task.examples("train")[: config.limit] for task in loaded}
    asked = {task.name: task.examples("test")[: config.asked] for task in loaded}
    pairs, ratios, routed, counted = [], [], [], []
    for seed in config.seeds:
        how = Settings(
            rank=config.rank, alpha=config.alpha, learning_rate=config.learning_rate, num_train_epochs=config.epochs,
            per_device_train_batch_size=config.batch, dropout=0, seed=seed, init_seed=seed,
        )  # fmt: skip
        library = Library(run.path / "libraries" / f"private-s{seed}", base.hash, base.name)
        build(base, library, Private(), data, run, how, names=names(data, f"s{seed}"))
        private = {task: expert for expert in library.load() for task in expert.tasks}
        experts = [private[task] for task in data]
        alone = own_logp(base, private, asked)
        pairs.append(joint_gain(base, experts, data, asked, alone, run, how, seed))
        ratios.append(norm_ratios(base, experts, asked))
        routed.append(arrow_logp(base, experts, asked, alone))
        counted.append(by_number(base, data, asked, alone, config, run, how, seed))
        measure(run, base, seed, alone, pairs[-1], ratios[-1], routed[-1], config)
    found = [
        similarity_finding(pairs, list(data), config.draws),
        ratio_finding(ratios),
        arrow_finding(routed),
        clusters_finding(counted),
    ]
    files.write_json(run.path / "findings.json", {"title": "What a library of LoRAs rests on", "findings": found})
    print(f"Open {report([run.path], run.path / 'report.html')}")


def names(data: Data, suffix: str) -> dict[str, str]:
    """What the expert of a task is called."""
    return {task: f"{task.rpartition('/')[2]}-{suffix}" for task in data}


def mean_logp(base: Base, experts: Sequence[Expert], asked: Sequence[tuple[str, Sequence[Example]]]) -> list[float]:
    """Mean log p of the gold answers, for each (expert, examples): all experts stand in the base at once."""
    banks = attach(base.model, experts, ByRequest())
    base.model.eval()
    try:
        examples = [example for _, some in asked for example in some]
        who = [name for name, some in asked for _ in some]
        values = iter(likelihood(base, examples, banks=banks, known={"experts": who}, batch_size=256))
        return [float(np.mean([next(values) for _ in some])) for _, some in asked]
    finally:
        banks.detach()


def own_logp(base: Base, private: Mapping[str, Expert], asked: Data) -> dict[str, float]:
    """Each task with its own expert."""
    found = mean_logp(base, list(private.values()), [(private[task].name, some) for task, some in asked.items()])
    return dict(zip(asked, found, strict=True))


def joint_gain(
    base: Base, experts: Sequence[Expert], data: Data, asked: Data, alone: Mapping[str, float], run: Run, how: Settings,
    seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Insight (a): every pair of tasks trained as one expert, each task read as often as alone."""
    library = Library(run.path / "libraries" / f"pairs-s{seed}", base.hash, base.name)
    both = {f"{i}-{j}-s{seed}": (a, b) for (i, a), (j, b) in combinations(enumerate(data), 2)}
    missing = {
        name: [*data[a], *data[b]] for name, (a, b) in both.items() if not library.path.is_dir() or name not in library
    }
    if missing:
        fleet(base, missing, run, how, tasks=both, keep=library.add)
    ask = [(name, asked[task]) for name, pair in both.items() for task in pair]
    values = iter(mean_logp(base, library.load(both), ask))
    cosine = {space: similarity(experts, space) for space in ("factors", "delta")}
    place = {task: i for i, task in enumerate(data)}
    rows = []
    for a, b in both.values():
        gain = (next(values) - alone[a] + next(values) - alone[b]) / 2
        cosines = {space: float(matrix[place[a], place[b]]) for space, matrix in cosine.items()}
        rows.append({"a": a, "b": b, "gain": gain, **cosines})
    return rows


@torch.no_grad()
def norm_ratios(base: Base, experts: Sequence[Expert], asked: Data) -> dict[str, list[float]]:
    """Insight (b): how much more a task's own expert moves its inputs than each other expert does.

    ‖ΔW x‖ is averaged over the real tokens of an example, layer by layer; the ratio own / other is averaged over the layers as
    a geometric mean. "raw" is that; "equal size" divides each ΔW by its Frobenius norm first: a large delta moves everything.
    """
    banks = attach(base.model, experts, ByRequest())
    through: dict[str, Tensor] = {}
    size: dict[str, Tensor] = {}
    for layer, bank in banks.items():
        A_ERI, B_EOR = bank.stacked()
        R_ERR = torch.linalg.qr(B_EOR.float(), mode="r").R  # ‖B A x‖ = ‖R A x‖
        through[layer] = bank.scale_E[:, None, None] * (R_ERR @ A_ERI.float())
        size[layer] = through[layer].flatten(1).norm(dim=1)
    seen: dict[str, Tensor] = {}
    mask = torch.empty(0)

    def listen(layer: str) -> Any:
        def hear(_: Any, inputs: tuple[Tensor, ...]) -> None:
            moved_BTE = torch.einsum("bti,eri->bter", inputs[0].float(), through[layer]).norm(dim=-1)
            seen[layer] = (moved_BTE * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)

        return hear

    hooks = [module.register_forward_pre_hook(listen(layer)) for layer, module in banks.layers.items()]
    found: dict[str, list[float]] = {"raw": [], "equal size": []}
    try:
        with banks.disabled(), progress("norms", len(asked)) as bar:
            for own, some in enumerate(asked.values()):
                batch = to_batch(base, tokenise(base, some, 1024))
                mask = batch["attention_mask"]
                base.model(**batch)
                for what in found:
                    logs = [
                        (v / size[k] if what == "equal size" else v).clamp(min=1e-12).log() for k, v in seen.items()
                    ]
                    log_BE = torch.stack(logs).mean(0)
                    ratio_BE = (log_BE[:, own : own + 1] - log_BE).exp()
                    found[what] += ratio_BE[:, [e for e in range(len(experts)) if e != own]].flatten().tolist()
                bar.advance()
    finally:
        for hook in hooks:
            hook.remove()
        banks.detach()
    return found


def arrow_logp(base: Base, experts: Sequence[Expert], asked: Data, alone: Mapping[str, float]) -> list[dict[str, Any]]:
    """Insight (c): Arrow over all experts, beside each task's own."""
    banks = attach(base.model, experts, Arrow())
    base.model.eval()
    try:
        rows = []
        for task, some in asked.items():
            value = float(np.mean(likelihood(base, some, banks=banks)))
            rows.append({"task": task, "oracle": alone[task], "arrow": value})
        return rows
    finally:
        banks.detach()


def by_number(
    base: Base, data: Data, asked: Data, alone: Mapping[str, float], config: Config, run: Run,
    how: Settings, seed: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Insight (d): libraries of k clusters, of the tasks' experts and by lot; each task with its cluster's expert."""
    rows = [{"k": len(data), "way": way, "logp": float(np.mean(list(alone.values())))} for way in ("mbc", "random")]
    brief = Library(run.path / "libraries" / f"brief-s{seed}", base.hash, base.name)
    for k in (1, *(k for k in config.clusters if k < len(data))):
        for way in ("mbc", "random"):
            kind = "shared" if k == 1 else way
            library = Library(run.path / "libraries" / f"{kind}{k}-s{seed}", base.hash, base.name)
            ways = {"shared": Shared(), "mbc": Mbc(clusters=k, cluster_seed=42 + seed)}
            found = build(
                base, library, ways.get(kind, Random(clusters=k, cluster_seed=42 + seed)), data, run, how,
                names={"shared": f"shared-s{seed}"}, brief_library=brief,
            )  # fmt: skip
            whose = {task: name for name, group in found.tasks.items() for task in group}
            values = mean_logp(base, library.load(), [(whose[task], some) for task, some in asked.items()])
            silhouette = found.evidence["silhouette"] if kind == "mbc" else None  # of the experts that were clustered
            rows.append({"k": k, "way": way, "logp": float(np.mean(values)), "silhouette": silhouette})
    return rows


def measure(
    run: Run, base: Base, seed: int, alone: Mapping[str, float], pairs: Sequence[Mapping[str, Any]],
    ratios: Mapping[str, Sequence[float]], routed: Sequence[Mapping[str, Any]], config: Config,
) -> None:  # fmt: skip
    """The rows of results.jsonl."""
    shared = {"run": run.path.name, "base": base.name, "base_hash": base.hash, "seed": seed, "split": "test"}
    values = {
        ("private pairs", "pearson_factors"): pearsonr([p["factors"] for p in pairs], [p["gain"] for p in pairs])[0],
        ("private pairs", "pearson_delta"): pearsonr([p["delta"] for p in pairs], [p["gain"] for p in pairs])[0],
        ("norm ratio", "share_above_1_raw"): np.mean(np.array(ratios["raw"]) > 1),
        ("norm ratio", "share_above_1_equal_size"): np.mean(np.array(ratios["equal size"]) > 1),
        ("private · oracle", "logp"): np.mean(list(alone.values())),
        ("private · arrow", "logp"): np.mean([row["arrow"] for row in routed]),
    }
    done = {(row["model"], row["metric"], row["seed"]) for row in run.results()}
    run.result(
        *(
            {**shared, "model": model, "task": "all", "metric": metric, "value": float(value), "n": len(pairs)}
            for (model, metric), value in values.items()
            if (model, metric, seed) not in done
        )
    )
