"""Every benchmark runs, small, and finds that both sides say the same. What it says of speed is for people to read."""

import importlib.util
import json
import os
import sys
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parents[2] / "benchmarks"
FILES = sorted(HERE.glob("bench_*.py"))
CHECKED = {
    "arrow": "equal to",
    "chain": "equal",
    "cluster": "equal to",
    "fleet": "equal to",
    "galore": "equal to",
    "importance": "equal to",
    "engine": "case",
    "load": "equal to",
    "loramoe": "equal to",
    "train": "equal to",
    "merge": "yosegi error",
    "plan": "memory ratio",
    "prototypes": "ratio",
    "routed": "equal to",
    "search": "equal to",
    "serve": "cross-talk, equal",
}


@pytest.fixture
def benchmark(monkeypatch):
    """benchmark(path): the module, imported as the command line does, beside the files it shares."""
    monkeypatch.syspath_prepend(str(HERE))
    environment, threads = dict(os.environ), torch.get_num_threads()

    def load(path):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in ("side_by_side", "experts"):
        sys.modules.pop(name, None)
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(threads)


def test_there_are_benchmarks():
    assert {path.stem.removeprefix("bench_") for path in FILES} >= set(CHECKED)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore")
def test_both_sides_say_the_same(path, benchmark, tmp_path, capsys):
    rows = benchmark(path).main(["--quick", "--json", str(tmp_path / "rows.json")])
    assert rows and all(CHECKED[path.stem.removeprefix("bench_")] in row for row in rows)
    written = json.loads((tmp_path / "rows.json").read_text())
    assert written["rows"] == rows and written["env"]["versions"]["peft"]
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(table) == len(rows) + 2 and len({len(line) for line in table}) == 1


def test_two_sides_that_differ_are_not_compared(benchmark):
    side_by_side = benchmark(HERE / "side_by_side.py")
    assert side_by_side.agree("They", 1e-6, 1e-5) == 1e-6
    for found in (1e-4, float("nan")):
        with pytest.raises(AssertionError, match="They differ by"):
            side_by_side.agree("They", found, 1e-5)


def test_turns_are_taken_and_the_first_is_not_counted(benchmark):
    side_by_side, calls = benchmark(HERE / "side_by_side.py"), []
    times, ratios = side_by_side.interleaved(2, a=lambda: calls.append("a"), b=lambda: calls.append("b"))
    assert "".join(calls) == "ababab" and set(times) == set(ratios) == {"a", "b"} and ratios["b"] == 1


def test_the_peak_is_what_was_held_at_once(benchmark):
    side_by_side = benchmark(HERE / "side_by_side.py")

    def act():
        first = torch.ones(1000)
        del first
        return torch.ones(500) + torch.ones(500)

    assert side_by_side.peak_bytes(act) in range(6000, 6400)
