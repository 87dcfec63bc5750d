"""The whole of it: what is kept and why, after a kill, in bounded memory, and on real pages."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest

from yosegi import curate as machine
from yosegi import files, tasks
from yosegi.curate import Page, Pages, curate, sample
from yosegi.errors import Invalid, UnknownName
from yosegi.scores import Rule, Score, load

ROOT = Path(__file__).parents[2]
KANJI = "".join(chr(0x4E00 + i) for i in range(400))


def prose(seed, length=300):
    """Japanese by its letters, and unlike that of any other seed."""
    draw = random.Random(seed)
    return "".join(draw.choice(KANJI) + draw.choice("のはをにがと") for _ in range(length // 2))


@pytest.fixture
def corpus(tmp_path):
    """Pages of every kind, in two files."""
    law = [
        {"id": f"law{i}", "title": f"法{i}", "text": prose(i) + "鉄道" * (10 - i), "raw": {"credit": "x"}}
        for i in range(8)
    ]
    odd = [
        {"id": "english", "text": "The rails are long pieces of steel that are laid in two rows. " * 5},
        {"id": "short", "text": "短い"},
        {"id": "again", "text": prose(0) + "鉄道" * 9},
        {"id": "blank", "text": " \n"},
        {"id": "law0", "text": prose(99) + "another page of the same name"},
    ]
    (tmp_path / "in").mkdir()
    for name, rows in (("a.jsonl", law), ("b.jsonl", odd)):
        (tmp_path / "in" / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows) + "")
    with (tmp_path / "in" / "b.jsonl").open("a") as file:
        file.write("{half a row\n")
    return Pages([tmp_path / "in"])


FILTERS = {"lang": ["ja"], "min_chars": 10, "near_duplicates": 0.8}


def read(folder, name):
    return files.read_jsonl(folder / f"{name}.jsonl")


def test_what_is_kept_and_why_the_rest_was_dropped(corpus, tmp_path):
    out = tmp_path / "out"
    summary = curate(corpus, out, [load("keywords{words=鉄道}")], [Rule(keep=0.5)], **FILTERS)
    evidence = {row["id"]: row for row in read(out, "evidence")}
    assert {name: row["rule"] for name, row in evidence.items() if row["rule"]} == {
        "english": "language", "short": "short", "again": "near_duplicate", "blank": "empty", "in/b.jsonl/6": "unreadable",
        "law5": "score keywords", "law6": "score keywords", "law7": "score keywords", "law0#12": "score keywords",
    }  # fmt: skip
    assert evidence["again"]["why"]["of"] == "law0" and evidence["again"]["why"]["similarity"] >= 0.8
    assert (
        evidence["law5"]["why"]["low"]
        == evidence["law4"]["scores"]["keywords"]
        > evidence["law5"]["scores"]["keywords"]
    )
    assert evidence["english"]["scores"] == {"keywords": None} and evidence["english"]["why"] == {"language": "en"}
    kept, dropped = read(out, "kept"), read(out, "dropped")
    assert [row["id"] for row in kept] == ["law0", "law1", "law2", "law3", "law4"] and len(dropped) == 9
    assert kept[0]["raw"] == {"credit": "x"} and kept[0]["title"] == "法0" and kept[0]["chars"] == len(kept[0]["text"])
    assert {row["split"] for row in kept} == {"train", "valid"} and dropped[0]["rule"]
    assert (summary["before"]["pages"], summary["after"]["pages"]) == (14, 5)
    assert sum(rule["pages"] for rule in summary["rules"]) == 9 and files.read_json(out / "statistics.json") == summary
    assert {(row["source"], row["line"]) for row in evidence.values()} >= {("in/a.jsonl", 8), ("in/b.jsonl", 1)}


def test_without_any_rule_every_page_stays_as_it_was(corpus, tmp_path):
    curate(corpus, tmp_path / "out")
    kept = read(tmp_path / "out", "kept")
    texts = [page.text for page in corpus if page.text.strip()]
    assert [row["text"] for row in kept] == texts and len(texts) == 12


def test_the_task_corpus_reads_what_was_kept(corpus, tmp_path, monkeypatch):
    curate(corpus, tmp_path / "out", **FILTERS)
    (tmp_path / "data" / "corpus").mkdir(parents=True)
    (tmp_path / "out" / "kept.jsonl").rename(tmp_path / "data" / "corpus" / "mine.jsonl")
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path / "data"))
    task = tasks.load("corpus/mine")
    assert task.examples("train") and task.examples("validation")


def test_splits_that_are_told_stay(tmp_path):
    rows = [{"id": str(i), "text": prose(i), "split": ("train", "validation", "test", None)[i % 4]} for i in range(40)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    curate(Pages([tmp_path / "a.jsonl"]), tmp_path / "out")
    assert [row["split"] for row in read(tmp_path / "out", "kept")] == ["train", "valid", "test", "train"] * 10


class Counted(Score):
    """The length, and how often it was asked; it may break off."""

    name = "counted"

    def __init__(self, breaks_at=10**9):
        self.asked, self.breaks_at = [], breaks_at

    def of(self, texts):
        if len(self.asked) + len(texts) > self.breaks_at:
            raise KeyboardInterrupt
        self.asked += texts
        return [float(len(text)) for text in texts]


@pytest.fixture
def many(tmp_path):
    rows = [{"id": f"p{i}", "text": prose(i % 190, 400 + i)} for i in range(200)]  # the last ten begin as the first
    (tmp_path / "many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Pages([tmp_path / "many.jsonl"])


def folder(path):
    return {file.name: file.read_bytes() for file in sorted(path.iterdir()) if file.suffix in (".jsonl", ".json")}


def test_broken_off_anywhere_the_same_call_goes_on(many, tmp_path, monkeypatch):
    whole = Counted()
    curate(many, tmp_path / "whole", [whole], [Rule(keep=0.25)], near_duplicates=0.7)
    asked, again = 0, tmp_path / "again"
    for breaks_at in (0, 40, 70, 33):
        score = Counted(breaks_at)
        with pytest.raises(KeyboardInterrupt):
            curate(many, again, [score], [Rule(keep=0.25)], near_duplicates=0.7)
        assert not (again / "kept.jsonl").exists()
        asked += len(score.asked)
    write = machine._line
    calls = []

    def dies(file, row):
        calls.append(1)
        if len(calls) > 77:
            raise KeyboardInterrupt
        write(file, row)

    monkeypatch.setattr(machine, "_line", dies)
    score = Counted()
    with pytest.raises(KeyboardInterrupt):
        curate(many, again, [score], [Rule(keep=0.25)], near_duplicates=0.7)
    assert not [file for file in again.iterdir() if "jsonl" in file.name], "nothing half-written"
    monkeypatch.undo()
    last = Counted()
    curate(many, again, [last], [Rule(keep=0.25)], near_duplicates=0.7)
    assert last.asked == [] and asked + len(score.asked) == len(whole.asked) < 200, "no page was scored twice"
    assert folder(again) == folder(tmp_path / "whole")


KILLED = """
import sys, time
from pathlib import Path
from yosegi.curate import Pages, curate
from yosegi.scores import Rule, Score

