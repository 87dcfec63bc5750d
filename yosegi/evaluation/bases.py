"""Many bases on the same questions: which one to begin with. One at a time, so the largest of them has to fit and not all.

What a run has of a base already (its weights, the task, the questions, the split, the seed) is not measured again, and such a
base is not even loaded. One that cannot be loaded, or does not fit, is said, and the others go on.
"""

import gc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from yosegi import files
from yosegi.bases import (
    Base,
    LoadSettings,
    choose_device,
    choose_dtype,
    choose_template,
    hub_folder,
    load,
    locate,
    weights_hash,
)
from yosegi.engine.arm import Arm
from yosegi.engine.request import ending
from yosegi.errors import Invalid, YosegiError
from yosegi.evaluation.exact import mean_ranks
from yosegi.evaluation.known import fingerprint
from yosegi.evaluation.measure import evaluate, questions, reads_of
from yosegi.evaluation.statistics import Comparison, compare
from yosegi.findings import Cell, Estimate, Finding, Table, save
from yosegi.progress import Bar, progress
from yosegi.run import Run, free_memory
from yosegi.tasks import Example, Task

SPARE = 256 * 2**20
"""Bytes that have to be free besides the weights, for what is computed with them."""
LOADING = 1.1
"""Memory that loading takes, as a multiple of the size of the weights."""

NOTE = (
    "Intervals are of one base alone; p is paired. Log p is a mean over tokens: of bases with different tokenizers it cannot be "
    "compared."
)

Row = dict[str, Any]


class Bases(NamedTuple):
    """Rows of those that were measured, the best first, and why the others were not."""

    rows: list[Row]
    failed: dict[str, str]


def evaluate_bases(
    names: Sequence[str],
    tasks: Sequence[Task],
    run: Run,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    batch_size: int = 64,
    loading: LoadSettings | None = None,
    tell: Callable[[str], None] = lambda line: None,
) -> Bases:
    """Measures each base on each task as `evaluate` does; rows, items and `findings.json` go into the run.

    `loading` says how each is loaded. `tell` takes one line for each base that is not measured, and one that says which were
    asked in a chat template and which in plain prompts. A base that is named twice is Invalid.
    """
    loading = loading or LoadSettings()
    if twice := [name for n, name in enumerate(names) if name in names[:n]]:
        raise Invalid(f"The base {twice[0]!r} is named twice.")
    asked = questions(tasks, split, limit)
    results, each = Bases([], {}), sum(map(len, asked.values()))
    with progress("evaluate", each * len(names)) as bar:
        for n, name in enumerate(names, 1):
            bar.advance(0, f"{n}/{len(names)} {name}")
            done = bar.done
            try:
                how = {"split": split, "limit": limit, "seed": seed, "batch_size": batch_size}
                rows = _known(name, loading, tasks, asked, run, split, seed)
                rows = rows or _measure(name, loading, tasks, run, bar, **how)
                results.rows.extend(rows)
            except Exception as error:  # any: a night of twenty bases does not end with the third
                first = str(error).strip().split("\n")[0][:300]
                results.failed[name] = first if isinstance(error, YosegiError) else f"{type(error).__name__}: {first}"
                tell(f"{name} is left out: {results.failed[name]}")
            finally:
                gc.collect()
                if torch.cuda.is_available():
                    torch.cuda.empty_cache()
            bar.advance(each - (bar.done - done))
    in_turns = {row["model"] for row in results.rows if "chat_template" in row}
    if in_turns and (plainly := {row["model"] for row in results.rows} - in_turns):
        words = f"Asked in their chat templates: {', '.join(sorted(in_turns))}; in plain prompts: {', '.join(sorted(plainly))}."
        tell(f"{words} --chat-template none asks all plainly.")
    order = ranking(results.rows)
    results.rows.sort(key=lambda row: order.index(row["model"]))
    save(run.path, "Which base to begin with", findings(results, run))
    return results


def ranking(rows: Sequence[Row]) -> list[str]:
    """Returns the bases, the best first: by the mean over tasks of their rank in each task's own metric."""
    values: dict[str, dict[str, float]] = {}
    for row in rows:
        values.setdefault(row["model"], {}).setdefault(row["task"], row["value"])
    ranks = mean_ranks(values)
    return sorted(values, key=lambda model: (ranks.get(model, float("inf")), -max(values[model].values())))


def against_best(rows: Sequence[Row], run: Run) -> dict[str, list[tuple[Row, Comparison | None]]]:
    """Returns the rows of each task, the best first, and how every other compares with that one, question by question."""
    tasks: dict[str, dict[str, Row]] = {}
    for row in rows:
        tasks.setdefault(row["task"], {}).setdefault(row["model"], row)
    lines = {}
    for task, by_model in tasks.items():
        best, *others = sorted(by_model.values(), key=lambda row: -row["value"])
        scores = [_scores(run, row) for row in (best, *others)]
        ids = [key for key in scores[0] if all(key in of for of in scores)]
        pairs = [compare([of[key] for key in ids], [scores[0][key] for key in ids]) for of in scores[1:]]
        lines[task] = [(best, None), *zip(others, pairs, strict=True)]
    return lines


