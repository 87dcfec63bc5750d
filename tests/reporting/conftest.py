"""A made-up run that looks like a real one: six models, five tasks, sixty questions each, English and Japanese."""

import copy
import json
import math
import shutil
import statistics
from pathlib import Path
from random import Random
from typing import Any

import pytest

EXPERTS = ["reverse", "wp_ja", "chain"]
MODELS = {  # how they answer, and how good they are at each task
    "base": ({"method": "base"}, [0.35, 0.30, 0.42, 0.12, 0.85]),
    "wp_ja": ({"method": "expert"}, [0.30, 0.82, 0.45, 0.55, 0.74]),
    "uniform": ({"method": "routed", "router": "uniform", "mix": "outputs"}, [0.62, 0.55, 0.60, 0.25, 0.84]),
    "arrow": ({"method": "routed", "router": "arrow", "mix": "outputs"}, [0.80, 0.74, 0.77, 0.47, 0.84]),
    "linear merge": ({"method": "merge", "merge": "linear"}, [0.58, 0.57, 0.52, 0.22, 0.80]),
    "oracle": ({"method": "routed", "router": "oracle", "mix": "outputs"}, [0.90, 0.85, 0.88, 0.58, 0.85]),
}
TASKS = ["skills/reverse", "skills/wp_ja", "skills/chain", "mgsm_ja", "skills/capital"]