class Slow(Score):
    name = "slow"
    def of(self, texts):
        time.sleep(float(sys.argv[3]))
        print(len(texts), flush=True)
        return [float(len(text)) for text in texts]

curate(Pages([sys.argv[1]]), Path(sys.argv[2]), [Slow()], [Rule(keep=0.25)])
"""


def test_killed_it_goes_on(many, tmp_path):
    def start(out, seconds):
        words = [sys.executable, "-c", KILLED, tmp_path / "many.jsonl", tmp_path / out, str(seconds)]
        return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ})

    process = start("out", 0.2)
    scored = int(process.stdout.readline()) + int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    rest = sum(map(int, start("out", 0).communicate()[0].split()))
    assert 200 - scored <= rest < 200, "what was committed is not scored again"
    assert sum(map(int, start("whole", 0).communicate()[0].split())) == 200
    assert folder(tmp_path / "out") == folder(tmp_path / "whole")


def test_what_a_killed_one_left_is_swept(many, tmp_path):
    (tmp_path / "out").mkdir()
    (left := tmp_path / "out" / ".kept.jsonl.abcd1234").write_text("{")
    os.utime(left, (time.time() - 2,) * 2)
    curate(many, tmp_path / "out", [Counted()], [Rule(keep=0.25)])
    assert not left.exists()


def test_another_share_scores_nothing_again(many, tmp_path):
    first, second = Counted(), Counted()
    curate(many, tmp_path / "out", [first], [Rule(keep=0.25)])
    summary = curate(many, tmp_path / "out", [second], [Rule(low=200)], validation=0)
    assert len(first.asked) == 200 and second.asked == []
    kept = read(tmp_path / "out", "kept")
    assert summary["after"]["pages"] == len(kept) == sum(len(page.text) >= 200 for page in many)
    assert {row["split"] for row in kept} == {"train"}


def test_another_curation_does_not_go_into_the_same_folder(many, tmp_path):
    out = tmp_path / "out"
    curate(many, out, [Counted()], [Rule(keep=0.25)])
    before = folder(out)
    with pytest.raises(Invalid, match="another curation .min_chars differ"):
        curate(many, out, [Counted()], [Rule(keep=0.25)], min_chars=5)
    with pytest.raises(Invalid, match="another curation .scores differ"):
        curate(many, out, [load("length")], [Rule(keep=0.25)])
    (tmp_path / "many.jsonl").write_text('{"text": "other"}\n')
    with pytest.raises(Invalid, match="another curation .corpus differ"):
        curate(Pages([tmp_path / "many.jsonl"]), out, [Counted()], [Rule(keep=0.25)])
    assert folder(out) == before
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "kept.jsonl").write_text("mine")
    with pytest.raises(Invalid, match="holds something else"):
        curate(many, tmp_path / "foreign")


def test_a_corpus_that_changes_between_the_readings_is_noticed(tmp_path):
    class Changing:
        readings = 0

        def __iter__(self):
            self.readings += 1
            yield from (Page(str(i), f"{prose(i)} {self.readings if i == 5 else ''}") for i in range(9))

    with pytest.raises(Invalid, match="has changed since"):
        curate(Changing(), tmp_path / "out")
    assert not (tmp_path / "out" / "kept.jsonl").exists()


class Endless:
    """A corpus of `count` pages that exist only while they are looked at."""

    def __init__(self, count, chars=500):
        self.count, self.chars = count, chars

    def __iter__(self):
        draw = random.Random(0)
        for i in range(self.count):
            yield Page(f"p{i}", "鉄" + "".join(draw.choices("あいうえおかきくけこ鉄道法律料理", k=self.chars)))


def peak(count, out):
    tracemalloc.start()
    try:
        curate(
            Endless(count),
            out,
            [load("length"), load("keywords{words=鉄道}")],
            [Rule(), Rule(keep=0.3)],
            near_duplicates=0.8,
        )
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_corpus(tmp_path):
    peak(40, tmp_path / "warm")
    few, many = peak(80, tmp_path / "few"), peak(320, tmp_path / "many")
    added = 240 * sys.getsizeof(next(iter(Endless(1))).text)
    assert added > 200_000 and many - few < added / 4, (few, many)


def test_pages_to_label_are_drawn_at_random(corpus):
    rows = sample(corpus, 5, ["ja"], 10)
    assert (
        len(rows) == 5
        and all(row["label"] is None and row["text"] for row in rows)
        and rows == sample(corpus, 5, ["ja"], 10)
    )
    ids = [page.id for page in corpus]
    assert [ids.index(row["id"]) for row in rows] == sorted(ids.index(row["id"]) for row in rows)
    assert {row["id"] for row in sample(corpus, 99)} == {page.id for page in corpus if page.text and not page.fault}


def test_what_cannot_be_curated(corpus, tmp_path):
    out = tmp_path / "out"
    for arguments, message in (
        ({"scores": [load("length")], "rules": [Rule(), Rule()]}, "1 scores need as many rules; 2"),
        ({"scores": [load("length"), load("length")]}, "'length' was given twice"),
        ({"min_chars": 5, "max_chars": 3}, "no page is that long"),
        ({"validation": 1.0}, "--validation: Input should be less than 1"),
        ({"languages": ["ja"]}, "unknown setting 'languages'"),
        ({"near_duplicates": 2.0}, "near_duplicates=2"),
    ):
        with pytest.raises(Invalid, match=message):
            curate(corpus, out, **arguments)
    with pytest.raises(UnknownName, match="No known language is called 'jp'. Did you mean"):
        curate(corpus, out, lang=["jp"])
    assert not out.exists(), "nothing was written"
    (tmp_path / "bad.jsonl").write_text('{"body": "x"}\n')
    with pytest.raises(Invalid, match="No page of the corpus can be read; of the first, in bad.jsonl: no field 'text'"):
        curate(Pages([tmp_path / "bad.jsonl"]), out)
    (tmp_path / "out2").write_text("")
    with pytest.raises(Invalid, match="is a file"):
        curate(corpus, tmp_path / "out2")


@pytest.fixture
def mixture():
    """76 railway laws, 188 chapters of a novel about food, 10 English articles."""
    here = Path(os.environ["YOSEGI_DATA"]) / "corpus"
    return Pages([here / f"{name}.jsonl" for name in ("ja_railway_law", "ja_food_novel", "en_general_wiki")])


def quality(out, pages, without=()):
    """(precision, recall, pages kept) of the laws among the pages that were not labelled by hand."""
    law = {page.id for page in pages if page.id.startswith("ja_railway_law/")} - set(without)
    kept = {row["id"] for row in files.read_jsonl(out / "kept.jsonl")} - set(without)
    return len(kept & law) / len(kept), len(kept & law) / len(law), len(kept)


@pytest.mark.data
def test_keywords_pick_the_laws_out_of_a_mixture(mixture, tmp_path):
    curate(
        mixture, tmp_path / "out", [load("keywords{words=[鉄道,軌道,第一条,施行]}")], [Rule(low=2)], near_duplicates=0.8
    )
    precision, recall, count = quality(tmp_path / "out", mixture)
    assert precision >= 0.95 and recall >= 0.9, (precision, recall, count)


@pytest.mark.data
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ten_labelled_pages_pick_the_laws_out_of_a_mixture(mixture, tmp_path, seed):
    """Five laws and five other pages, drawn at random; half is the threshold, as the labels say nothing else.

    With seed 0 no English page was labelled, and all ten score just above half (precision 0.86): hence the language.
    """
    pages = list(mixture)
    draw = random.Random(seed)
    laws = draw.sample([page for page in pages if page.id.startswith("ja_railway_law/")], 5)
    rest = draw.sample([page for page in pages if not page.id.startswith("ja_railway_law/")], 5)
    rows = [{"id": p.id, "text": p.text, "label": int(p in laws)} for p in laws + rest]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    score = load(f"labelled{{path={tmp_path / 'labels.jsonl'}}}")
    curate(mixture, tmp_path / "out", [score], [Rule(low=0.5)], lang=["ja"])
    precision, recall, count = quality(tmp_path / "out", mixture, [row["id"] for row in rows])
    assert precision >= 0.95 and recall >= 0.95, (precision, recall, count)
