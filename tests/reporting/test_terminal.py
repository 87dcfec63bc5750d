from yosegi.files import read_jsonl
from yosegi.reporting.terminal import leaderboard


def test_the_table_shows_every_model_and_the_best_of_a_task(run, capsys):
    rows = read_jsonl(run / "results.jsonl")
    leaderboard(rows)
    out = capsys.readouterr().out
    assert all(model in out for model in ("base", "arrow", "linear merge", "oracle")) and "log p" in out
    best = max(r["value"] for r in rows if r["task"] == "mgsm_ja" and r["metric"] == "accuracy")
    assert f"{best:.2f}*"[1:] in out


def test_a_model_that_did_not_do_a_task_has_no_mean(capsys):
    rows = [
        {"model": m, "task": t, "metric": "accuracy", "value": 0.25, "ci_low": 0.2, "ci_high": 0.3}
        for m, t in (("base", "a"), ("base", "b"), ("half", "a"))
    ]
    leaderboard(rows)
    line = next(line for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["half"])
    assert line.split()[-2:] == ["–", "–"]


def test_of_several_metrics_the_tasks_own_is_shown(capsys):
    rows = [
        {"model": "base", "task": "a", "metric": metric, "value": value, "ci_low": 0.0, "ci_high": 1.0}
        for metric, value in (("accuracy", 0.25), ("letter", 0.75))
    ]
    leaderboard(rows)
    assert ".25" in (out := capsys.readouterr().out) and ".75" not in out


def test_few_questions_and_cut_answers_are_said(capsys):
    row = {"task": "t", "metric": "rougeL", "value": 0.5, "n": 3, "ci_low": 0.06, "ci_high": 0.94}
    others = [{**row, "model": model, "value": 1.0, "truncated": share} for model, share in (("a", 0.25), ("b", 0.5))]
    leaderboard([{**row, "model": "base", "truncated": 1.0}, *others])
    out = capsys.readouterr().out
    assert "rougeL" in out and ".06–.94" in out
    assert "Few questions, so that little can be told apart: t (3: ±0.57)." in out
    assert "Cut off at the limit of new tokens: t 25% to 50% of the answers." in out


def test_how_small_a_difference_could_be_seen_is_said_of_each_task(capsys):
    row = {"metric": "accuracy", "value": 0.5, "n": 50, "ci_low": 0.4, "ci_high": 0.6}
    rows = [{**row, "model": model, "task": task} for task in ("t", "u") for model in ("base", "a", "b", "c")]
    leaderboard(rows)
    assert "could be seen" not in capsys.readouterr().out
    for model, least in (("a", 0.1), ("b", 0.2), ("c", 0.6)):
        compared = {
            "metric": "accuracy_diff",
            "against": "base",
            "p_value": 0.5,
            "diff": 0.0,
            "value": 0.0,
            "detectable": least,
        }
        rows += [
            {**row, **compared, "model": model, "task": "t"},
            {**row, **compared, "model": model, "task": "t", "metric": "logp_diff", "detectable": 9.0},
        ]
    leaderboard(rows)
    assert "A difference that could be seen, in four of five cases: t .20. A smaller" in capsys.readouterr().out


def test_written_choices_keep_the_name_of_their_task(capsys):
    row = {
        "model": "base",
        "task": "mmlu/written",
        "metric": "written",
        "value": 0.5,
        "n": 99,
        "ci_low": 0.4,
        "ci_high": 0.6,
    }
    leaderboard([row])
    assert "mmlu/written" in capsys.readouterr().out


def test_answers_that_could_not_be_read_are_said_with_what_to_do(capsys):
    row = {"task": "t", "metric": "written", "value": 0.5, "n": 99, "ci_low": 0.4, "ci_high": 0.6}
    leaderboard([{**row, "model": "base", "parse_failures": 0.9}, {**row, "model": "a", "parse_failures": 0.1}])
    out = capsys.readouterr().out
    assert "No answer could be read out of many texts: t (90% of base)." in out and "likelihood" in out
    leaderboard([{**row, "model": "base", "parse_failures": 0.3}])
    assert "could be read" not in capsys.readouterr().out


def test_four_tasks_fit_into_80_columns(capsys):
    """The demo's table, with names as long as those of natural instructions."""
    names = [
        "arc_easy",
        "boolq",
        "natural_instructions/task1687_sentiment140_classification",
        "natural_instructions/task875_emotion",
    ]
    row = {"metric": "accuracy", "value": 0.433, "n": 30, "chance": 0.25, "ci_low": 0.29, "ci_high": 0.59}
    models = ["base", "task1687_sentiment140_classification", "arrow"]
    leaderboard([{**row, "task": task, "model": model} for task in names for model in models])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80 and sum(".43" in line and ".29–.59" in line for line in lines) == 3
