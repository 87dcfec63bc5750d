"""Labelling: teachers vote which system each question of some tasks belongs to, and the labels are kept as a folder.

    label(["gsm8k"], LabelSettings(teacher=["http://localhost:8000/v1#judge"], target_model="Qwen3-0.6B"), "runs/labels")

The votes are those of `partitions/by_system` (LoRA-PAR, arXiv:2507.20999). The folder holds votes.jsonl (each example's label,
votes and reasons), summary.json (agreement, tokens, cost) and answers.jsonl (what the teachers wrote, word for word).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from yosegi import files, tasks
from yosegi.errors import Invalid
from yosegi.library.card import check_name
from yosegi.partitions import by_system
from yosegi.run import changed
from yosegi.settings import CheckedSettings
from yosegi.teachers import System, Teacher, load, scale

GROWS = ("limit",)
"""Settings that may change from one call to the next in the same folder: a pilot may grow."""


class LabelSettings(CheckedSettings):
    """How questions are labelled. Unknown names are refused."""

    teacher: list[str] = Field(default=[], json_schema_extra={"common": True})
    """Who votes; may be repeated: structure (the default: it counts the steps of the reference solution), random, local/BASE,
    http://host:port/v1#model, or https://host/v1#model?key=ENV_NAME&price_in=0.15&price_out=0.60 (the variable that holds the
    key, and the price of a million tokens)."""
    target_model: str = Field(default="", json_schema_extra={"common": True})
    """Name and size of the model that the teachers play: 'Qwen3-0.6B'."""
    roleplay: bool = Field(default=True, json_schema_extra={"common": True})
    """Whether teachers play the target model; without it they judge as themselves (an ablation of the paper)."""
    systems: int = Field(default=2, ge=2, le=9, json_schema_extra={"common": True})
    """Number of systems, from the fastest to the slowest."""
    system: list[str] = []
    """NAME=DESCRIPTION of one system, from the fastest to the slowest, instead of --systems; repeated."""
    shares: list[float] | None = None
    """Share of each system for the teacher random, as in 0.4,0.6."""
    steps: list[int] | None = None
    """Most steps of each system but the last for the teacher structure, as in 1 or 2,4."""
    split: str = Field(default="train", json_schema_extra={"common": True})
    """Split of the tasks that is labelled: train, validation or test."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"common": True})
    """Most examples of each task."""
    concurrency: int = Field(default=8, ge=1)
    """Requests that are under way at a time."""
    timeout: float = Field(default=60.0, ge=0.01)
    """Seconds that one request may take."""
    attempts: int = Field(default=6, ge=1)
    """How often one question is tried."""
    backoff: float = Field(default=1.0, ge=0)
    """Seconds before the second attempt; doubled before each further one."""
    max_tokens: int = Field(default=2048, ge=1)
    """Most tokens of an answer, thoughts included."""
    temperature: float = 0.0
    """Sampling temperature of endpoints; below 0 leaves it to the server."""
    seed: int = Field(default=0, json_schema_extra={"common": True})
    """Seed of the teacher random and of the endpoints' sampling."""

    @model_validator(mode="after")
    def _consistent(self) -> "LabelSettings":
        judges = [spec for spec in self.teacher if spec.startswith(("http://", "https://", "local/"))]
        if judges and self.roleplay and not self.target_model:
            raise ValueError(
                "teachers need --target-model 'NAME, SIZE' to play, or --no-roleplay to judge as themselves"
            )
        if self.target_model and not self.roleplay:
            raise ValueError(
                "--no-roleplay asks teachers as themselves, and --target-model names whom they play: choose one"
            )
        for option, given, teacher in (("--shares", self.shares, "random"), ("--steps", self.steps, "structure")):
            if given is not None and teacher not in (self.teacher or ["structure"]):
                raise ValueError(f"{option} is for the teacher {teacher!r}, which is not asked")
        return self

    def named_systems(self) -> tuple[System, ...]:
        """Returns the systems with the descriptions that teachers get; a name becomes an expert's name."""
        if not self.system:
            return scale(self.systems)
        systems = []
        for text in self.system:
            name, _, about = (part.strip() for part in text.partition("="))
            if not name or not about:
                raise Invalid(f"--system {text!r}: the form is NAME=DESCRIPTION.")
            systems.append(System(check_name(name), about))
        if len(systems) < 2:
            raise Invalid("--system is given once for each system, from the fastest to the slowest: at least twice.")
        return tuple(systems)

    def teachers(self, answers: Path) -> list[Teacher]:
        """Returns the teachers, ready to be asked; none stands for `structure`."""
        options: dict[str, Any] = self.model_dump(
            include={"concurrency", "timeout", "attempts", "backoff", "max_tokens", "seed"}
        )
        options |= {"answers": answers, "shares": self.shares, "steps": self.steps}
        if self.temperature >= 0:
            options["temperature"] = self.temperature
        return [load(spec, **options) for spec in self.teacher or (["structure"] if self.steps else [])]


def label(names: Sequence[str], settings: LabelSettings, out: str | Path | None = None) -> dict[str, Any]:
    """Labels the questions of some tasks; returns the summary. What was paid for is never asked again.

    Args:
        names: tasks, as `yosegi ls tasks` names them.
        settings: who votes, and how.
        out: the folder of the labels; by default one below runs/.

    Raises:
        Invalid: the folder holds labels of another question.
    """
    loaded = list({task.name: task for task in map(tasks.load, dict.fromkeys(names))}.values())
    first = loaded[0].name.rstrip("/").rpartition("/")[2].partition(".")[0]
    out, systems = Path(out or Path("runs") / f"label-{first}"), settings.named_systems()
    teachers = settings.teachers(out / "answers.jsonl")
    config = {
        "tasks": [task.name for task in loaded],
        "split": settings.split,
        "limit": settings.limit,
        "teachers": [teacher.about() for teacher in teachers or [load("structure")]],
        "systems": {system.name: system.about for system in systems},
        "target_model": settings.target_model or None,
    }
    if (path := out / by_system.SUMMARY).exists():  # labels are paid for
        for name in changed(files.read_json(path).get("config"), config, GROWS):
            raise Invalid(f"{out} holds other labels ({name} differ). Choose another --out, or delete it.")
    examples = {task.name: task.sample(settings.split, settings.limit) for task in loaded}
    partition = by_system.by_system(examples, teachers, systems=systems, target_model=settings.target_model)
    return by_system.write(out, partition, config, teachers) | {"out": str(out)}
