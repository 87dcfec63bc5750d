import json

import pytest

from yosegi.reporting import report
from yosegi.reporting.context import Context
from yosegi.reporting.draw.figure import draw_lines
from yosegi.reporting.read import read
from yosegi.reporting.sections import validation


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
def results(tmp_path):
    def write(*rows):
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for some in rows for row in some))
        return read([tmp_path])

    return write


@pytest.fixture
def figures(monkeypatch):
    """The figures that are drawn."""
    drawn = []
    monkeypatch.setattr(validation, "draw_lines", lambda figure: drawn.append(figure) or draw_lines(figure))
    return drawn


def test_a_panel_per_set_and_a_line_per_training_by_tokens(results, figures):
    found = validation.section(Context(results(rows("lora", 1.0, 3.5), rows("galore", 2.0, 3.25))))
    assert [title for title, _ in found["panels"]] == ["law", "general"]
    law, general = figures
    assert [one.name for one in law.series] == ["lora", "galore"] == [one.name for one in general.series]
    assert law.series[0].points == [(0, 3.0), (2000, 2.0), (4000, 1.0)] and law.x == "tokens read"
    assert [(legend, curve.last("tokens"), curve.speed) for legend, curve, _ in found["rows"]] == [
        (("c0", "lora"), 4000, 900),
        (("c1", "galore"), 4000, 900),
    ]
    assert [[(of[0], of[-1]) for of in losses] for *_, losses in found["rows"]] == [
        [(3.0, 1.0), (3.0, 3.5)],
        [(3.0, 2.0), (3.0, 3.25)],
    ]


def test_without_counted_tokens_it_is_by_step(results, figures):
    validation.plots(
        results([{key: value for key, value in row.items() if key != "tokens"} for row in rows("a", 1.0, 4.0)])
    )
    assert figures[0].x == "step" and [x for x, _ in figures[0].series[0].points] == [0, 50, 100]


def test_a_training_that_was_not_measured_on_a_set_keeps_its_colour_elsewhere(results):
    half = [row for row in rows("b", 1.0, 4.0) if row.get("validation") != "law"]
    found = validation.section(Context(results(rows("a", 1.0, 4.0), half)))
    colours = [{mark.colour for mark in plot.marks} for _, plot in found["panels"]]
    assert colours == [{"c0"}, {"c0", "c1"}] and found["rows"][1][2][0] == []


def test_stages_are_told_apart_and_nothing_measured_is_nothing_drawn(results):
    dense = [row | {"stage": "dense"} for row in rows("a", 2.0, 4.0)]
    assert list(validation.watched(results(rows("a", 1.0, 4.0), dense))) == ["sft · a", "dense · a"]
    unnamed = results([{"step": 1, "loss": 1.0}, {"step": 1, "validation_loss": 1.0}])
    assert validation.section(Context(unnamed)) is None


def test_the_page_and_the_picture_have_it(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    broken = {"step": 100, "stage": "sft", "expert": "b", "validation": "other", "validation_loss": None}
    every = [*rows("a", 1.0, 3.5), *rows("b", 2.0, 3.25), broken]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in every))
    page = report([run], tmp_path / "report.html", figures=True).read_text(encoding="utf-8")
    assert "Learnt and forgotten" in page and page.count('class="set0') == 3 and "−2.000" in page and "+0.500" in page
    assert (run / "figures" / "validation.png").read_bytes()[:4] == b"\x89PNG"
