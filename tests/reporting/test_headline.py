from yosegi.reporting.headline import flat, headline
from yosegi.reporting.leaderboard import comparisons, panels
from yosegi.reporting.read import read


def facts(kept_run):
    found = read([kept_run])
    boards = panels(found)
    head = headline(found, boards, comparisons(found, found.models))
    return head, {fact.head: fact for fact in head.facts}


def test_what_was_run_where_and_when(kept_run):
    head, _ = facts(kept_run)
    assert head.title == "demo" and head.lead == "6 models on 5 tasks, 60 questions each"
    assert dict(head.runs[0]) == {
        "recipe": "demo", "base": "nano@a1b2c3d4", "when": "2025-11-03 09:30 UTC", "device": "cpu", "yosegi": "0.1.0",
        "commit": "01234567",
    }  # fmt: skip


def test_an_oracle_is_told_the_task_and_does_not_win(kept_run):
    found = read([kept_run])
    means = {line.model: line.mean.value for line in panels(found)[0].lines}
    assert max(means, key=means.get) == "oracle"
    best = facts(kept_run)[1]["Highest mean"]
    assert (
        best.value == "arrow"
        and f"{means['arrow']:.3f}" in best.below
        and f"oracle: {means['oracle']:.3f}" in best.below
    )


def test_the_largest_loss_is_named_with_its_p(kept_run):
    found = read([kept_run])
    board = panels(found)[0]
    changes = [
        (cell.change, line.model, task)
        for line in board.lines
        for cell, task in zip(line.cells, board.tasks, strict=True)
        if cell.change
    ]
    change, model, task = min(changes)
    loss = facts(kept_run)[1]["Largest loss"]
    assert change < 0 and loss.value == f"−{-change:.3f}" and loss.below.startswith(f"{model} on {task}, p ")


def test_better_and_worse_are_counted(kept_run):
    rows = [m.row for m in read([kept_run]).comparisons]
    better = sum(r["p_value"] < 0.05 and r["diff"] > 0 for r in rows)
    worse = sum(r["p_value"] < 0.05 and r["diff"] < 0 for r in rows)
    fact = facts(kept_run)[1]["Better / worse"]
    assert fact.value == f"{better} / {worse}" and f"the other {25 - better - worse} are inside the noise" in fact.below


def test_a_nested_configuration_becomes_rows():
    value = {"a": {"b": 1, "c": [1, 2]}, "d": None, "e": {}}
    assert flat(value) == [("a.b", "1"), ("a.c", "1 2"), ("d", ""), ("e", "{}")]
    assert flat("only this") == [("value", "only this")]
