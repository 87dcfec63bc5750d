"""Kills real jobs at random moments, lets the same command go on, and compares the end with that of one nobody killed.

    python -m tests.attacks.crash --kills 160 --seed 0

A job is a command line on the embedded base, in a child that is forked after everything is imported. It dies by SIGKILL after a
random time, or right before its k-th change of the disk (a file opened for writing, renamed, deleted, synced). What is compared
is the whole folder but for what measures time: weights to the bit, every row, every choice; nothing with a dot is left over, and
the library verifies.
"""

import argparse
import contextlib
import hashlib
import importlib
import json
import os
import pkgutil
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LONGEST = 120
"""Seconds after which a child counts as hanging."""
SMALL = ["--per-device-train-batch-size", "4", "--limit", "24", "--rank", "2"]
EXPERTS = ["--library", "library", "--run", "run"]


@dataclass(frozen=True)
class Job:
    """What is killed: a command line, what its folder begins with, and what comes after it."""

    words: list[str]
    begins: str = "library"
    then: tuple[str, ...] = ()


JOBS = {
    "train (a fleet)": Job(
        ["train", "--task", "skills/add", "--task", "skills/reverse", *EXPERTS, *SMALL, "--max-steps", "8", "--save-steps", "3"], ""
    ),
    "train (galore)": Job(
        ["train", "--task", "skills/sort", "--method", "galore", *EXPERTS, *SMALL, "--max-steps", "4", "--save-steps", "2"]
    ),
    "reinforce": Job(
        ["reinforce", "--task", "skills/add", "--expert", "add", *EXPERTS, "--max-steps", "3", "--save-steps", "1"]
        + ["--num-generations", "4", "--max-completion-length", "4", "--per-device-train-batch-size", "2", "--limit", "8"]
    ),
    "train-router": Job(
        ["train-router", "--arm", "static{constraint=free}(add,reverse)", "--name", "soup", *EXPERTS, "--steps", "6"]
        + ["--batch-size", "4", "--limit", "24", "--save-steps", "2"]
    ),
    "eval": Job(
        ["eval", "--task", "skills/add", "--task", "skills/reverse", "--arm", "base", "--arm", "experts", "--arm", "arrow", *EXPERTS]
        + ["--limit", "6"]
    ),
    "search": Job(
        ["search", "--task", "skills/add:logp", "--arm", "merge:ties{density=.1:.9}", *EXPERTS, "--trials", "5", "--limit", "4"]
        + ["--rounds", "2", "--keep", "blend"]
    ),
    "curate": Job(
        ["curate", "pages.jsonl", "--out", "run", "--keep", ".4", "--near-duplicates", ".8"]
        + ["--score", "keywords{words=[rail,track,engine]}"],
        "pages",
    ),
    "merge": Job(["merge", "ties{density=.3}(add,reverse)", "--library", "library", "--name", "both"]),
    "library import": Job(["library", "import", "library", "peft", "--name", "guest", "--base", "nano"]),
    "library rm": Job(["library", "rm", "library", "add"], then=("library", "rm", "library", "reverse")),
    "run (a recipe)": Job(["run", "pretrain_nano", "--smoke", "--steps", "8", "--run", "run"], ""),
}  # fmt: skip


def prepare() -> None:
    """Imports everything, so that a child begins at once."""
    import transformers.models.llama.modeling_llama  # noqa: F401

    import yosegi
    from yosegi.bases import load

    for module in pkgutil.walk_packages(yosegi.__path__, "yosegi."):
        if not module.name.endswith("__main__") and ".sandbox." not in module.name:
            with contextlib.suppress(ImportError):  # an extra that is not installed
                importlib.import_module(module.name)
    load("nano", device="cpu")


def begin(work: Path) -> None:
    """Makes what jobs begin with, once: pages, two experts in a library, and one of them as PEFT has it."""
    chance = random.Random(0)
    words = ["rail", "track", "engine", "bridge", "tunnel", "station", "signal", "river", "garden", "letter", "music", "window"]  # fmt: skip
    pages = [" ".join(chance.choices(words, k=chance.randrange(20, 60))) for _ in range(300)]
    pages += pages[:40]
    (work / "pages").mkdir(parents=True)
    lines = [json.dumps({"id": str(n), "text": page}) + "\n" for n, page in enumerate(pages)]
    (work / "pages" / "pages.jsonl").write_text("".join(lines))
    (work / "library").mkdir()
    if code := child(work / "library", JOBS["train (a fleet)"].words)[0]:
        raise SystemExit(f"The experts to begin with could not be trained ({code}):\n{log(work / 'library')}")
    shutil.rmtree(work / "library" / "run")
    shutil.copytree(work / "library" / "library" / "reverse", work / "library" / "peft")


