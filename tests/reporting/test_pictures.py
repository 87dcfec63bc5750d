import json
import warnings

from yosegi.reporting import pictures, report
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
    pictures.write(read([run]))
    assert [path.name for path in (run / "figures").iterdir()] == ["curves.png"]


def test_a_figure_without_numbers_is_not_drawn(run, findings):
    for finding in findings["findings"]:
        del finding["figure"]
    figure = {"kind": "scatter", "title": "t", "caption": "c", "points": []}
    findings["findings"][0]["figure"] = figure
    (run / "findings.json").write_text(json.dumps(findings))
    (run / "results.jsonl").unlink()
    pictures.write(read([run]))
    assert [path.name for path in (run / "figures").iterdir()] == ["curves.png"]
