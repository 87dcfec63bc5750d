"""The page as a reader gets it: numbers, escaping, missing parts, size, and that it asks nobody for anything."""

import html.parser
import json
import re
import subprocess
import sys
import time

import pytest

from yosegi.errors import Corrupt, NoData
from yosegi.files import read_jsonl
from yosegi.reporting import report

VOID = {"meta", "input", "wbr", "br", "path", "use", "rect"}


class Page(html.parser.HTMLParser):
    """Tables by section, text, tags and what they load."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.scripts, self.texts, self.rows, self.section = [], [], [], [], [], ""
        self.feed(text)
        assert not self.open, f"left open: {self.open}"

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "section":
            self.section = attributes["id"]
        if tag == "tr":
            self.rows.append((self.section, []))
        if tag in ("td", "th") and self.rows:
            self.rows[-1][1].append([attributes.get("data-value"), ""])

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.texts.append(data)
            if ("td" in self.open or "th" in self.open) and self.rows:
                self.rows[-1][1][-1][1] += data

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())

    def table(self, section):
        return [
            [(value, " ".join(text.split())) for value, text in row] for where, row in self.rows if where == section
        ]

    @property
    def sections(self):
        return [attributes["id"] for tag, attributes in self.tags if tag == "section"]


def read(path):
    return Page(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def text_of_page(kept_run, tmp_path_factory):
    return report([kept_run], tmp_path_factory.mktemp("page") / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text_of_page):
    return Page(text_of_page)


def rewrite(path, change):
    rows = read_jsonl(path)
    path.write_text("".join(json.dumps(change(row)) + "\n" for row in rows))


def test_the_leaderboard_says_what_the_files_say(kept_run, page):
    rows = [row for row in read_jsonl(kept_run / "results.jsonl") if "against" not in row]
    tables = page.table("leaderboard")
    heads = [[text for _, text in row] for row in tables if row[0][1] == "model"]
    lines = [row for row in tables if row[0][1] != "model"]
    assert len(heads) == 2 and len(lines) == 12  # accuracy and logp, six models each
    checked = 0
    for number, metric in enumerate(("accuracy", "logp")):
        tasks = [head.split(" n = ")[0] for head in heads[number][2:]]
        assert tasks == list(dict.fromkeys(row["task"] for row in rows))
        for line in lines[6 * number : 6 * number + 6]:
            model = line[0][1]
            means = []
            for task, (exact, printed) in zip(tasks, line[2:], strict=True):
                same = [r for r in rows if (r["model"], r["task"], r["metric"]) == (model, task, metric)]
                values = [row["value"] for row in same]
                assert float(exact) == pytest.approx(sum(values) / len(values), abs=1e-12)
                means.append(float(exact))
                shown = re.search(r"[−\d.]+", printed)[0].replace("−", "-")
                assert shown == f"{float(exact):.3f}"
                checked += 1
            assert float(line[1][0]) == pytest.approx(sum(means) / len(means))
    assert checked == 60


def test_the_best_of_a_column_is_marked_and_the_base_stands_first(page):
    cells = [a for tag, a in page.tags if tag == "td" and "cell" in a.get("class", "")][:36]
    for column in range(6):
        values = [float(cell["data-value"]) for cell in cells[column::6]]
        for cell, value in zip(cells[column::6], values, strict=True):
            assert ("best" in cell["class"].split()) == (value == max(values))
    assert page.table("leaderboard")[1][0][1] == "base"


def test_intervals_and_seeds_are_told_on_hover(kept_run, page):
    titles = {a["title"].split("\n")[0]: a["title"] for tag, a in page.tags if tag == "td" and "title" in a}
    row = next(r for r in read_jsonl(kept_run / "results.jsonl") if r["model"] == "oracle" and r["task"] == "mgsm_ja")
    assert row["metric"] == "accuracy"
    said = [a["title"] for tag, a in page.tags if a.get("title", "").startswith("oracle on mgsm_ja\naccuracy")]
    assert f"95 % interval {row['ci_low']:.3f} to {row['ci_high']:.3f}" in said[0]
    assert "mean of 3 seeds" in next(
        a["title"] for tag, a in page.tags if a.get("title", "").startswith("arrow on mgsm_ja\naccuracy")
    )
    assert titles


def test_comparisons_say_what_the_files_say(kept_run, page):
    rows = {(r["model"], r["task"]): r for r in read_jsonl(kept_run / "results.jsonl") if "against" in r}
    lines = [row for row in page.table("comparisons") if row[0][1] not in ("model", "")]
    assert len(lines) == len(rows) == 25
    for line in lines:
        row = rows[line[0][1], line[1][1]]
        assert float(line[2][0]) == row["diff"]
        assert [line[6][1], line[7][1]] == [str(row["gained"]), str(row["lost"])]
        assert float(line[5][0]) == row["p_value"]
        assert (line[4][1] == "inside the noise") == (row["p_value"] >= 0.05)
    noise = sum(row["p_value"] >= 0.05 for row in rows.values())
    assert noise and f"{noise} inside the noise" in page.text


def test_the_strips_count_what_the_comparisons_count(kept_run, page):
    rows = [r for r in read_jsonl(kept_run / "results.jsonl") if "against" in r and r["task"] == "skills/chain"]
    strips = [row for row in page.table("questions") if row[0][1] != "model"][12:18]
    counts = {row[0][1]: [text for _, text in row[2:]] for row in strips}
    for row in rows:
        right, gained, lost = counts[row["model"]]
        assert [gained.strip("+"), lost.strip("−")] == [str(row["gained"]), str(row["lost"])]
        of = next(
            r for r in read_jsonl(kept_run / "results.jsonl") if (r["model"], r["task"]) == (row["model"], row["task"])
        )
        assert int(right) == round(of["value"] * of["n"])


def test_pairs_ledgers_and_the_audit_count_what_the_items_say(kept_run, page):
    rows = [r for r in read_jsonl(kept_run / "results.jsonl") if r["metric"] == "accuracy" and r["items"]]
    right = {(r["model"], r["task"]): [i["score"] for i in read_jsonl(kept_run / r["items"])] for r in rows}
    lines = [row for row in page.table("pairs") if row[0][1] != "a"]
    assert len(lines) == 5 * 15, "every pair of six models on five tasks"
    first = dict(enumerate(text for _, text in lines[0]))
    a, b = right[first[0], "skills/reverse"], right[first[1], "skills/reverse"]
    counts = [sum(pair == kind for pair in zip(a, b, strict=True)) for kind in ((1, 1), (1, 0), (0, 1))]
    assert [first[4], first[5], first[6]] == list(map(str, counts))
    assert "when all are judged together (Holm)" in page.text
    assert page.text.count("p against the reference") == 5
    unread = sum(not i["parsed"] for r in rows for i in read_jsonl(kept_run / r["items"]))
    audited = [row for row in page.table("extraction") if row[0][1] in {r["task"] for r in rows}]
    assert unread and sum(int(row[3][1].split()[0]) for row in audited) == unread and "(nothing)" in page.text


def test_trainings_sizes_and_similarity_say_what_the_files_say(kept_run, page):
    curve = [r for r in read_jsonl(kept_run / "metrics.jsonl") if r["expert"] == "chain" and "loss" in r]
    line = next(row for row in page.table("training") if row[0][1] == "chain")
    assert line[1][1] == "400" and float(line[2][0]) == curve[0]["loss"] and float(line[6][0]) == curve[-1]["wall_s"]
    costs = [r for r in read_jsonl(kept_run / "results.jsonl") if r["model"] == "uniform" and r["metric"] == "accuracy"]
    line = next(row for row in page.table("costs") if row[0][1] == "uniform")
    assert [value for value, _ in line[1:3]] == [str(costs[0]["trainable_params"]), str(costs[0]["active_params"])]
    assert float(line[3][0]) == pytest.approx(sum(r["wall_s"] for r in costs))
    assert float(line[4][0]) == max(r["peak_mem_mb"] for r in costs)
    cosine = json.loads((kept_run / "similarity.json").read_text())["cosine"]
    assert [[float(value) for value, _ in row[1:]] for row in page.table("similarity")[1:]] == cosine


def test_findings_say_what_the_file_says(kept_run, page):
    said = json.loads((kept_run / "findings.json").read_text(encoding="utf-8"))
    assert page.sections[0] == "findings", "right after the headline"
    for finding in said["findings"]:
        figure = finding["figure"]
        for words in (finding["heading"], *finding.get("text", []), figure["title"], figure["caption"]):
            assert words in page.text
    assert said["title"] in page.text and "Means of tasks." in page.text
    tables = page.table("findings")
    assert [text for _, text in tables[0]] == ["model", "accuracy", "log p", "told"]
    base, arrow = tables[1:3]
    assert [value for value, _ in base] == [None, "0.25", "-1.5", None] and base[1][1] == "0.250 0.125 to 0.375"
    assert [text for _, text in arrow] == ["arrow", "0.750 0.625 to 0.875", "–", "nothing"]
    dots = {row[0][1]: [text for _, text in row] for row in tables if len(row) == 4 and row[0][1]}
    assert dots["untested"][2:] == ["–", ""]
    matrix = [row for row in tables if row[0][1] in ("a", "b")]
    assert [[value for value, _ in row[1:]] for row in matrix] == [["1", "-0.5", "0.25"], ["0.5", "", "0"]]


def test_a_title_is_not_printed_below_the_same_heading(run, findings, tmp_path):
    finding = findings["findings"][0]
    findings["findings"] = [finding | {"heading": "Once only", "figure": finding["figure"] | {"title": "Once only"}}]
    (run / "findings.json").write_text(json.dumps(findings))
    assert read(report([run], tmp_path / "report.html")).text.count("Once only") == 1


def test_a_picture_says_in_words_what_it_shows(page):
    pictures = [a for tag, a in page.tags if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(pictures) > 20 and all(len(a["aria-label"]) > 10 for a in pictures if a.get("role") == "img")
    assert all(a.get("role") == "img" for a in pictures)


def test_routing_says_what_the_file_says(kept_run, page):
    router = json.loads((kept_run / "routing.json").read_text())["routers"]["arrow"]
    lines = [row for row in page.table("routing") if len(row) == 7 and row[0][1] != "task"]
    assert [row[0][1] for row in lines] == list(router["tasks"])
    for row in lines:
        active, cv = router["active"][row[0][1]], router["cv"][row[0][1]]
        assert row[5][1] == f"{sum(map(sum, active)) / len(active):.2f}" and row[6][1] == f"{sum(cv) / len(cv):.2f}"
    assert page.text.count("Entropy by layer") == 1 and page.text.count("Imbalance of the load by layer") == 1
    assert page.text.count("so there is nothing to draw: uniform") == 1
    grids = [a for tag, a in page.tags if tag == "svg" and "chosen" in a.get("class", "")]
    assert len(grids) == len(router["tokens"]), "of the router that told them"


def test_japanese_is_there_as_it_was(page, text_of_page):
    assert "りんごが" in page.text and "太郎は毎朝" in page.text
    assert any("りんごが" in script for script in page.scripts)  # behind the strips
    assert '<meta charset="utf-8">' in text_of_page


def test_what_a_model_says_stays_text(run, tmp_path):
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&<!--"

    def poison(row):
        return {
            key: evil + str(value) if key in ("prompt", "target", "prediction") else value for key, value in row.items()
        }

    for path in sorted((run / "items").iterdir()):
        rewrite(path, poison)
    rewrite(
        run / "results.jsonl", lambda row: row | {"model": evil + row["model"], "task": row["task"] + evil, "run": evil}
    )
    rewrite(run / "metrics.jsonl", lambda row: row | {"expert": evil + row["expert"], "stage": evil})
    for name in (
        "config.json",
        "env.json",
        "routing.json",
        "similarity.json",
        "library/chain/expert.json",
        "findings.json",
    ):
        path = run / name
        path.write_text(
            re.sub(
                r'"(chain|demo|cpu|delta|nano|arrow|base|MBC|random|pair 1|accuracy|chance|Permutations|Like helps like|Means of tasks.|What came out)"',
                json.dumps(evil).replace("\\", r"\\"),
                path.read_text(),
            )
        )
    text = report([run], tmp_path / "report.html").read_text(encoding="utf-8")
    page = Page(text)
    assert "img" not in {tag for tag, _ in page.tags}
    kinds = [attributes.get("type") for tag, attributes in page.tags if tag == "script"]
    assert kinds.count(None) == 1 and set(kinds) == {None, "application/json"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert page.text.count("<img src=x onerror=alert(2)>") > 20  # as text
    for script in page.scripts:
        assert "alert(1)" not in script or json.loads(script)


def test_the_page_asks_nobody_for_anything(page, text_of_page):
    text = text_of_page
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed", "base", "form"), tag
        for name in ("src", "srcset", "data", "action", "background", "xlink:href"):
            assert name not in attributes, (tag, attributes)
        assert attributes.get("href", "#").startswith("#")
    assert not re.search(r"https?://|//\w+\.\w+/|@import|url\((?!#)", text)


def test_links_lead_to_sections(page):
    links = {a["href"][1:] for tag, a in page.tags if tag == "a"}
    assert links and links <= set(page.sections)


def test_a_bare_results_file_is_enough(run, tmp_path):
    bare = tmp_path / "bare"
    bare.mkdir()
    (run / "results.jsonl").rename(bare / "results.jsonl")
    page = read(report([bare], tmp_path / "report.html"))
    assert page.sections == ["leaderboard", "comparisons", "extraction", "costs"]


def test_no_run_or_nothing_in_it_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    for runs, words in (([tmp_path / "none"], "no run at"), ([tmp_path / "empty"], "is empty"), ([], "No run")):
        with pytest.raises(NoData, match=words) as caught:
            report(runs, tmp_path / "report.html")
        assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


def test_a_damaged_file_is_named(run, tmp_path):
    (run / "results.jsonl").write_text('{"model": "base"\n{"model": "a"}\n')
    with pytest.raises(Corrupt, match=r"results\.jsonl, line 1"):
        report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_the_same_files_give_the_same_bytes(kept_run, text_of_page, tmp_path):
    assert report([kept_run], tmp_path / "again.html").read_text(encoding="utf-8") == text_of_page


def test_several_runs_stand_side_by_side(run, make_run, tmp_path):
    other = make_run(tmp_path / "other")
    page = read(report([run, other, run], tmp_path / "report.html"))
    models = [row[0][1] for row in page.table("leaderboard")]
    assert len(models) == 2 * (1 + 12) and {"demo · arrow", "other · arrow"} <= set(models)
    assert "2 runs: demo, other" in page.text
    assert {row[0][1] for row in page.table("training")} >= {"demo · chain", "other · chain"}


def test_a_small_page_is_small(text_of_page):
    assert len(text_of_page.encode()) < 450_000


def test_a_large_run_is_still_a_page(make_run, tmp_path):
    models = {"base": ({"method": "base"}, [0.3, 0.5])}
    models |= {
        f"a model with quite a long name, number {i}": ({"router": "arrow"}, [0.2 + i / 40, 0.6]) for i in range(19)
    }
    run = make_run(tmp_path / "large", questions=2000, models=models, tasks=["wp_ja"], pad="長い問題です。" * 80)
    started = time.process_time()
    path = report([run], tmp_path / "report.html")
    assert time.process_time() - started < 30  # a second or two where nobody else computes
    assert path.stat().st_size < 5_000_000
    page = read(path)
    assert "Drawn: 1 question in 4 (500 of 2,000)" in page.text and "characters are cut" in page.text


def test_forty_arms_on_twenty_tasks_with_all_their_figures_are_still_a_page(make_run, told, findings, tmp_path):
    models = {"base": ({"method": "base"}, [0.3, 0.5])}
    models |= {f"a library with a long name, arm {i}": ({"router": "arrow"}, [0.2 + i / 80, 0.6]) for i in range(39)}
    tasks = [f"ni/task{i:04}_question_answering" for i in range(20)]
    run = make_run(tmp_path / "large", questions=20, models=models, tasks=tasks, pad="A long question. " * 20)
    experts = [f"task{i:04}_question_answering" for i in range(30)]
    rows = [[1 / 30] * 30] * 10
    router = {
        "layers": [f"model.layers.{i}" for i in range(10)],
        "tasks": dict.fromkeys(tasks, rows),
        "entropy": dict.fromkeys(tasks, [0.5] * 10),
        "tokens": [{"task": t, "text": ["abcd"] * 64, "weights": rows[:1] * 64} for t in tasks],
    }
    router = told(router)
    for token in router["tokens"]:
        token["chosen"] = [" ".join(str((i * j) % 30) for i in range(64)) for j in range(10)]
    write = {"experts": experts, "routers": {f"arm {i}": router for i in range(40)}}
    (run / "routing.json").write_text(json.dumps(write))
    points = [{"x": i / 7, "y": (i * i) % 11, "label": f"a pair of tasks, {i}"} for i in range(1000)]
    findings["findings"] = [
        {"heading": "Again", "figure": {**findings["findings"][1]["figure"], "points": points}}
    ] * 30
    (run / "findings.json").write_text(json.dumps(findings))
    path = report([run], tmp_path / "report.html")
    assert path.stat().st_size < 5_000_000
    text = read(path).text
    assert "501 of 1,000 points" in text and "the numbers are in findings.json" in text
    assert text.count("Entropy by layer") == 40 and "more experts with less load are left out" in text


def test_nothing_heavy_is_imported(run, tmp_path):
    program = (
        "import sys; from pathlib import Path; from yosegi.reporting import report\n"
        f"report([Path({str(run)!r})], Path({str(tmp_path / 'report.html')!r}))\n"
        "heavy = {'torch', 'transformers', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
