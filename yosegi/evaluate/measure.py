"""Arms x tasks -> rows and items. What has been measured already is not measured again, so a killed evaluation goes on."""

import hashlib
import time
from collections.abc import Sequence
from typing import Any

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.errors import Invalid
from yosegi.evaluate.arm import Arm
from yosegi.evaluate.likelihood import likelihood
from yosegi.evaluate.routing import trace
from yosegi.evaluate.statistics import compare, interval
from yosegi.generate import answer
from yosegi.library.similarity import similarity
from yosegi.progress import progress
from yosegi.run import Run, peak_memory
from yosegi.tasks import Example, Task


def evaluate(
    base: Base,
    arms: Sequence[Arm],
    tasks: Sequence[Task],
    run: Run,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    traced: int = 8,
) -> list[dict[str, Any]]:
    """Every arm on every task: the task's own metric by greedy generation, and the log-likelihood of the gold answer.

    Args:
        base: loaded once; arms come and go beside it.
        arms: the first is what the others are compared with, item by item.
        tasks: what to ask.
        run: gets the rows, the items, and `routing.json`.
        split: of the tasks.
        limit: at most so many examples of each task.
        seed: of the experts, written into the rows.
        batch_size: sequences at a time.
        traced: examples of each task whose routing is kept; 0 for none.

    Returns the rows: one a measurement and one a comparison.
    """
    if twice := {a.name for a in arms if sum(b.name == a.name for b in arms) > 1}:
        raise Invalid(f"Two arms of one evaluation are called {sorted(twice)[0]!r}.")
    asked = {task.name: task.examples(split)[:limit] for task in tasks}
    for name, examples in asked.items():
        if not examples:
            raise Invalid(f"The task {name!r} has no {split} examples.")
    known = {row["fingerprint"]: row for row in run.results() if "fingerprint" in row}
    scores: dict[tuple[str, str], list[float]] = {}
    rows: list[dict[str, Any]] = []
    work = sum(len(e) for arm in arms for name, e in asked.items() if arm.can_answer(name))
    with progress("evaluate", work) as bar:
        for arm in arms:
            with arm.beside(base) as banks:
                for task in tasks:
                    examples = asked[task.name]
                    if not arm.can_answer(task.name):
                        continue
                    mark = arm.fingerprint(
                        base=base.hash + base.load_in.removeprefix("fp32"),
                        task=task.name,
                        split=split,
                        seed=seed,
                        asked=_digest(task, examples),
                    )
                    if mark in known:
                        bar.advance(len(examples))
                        new = [row for row in run.results() if row.get("fingerprint") == mark]
                        items = files.read_jsonl(run.path / new[0]["items"])
                    else:
                        new, items = _measure(base, arm, banks, task, examples, run, split, seed, batch_size)
                        for row in new:
                            row["fingerprint"] = mark
                        bar.advance(len(examples), f"{arm.name} · {task.name} {new[0]['value']:.3f}")
                    scores[arm.name, task.name] = [item["score"] for item in items]
                    first = scores.get((arms[0].name, task.name))
                    if mark not in known:
                        if arm is not arms[0] and first is not None:
                            new.append(_comparison(new[0], arms[0].name, scores[arm.name, task.name], first))
                        run.result(*new)
                    rows += new
                if traced and banks is not None and len(banks.names) > 1:
                    few = {name: e[:traced] for name, e in asked.items() if arm.can_answer(name)}
                    _trace(base, arm, banks, few, run)
    _similarity(max((arm.experts for arm in arms), key=len), run)
    return rows


def _digest(task: Task, examples: Sequence[Example]) -> str:
    """What is asked and how: another prompt under the same id is another question."""
    said = [task.max_new_tokens, task.stop, *((e.id, e.prompt, e.target, e.answers) for e in examples)]
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def _measure(
    base: Base,
    arm: Arm,
    banks: Banks | None,
    task: Task,
    examples: Sequence[Example],
    run: Run,
    split: str,
    seed: int,
    batch_size: int,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One arm on one task."""
    started = time.monotonic()
    prompts = [example.prompt for example in examples]
    known = arm.known(base, banks, task.name, prompts)
    answers = answer(
        base,
        prompts,
        max_new_tokens=task.max_new_tokens,
        stop=task.stop,
        banks=banks,
        known=known,
        batch_size=batch_size,
    )
    logps = likelihood(base, examples, banks=banks, known=known, batch_size=batch_size)
    scored = task.scores(examples, [written.text for written in answers])
    items = [
        {
            "id": example.id,
            "prompt": example.prompt,
            "target": example.target,
            "prediction": written.text,
            "score": score.value,
            "parsed": score.parsed,
            "truncated": written.truncated,
            "logp": logp,
            **score.also,
            "meta": dict(example.meta),
        }
        for example, written, score, logp in zip(examples, answers, scored, logps, strict=True)
    ]
    shared = {
        "run": run.path.name,
        "base": base.name,
        "base_hash": base.hash,
        **({"load_in": base.load_in} if base.load_in != "fp32" else {}),
        **arm.describe(),
        "task": task.name,
        "split": split,
        "n": len(items),
        "seed": seed,
        "items": run.items(task.name if split == "test" else f"{task.name}.{split}", f"{arm.name}-s{seed}", items),
        "wall_s": round(time.monotonic() - started, 2),
        "peak_mem_mb": round(peak_memory()),
        "parse_failures": sum(not item["parsed"] for item in items) / len(items),
        "truncated": sum(item["truncated"] for item in items) / len(items),
    }
    also = {metric: [score.also[metric] for score in scored] for metric in scored[0].also}
    rows = []
    for metric, values in {task.metric: [item["score"] for item in items], **also, "logp": logps}.items():
        low, high = interval(values)
        rows.append({**shared, "metric": metric, "value": sum(values) / len(values), "ci_low": low, "ci_high": high})
    return rows, items


def _comparison(row: dict[str, Any], against: str, after: Sequence[float], before: Sequence[float]) -> dict[str, Any]:
    found = compare(after, before)
    return {
        **row,
        "metric": f"{row['metric']}_diff",
        "value": found.diff,
        "ci_low": found.diff_low,
        "ci_high": found.diff_high,
        "against": against,
        "gained": found.gained,
        "lost": found.lost,
        "diff": found.diff,
        "diff_low": found.diff_low,
        "diff_high": found.diff_high,
        "p_value": found.p_value,
        "inside_noise": found.inside_noise,
    }


def _trace(base: Base, arm: Arm, banks: Banks, few: dict[str, list[Example]], run: Run) -> None:
    path = run.path / "routing.json"
    routing = files.read_json(path) if path.exists() else {"experts": list(banks.names), "routers": {}}
    tell = {name: arm.known(base, banks, name, [e.prompt for e in some]) for name, some in few.items()}
    routing["routers"][arm.name] = {"experts": list(banks.names), **trace(base, banks, few, tell)}
    files.write_json(path, routing)


def _similarity(experts: Sequence[Expert], run: Run) -> None:
    """How alike the experts are, for the report."""
    if len(experts) > 1:
        cosine_EE = similarity(experts, "delta").tolist()
        names = [expert.name for expert in experts]
        files.write_json(run.path / "similarity.json", {"experts": names, "cosine": cosine_EE, "space": "delta"})
