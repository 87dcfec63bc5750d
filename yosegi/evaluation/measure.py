"""Arms x tasks -> rows and items. What has been measured already is not measured again, so a killed evaluation goes on; of a
larger sample only the new questions are asked."""

import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from yosegi import files
from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.arm import Arm
from yosegi.engine.generate import Answer, batch_setter, generate, requests_for, rooms, tokens
from yosegi.engine.generate import answers as answers_of
from yosegi.engine.generate import run as run_requests
from yosegi.engine.request import stop_ids
from yosegi.engine.rows import context_length, cut_words, tokenise
from yosegi.engine.score import score_candidates
from yosegi.errors import Invalid
from yosegi.evaluation.known import answered_before, fingerprint, question
from yosegi.evaluation.routing import keep_trace, trace
from yosegi.evaluation.statistics import compare, interval, jackknife
from yosegi.library.similarity import similarity
from yosegi.progress import Bar, progress
from yosegi.run import Run, peak_memory
from yosegi.tasks import Example, Task

Row = dict[str, Any]
TENTHS = 10
ITEM = (
    "id",
    "question",
    "prompt",
    "target",
    "prediction",
    "score",
    "parsed",
    "truncated",
    "close_calls",
    "logp",
    "logprobs",
    "meta",
)
"""The fields of an item that are no further metrics."""


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
) -> list[Row]:
    """Measures every arm on every task: the task's own metric by greedy generation, and the log-likelihood of the gold answer.

    Args:
        base: loaded once; the experts of the arms are attached and detached.
        arms: the first is what the others are compared with, item by item.
        tasks: what to ask.
        run: gets the rows, the items, and `routing.json`.
        split: of the tasks.
        limit: at most so many examples of each task.
        seed: of the experts, written into the rows.
        batch_size: sequences at a time.
        traced: examples of each task whose routing is kept; 0 for none.
        general: what is asked here is general knowledge, on which forgetting is measured; the rows say so.
        bar: advanced by the questions that are done; by default there is one of its own.

    Returns the rows: one for each measurement and one for each comparison.
    """
    if twice := {a.name for a in arms if sum(b.name == a.name for b in arms) > 1}:
        raise Invalid(f"Two arms of one evaluation are called {sorted(twice)[0]!r}.")
    asked = questions(tasks, split, limit)
    ends, before = stop_ids(base), run.results()
    answered: dict[tuple[str, str], list[Row]] = {}
    rows: list[Row] = []
    work = sum(len(e) for arm in arms for name, e in asked.items() if arm.can_answer(name))
    with nullcontext(bar) if bar else progress("evaluate", work) as bar:
        for arm in arms:
            with arm.attached(base) as banks:
                for task in (task for task in tasks if arm.can_answer(task.name)):
                    examples, reads = asked[task.name], reads_of(base, asked[task.name])
                    mark, way = (
                        fingerprint(arm, base.hash + "".join(reads.values()), task, sample, split, seed, ends)
                        for sample in (examples, ())
                    )
                    measured = [row for row in before if row.get("fingerprint") == mark]
                    if measured:
                        bar.retarget(bar.total - len(examples))
                        new = _again(measured, run, general)
                        items = files.read_jsonl(run.path / new[0]["items"])
                    else:
                        started = time.monotonic()
                        kept, seconds = answered_before(run, before, way)
                        items, asked_now, cut = _ask(base, arm, banks, task, examples, batch_size, kept)
                        bar.retarget(bar.total - len(examples) + asked_now)
                        name = task.name if split == "test" else f"{task.name}.{split}"
                        shared = {"run": run.path.name, "base": base.name, "base_hash": base.hash, "seed": seed}
                        shared |= reads
                        shared |= {"items": run.items(name, f"{arm.name}-s{seed}-{mark}", items), "fingerprint": mark}
                        shared |= {"arm_hash": arm.fingerprint()}
                        seconds += time.monotonic() - started
                        shared |= {"asked_like": way, "wall_s": round(seconds, 2), "peak_mem_mb": round(peak_memory())}
                        shared |= {"general": True} if general else {}
                        new = [shared | row for row in _rows(arm, task, examples, split, items, cut)]
                        bar.advance(asked_now, f"{arm.name} · {task.name} {new[0]['value']:.3f}")
                        if arm is arms[0] and cut:
                            print(f"Warning: {task.name}: {cut}.", file=sys.stderr)
                    answered[arm.name, task.name] = items
                    first = answered.get((arms[0].name, task.name))
                    if not measured:
                        if arm is not arms[0] and first is not None:
                            new += _comparisons(new, task.metric, arms[0].name, items, first)
                        run.result(*new)
                    rows += new
                if traced and banks is not None and len(banks.names) > 1:
                    few = {name: e[:traced] for name, e in asked.items() if arm.can_answer(name)}
                    known = {
                        name: arm.known(base, banks, name, [e.prompt for e in subset]) for name, subset in few.items()
                    }
                    keep_trace(run, arm.name, banks, trace(base, banks, few, known))
    experts = max((arm.experts for arm in arms), key=len)
    if len(experts) > 1:
        cosine_EE, names = similarity(experts, "delta").tolist(), [expert.name for expert in experts]
        files.write_json(run.path / "similarity.json", {"experts": names, "cosine": cosine_EE, "space": "delta"})
    return rows


