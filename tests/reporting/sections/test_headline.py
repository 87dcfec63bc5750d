import json
import re

import pytest

from yosegi.reporting.context import Context
from yosegi.reporting.page import render
from yosegi.reporting.read import read
from yosegi.reporting.sections.headline import section


@pytest.fixture(scope="module")
def head(kept_run):
    context = Context(read([kept_run]))
    return context, section(context)


def words(head):
    """The page's text, tag by tag."""
    return re.findall(r">([^<>\n]+)<", render("sections/headline.html.j2", **head[1]))


def test_what_was_run_where_and_when(head):
    assert head[1]["title"] == "demo" and words(head)[0] == "6 models on 5 tasks, 60 questions each"
    assert head[1]["runs"] == [
        {"recipe": "demo", "base": "nano@a1b2c3d4", "when": "2025-11-03 09:30 UTC", "device": "cpu", "yosegi": "0.1.0",
         "commit": "01234567"}
    ]  # fmt: skip


def test_an_oracle_is_told_the_task_and_does_not_win(head):
    means = {line.model: line.mean.value for line in head[0].boards[0].lines}
    assert max(means, key=means.get) == "oracle"
    tile = words(head)[words(head).index("Highest mean") + 1 :][:2]
    assert tile[0] == "arrow" and f"{means['arrow']:.3f}" in tile[1]
    assert f"Given the task, oracle: {means['oracle']:.3f}" in tile[1]


def test_the_largest_loss_is_named_with_its_p(head):
    board = head[0].boards[0]
    changes = [
        (score.change, line.model, task)
        for line in board.lines
        for score, task in zip(line.scores, board.tasks, strict=True)
        if score.change
    ]
    change, model, task = min(changes)
    loss = head[1]["loss"]
    assert (
        change < 0 and (loss["change"], loss["model"], loss["task"]) == (change, model, task) and loss["p"] is not None
    )
    assert f"−{-change:.3f}" in words(head) and any(
        text.startswith(f"accuracy of {model} on {task}, p ") for text in words(head)
    )


def test_better_and_worse_are_counted(head):
    rows = [m.row for m in head[0].results.comparisons]
    better = sum(r["p_value"] < 0.05 and r["diff"] > 0 for r in rows)
    worse = sum(r["p_value"] < 0.05 and r["diff"] < 0 for r in rows)
    assert f"{better} / {worse}" in words(head)
    assert any(f"the other {25 - better - worse} are inside the noise" in text for text in words(head))


def made(folder, *rows):
    """A run of these rows (model, task, value), and what stands above its page."""
    base = {"base": "/home/x/runs/par/base", "base_hash": "abc", "metric": "accuracy", "n": 9}
    lines = [json.dumps({**base, "model": m, "task": t, "value": v}) + "\n" for m, t, v in rows]
    (folder / "results.jsonl").write_text("".join(lines))
    return section(Context(read([folder])))


def test_where_all_have_the_same_mean_none_is_the_highest(tmp_path):
    same = [(model, task, 0.5) for model in ("base", "x") for task in "ab"]
    assert made(tmp_path, *same)["best"] is None
    assert made(tmp_path, *same, ("x", "b", 0.75))["best"]["model"] == "x"


def test_a_base_in_a_folder_is_called_by_its_last_part(tmp_path):
    assert made(tmp_path, ("base", "a", 0.5))["runs"][0]["base"] == "base@abc"
