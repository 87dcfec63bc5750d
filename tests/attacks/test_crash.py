"""A few kills of small jobs; `make crash` makes many, of all jobs."""

import json
import shutil
import subprocess
import sys

from tests.attacks import crash


def test_what_was_killed_ends_as_what_was_not(tmp_path):
    """In a process of its own, since it forks: nothing that other tests have started may be in it."""
    words = [
        "--kills",
        "6",
        "--job",
        "train (a fleet)",
        "--job",
        "curate",
        "--job",
        "library import",
        "--keep",
        str(tmp_path / "w"),
    ]
    done = subprocess.run([sys.executable, "-m", "tests.attacks.crash", *words], capture_output=True, text=True)
    assert done.returncode == 0 and "| all kills | 6 | 0 |" in done.stdout, done.stdout + done.stderr


def test_differences_are_seen(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    (one / "library").mkdir(parents=True)
    (one / "expert.json").write_text(
        json.dumps({"sha256": "a", "wall_s": 1.0, "created": "now", "metrics": {"steps": 8}})
    )
    (one / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5, "tokens_per_s": 9}\n')
    (one / "best.yaml").write_text("arm: a*.7\n")
    shutil.copytree(one, other)
    (other / "expert.json").write_text(
        json.dumps({"sha256": "a", "wall_s": 2.0, "created": "then", "metrics": {"steps": 8}})
    )
    assert crash.end(one) == crash.end(other)
    changes = {
        "expert.json": json.dumps({"sha256": "b", "metrics": {"steps": 8}}), "best.yaml": "arm: a*.8\n",
        "metrics.jsonl": '{"step": 1, "loss": 0.5}\n' * 2, "more.json": "{}",
    }  # fmt: skip
    for name, content in changes.items():
        before = (other / name).read_text() if (other / name).exists() else None
        (other / name).write_text(content)
        assert crash.end(one) != crash.end(other) and name in crash.difference(crash.end(one), crash.end(other))
        (other / name).unlink() if before is None else (other / name).write_text(before)
    (other / ".best.yaml.abcd1234").write_text("")
    assert crash.leftovers(other) == [other / ".best.yaml.abcd1234"] and crash.leftovers(one) == []