def questions(tasks: Sequence[Task], split: str, limit: int | None) -> dict[str, list[Example]]:
    """Returns the examples of each task, at most `limit`. A task without examples is Invalid."""
    asked = {task.name: task.sample(split, limit) for task in tasks}
    if empty := [name for name, examples in asked.items() if not examples]:
        raise Invalid(f"The task {empty[0]!r} has no {split} examples.")
    return asked


def _again(rows: list[Row], run: Run, general: bool) -> list[Row]:
    """Returns the rows of what was measured before. If it was not general knowledge then and is now, they are written once more,
    so that the measure of forgetting finds them."""
    if marked := [row for row in rows if bool(row.get("general")) == general]:
        return marked
    if general:
        rows = [{**row, "general": True} for row in rows]
        run.result(*rows)
    return rows


def reads_of(base: Base, examples: Sequence[Example]) -> dict[str, str]:
    """Returns how the base reads these examples: its precision and chat template, where they are not fp32 and plain prompts."""
    return {key: value for key, value in base.reads.items() if key != "chat_template" or examples[0].chat}


def _ask(
    base: Base,
    arm: Arm,
    banks: Banks | None,
    task: Task,
    examples: Sequence[Example],
    batch_size: int,
    kept: Mapping[str, Row],
) -> tuple[list[Row], int, str]:
    """Returns an item for each example, how many were asked and not `kept`, and what was cut, in words."""
    marks = [question(task, example) for example in examples]
    new = [example for example, mark in zip(examples, marks, strict=True) if mark not in kept]
    made, cut = _items(base, arm, banks, task, new, batch_size) if new else ([], Counter[str]())
    if task.generates:
        old = [example for example, mark in zip(examples, marks, strict=True) if mark in kept and example.target]
        cut.update(tokenise(base, old, context_length(base)).cut if old else {})
        _, most = rooms(base, task.max_new_tokens)
        longer = sum(len(ids) > most for ids in tokens(base, examples))
        cut["prompt_start"] = max(cut["prompt_start"], longer)
    fresh = iter(made)
    items = [kept[mark] if mark in kept else {**next(fresh), "question": mark} for mark in marks]
    return items, len(new), cut_words(cut, len(examples))


def _items(
    base: Base, arm: Arm, banks: Banks | None, task: Task, examples: Sequence[Example], batch_size: int
) -> tuple[list[Row], Counter[str]]:
    """Returns an item for each example, with its further metrics, and what was cut from the gold answers."""
    known = arm.known(base, banks, task.name, [example.prompt for example in examples])
    scored = score_candidates(base, task, examples, banks=banks, known=known, batch_size=batch_size)
    if task.generates:
        drawn = {"n": task.samples, "temperature": task.temperature} if task.samples > 1 else {}
        options: dict[str, Any] = {"max_new_tokens": task.max_new_tokens, "stop": task.stop, **drawn}
        answers = _answers(base, examples, banks, known, options)
        often = [example for example in examples for _ in range(task.samples)]
        scores = task.scores(often, [answer.text for answer in answers])
        if drawn:  # several answers to each question, next to each other
            groups = range(0, len(scores), task.samples)
            scores = [task.several(scores[at : at + task.samples]) for at in groups]
            answers = [answers[at] for at in groups]
        metrics = [{**a.metrics, **(b.metrics if b else {})} for a, b in zip(scores, scored.scores, strict=True)]
    else:
        scores = [score for score in scored.scores if score is not None]
        answers, metrics = [Answer(score.answer or "", False) for score in scores], [score.metrics for score in scores]
    items = []
    for e, answer, score, logp, more, logprobs in zip(
        examples, answers, scores, scored.answers, metrics, scored.logprobs, strict=True
    ):
        item = {"id": e.id, "prompt": e.prompt, "target": e.target, "prediction": answer.text, "score": score.value}
        item |= {"parsed": score.parsed, "truncated": answer.truncated}
        item |= {"close_calls": answer.close_calls} if answer.close_calls else {}
        item |= {"logp": logp, **more, **({} if task.generates else {"logprobs": logprobs})}
        items.append(item | {"meta": dict(e.meta)})
    return items, Counter(scored.cut)