def log(folder: Path) -> str:
    """Returns what the last child in a folder printed."""
    path = folder.with_name(f"{folder.name}.log")
    return path.read_text(errors="replace")[-2000:] if path.exists() else ""


def child(folder: Path, words: list[str], changes: int = 0, seconds: float = 0) -> tuple[int, int, float]:
    """Runs a command line in a folder, in a forked process, and may kill it.

    Args:
        folder: where it runs.
        words: the command line.
        changes: it dies right before this change of the disk, from 1; 0 for never.
        seconds: it is killed after so long; 0 for never.

    Returns how it ended (negative: the signal), how many changes it made, and the seconds that it took.
    """
    count = folder.with_name(f"{folder.name}.count")
    count.unlink(missing_ok=True)
    sys.stdout.flush(), sys.stderr.flush()
    began = time.monotonic()
    if (process := os.fork()) == 0:
        code = 70
        try:
            code = _run(folder, words, changes, count)
        finally:
            os._exit(code)
    end = began + (seconds or LONGEST)
    while not (ended := os.waitpid(process, os.WNOHANG))[0]:
        if time.monotonic() > end:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)
            ended = os.waitpid(process, 0)
            break
        time.sleep(0.002)
    took = time.monotonic() - began
    if not seconds and took > LONGEST:
        return 124, 0, took
    return os.waitstatus_to_exitcode(ended[1]), int(count.read_text()) if count.exists() else 0, took


