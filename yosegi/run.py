"""A run: the folder with everything that one command produced.

runs/NAME/
  config.json     everything resolved            env.json       git sha, versions, device, threads
  metrics.jsonl   a row for each step            results.jsonl  a row for each measurement
  items/TASK.MODEL.jsonl   a row for each example    library/  figures/  report.html
"""

import ctypes
import fcntl
import hashlib
import importlib.metadata
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yosegi import files, trackers
from yosegi.errors import Invalid


class Run:
    """Writes results as they come, so that those of a killed run are there.

    Args:
        path: the folder; created if missing.
        config: all resolved arguments of the command, which are written to config.json.
        grows: those that may be another when the run of a recipe goes on.
    """

    def __init__(self, path: str | Path, config: dict[str, Any] | None = None, grows: Collection[str] = ()):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        if config is not None:
            files.tidy(self.path, *(self.path / part for part in ("checkpoint", "items", "figures", "weights")))
            if "recipe" in config and (self.path / "config.json").exists():
                before = files.read_json(self.path / "config.json")
                differ = [
                    f"{key} was {before.get(key)!r}, is {config[key]!r}" for key in changed(before, config, grows)
                ]
                if differ:  # continuing with other settings would mix two runs in one folder
                    raise Invalid(
                        f"{self.path} holds another run: {'; '.join(differ[:3])}. Choose another --run, or delete it."
                    )
            files.write_json(self.path / "config.json", config)
            files.write_json(self.path / "env.json", environment())

    def log(self, *rows: dict[str, Any], **row: Any) -> None:
        """Writes a row of metrics.jsonl, or several; trackers get them too."""
        every = [*rows, row] if row else list(rows)
        self._append("metrics.jsonl", every)
        trackers.send(self.path, every)

    def rewind(self, step: int, **match: Any) -> None:
        """Deletes the metric rows after `step`: a resumed run writes them again.

        `match` limits it to rows with these values, or with one of several.
        """

        def other(row: dict[str, Any]) -> bool:
            several = {key: value if isinstance(value, list | tuple) else [value] for key, value in match.items()}
            return any(row.get(key) not in values for key, values in several.items())

        path = self.path / "metrics.jsonl"
        with self._alone():
            if path.exists():
                rows = files.read_jsonl(path)
                kept = [row for row in rows if row.get("step", 0) <= step or other(row)]
                files.write(path, files.lines(kept))

    def result(self, *rows: dict[str, Any]) -> None:
        """Writes rows of results.jsonl."""
        self._append("results.jsonl", rows)

    def results(self) -> list[dict[str, Any]]:
        """Returns the results so far."""
        path = self.path / "results.jsonl"
        return files.read_jsonl(path) if path.exists() else []

    def items(self, task: str, model: str, rows: Iterable[dict[str, Any]]) -> str:
        """Writes the examples of one task with the answers of one model; returns the path for the result row."""
        name = f"items/{_file_name(task)}.{_file_name(model)}.jsonl"
        files.write(self.path / name, files.lines(rows))
        return name

    def _append(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        with self._alone(), (self.path / name).open("ab+") as file:
            files.append(file, rows)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Lets the processes of one run write one after another, so that none of them writes to a replaced file."""
        folder = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def changed(before: Any, config: Mapping[str, Any], ignored: Collection[str] = ()) -> list[str]:
    """Returns the keys of `config` whose values are not those of a config that was read from a file."""
    before, now = before if isinstance(before, dict) else {}, json.loads(json.dumps(config))
    return [key for key in now if key not in ignored and (key not in before or before[key] != now[key])]


def environment() -> dict[str, Any]:
    """Returns what is needed to repeat a run: versions, device, threads, commit."""
    versions: dict[str, str | None] = {}
    for package in ("yosegi", "torch", "transformers", "peft", "trl", "accelerate", "datasets", "safetensors"):
        versions[package] = None
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    device = "cpu"
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    return {
        "git": _git_sha(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": versions,
        "device": device,
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads() if torch is not None else None,
        "command": sys.argv,
    }


def peak_memory() -> float:
    """Returns the peak memory in MB: that of the GPU if there is one, else that of this process."""
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def free_memory(device: str = "cpu") -> int:
    """Returns the bytes of free memory: of the GPU for "cuda", else of this machine or its container."""
    import psutil

    if device == "cuda":
        return sys.modules["torch"].cuda.mem_get_info()[0]
    with suppress(AttributeError, OSError):  # what this process has given back to glibc alone is free as well
        ctypes.CDLL(None).malloc_trim(0)
    free, group = psutil.virtual_memory().available, Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # there is none, or without a limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        free = min(free, limit - used + int(stat.get("inactive_file", 0)))  # the cache of files gives way
    return free


def _git_sha() -> str | None:
    """Returns the commit of this code, with "+" if it has changes; None outside a checkout."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _file_name(name: str) -> str:
    clean = "".join(c if c.isalnum() or c in "+-_~" else "-" for c in name.replace("/", "~"))
    if clean == name.replace("/", "~") and "~" not in name and len(clean.encode()) <= 80:
        return clean
    mark = hashlib.sha256(name.encode()).hexdigest()[:8]  # "a.b" and "a-b" are two names
    return clean.encode()[:80].decode(errors="ignore") + f"~{mark}"
