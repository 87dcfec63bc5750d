"""What a run knows already: whole measurements, and the answers to single questions where a larger sample holds a smaller one."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from yosegi import files
from yosegi.engine.arm import Arm
from yosegi.engine.generate import settings
from yosegi.run import Run
from yosegi.tasks import Example, Task


def fingerprint(
    arm: Arm, base: str, task: Task, examples: Sequence[Example], split: str, seed: int, stop_ids: Collection[int]
) -> str:
    """Returns what a measurement is known by, how its answers were decoded with it: the same one is not made again.

    Another prompt under the same id is another question. Without examples it says how any question of the task is asked.
    """
    decoding = settings(stop_ids) if task.generates else {}
    decoding |= {"samples": task.samples, "temperature": task.temperature} if task.samples > 1 else {}
    parts = [task.max_new_tokens, task.stop, task.rule, *(question(task, example) for example in examples)]
    asked = hashlib.sha256(repr(parts).encode()).hexdigest()[:12]
    return arm.fingerprint(base=base, task=task.name, split=split, seed=seed, asked=asked, decoding=decoding)


def question(task: Task, example: Example) -> str:
    """Returns what a question is known by: its prompt, its answers, and the candidates where it is answered by likelihood."""
    parts = [example.id, example.prompt, example.target, example.answers]
    parts += [] if task.generates else [task.candidates(example)]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:12]


def answered_before(run: Run, rows: Sequence[Mapping[str, Any]], way: str) -> tuple[dict[str, dict[str, Any]], float]:
    """Returns the items of the largest measurement made in this way, by question, and the seconds that it took.

    Args:
        run: whose items.
        rows: its results.
        way: the fingerprint without examples.
    """
    alike = [row for row in rows if row.get("asked_like") == way]
    if not alike:
        return {}, 0.0
    row = max(alike, key=lambda row: row["n"])
    return {item["question"]: item for item in files.read_jsonl(run.path / row["items"])}, row["wall_s"]
