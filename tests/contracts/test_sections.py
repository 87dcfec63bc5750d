"""Every section of the report: the contract of its file, what it needs, and that it is there when that is there and not otherwise.

To add a section, add a row to SECTIONS: the file of a run that it needs, and words that it prints.
"""

import json
import shutil
from pathlib import Path

import pytest

from yosegi.registry import HERE
from yosegi.reporting.context import Context
from yosegi.reporting.page import page
from yosegi.reporting.read import read
from yosegi.reporting.sections import ORDER, sections

SECTIONS = {
    "headline": ("results.jsonl", "3 models on 2 tasks"),
    "findings": ("findings.json", "What came out"),
    "against": ("another run", "6 results of this run beside those of other: 0 better, 0 worse, 6 inside the noise"),
    "leaderboard": ("results.jsonl", "two are few questions"),
    "comparisons": ("results.jsonl", "1 comparison on the same questions"),
    "forgetting": ("results.jsonl", "no loss shown; at most"),
    "pairs": ("items", "do not tell any two of the 3 models apart"),
    "questions": ("items", "4 questions"),
    "ledger": ("items", "gained by more"),
    "extraction": ("items", "contains the target"),
    "examples": ("items", "lost by most"),
    "training": ("metrics.jsonl", "loss by step"),
    "validation": ("metrics.jsonl", "tokens read"),
    "routing": ("routing.json", "The routing weight of each expert"),
    "similarity": ("similarity.json", "(space: delta)"),
    "cards": ("library", "Training took 12.0 s in all"),
    "costs": ("results.jsonl", "12,345"),
    "setting": ("config.json", "training.rank"),
}
FILES = sorted({file for file, _ in SECTIONS.values()} - {"another run"})


def results():
    scores = {"base": "1100", "a": "1110", "b": "0110"}
    for task, general in (("skill", False), ("knowledge", True)):
        for model, marks in scores.items():
            name = f"items/{task}.{model}.jsonl"
            row = {
                "model": model,
                "task": task,
                "metric": "exact_match",
                "value": marks.count("1") / 4,
                "n": 4,
                "seed": 0,
            }
            row |= {"method": "base" if model == "base" else "expert", "base": "nano", "base_hash": "h", "items": name}
            row |= {
                "ci_low": 0.1,
                "ci_high": 0.9,
                "trainable_params": 12345,
                "general": general,
                "remark": "two are few questions",
            }
            items = [
                {
                    "id": f"q{i}",
                    "score": float(m),
                    "prompt": "p",
                    "target": "yes",
                    "prediction": "yes, or no",
                    "parsed": True,
                }
                for i, m in enumerate(marks)
            ]
            yield row, items
    yield {**row, "task": "skill", "against": "base", "p_value": 0.5, "diff": 0.25, "gained": 1, "lost": 0}, None


@pytest.fixture
def run(tmp_path):
    rows, written = [], tmp_path / "run"
    (written / "items").mkdir(parents=True)
    for row, items in results():
        rows.append(row)
        if items is not None:
            (written / row["items"]).write_text("".join(json.dumps(item) + "\n" for item in items))
    lines = [{"step": s, "expert": "a", "loss": 1.0 / s, "tokens": s} for s in (1, 2)]
    lines += [{"step": s, "expert": "a", "validation": "law", "validation_loss": 2.0, "tokens": s} for s in (1, 2)]
    for name, of in (("results.jsonl", rows), ("metrics.jsonl", lines)):
        (written / name).write_text("".join(json.dumps(row) + "\n" for row in of))
    router = {"tasks": {"skill": [[0.75, 0.25], [0.5, 0.5]]}, "tokens": [{"text": ["x"], "weights": [[1.0, 0.0]]}]}
    for name, value in {
        "findings.json": {"title": "What came out", "findings": [{"heading": "h"}]},
        "routing.json": {"experts": ["a", "b"], "routers": {"arrow": router}},
        "similarity.json": {"experts": ["a", "b"], "cosine": [[1, 0.5], [0.5, 1]], "space": "delta"},
        "config.json": {"training": {"rank": 8}},
        "library/a/expert.json": {"name": "a", "metrics": {"wall_s": 12.0}},
    }.items():
        (written / name).parent.mkdir(parents=True, exist_ok=True)
        (written / name).write_text(json.dumps(value))
    return written


def test_the_drawer_was_walked():
    files = {path.stem for path in (HERE / "reporting" / "sections").glob("*.py") if path.stem[0] != "_"}
    assert files == set(ORDER) == set(SECTIONS) and len(ORDER) == len(set(ORDER)) >= 16


@pytest.mark.parametrize("name", ORDER)
def test_a_section_has_its_title_its_link_and_its_template(name):
    module = sections()[name]
    assert isinstance(module.TITLE, str) and isinstance(module.LINK, str)
    assert (HERE / "reporting" / "sections" / f"{name}.html.j2").is_file()
    assert module.section.__doc__ and (not hasattr(module, "digest") or module.digest.__doc__)


def test_every_section_says_what_it_should(run, tmp_path):
    html = page(read([run]), read([Path(shutil.copytree(run, tmp_path / "other"))]))
    for name, (_, words) in SECTIONS.items():
        assert words in html, name
    places = [html.index(f'<section id="{name}"') for name in ORDER[1:]]
    assert places == sorted(places), "in their order"


@pytest.mark.parametrize("file", FILES)
def test_a_section_is_left_out_without_its_file(run, tmp_path, file):
    (run / file).rename(tmp_path / "away")
    html = page(read([run]))
    for name, (needs, words) in SECTIONS.items():
        is_there = words in html if name == "headline" else f'<section id="{name}"' in html
        needs_more = needs == "another run" or needs == "items" and file == "results.jsonl"
        assert is_there == (needs != file and not needs_more and (name, file) != ("forgetting", "items")), name
    assert all(f'href="#{module.LINK}"' not in html for module in sections().values() if not module.LINK)


def test_nothing_at_all_is_a_page_with_a_headline(run):
    for file in FILES:
        if file not in ("items", "library", "config.json"):
            (run / file).unlink()
    shutil.rmtree(run / "library")
    (run / "metrics.jsonl").write_text('{"step": 1}\n')
    context = Context(read([run]), {name: [] for name in ORDER})
    there = [name for name, module in sections().items() if module.section(context) is not None]
    assert there == ["headline", "setting"]
