from yosegi.reporting.boards import boards
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections.headline import section


def tiles(kept_run):
    head = section(Context(read([kept_run])))
    return head, {name: (value, below) for name, value, below, _ in head["tiles"]}


def test_what_was_run_where_and_when(kept_run):
    head, _ = tiles(kept_run)
    assert head["title"] == "demo" and head["lead"] == "6 models on 5 tasks, 60 questions each"
    assert dict(head["runs"][0]) == {
        "recipe": "demo", "base": "nano@a1b2c3d4", "when": "2025-11-03 09:30 UTC", "device": "cpu", "yosegi": "0.1.0",
        "commit": "01234567",
    }  # fmt: skip


def test_an_oracle_is_told_the_task_and_does_not_win(kept_run):
    found = read([kept_run])
    means = {line.model: line.mean.value for line in boards(found)[0].lines}
    assert max(means, key=means.get) == "oracle"
    value, below = tiles(kept_run)[1]["Highest mean"]
    assert (
        value == "arrow"
        and f"{means['arrow']:.3f}" in below
        and f"Given the task, oracle: {means['oracle']:.3f}" in below
    )


def test_the_largest_loss_is_named_with_its_p(kept_run):
    found = read([kept_run])
    board = boards(found)[0]
    changes = [
        (score.change, line.model, task)
        for line in board.lines
        for score, task in zip(line.scores, board.tasks, strict=True)
        if score.change
    ]
    change, model, task = min(changes)
    value, below = tiles(kept_run)[1]["Largest loss"]
    assert change < 0 and value == f"−{-change:.3f}" and below.startswith(f"{model} on {task}, p ")


def test_better_and_worse_are_counted(kept_run):
    rows = [m.row for m in read([kept_run]).comparisons]
    better = sum(r["p_value"] < 0.05 and r["diff"] > 0 for r in rows)
    worse = sum(r["p_value"] < 0.05 and r["diff"] < 0 for r in rows)
    value, below = tiles(kept_run)[1]["Better / worse"]
    assert value == f"{better} / {worse}" and f"the other {25 - better - worse} are inside the noise" in below
