import json

import pytest

from yosegi.reporting.boards import boards
from yosegi.reporting.comparisons import comparisons, left_by_holm, low_is_good, own_experts
from yosegi.reporting.context import Context
from yosegi.reporting.forest import ROOM
from yosegi.reporting.read import read
from yosegi.reporting.sections.comparisons import section


@pytest.fixture
def found(tmp_path):
    def write(*rows):
        defaults = {"split": "test", "base": "nano", "seed": 0, "n": 100}
        lines = [json.dumps(defaults | row) for row in rows]
        (tmp_path / "results.jsonl").write_text("".join(line + "\n" for line in lines))
        return read([tmp_path])

    return write


def one(model, task, value, metric="accuracy", **more):
    return {"model": model, "task": task, "metric": metric, "value": value, **more}


def compare(model, diff, p, **more):
    return one(model, "a", diff, "accuracy_diff", against="base", diff=diff, diff_low=diff - 0.1, diff_high=diff + 0.1,
               gained=5, lost=2, p_value=p, **more)  # fmt: skip


def test_a_difference_in_the_noise_is_called_that(found):
    here = found(
        one("base", "a", 0.5), one("x", "a", 0.6), one("y", "a", 0.2), one("z", "a", 0.9),
        compare("x", 0.1, 0.3), compare("y", -0.3, 0.01), compare("z", 0.4, 0.001),
    )  # fmt: skip
    rows = comparisons(here, ["base", "z", "y", "x"])
    assert [(row.model, row.verdict) for row in rows] == [("z", "better"), ("y", "worse"), ("x", "noise")]
    noise = {line.model: line.scores[0].noise for line in boards(here)[0].lines}
    assert noise == {"base": False, "z": False, "x": True, "y": False}
    assert left_by_holm(row.p for row in rows) == 2


def test_holm_is_stricter_than_each_alone(found):
    rows = comparisons(found(*[compare(f"m{i}", 0.1, 0.03) for i in range(5)]), [])
    assert all(row.verdict == "better" for row in rows) and left_by_holm(row.p for row in rows) == 0


def test_of_a_loss_a_negative_difference_is_better(found):
    row = compare("x", -0.3, 0.001) | {"metric": "perplexity_diff"}
    assert comparisons(found(row), [])[0].verdict == "better"


def test_of_which_metrics_less_is_better():
    assert low_is_good("eval_loss") and not low_is_good("logp") and not low_is_good("accuracy")


def test_all_are_drawn_on_one_axis_the_largest_first(found):
    rows = [
        one("base", "a", 0.5),
        one("base", "a", 9.0, "perplexity"),
        compare("y", -0.3, 0.01),
        compare("z", 0.4, 0.001),
    ]
    rows += [compare("y", -3.0, 0.01) | {"metric": "perplexity_diff"}]
    shares, perplexity = section(Context(found(*rows)))["forests"]
    assert [row.model for row, _ in shares.rows] == ["z", "y"] and (shares.low, perplexity.low) == (False, True)
    axes = [axis for _, axis in shares.rows]
    wide = 0.5 * ROOM
    assert axes[0].mark == pytest.approx(50 + 50 * 0.4 / wide, abs=0.01)
    assert axes[1].bar == pytest.approx((50 - 50 * 0.4 / wide, 50 * 0.2 / wide), abs=0.02)
    assert ("−0.4", pytest.approx(50 - 50 * 0.4 / wide)) in [(label, place) for place, label in shares.ticks]
    assert shares.columns == []


def test_an_oracle_is_not_compared_beside_the_expert_that_it_is(found, tmp_path):
    told = {"method": "routed", "router": "oracle"}
    rows = [one("base", "a", 0.5), one("x", "a", 0.75, method="expert"), one("o", "a", 0.75, **told)]
    other = [one("x", "b", 0.75, method="expert"), one("o", "b", 0.5, **told)]
    results = found(*rows, *other, compare("x", 0.25, 0.3), compare("o", 0.25, 0.3, **told))
    assert own_experts(results) == {("o", "a"): "x"}, "by their numbers"
    assert [row.model for row in Context(results).comparisons] == ["x"]
    assert section(Context(results))["same"] == 1
    card = tmp_path / "library" / "x" / "expert.json"
    card.parent.mkdir(parents=True)
    card.write_text(json.dumps({"name": "x", "task": ["a", "b"]}))
    rounded = found(*rows[:2], one("o", "a", 0.7501, **told), *other)
    assert own_experts(rounded) == {("o", "a"): "x"}, "by the card; on b the numbers say otherwise"
