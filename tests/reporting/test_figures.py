import json
import warnings

import pytest

from yosegi.findings import Dots
from yosegi.reporting import figures, report
from yosegi.reporting.read import read


def test_figures_are_drawn_where_they_are_asked_for(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without Japanese fonts
        report([run], tmp_path / "report.html")
        assert not (run / "figures").exists()
        report([run], tmp_path / "report.html", figures=True)
    names = ["curves.png", *(f"finding-{i}.png" for i in range(1, 6)), "leaderboard.png"]
    assert sorted(path.name for path in (run / "figures").iterdir()) == names
    assert all((run / "figures" / name).read_bytes()[:4] == b"\x89PNG" for name in names)


def test_a_run_without_results_has_no_leaderboard(run):
    (run / "results.jsonl").unlink()
    (run / "findings.json").unlink()
    figures.draw(read([run]))
    assert [path.name for path in (run / "figures").iterdir()] == ["curves.png"]


def test_a_figure_without_numbers_is_not_drawn(run, said):
    said["findings"][0]["figure"]["rows"] = [{"label": "untested", "value": None}]
    said["findings"][1]["figure"]["points"] = []
    (run / "findings.json").write_text(json.dumps(said))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        figures.draw(read([run]))
    drawn = {path.name for path in (run / "figures").iterdir()}
    assert {f"finding-{i}.png" for i in range(1, 6)} - drawn == {"finding-1.png", "finding-2.png"}


def test_a_picture_has_every_row_and_its_reference(said):
    figure = Dots(**said["findings"][0]["figure"])
    (axes,) = figures._finding(figure).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["base", "arrow", "untested"]
    assert axes.get_title("left") == "Accuracy by model" and axes.get_legend_handles_labels()[1] == [
        "without",
        "with",
        "chance",
    ]
    whiskers = [line.get_segments()[0][:, 0].tolist() for line in axes.collections]
    assert whiskers == [[0.125, 0.375], [0.625, 0.875]]


def test_a_missing_japanese_font_is_said_once_and_only_if_needed(monkeypatch):
    monkeypatch.setattr(figures, "CJK", ("No such font",))
    with pytest.warns(UserWarning, match="No Japanese font"):
        assert figures._fonts("算数") == ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures._fonts("maths") == ["DejaVu Sans"]
