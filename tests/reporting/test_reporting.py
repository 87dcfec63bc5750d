"""The way in; what the page says is tested in test_page.py."""

import json
from pathlib import Path

from yosegi.reporting import report


def test_report_takes_paths_or_strings_and_makes_the_folder(tmp_path):
    row = {"model": "base", "task": "add", "metric": "accuracy", "value": 0.5}
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "results.jsonl").write_text(json.dumps(row) + "\n")
    page = report([str(tmp_path / "run")], str(tmp_path / "new" / "page.html"))
    assert isinstance(page, Path) and page == tmp_path / "new" / "page.html"
    assert "0.500" in page.read_text(encoding="utf-8")
    assert [path.name for path in page.parent.iterdir()] == ["page.html"]