def _run(folder: Path, words: list[str], changes: int, count: Path) -> int:
    """What the child does: returns its exit code."""
    os.setsid()
    os.chdir(folder)
    for number in (1, 2):
        os.dup2(
            os.open(folder.with_name(f"{folder.name}.log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC * (number == 1)),
            number,
        )
    os.dup2(1, 2)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115, PTH123
    made, here = 0, f"{folder}{os.sep}"

    def changed() -> None:
        nonlocal made
        made += 1
        if made == changes:
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            if (
                isinstance(arguments[2], int)
                and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
                and _within(arguments[0], here)
            ):
                changed()
        elif event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "os.truncate") and _within(
            arguments[0], here
        ):
            changed()

    fsync = os.fsync
    os.fsync = lambda handle: (changed(), fsync(handle))[1]
    sys.addaudithook(watch)
    from yosegi.commands import main

    sys.argv = ["yosegi", *words]
    code: Any = 0
    try:
        main()
    except SystemExit as error:
        code = error.code
    sys.stdout.flush(), sys.stderr.flush()
    os.fsync = fsync
    total = made
    count.write_text(str(total))
    return code if isinstance(code, int) else int(code is not None)


def _within(path: Any, folder: str) -> bool:
    return isinstance(path, str | bytes | os.PathLike) and f"{Path(os.fsdecode(path)).absolute()}".startswith(folder)


TIMES = re.compile(
    r"(^|_)(seconds|wall|time|created|date|memory|per_second|per_s|pace|s|ms|mb|duration|started|took|eta|command|gb|reserved|made|drawing|rng\.python)(_|$)"
)
"""Names of values that measure time or memory; and Python's own generator in a checkpoint, which nobody seeds and nothing uses."""
UNLIKE = (".html", ".png", ".svg", ".lock", ".sqlite", ".db", ".db-shm", ".db-wal", ".log", "env.json")
"""Files that show times, or that another process writes in pages."""


def end(folder: Path) -> dict[str, Any]:
    """Returns what is in a folder: for each file its content, but for what measures time."""
    return {
        str(path.relative_to(folder)): _content(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(UNLIKE)
    }


def _content(path: Path) -> Any:
    if path.suffix == ".jsonl":
        rows = [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
        return sorted(rows, key=json.dumps) if path.name == "metrics.jsonl" else rows
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".md":
        rows = [line.split("|") for line in path.read_text().splitlines()]
        return [cells for cells in rows if len(cells) < 3 or not TIMES.search(cells[1].strip())]

    return hashlib.sha256(path.read_bytes()).hexdigest()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(inner) for key, inner in sorted(value.items()) if not TIMES.search(key)}
    if isinstance(value, list):
        return [_timeless(inner) for inner in value]
    return re.sub(r"[\d.,]+ (ms|s|seconds|minutes|MB|GB)\b", "?", value) if isinstance(value, str) else value


def leftovers(folder: Path) -> list[Path]:
    """Returns the temporaries of killed writers."""
    return [path for path in sorted(folder.rglob(".*")) if re.fullmatch(r"\..+\.[a-z0-9_]{8}", path.name)]


def difference(one: Any, other: Any, where: str = "") -> str:
    """Returns the first place where two ends differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in sorted({*one, *other}):
            if key not in one or key not in other:
                return f"{where}/{key} is only in {'the killed' if key in other else 'the other'}"
            if one[key] != other[key]:
                return difference(one[key], other[key], f"{where}/{key}")
    if isinstance(one, list) and isinstance(other, list):
        if len(one) != len(other):
            return f"{where} has {len(one)} rows, after kills {len(other)}"
        for number, (a, b) in enumerate(zip(one, other, strict=True)):
            if a != b:
                return difference(a, b, f"{where}[{number}]")
    return f"{where}: {str(one)[:200]} became {str(other)[:200]}"


def copied(work: Path, begins: str, name: str) -> Path:
    """Makes the folder in which a job runs."""
    folder = work / "trials" / name
    folder.mkdir(parents=True)
    if begins:
        shutil.copytree(work / begins, folder, dirs_exist_ok=True)
    return folder


def is_over(code: int, folder: Path) -> bool:
    """Returns whether the command says that nothing is left to be done: what it makes is there, what it deletes is gone."""
    return (
        code == 2
        and re.search(r"--overwrite|or overwrite it|No expert of this library is called", log(folder)) is not None
    )


def attack(
    job: Job, work: Path, seed: str, straight: tuple[dict[str, Any], int, float], kills: int
) -> tuple[int, list[str]]:
    """Kills one job up to `kills` times on its way; returns how often it really died, and what was wrong at the end."""
    chance, (wanted, changes, seconds) = random.Random(seed), straight
    folder = copied(work, job.begins, seed.replace("/", "-").replace(" ", "-"))
    died, faults = 0, list[str]()
    for _ in range(kills):
        if chance.random() < 0.7:
            code, *_ = child(folder, job.words, changes=chance.randint(1, changes))
        else:
            code, *_ = child(folder, job.words, seconds=chance.uniform(0.02, seconds))
        if code == 0 or is_over(code, folder):
            code = 0
            break
        if code != -signal.SIGKILL:
            return died, [f"it ended with {code}:\n{log(folder)}"]
        died += 1
        for path in leftovers(folder):  # as if a person had needed two seconds to notice
            os.utime(path, (time.time() - 2,) * 2)
    if code:
        code, *_ = child(folder, job.words)
        if code and not is_over(code, folder):
            return died, [f"what was killed does not go on ({code}):\n{log(folder)}"]
    if job.then and (code := child(folder, [*job.then])[0]):
        return died, [f"what comes after it fails ({code}):\n{log(folder)}"]
    made = end(folder)
    if made != wanted:
        faults.append(difference(wanted, made))
    faults += [f"left over: {path.relative_to(folder)}" for path in leftovers(folder)]
    if (folder / "library").is_dir():
        from yosegi.library.store import Library

        faults += [f"verify: {fault}" for fault in Library(folder / "library").verify()]
    if not faults:
        shutil.rmtree(folder)
    return died, faults


def crash(kills: int, seed: int, names: list[str], work: Path) -> list[tuple[str, int, list[str]]]:
    """Returns for every job how often it was killed and what was wrong."""
    begin(work)
    straight, deaths, faults = dict[str, Any](), Counter[str](), {name: list[str]() for name in names}
    for name in names:
        folder = copied(work, JOBS[name].begins, f"{name.split()[0]}-straight-{names.index(name)}")
        code, changes, seconds = child(folder, JOBS[name].words)
        code = code or (child(folder, [*JOBS[name].then])[0] if JOBS[name].then else 0)
        if code:
            faults[name].append(f"it fails without any kill ({code}):\n{log(folder)}")
        straight[name] = end(folder), changes, seconds
        print(f"{name}: {seconds:.1f} s, {changes} changes of the disk", file=sys.stderr)
    alive, turn = [name for name in names if not faults[name]], 0
    while alive and deaths.total() < kills:
        name, one = alive[turn % len(alive)], f"{seed}/{alive[turn % len(alive)]}/{turn}"
        died, wrong = attack(JOBS[name], work, one, straight[name], min(3, kills - deaths.total()))
        deaths[name] += died
        if wrong:
            faults[name].append(f"{one}: {'; '.join(wrong)}")
            print(f"{one}: {'; '.join(wrong)}", file=sys.stderr)
        turn += 1
    return [(f"kill -9 of {name}", deaths[name], faults[name]) for name in names]


def main() -> int:
    """Prints attack, cases (kills) and failures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kills", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", action="append", choices=JOBS, help="Only this one. May be repeated.")
    parser.add_argument("--keep", type=Path, help="A new folder that stays; by default a temporary one.")
    given = parser.parse_args()
    prepare()
    with tempfile.TemporaryDirectory(prefix="crash") as temporary:
        rows = crash(given.kills, given.seed, given.job or list(JOBS), (given.keep or Path(temporary)).resolve())
    print("| attack | cases | failures |\n|---|---|---|")
    for name, cases, faults in rows:
        print(f"| {name} | {cases} | {len(faults)} |")
    print(f"| all kills | {sum(row[1] for row in rows)} | {sum(len(row[2]) for row in rows)} |")
    return any(row[2] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