def findings(results: Bases, run: Run) -> list[Finding]:
    """Returns a table per task, sorted, and in words what these questions can tell apart."""
    listed = []
    for task, lines in against_best(results.rows, run).items():
        best = lines[0][0]
        rows: list[list[Cell]] = [
            [row["model"], Estimate(row["value"], row["ci_low"], row["ci_high"], row is best),
             *([None] * 3 if pair is None else [pair.diff, pair.p_value, f"+{pair.gained} −{pair.lost}"]), row["base_hash"]]
            for row, pair in lines
        ]  # fmt: skip
        columns = ["base", best["metric"], "against the best", "p", "gained, lost", "hash"]
        heading = f"{task}: {best['model']} is first of {len(lines)}"
        listed.append(Finding(heading, words(lines), Table(columns, rows, NOTE)))
    if results.failed:
        text = [f"{name}: {why}" for name, why in results.failed.items()]
        listed.append(Finding(f"Not measured: {len(results.failed)}", text))
    return listed


def words(lines: Sequence[tuple[Row, Comparison | None]]) -> list[str]:
    """Returns what the differences from the best are worth, in words."""
    best = lines[0][0]
    text = [f"{best['model']}: {best['value']:.3f} ({best['ci_low']:.3f} to {best['ci_high']:.3f}), n = {best['n']}."]
    same = [f"{row['model']} (p {pair.p_value:.2g})" for row, pair in lines if pair and pair.inside_noise]
    worse = [f"{row['model']} (p {pair.p_value:.2g})" for row, pair in lines if pair and not pair.inside_noise]
    if same:
        text.append(f"On these questions it cannot be told from {', '.join(same)}: that it stands first is no finding.")
    if worse:
        text.append(f"Worse, outside the noise: {', '.join(worse)}.")
    if (guess := best.get("chance")) is not None:
        like = ", ".join(row["model"] for row, _ in lines if row["ci_low"] <= guess <= row["ci_high"])
        text.append(f"Guessing is worth {guess:.3f}" + (f"; inside the interval of {like}." if like else "."))
    return text


def _known(
    name: str,
    loading: LoadSettings,
    tasks: Sequence[Task],
    asked: dict[str, list[Example]],
    run: Run,
    split: str,
    seed: int,
) -> list[Row] | None:
    """Returns the rows of a base that is measured already, without loading it."""
    if not (before := [row for row in run.results() if row.get("model") == name and "against" not in row]):
        return None
    try:
        folder = locate(name)
        base, ends = _unloaded(folder, loading)
    except (YosegiError, OSError, ValueError):
        return None  # loading it will say why
    rows = []
    for task in tasks:
        read = base.hash + "".join(reads_of(base, asked[task.name]).values())
        mark = fingerprint(Arm(name), read, task, asked[task.name], split, seed, ends)
        if not (new := [row for row in before if row.get("fingerprint") == mark]):
            return None
        rows += new
    return rows


def _unloaded(folder: str, loading: LoadSettings) -> tuple[Base, frozenset[int]]:
    """Returns a base without its model, and the tokens that end a text of it."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    try:
        generation = GenerationConfig.from_pretrained(folder)
    except OSError:  # it has none
        generation = None
    config, tokenizer = AutoConfig.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    template = choose_template(loading.chat_template, tokenizer)
    dtype = "4bit" if loading.load_in_4bit else choose_dtype(loading.dtype, config, choose_device(loading.device))
    base = Base("", weights_hash(folder), None, tokenizer, dtype, template)  # type: ignore[arg-type]
    return base, ending(tokenizer, config, generation, template)


def _measure(name: str, loading: LoadSettings, tasks: Sequence[Task], run: Run, bar: Bar, **settings: Any) -> list[Row]:
    device = choose_device(loading.device)
    needs, free = size(name), free_memory(device.partition(":")[0])
    if needs is not None and LOADING * needs + SPARE > free:
        needed = (LOADING * needs + SPARE) / 2**30
        raise Invalid(f"it needs about {needed:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free.")
    return evaluate(load(name, **loading.loading), [Arm(name)], tasks, run, traced=0, bar=bar, **settings)


def size(name: str) -> int | None:
    """Returns the bytes of a base's weights in float32, read from the heads of its files; None where that cannot be known."""
    from huggingface_hub import get_local_safetensors_metadata, get_safetensors_metadata

    folder = locate(name)
    try:
        try:
            local = folder if Path(folder).is_dir() else hub_folder(folder, local=True)
            metadata = get_local_safetensors_metadata(local)
        except OSError:  # it is on the Hub alone
            metadata = get_safetensors_metadata(folder)
        return 4 * sum(metadata.parameter_count.values())
    except Exception:  # a damaged file, no network: `load` says what it is
        return None


def _scores(run: Run, row: Row) -> dict[str, float]:
    return {item["id"]: item["score"] for item in files.read_jsonl(run.path / row["items"])}
