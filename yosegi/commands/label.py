"""`yosegi label`: teachers vote which system each question belongs to, and the labels are kept for training."""

from pathlib import Path
from typing import Annotated, Any

import typer

from yosegi.commands._options import Data, Json, Seed, Tasks, begin, say, table
from yosegi.errors import Invalid

TEACHER = (
    "Who votes; may be repeated: structure (the default: counts the steps of the reference solution), random, local/BASE, "
    "http://host:port/v1#model, or https://host/v1#model?key=ENV_NAME&price_in=0.15&price_out=0.60 (the variable that holds "
    "the key, the price of a million tokens)."
)
SYSTEM = "NAME=DESCRIPTION of one system, from the fastest to the slowest, instead of --systems; repeated."
GROWS = ("limit",)
"""What may change from one call to the next in the same folder: a pilot grows into the whole."""


def label(
    task: Tasks,
    teacher: Annotated[list[str] | None, typer.Option(help=TEACHER)] = None,
    systems: Annotated[int, typer.Option(help="How many, from the fastest to the slowest.", min=2, max=9)] = 2,
    system: Annotated[list[str] | None, typer.Option(help=SYSTEM)] = None,
    target_model: Annotated[
        str, typer.Option("--target-model", help="Whom teachers play, name and size: 'Qwen3-0.6B'.")
    ] = "",
    no_roleplay: Annotated[
        bool, typer.Option("--no-roleplay", help="Teachers judge as themselves (ablation).")
    ] = False,
    at_random: Annotated[bool, typer.Option("--random", help="Labels by lot (ablation): --teacher random.")] = False,
    shares: Annotated[str | None, typer.Option(help="random: of each system, as in 0.4,0.6.")] = None,
    steps: Annotated[
        str | None, typer.Option(help="structure: the most steps of each system but the last, as in 1 or 2,4.")
    ] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "train",
    limit: Annotated[int | None, typer.Option(help="At most so many examples a task.", min=1)] = None,
    concurrency: Annotated[int, typer.Option(help="Requests on their way at a time.", min=1)] = 8,
    timeout: Annotated[float, typer.Option(help="Seconds for one request.", min=0.01)] = 60.0,
    attempts: Annotated[int, typer.Option(help="How often one question is tried.", min=1)] = 6,
    backoff: Annotated[float, typer.Option(help="Seconds before the second attempt, then doubled.", min=0)] = 1.0,
    max_tokens: Annotated[int, typer.Option(help="Of an answer, thoughts included.", min=1)] = 2048,
    temperature: Annotated[float | None, typer.Option(help="Of endpoints; below 0 leaves it to the server.")] = 0.0,
    out: Annotated[Path | None, typer.Option(help="The folder for the labels; by default one below runs/.")] = None,
    seed: Seed = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Sort questions into System 1 and System 2 by vote (LoRA-PAR). Killed, the same command asks nothing twice.

    The folder has votes.jsonl (each example's label, votes and reasons), summary.json (agreement, tokens, cost) and
    answers.jsonl (what the teachers said, word for word).
    """
    begin(data, as_json)
    import yosegi.tasks
    from yosegi.partitions import by_system
    from yosegi.teachers import load, scale

    asked = list(teacher or [])
    if at_random:
        if asked:
            raise Invalid("--random labels by lot and asks nobody: leave out --teacher, or write --teacher random.")
        asked = ["random"]
    names = _systems(system) if system else scale(systems)
    judged = [spec for spec in asked if spec.startswith(("http://", "https://", "local/"))]
    if judged and not target_model and not no_roleplay:
        raise Invalid(
            "Say whom the teachers play, with --target-model 'NAME, SIZE', or ask them without (--no-roleplay)."
        )
    if no_roleplay and target_model:
        raise Invalid("--no-roleplay asks teachers as themselves; --target-model says whom they play. Choose one.")
    for option, given, kind in (("--shares", shares, "random"), ("--steps", steps, "structure")):
        if given is not None and kind not in (asked or ["structure"]):
            raise Invalid(f"{option} is for the teacher {kind!r}, which is not asked.")
    loaded = list({t.name: t for t in map(yosegi.tasks.load, dict.fromkeys(task))}.values())
    first = loaded[0].name.rstrip("/").rpartition("/")[2].partition(".")[0]
    out = out or Path("runs") / f"label-{first}"
    options: dict[str, Any] = {
        "concurrency": concurrency, "timeout": timeout, "attempts": attempts, "backoff": backoff, "max_tokens": max_tokens,
        "answers": out / "answers.jsonl", "seed": seed,
        "shares": _numbers("--shares", shares, float), "steps": _numbers("--steps", steps, int),
    }  # fmt: skip
    if temperature is not None and temperature >= 0:
        options["temperature"] = temperature
    teachers = [load(spec, **options) if not spec.startswith("local/") else _local(spec, options) for spec in asked]
    if not teachers and steps:
        teachers = [load("structure", **options)]
    config = {
        "tasks": [t.name for t in loaded], "split": split, "limit": limit,
        "teachers": [t.about() for t in teachers or [load("structure")]],
        "systems": {s.name: s.about for s in names}, "target_model": target_model or None,
    }  # fmt: skip
    _check_same(out, config)
    examples = {t.name: t.examples(split)[:limit] for t in loaded}
    found = by_system.by_system(examples, teachers, systems=names, target_model=target_model)
    summary = by_system.write(out, found, config, teachers) | {"out": str(out)}
    if not as_json:
        _show(summary)
    say(summary, as_json, f"Labels in {out}: yosegi.partitions.by_system.read({str(out)!r})")


def _show(summary: dict[str, Any]) -> None:
    """The counts in words."""
    total = summary["examples"]
    rows = [[n, str(s["examples"]), f"{s['examples'] / total:.1%}", s["about"]] for n, s in summary["systems"].items()]
    table("", ["system", "examples", "share", "what it is"], rows)
    rows = []
    for name, of in summary["teachers"].items():
        lost = ", ".join(f"{of[why]} {why}" for why in ("abstained", "unparsable", "failed") if of[why])
        cost = "" if of["cost"] is None else f"{of['cost']:.4f}"
        cast = " / ".join(map(str, of["votes"].values()))
        tokens = f"{of['tokens_in']} + {of['tokens_out']}"
        spent = summary["spent"].get(name)  # none of the teacher that nobody named
        did = [str(spent["requests"]), tokens, cost, f"{spent['seconds']:.1f}"] if spent else ["0", tokens, cost, ""]
        rows.append([name, cast, lost or "none", *did, of["note"]])
    table("", ["teacher", "votes", "lost", "requests", "tokens", "cost", "s", "note"], rows)
    if summary["note"]:
        print(f"Warning: {summary['note']}.")
    if len(summary["teachers"]) > 1:
        how = ", ".join(f"{n} {word}" for word, n in summary["decided"].items())
        kappa = "undefined" if summary["kappa"] is None else f"{summary['kappa']:.3f}"
        print(f"Fleiss' kappa {kappa} over {summary['complete']} complete votes; decided: {how}")


def _systems(given: list[str]) -> tuple[Any, ...]:
    """NAME=DESCRIPTION as systems; the name is going to be an expert's."""
    from yosegi.library.card import check_name
    from yosegi.teachers import System

    found = []
    for text in given:
        name, _, about = (part.strip() for part in text.partition("="))
        if not name or not about:
            raise Invalid(f"--system {text!r}: the form is NAME=DESCRIPTION.")
        found.append(System(check_name(name), about))
    if len(found) < 2:
        raise Invalid("--system is given once for each system, from the fastest to the slowest: at least twice.")
    return tuple(found)


def _numbers(option: str, text: str | None, kind: type) -> tuple[Any, ...] | None:
    """0.4,0.6 as numbers."""
    try:
        return None if text is None else tuple(kind(part) for part in text.split(","))
    except ValueError as error:
        raise Invalid(f"{option} {text!r}: numbers with commas between them, as in 2,4.") from error


def _check_same(out: Path, config: dict[str, Any]) -> None:
    """Labels are paid for: those of another question are not written over."""
    from yosegi import files

    path = out / "summary.json"
    if not path.exists():
        return
    before = files.read_json(path).get("config") or {}
    for name, value in config.items():
        if name not in GROWS and before.get(name) != value:
            raise Invalid(f"{out} holds other labels ({name} differ). Choose another --out, or delete it.")


def _local(spec: str, options: dict[str, Any]) -> Any:
    """A teacher that is a model on this machine."""
    from yosegi.bases import load
    from yosegi.engine.generate import context_length, generate
    from yosegi.teachers.local import Local

    base = load(spec.removeprefix("local/"))
    tokenizer, most = (
        base.tokenizer,
        min(options["max_tokens"], context_length(base) // 4),
    )  # the rest is for the question

    def write(chats: Any) -> list[str]:
        if getattr(tokenizer, "chat_template", None):
            prompts = [tokenizer.apply_chat_template(c, tokenize=False, add_generation_prompt=True) for c in chats]
        else:
            prompts = ["\n\n".join(turn["content"] for turn in c) + "\n\n" for c in chats]
        return generate(base, prompts, max_new_tokens=most)

    return Local(base.name, write, hash=f"{base.hash} {most}", answers=options["answers"])
