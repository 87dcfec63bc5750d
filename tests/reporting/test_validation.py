import json
import math
import warnings

import pytest

from yosegi.reporting import curves, figures, report, validation
from yosegi.reporting.read import read


def rows(expert, fall, rise, steps=(0, 50, 100), **more):
    """Forty tokens a step: the domain's loss falls to `fall`, that of the rest of the world rises to `rise`."""
    out = [
        {
            "step": s,
            "stage": "sft",
            "expert": expert,
            "loss": 3 - s / 100,
            "tokens": 40 * s,
            "tokens_per_s": 900,
            **more,
        }
        for s in range(1, 101)
    ]
    for s in steps:
        for name, end in (("law", fall), ("general", rise)):
            loss = 3 + (end - 3) * s / 100
            out.append(
                {
                    "step": s,
                    "stage": "sft",
                    "expert": expert,
                    "tokens": 40 * s,
                    "validation": name,
                    "validation_loss": loss,
                    **more,
                }
            )
    return out


@pytest.fixture
def charts(tmp_path):
    def write(*rows):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for some in rows for row in some))
        return curves.charts(read([tmp_path]))

    return write


def test_a_panel_a_set_and_a_line_a_training_by_tokens(charts):
    found = validation.watched(charts(rows("lora", 1.0, 3.5), rows("galore", 2.0, 3.25)))
    assert [panel.name for panel in found.panels] == ["law", "general"]
    law, general = (panel.shape for panel in found.panels)
    assert [one.name for one in law.series] == ["lora", "galore"] == [one.name for one in general.series]
    assert [p[:2] for p in law.series[0].points] == [(0, 3.0), (2000, 2.0), (4000, 1.0)] and law.x == "tokens read"
    assert [(arm.name, arm.tokens, arm.speed, arm.ends) for arm in found.arms] == [
        ("lora", 4000, 900, [(3.0, 1.0), (3.0, 3.5)]),
        ("galore", 4000, 900, [(3.0, 2.0), (3.0, 3.25)]),
    ]


def test_without_counted_tokens_it_is_by_step(charts):
    uncounted = [{key: value for key, value in row.items() if key != "tokens"} for row in rows("a", 1.0, 4.0)]
    (law, _) = validation.watched(charts(uncounted)).panels
    assert law.shape.x == "step" and [p[0] for p in law.shape.series[0].points] == [0, 50, 100]


def test_a_training_that_was_not_measured_on_a_set_keeps_its_colour_elsewhere(charts):
    half = [row for row in rows("b", 1.0, 4.0) if row.get("validation") != "law"]
    found = validation.watched(charts(rows("a", 1.0, 4.0), half))
    assert [len(one.points) for one in found.panels[0].shape.series] == [3, 0] and found.arms[1].ends[0] is None
    assert {mark.hue for mark in found.panels[0].plot.marks} == {"c0"}
    assert {mark.hue for mark in found.panels[1].plot.marks} == {"c0", "c1"}


def test_stages_are_told_apart_and_nothing_measured_is_nothing_drawn(charts):
    dense = [row | {"stage": "dense"} for row in rows("a", 2.0, 4.0)]
    assert [arm.name for arm in validation.watched(charts(rows("a", 1.0, 4.0), dense)).arms] == ["sft · a", "dense · a"]
    assert validation.watched(charts([{"step": 1, "loss": 1.0}, {"step": 1, "validation_loss": 1.0}])) is None


def test_the_page_and_the_picture_have_it(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    broken = {"step": 100, "stage": "sft", "expert": "b", "validation": "other", "validation_loss": None}
    every = [*rows("a", 1.0, 3.5), *rows("b", 2.0, 3.25), broken]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in every))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without Japanese fonts
        page = report([run], tmp_path / "report.html", figures=True).read_text(encoding="utf-8")
    assert "Learnt and forgotten" in page and page.count('class="set0"') == 3 and "−2.000" in page and "+0.500" in page
    assert (run / "figures" / "validation.png").read_bytes()[:4] == b"\x89PNG"
    sheet = figures._watched(validation.watched(curves.charts(read([run]))))
    assert [axes.get_title(loc="left") for axes in sheet.axes][:2] == ["law", "general"]
    drawn = sheet.axes[0].lines[0].get_ydata()
    assert math.isclose(drawn[0], 3.0) and math.isclose(drawn[-1], 1.0)
