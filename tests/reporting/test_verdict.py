"""The sentence says what the rows and their items say."""

import pytest

from yosegi import files
from yosegi.evaluation.statistics import over_seeds, over_tasks
from yosegi.reporting.boards import boards
from yosegi.reporting.comparisons import comparisons
from yosegi.reporting.read import Run, gather
from yosegi.reporting.verdict import flat_because, verdict

RIGHT = {
    "base": {"a": 2, "b": 3},
    "arrow": {"a": 9, "b": 8},
    "svd merge": {"a": 8, "b": 8},
    "oracle": {"a": 10, "b": 9},
}


def measured(folder, right, metrics=("accuracy", "accuracy"), count=10):
    """The leaderboard of arms that have so many of `count` questions right; each task has a metric."""
    rows = []
    for model, tasks in right.items():
        for task, correct in tasks.items():
            name = f"items/{task}.{model}.jsonl"
            (folder / "items").mkdir(exist_ok=True)
            items = [{"id": str(n), "score": float(n < correct)} for n in range(count)]
            (folder / name).write_text(files.lines(items))
            row = {"model": model, "method": "base" if model == "base" else "routed", "router": model, "task": task}
            metric = metrics["ab".index(task)]
            rows.append({**row, "metric": metric, "value": correct / count, "n": count, "items": name, "base": "x"})
    (board, *_) = boards(gather([Run(folder, "", rows)]))
    return board


def test_what_won_by_how_much_and_how_sure(tmp_path):
    words = verdict(measured(tmp_path, RIGHT))
    assert words.startswith(
        "arrow won: a mean accuracy of 0.85 over 2 tasks; against the base 0.60 more (95 % interval 0.36 to 0.84)."
    )
    assert "Against svd merge, the next: 0.05 more (95 % interval -0.06 to 0.16; no difference was found, and" in words
    assert "speak of other questions, not of other trainings" in words
    assert words.endswith("oracle, which is told the task, has 0.95.")


def test_nothing_above_the_base_is_said(tmp_path):
    words = verdict(
        measured(
            tmp_path, {"base": {"a": 5}, "arrow": {"a": 4}} | {"base": {"a": 5, "b": 5}, "arrow": {"a": 4, "b": 4}}
        )
    )
    assert words.startswith("No arm is above the base, which has a mean accuracy of 0.50") and "arrow" in words


def test_unlike_metrics_are_not_averaged(tmp_path):
    words = verdict(measured(tmp_path, RIGHT, ("accuracy", "rougeL")))
    # 9 of 10 against 2, and 8 of 10 against 3: better on 7 and 5 of ten questions, and worse on none
    assert words.startswith(
        "arrow won: a mean rank of 2.2 among 4 over 2 tasks; against the base better on 60% of the questions and worse on 0% "
        "(net +0.60, 95 % interval 0.36 to 0.84)."
    )
    lower = verdict(
        measured(tmp_path, {"base": {"a": 2, "b": 3}, "arrow": {"a": 9, "b": 2}}, ("accuracy", "perplexity"))
    )
    assert "better on 40% of the questions" in lower and "worse on 0%" in lower


def test_one_question_a_task_shows_nothing(tmp_path):
    right = {"base": {"a": 0, "b": 0}, "arrow": {"a": 1, "b": 1}}
    words = verdict(measured(tmp_path, right, count=1))
    assert "1.00 more, of which a single question of a task can say nothing" in words and "inf" not in words


def test_seeds_are_a_source_of_error_too(tmp_path):
    rows, items = [], {"base": [[0, 1, 0, 0]], "arrow": [[1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 1, 1]]}
    for model, seeds in items.items():
        for seed, scores in enumerate(seeds):
            name = f"{model}{seed}.jsonl"
            (tmp_path / name).write_text(files.lines([{"id": str(n), "score": float(s)} for n, s in enumerate(scores)]))
            row = {"model": model, "method": model, "task": "a", "metric": "accuracy", "value": sum(scores) / 4, "n": 4}
            rows.append(row | {"seed": seed, "items": name})
    (board,) = boards(gather([Run(tmp_path, "", rows)]))
    mean, low, high = over_seeds(items["arrow"], items["base"] * 3)
    words = verdict(board)
    assert f"against the base {mean:.2f} more (95 % interval {low:.2f} to {min(high, 1):.2f}" in words and mean == 0.5
    assert words.endswith("The intervals speak of other questions and other seeds.")


def test_two_questions_could_not_have_shown_anything(tmp_path):
    words = verdict(measured(tmp_path, {"base": {"a": 0}, "arrow": {"a": 1}}, count=2))
    assert "95 % interval -1.00 to 1.00; no difference was found, and none could have been" in words


def test_one_arm_alone_has_no_verdict(tmp_path):
    assert verdict(measured(tmp_path, {"base": {"a": 5, "b": 1}})) == ""


def flat(folder, diff=0.0, p=1.0, n=20, steps=(3, 3), rows=(4000, 12), losses=((2.0, 1.95), (3.0, 1.0))):
    """What is said of a table of two arms, with the cards and the losses of their trainings."""
    lines = [
        {"model": m, "method": m, "task": "a", "metric": "accuracy", "value": 0.5, "n": n} for m in ("base", "x", "y")
    ]
    pair = {"against": "base", "diff": diff, "gained": 1, "lost": 1, "p_value": p, "detectable": 0.31}
    lines += [row | pair | {"metric": "accuracy_diff"} for row in lines[1:]]
    curves = [
        {"expert": e, "step": at, "loss": v}
        for e, of, s in zip("xy", losses, steps, strict=True)
        for at, v in zip((1, s), of, strict=True)
    ]
    cards = [({"name": e, "metrics": {"rows": r}}, 1) for e, r in zip("xy", rows, strict=True)]
    results = gather([Run(folder, "", lines, metrics=curves, experts=cards)])
    return flat_because(boards(results)[0], comparisons(results, results.models))


def test_a_flat_table_names_its_causes(tmp_path):
    words = flat(tmp_path)
    assert words == (
        "No arm differs from another; the likely causes: few training steps (3: x, y); few training rows (12: y); a loss that "
        "hardly fell (x); few questions (20: a), so that differences below 0.31 are mostly not seen."
    )
    enough = flat(tmp_path, n=500, steps=(200, 200), rows=(400, 400), losses=((2.0, 1.0), (3.0, 1.0)))
    assert enough == "" and flat(tmp_path, diff=0.4, p=0.01) == "", "no cause, or nothing flat"
    assert "few questions" not in flat(tmp_path, n=500) and "few training steps (3: x)" in flat(
        tmp_path, steps=(3, 200)
    )


def test_the_interval_of_one_task_is_students():
    from scipy import stats

    d = [1.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0.0]
    low, high = stats.ttest_1samp(d, 0).confidence_interval()
    assert over_tasks([d]) == pytest.approx((sum(d) / 7, low, high))
