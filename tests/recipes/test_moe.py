"""What `loramoe` says of its answers."""

from yosegi import files
from yosegi.recipes._moe import best, blank, holds, ids
from yosegi.run import Run


def test_an_answer_stands_in_a_text_only_by_itself():
    assert holds("so it is 12.", ["12"]) and holds("3+9=12", ["12"]) and holds("答えは12です", ["12"])
    assert not holds("312 or 12.5 or 1.12 or x12", ["12"])
    assert not holds("anything", ["", "7"])


def test_many_ids_are_counted():
    assert ids(set()) == "none"
    assert ids({"b", "a"}) == "a, b"
    assert ids({f"q{n}" for n in range(10)}).endswith("and 2 more")


def test_the_rates_that_no_other_beats():
    tried = [[0.04, -2.0, -9.0], [0.005, -0.3, -0.1], [0.01, -0.1, -0.3], [0.02, -0.2, -1.0], [0.0025, -0.5, -0.1]]
    assert [rate for rate, *_ in best(tried)] == [0.005, 0.01]
    assert best([[0.1, -1.0, -1.0], [0.2, -1.0, -1.0]]) == [[0.1, -1.0, -1.0], [0.2, -1.0, -1.0]], "a tie beats nobody"


def test_a_base_that_guesses_cannot_forget(tmp_path):
    run, choices = Run(tmp_path), {"choices": ["a", "b", "c", "d"]}

    def asked(task, letters, meta):
        rows = [{"id": str(n), "score": 0.0, "letter": letter, "meta": meta} for n, letter in enumerate(letters)]
        name = run.items(task, "base-s0", rows)
        run.result({"model": "base", "task": task, "seed": 0, "metric": "accuracy", "items": name})

    asked("guessed", [1.0] * 14 + [0.0] * 36, choices)
    asked("known", [1.0] * 30 + [0.0] * 20, choices)
    asked("open", [0.0] * 50, {})
    assert [blank(run, task, 0) for task in ("guessed", "known", "open", "not asked")] == [True, False, False, False]
    assert files.read_jsonl(tmp_path / "results.jsonl")[0]["task"] == "guessed"