def _answers(
    base: Base, examples: Sequence[Example], banks: Banks | None, known: Mapping[str, Any], options: dict[str, Any]
) -> list[Answer]:
    """Returns the greedy answers, or several draws for each example, with noise of its own."""
    if "n" not in options:
        return generate(base, examples, banks=banks, known=known, **options)
    requests = requests_for(base, examples, known, **options)
    for request, example in zip(requests, examples, strict=True):
        request.seed = example.id
    for _ in run_requests(base, requests, batch_setter(banks)):
        pass
    return answers_of(requests)


def _rows(
    arm: Arm,
    task: Task,
    examples: Sequence[Example],
    split: str,
    items: Sequence[Row],
    cut: str,
) -> list[Row]:
    """Returns a row for the task's own metric, one for each further metric of some examples, and one for the log-likelihood."""
    chances = [chance for example in examples if (chance := task.chance(example)) is not None]
    remark = " ".join(filter(None, [task.note(split), cut and f"{cut}."]))
    close = sum("close_calls" in item for item in items)
    notes = {"rule": task.rule, "cut": cut, "remark": remark, "close_calls": close}
    shared = {
        **arm.describe(),
        "task": task.name,
        "split": split,
        "parse_failures": sum(not item["parsed"] for item in items) / len(items),
        "truncated": sum(item["truncated"] for item in items) / len(items),
        **{key: value for key, value in notes.items() if value},
    }
    by_guessing = {"chance": sum(chances) / len(chances)} if chances else {}
    values = {task.metric: [item["score"] for item in items]}
    for name in dict.fromkeys(name for item in items for name in item if name not in ITEM):
        values[name] = [item[name] for item in items if name in item]
    if answered := [item["logp"] for item in items if item["logp"] is not None]:
        values["logp"] = answered
    rows = []
    for metric, several in values.items():
        (low, high), n = interval(several), len(several)
        high = min(high, 0.0) if metric == "logp" else high
        row = {"metric": metric, "value": sum(several) / n, "n": n, "ci_low": low, "ci_high": high}
        rows.append({**shared, **row, **(by_guessing if metric != "logp" else {})})
    for metric, value in task.overall(examples, items).items():
        parts = [  # the jackknife: the same without each tenth of the questions
            task.overall(
                [e for n, e in enumerate(examples) if n % TENTHS != out],
                [i for n, i in enumerate(items) if n % TENTHS != out],
            )
            for out in range(min(TENTHS, len(items)) if len(items) > 1 else 0)
        ]
        low, high = jackknife(value, [part[metric] for part in parts])
        row = {"metric": metric, "value": value, "n": len(items), "ci_low": low, "ci_high": high}
        rows.append({**shared, **row})
    return rows


def _comparisons(
    rows: Sequence[Row], metric: str, against: str, after: Sequence[Row], before: Sequence[Row]
) -> list[Row]:
    """Returns a row for each metric: the arm against the first arm, paired on the items that have it in both."""
    compared, pairs = [], list(zip(after, before, strict=True))
    for row in rows:
        key = "score" if row["metric"] == metric else row["metric"]
        both = [(a[key], b[key]) for a, b in pairs if a.get(key) is not None and b.get(key) is not None]
        if not both:
            continue
        result = compare(*zip(*both, strict=True))
        interval = {"value": result.diff, "ci_low": result.diff_low, "ci_high": result.diff_high}
        compared.append({
            **row, "metric": f"{row['metric']}_diff", "n": len(both), **interval, "against": against, **asdict(result),
            "inside_noise": result.inside_noise,
        })  # fmt: skip
    return compared
