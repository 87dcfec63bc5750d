"""Arms x tasks -> rows and items. What has been measured already is not measured again, so a killed evaluation goes on."""

import hashlib
import sys
import time
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from typing import Any

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert
from yosegi.core.model import Banks
from yosegi.engine.arm import Arm
from yosegi.engine.generate import Answer, generate, settings
from yosegi.engine.request import stop_ids
from yosegi.engine.rows import cut_words
from yosegi.engine.score import score_candidates
from yosegi.errors import Invalid
from yosegi.evaluation.routing import trace
from yosegi.evaluation.statistics import compare, interval
from yosegi.library.similarity import similarity
from yosegi.progress import Bar, progress
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
    general: bool = False,
    bar: Bar | None = None,
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
        general: what is asked here is general knowledge, on which forgetting is measured; the rows say so.
        bar: advanced by the questions that are done; without it there is one of its own.

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
    with nullcontext(bar) if bar else progress("evaluate", work) as bar:
        for arm in arms:
            with arm.attached(base) as banks:
                for task in tasks:
                    examples = asked[task.name]
                    if not arm.can_answer(task.name):
                        continue
                    held = base.hash + base.dtype.removeprefix("fp32")
                    mark = fingerprint(arm, held, task, examples, split, seed, stop_ids(base))
                    if mark in known:
                        bar.advance(len(examples))
                        new = _again([row for row in run.results() if row.get("fingerprint") == mark], run, general)
                        items = files.read_jsonl(run.path / new[0]["items"])
                    else:
                        new, items = _measure(base, arm, banks, task, examples, run, split, seed, batch_size, mark)
                        for row in new:
                            row.update({"fingerprint": mark, **({"general": True} if general else {})})
                        bar.advance(len(examples), f"{arm.name} · {task.name} {new[0]['value']:.3f}")
                        if arm is arms[0] and "cut" in new[0]:
                            print(f"Warning: {task.name}: {new[0]['cut']}.", file=sys.stderr)
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


def _again(rows: list[dict[str, Any]], run: Run, general: bool) -> list[dict[str, Any]]:
    """The rows of what was measured before. If it was not general knowledge then and is now, they are written once more, so that
    who asks what was forgotten finds them."""
    if marked := [row for row in rows if bool(row.get("general")) == general]:
        return marked
    if general:
        rows = [{**row, "general": True} for row in rows]
        run.result(*rows)
    return rows


def fingerprint(
    arm: Arm, base: str, task: Task, examples: Sequence[Example], split: str, seed: int, stop_ids: Collection[int]
) -> str:
    """What a measurement is known by, how its answers were decoded with it: the same one is not made again."""
    decoding = settings(stop_ids) if task.generates else {}
    asked = _digest(task, examples)
    return arm.fingerprint(base=base, task=task.name, split=split, seed=seed, asked=asked, decoding=decoding)


def _digest(task: Task, examples: Sequence[Example]) -> str:
    """What is asked and how: another prompt under the same id is another question."""
    said = [task.max_new_tokens, task.stop, *((e.id, e.prompt, e.target, e.answers) for e in examples)]
    said += [task.rule] if task.rule else []
    said += [] if task.generates else [task.candidates(example) for example in examples]
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
    mark: str,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One arm on one task. The mark is part of the items' name: the same arm may be asked other questions of the task."""
    started = time.monotonic()
    prompts = [example.prompt for example in examples]
    known = arm.known(base, banks, task.name, prompts)
    how: dict[str, Any] = {"banks": banks, "known": known, "batch_size": batch_size}
    weighed, logprobs, logps, cut = score_candidates(base, task, examples, **how)
    if task.generates:
        answers = generate(base, prompts, max_new_tokens=task.max_new_tokens, stop=task.stop, banks=banks, known=known)
        scored, kept = task.scores(examples, [written.text for written in answers]), [{} for _ in examples]
        further = [
            {**score.metrics, **(more.metrics if more else {})} for score, more in zip(scored, weighed, strict=True)
        ]
    else:
        scored, kept = [score for score in weighed if score is not None], [{"logprobs": own} for own in logprobs]
        answers = [Answer(score.answer or "", False) for score in scored]
        further = [score.metrics for score in scored]
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
            **also,
            **more,
            "meta": dict(example.meta),
        }
        for example, written, score, logp, also, more in zip(
            examples, answers, scored, logps, further, kept, strict=True
        )
    ]
    shared = {
        "run": run.path.name,
        "base": base.name,
        "base_hash": base.hash,
        **({"dtype": base.dtype} if base.dtype != "fp32" else {}),
        **arm.describe(),
        "task": task.name,
        "split": split,
        "n": len(items),
        "seed": seed,
        "items": run.items(
            task.name if split == "test" else f"{task.name}.{split}", f"{arm.name}-s{seed}-{mark}", items
        ),
        "wall_s": round(time.monotonic() - started, 2),
        "peak_mem_mb": round(peak_memory()),
        "parse_failures": sum(not item["parsed"] for item in items) / len(items),
        "truncated": sum(item["truncated"] for item in items) / len(items),
    }
    chances = [chance for example in examples if (chance := task.chance(example)) is not None]
    by_guessing = {"chance": sum(chances) / len(chances)} if chances else {}
    words = cut_words(cut, len(examples))
    remark = " ".join(filter(None, [task.note(split), words and f"{words}."]))
    shared |= {key: value for key, value in {"rule": task.rule, "cut": words, "remark": remark}.items() if value}
    names = dict.fromkeys(name for also in further for name in also)
    measured = {name: [also[name] for also in further if name in also] for name in names}
    rows = []
    for metric, values in {task.metric: [item["score"] for item in items], **measured, "logp": logps}.items():
        (low, high), n = interval(values), len(values)
        found = {"metric": metric, "value": sum(values) / n, "n": n, "ci_low": low, "ci_high": high}
        rows.append({**shared, **found, **(by_guessing if metric != "logp" else {})})
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