def question(task: str, i: int) -> tuple[str, str]:
    """A prompt and its target."""
    random = Random(f"{task} {i}")
    a, b = random.randint(2, 40), random.randint(2, 40)
    if task == "skills/reverse":
        word = "".join(random.choices("abcdefghijklmnop", k=4))
        return f"reverse {word}:", word[::-1]
    if task == "skills/wp_ja":
        return f"りんごが{a}個あります。{b}個もらいました。全部で何個?", f"{a}+{b}={a + b}"
    if task == "skills/chain":
        return f"print(({a}+{b})*2)", f"{a}+{b}={a + b},{a + b}*2={2 * (a + b)}"
    if task == "mgsm_ja":
        return (
            f"問題:太郎は毎朝{a}個の卵を集めます。朝食に3個食べ、残りを1個{b}円で売ります。"
            "毎日いくらになりますか。途中の式も書いてください。\nステップごとの答え:",
            f"太郎は{a}個のうち{a - 3}個を売ります。{a - 3}×{b}={(a - 3) * b}。答えは{(a - 3) * b}です。",
        )
    return f"capital of {random.choice(['Japan', 'France', 'Peru'])} ({i}):", "Tokyo"


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share."""
    z, p = 1.96, right / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def mcnemar(gained: int, lost: int) -> float:
    """The exact two-sided p-value."""
    n, k = gained + lost, min(gained, lost)
    return min(1.0, 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n) if n else 1.0


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def write_run(
    path: Path, questions: int = 60, models: dict[str, Any] = MODELS, tasks: list[str] = TASKS, pad: str = ""
) -> Path:
    """Write everything a run leaves."""
    random = Random(0)
    results: list[dict[str, Any]] = []
    right: dict[tuple[str, str], list[bool]] = {}
    for t, task in enumerate(tasks):
        hard = [random.random() for _ in range(questions)]
        for model, (way, skill) in models.items():
            level = skill[t % len(skill)]
            correct = [level > 0.6 * h + 0.4 * random.random() for h in hard]
            right[model, task] = correct
            items = f"items/{task.replace('/', '-')}.{model.replace(' ', '-')}.jsonl"
            rows = []
            for i, ok in enumerate(correct):
                prompt, target = question(task, i)
                parsed = ok or random.random() > 0.08
                said = (
                    target if ok else random.choice([target[::-1], f"{target} {pad}{i % 7}", f"{prompt} {i % 5}{pad}"])
                )
                rows.append(
                    {"id": f"{task}-test-{i}", "prompt": prompt + pad, "target": target, "prediction": said if parsed else "",
                     "score": float(ok), "parsed": parsed, "logp": -random.random(), "meta": {}}
                )  # fmt: skip
            write_lines(path / items, rows)
            common = {
                "run": path.name, "model": model, "base": "nano", "base_hash": "a1b2c3d4e5f60718", "method": None, "router": None,
                "mix": None, "merge": None, **way, "task": task, "split": "test", "n": questions, "seed": 0,
                "trainable_params": 0 if model == "base" else 98304, "active_params": 0 if model == "base" else 98304 * 3,
                "wall_s": round(random.uniform(2, 9), 2), "peak_mem_mb": random.randint(380, 460), "items": items,
            }  # fmt: skip
            low, high = wilson(sum(correct), questions)
            unread = sum(not row["parsed"] for row in rows) / questions
            accuracy = {"metric": "accuracy", "value": sum(correct) / questions, "ci_low": low, "ci_high": high}
            results.append({**common, **accuracy, "parse_failures": unread})
            if model == "arrow":  # two more seeds, without items
                for seed in (1, 2):
                    value = min(1.0, max(0.0, sum(correct) / questions + random.uniform(-0.06, 0.04)))
                    spread = {"value": value, "ci_low": max(0.0, value - 0.1), "ci_high": min(1.0, value + 0.1)}
                    results.append({**common, **accuracy, **spread, "seed": seed, "items": None})
            logp = -1.6 + 1.4 * level + random.uniform(-0.05, 0.05)
            results.append({**common, "metric": "logp", "value": logp, "ci_low": logp - 0.11, "ci_high": logp + 0.12})
            if model != "base" and "base" in models:
                pairs = list(zip(correct, right["base", task], strict=True))
                gained, lost = pairs.count((True, False)), pairs.count((False, True))
                diff = (gained - lost) / questions
                half = 1.96 * math.sqrt(max(gained + lost - (gained - lost) ** 2 / questions, 0.5)) / questions
                results.append(
                    {**common, "metric": "accuracy_diff", "value": diff, "ci_low": diff - half, "ci_high": diff + half, "against": "base",
                     "gained": gained, "lost": lost, "p_value": mcnemar(gained, lost), "inside_noise": mcnemar(gained, lost) > 0.05,
                     "diff": diff, "diff_low": diff - half, "diff_high": diff + half}
                )  # fmt: skip
    write_lines(path / "results.jsonl", results)

    metrics = []
    for k, expert in enumerate(EXPERTS):
        for step in range(1, 401):
            loss = (
                0.12
                + 0.06 * k
                + 2.1 * math.exp(-step / (45 + 25 * k))
                + random.gauss(0, 0.035) * (0.3 + math.exp(-step / 90))
            )
            lr = 2e-4 * min(1, step / 24, (401 - step) / 376)
            metrics.append(
                {"step": step, "stage": "sft", "expert": expert, "loss": round(loss, 5), "lr": lr, "tokens_per_s": 5200 + step % 37,
                 "wall_s": round(step * 0.11, 2), "surprise": "ignored"}
            )  # fmt: skip
            if step % 100 == 0:
                metrics.append(
                    {"step": step, "stage": "sft", "expert": expert, "validation_loss": round(loss + 0.04, 5)}
                )
    write_lines(path / "metrics.jsonl", metrics)

    def shares(task: str, sharp: float) -> list[float]:
        scores = [math.exp(sharp * (3.0 if expert in task else random.random())) for expert in EXPERTS]
        return [score / sum(scores) for score in scores]

    def router(sharp: float) -> dict[str, Any]:
        weights = {task: [shares(task, sharp * (0.4 + layer / 8)) for layer in range(12)] for task in tasks}
        texts = {
            "skills/wp_ja": ["りん", "ご", "が", "12", "個", "あり", "ます", "。", "4", "個", "もら", "い", "ました", "。", "全部", "で", "何", "個", "?"],
            "skills/reverse": ["rev", "erse", " ", "ab", "cd", "e", ":"],
        }  # fmt: skip
        tokens = [
            {"task": k, "text": t, "weights": [shares(k, sharp * random.random()) for _ in t]} for k, t in texts.items()
        ]
        entropy = {t: [-sum(w * math.log(w) for w in row) for row in rows] for t, rows in weights.items()}
        layers = [f"model.layers.{i // 2}.mlp.{'up' if i % 2 else 'down'}_proj" for i in range(12)]
        return {"layers": layers, "tasks": weights, "entropy": entropy, "tokens": tokens}

    routing = {"experts": EXPERTS, "routers": {"arrow": tell(router(1.0)), "uniform": router(0.0)}}  # one as of before
    (path / "findings.json").write_text(json.dumps(FINDINGS, ensure_ascii=False))
    (path / "routing.json").write_text(json.dumps(routing, ensure_ascii=False))
    cosine = [[1.0, 0.08, 0.113], [0.08, 1.0, 0.342], [0.113, 0.342, 1.0]]
    (path / "similarity.json").write_text(json.dumps({"experts": EXPERTS, "cosine": cosine, "space": "delta"}))
    config = {
        "recipe": "demo",
        "base": "nano",
        "seed": 0,
        "tasks": tasks,
        "training": {"rank": 8, "learning_rate": 2e-4},
    }
    (path / "config.json").write_text(json.dumps(config))
    env = {"git": "0123456789abcdef+", "python": "3.12.1", "versions": {"yosegi": "0.1.0", "torch": "2.9.1"}, "device": "cpu",
           "threads": 2, "command": ["yosegi", "demo"], "started": "2025-11-03 09:30 UTC"}  # fmt: skip
    (path / "env.json").write_text(json.dumps(env))
    for k, expert in enumerate(EXPERTS):
        folder = path / "library" / expert
        folder.mkdir(parents=True, exist_ok=True)
        card = {"name": expert, "base": "nano", "task": [f"skills/{expert}"], "init": "kaiming", "rank": 8, "alpha": 16, "parents": [],
                "targets": "all-linear", "metrics": {"wall_s": 44.0 + k, "peak_mem_mb": 512, "steps": 400}}  # fmt: skip
        (folder / "expert.json").write_text(json.dumps(card))
        (folder / "adapter_model.safetensors").write_bytes(bytes(393_216))
    return path


def tell(router: dict[str, Any]) -> dict[str, Any]:
    """The same with its load and its choices, as runs have told them since."""
    active = {task: [[float(w > 0.1) for w in row] for row in rows] for task, rows in router["tasks"].items()}
    cv = {task: [statistics.pstdev(row) * len(row) for row in rows] for task, rows in router["tasks"].items()}
    for token in router["tokens"]:
        best = " ".join(str(row.index(max(row))) for row in token["weights"])
        token |= {"chosen": [best] * (len(router["layers"]) - 1) + ["1"], "left_out": 9}
    return {**router, "active": active, "cv": cv, "balance": [0.25] * len(router["layers"])}


FINDINGS: dict[str, Any] = {
    "title": "What came out",
    "findings": [
        {
            "heading": "Arrow comes near the oracle",
            "text": ["One paragraph & more.", "経路は専門家を選ぶ。"],
            "table": {
                "columns": ["model", "accuracy", "log p", "told"],
                "rows": [
                    ["base", {"value": 0.25, "low": 0.125, "high": 0.375}, -1.5, "nothing"],
                    ["arrow", {"value": 0.75, "low": 0.625, "high": 0.875, "best": True}, None, "nothing"],
                ],
                "note": "Means of tasks.",
            },
            "figure": {
                "kind": "dots", "title": "Accuracy by model", "caption": "Dots are means.", "x": "accuracy",
                "rows": [
                    {"label": "base", "value": 0.25, "low": 0.125, "high": 0.375, "group": "without"},
                    {"label": "arrow", "value": 0.75, "low": 0.625, "high": 0.875, "group": "with"},
                    {"label": "untested", "value": None, "group": "with"},
                ],
                "reference": {"value": 0.5, "label": "chance"},
            },
        },
        {
            "heading": "Like helps like",
            "figure": {
                "kind": "scatter", "title": "Cosine and gain", "caption": "A point a pair.", "x": "cosine", "y": "gain",
                "points": [{"x": i / 4, "y": i / 2 + 1, "label": f"pair {i}", "group": "ab"[i % 2]} for i in range(5)],
                "line": True, "diagonal": True,
            },
        },
        {
            "heading": "How many clusters",
            "figure": {
                "kind": "lines", "title": "By clusters", "caption": "Bands are intervals.", "x": "clusters", "y": "accuracy",
                "series": [
                    {"name": "MBC", "points": [[1, 0.5, 0.375, 0.625], [2, 0.75, 0.625, 0.875], [4, 0.5, 0.375, 0.625]]},
                    {"name": "random", "points": [[4, 0.5], [1, 0.25]]},
                ],
                "reference": {"value": 0.625},
            },
        },
        {
            "heading": "Where luck would be",
            "figure": {"kind": "bars", "title": "Permutations", "caption": "Counts.", "labels": [0, 1, "2"], "values": [5, 20, 10]},
        },
        {
            "heading": "Who is like whom",
            "figure": {"kind": "matrix", "title": "Cosine", "caption": "Of experts.", "rows": ["a", "b"], "columns": ["a", "b", "c"],
                       "values": [[1, -0.5, 0.25], [0.5, None, 0]]},
        },
    ],
}  # fmt: skip
"""One finding of every kind."""


@pytest.fixture
def findings() -> dict[str, Any]:
    """Findings that a test may change."""
    return copy.deepcopy(FINDINGS)


@pytest.fixture(scope="session")
def kept_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that only read it."""
    return write_run(tmp_path_factory.mktemp("kept") / "demo")


@pytest.fixture
def run(kept_run: Path, tmp_path: Path) -> Path:
    """For tests that may change it."""
    return Path(shutil.copytree(kept_run, tmp_path / "demo"))


@pytest.fixture
def make_run() -> Any:
    """`write_run`, for tests that want another size."""
    return write_run


@pytest.fixture
def told() -> Any:
    """`tell`, for tests that write routers."""
    return tell
