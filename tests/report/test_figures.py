import warnings

import pytest

from yosegi.report import figures, report
from yosegi.report.read import read


def test_figures_are_drawn_where_they_are_asked_for(run, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a machine without Japanese fonts
        report([run], tmp_path / "report.html")
        assert not (run / "figures").exists()
        report([run], tmp_path / "report.html", figures=True)
    for name in ("leaderboard.png", "curves.png"):
        assert (run / "figures" / name).read_bytes()[:4] == b"\x89PNG"


def test_a_run_without_results_has_no_leaderboard(run):
    (run / "results.jsonl").unlink()
    figures.draw(read([run]))
    assert [path.name for path in (run / "figures").iterdir()] == ["curves.png"]


def test_a_missing_japanese_font_is_said_once_and_only_if_needed(monkeypatch):
    monkeypatch.setattr(figures, "CJK", ("No such font",))
    with pytest.warns(UserWarning, match="No Japanese font"):
        assert figures._fonts("算数") == ["DejaVu Sans"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures._fonts("maths") == ["DejaVu Sans"]
