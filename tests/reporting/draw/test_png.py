import warnings

import pytest

from yosegi.findings import Bars, Dot, Dots, Lines, Matrix, Point, Reference, Scatter, Series
from yosegi.reporting.draw import png
from yosegi.reporting.draw.figure import draw

FIGURES = [
    Dots("Dots", "", [Dot("a", 0.2, 0.1, 0.3, "x"), Dot("b", None, group="y")], reference=Reference(0.2, "base")),
    Scatter("Scatter", "", [Point(x, 2 * x + 1, f"p{x}") for x in range(5)], line=True, diagonal=True),
    Lines("Lines", "", [Series("a", [(1, 0, -1, 1), (2, 1, 0, 2)]), Series("b", [(1, 1)])], reference=Reference(1)),
    Bars("Bars that stand", "", ["1", "2"], [1, -2]),
    Bars("Bars that lie", "", ["one cluster", "another"], [4, 8]),
    Matrix("Matrix", "", ["a"], ["x", "y"], [[-0.5, None]]),
]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.title)
def test_every_drawing_becomes_a_picture(figure, tmp_path):
    png.write(tmp_path / "new" / "one.png", [(figure.title, draw(figure))])
    assert (tmp_path / "new" / "one.png").read_bytes()[:4] == b"\x89PNG"


def test_panels_have_every_row_and_share_a_legend(tmp_path, monkeypatch):
    import matplotlib.figure

    made = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda self, *_, **__: made.append(self))
    png.write(tmp_path / "p.png", [("first", draw(FIGURES[0])), ("second", draw(FIGURES[0]))], columns=2)
    first, second = made[0].axes
    assert [label.get_text() for label in first.get_yticklabels()] == ["a", "b"] and first.get_title("left") == "first"
    assert [label.get_text() for label in second.get_yticklabels()] == ["", ""]
    (whisker,) = first.collections
    low, high = whisker.get_segments()[0][:, 0]
    assert low < draw(FIGURES[0]).rows[0].axis.mark < high
    assert [text.get_text() for text in made[0].legends[0].get_texts()] == ["x", "y"]


def test_a_missing_japanese_font_is_said_only_if_it_is_needed(monkeypatch):
    monkeypatch.setattr(png, "CJK", ("No such font",))
    with pytest.warns(UserWarning, match="No Japanese font"):
        assert png._fonts("算数") == ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert png._fonts("maths") == ["DejaVu Sans"]
