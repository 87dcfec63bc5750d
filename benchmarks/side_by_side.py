"""What every benchmark here shares: the two sides take turns, medians are compared, and the table says where it was measured.

Time is the CPU time of this process on one thread. On a quiet machine that is the time on the clock; on a busy one it is what
the neighbours cannot stretch, apart from the cache and the memory bus that they share. Only the ratios travel.
"""

import os

os.environ.update(OMP_NUM_THREADS="1", MKL_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
os.environ.update(HF_HUB_OFFLINE="1", HF_DATASETS_OFFLINE="1", KINETO_LOG_LEVEL="99")

import argparse  # noqa: E402
import datetime  # noqa: E402
import gc  # noqa: E402
import json  # noqa: E402
import re  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402
from torch import Tensor  # noqa: E402

from yosegi.run import environment  # noqa: E402

Row = dict[str, Any]


def options(question: str | None, arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line that all benchmarks understand; one thread and fixed random numbers from here on."""
    parser = argparse.ArgumentParser(description=question, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="small sizes, seconds: checks equality, says little of speed"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there as well")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    warnings.filterwarnings("ignore", module="peft|trl|transformers")
    return chosen


def clock(act: Callable[[], Any]) -> float:
    """Seconds of CPU time of one act."""
    started = time.process_time()
    act()
    return time.process_time() - started


def interleaved(rounds: int, **sides: Callable[[], Any]) -> tuple[dict[str, float], dict[str, float]]:
    """A B A B …, after one round that is not counted: median seconds, and the median of each round's ratio to the last side."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    gc.collect()
    gc.disable()
    for turn in range(rounds + 1):
        for name, act in sides.items():
            spent = clock(act)
            if turn:
                times[name].append(spent)
    gc.enable()
    ours = times[list(sides)[-1]]
    ratios = {name: statistics.median(t / o for t, o in zip(spent, ours, strict=True)) for name, spent in times.items()}
    return {name: statistics.median(spent) for name, spent in times.items()}, ratios


def difference(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest number."""
    ours, theirs = ours.detach(), theirs.detach()
    return float((ours - theirs).abs().max() / theirs.abs().max())


def agree(what: str, found: float, at_most: float) -> float:
    """Two sides that do not compute the same thing are not compared."""
    if not found <= at_most:
        raise AssertionError(f"{what} differ by {found:.2g}, more than {at_most:.2g}: nothing to compare.")
    return found


def peak_bytes(act: Callable[[], Any]) -> int:
    """The most that `act` held at once, as torch's allocator counted it: exact, and the same on every machine."""
    with torch.profiler.profile(profile_memory=True) as profiler:
        act()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]  # type: ignore[union-attr]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def tell(question: str | None, rows: list[Row], chosen: argparse.Namespace) -> list[Row]:
    """Print the table under its question, and write it where `--json` says."""
    env, info = environment(), Path("/proc/cpuinfo")
    cpu = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.exists() else None
    versions = ", ".join(f"{name} {env['versions'][name]}" for name in ("torch", "peft", "transformers", "trl"))
    where = f"{cpu[1] if cpu else env['platform']} ({torch.backends.cpu.get_cpu_capability()}), one thread; {versions}"
    where += f"; {datetime.date.today()}{'; --quick' if chosen.quick else ''}"
    print(f"\n{(question or '').splitlines()[0]}\n{where}\n")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns] + [["–" if (v := row.get(key)) is None else _short(v) for key in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in [cells[0], ["-" * width for width in widths], *cells[1:]]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |")
    if chosen.json:
        chosen.json.write_text(json.dumps({"where": where, "env": env, "rows": rows}, indent=1), encoding="utf-8")
    return rows


def _short(value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
