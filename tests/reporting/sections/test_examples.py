from yosegi.reporting.answers import Answers
from yosegi.reporting.sections.examples import digest


def test_what_was_gained_lost_and_hard_is_shown():
    rows = {
        model: [
            {
                f"q{i}": {
                    "id": f"q{i}",
                    "score": float(s),
                    "prediction": "yes" if s == "1" else "no",
                    "parsed": s == "1",
                }
                for i, s in enumerate(scores)
            }
        ]
        for model, scores in {"base": "1100", "x": "1010"}.items()
    }
    shown = digest(None, Answers("t", dict.fromkeys(rows, "base"), None, rows))
    assert [(one["why"], one["id"]) for one in shown] == [
        ("gained by most", "q2"), ("lost by most", "q1"), ("right in none", "q3"), ("right in all", "q0"),
    ]  # fmt: skip
    assert shown[0]["answers"] == [("base", "wrong", "no", False), ("x", "gained", "yes", True)]
