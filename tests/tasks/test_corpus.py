import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks.corpus import passages


@pytest.fixture
def data(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    texts = [
        ("鉄道法", "第一条　鉄道とは\n第二条　", "train"),
        (None, "Rails are long pieces of steel, laid in two rows.", "valid"),
    ]
    write(
        "corpus/law.jsonl",
        [
            {"id": f"law/{i}", "title": title, "text": text, "split": split}
            for i, (title, text, split) in enumerate(texts)
        ],
    )
    write("corpus/law_terms.jsonl", [{}])


def test_a_passage_follows_the_title_of_its_text(data):
    (train,) = tasks.load("corpus/law").examples("train")
    assert (train.id, train.prompt, train.target) == ("law/0/0", "鉄道法", "\n第一条　鉄道とは\n第二条")
    (held,) = tasks.load("corpus/law").examples("validation")
    assert held.prompt == "Rails are long pieces of steel, laid in"


def test_documents_are_the_whole_texts(data):
    (train,) = tasks.load("corpus/law").documents("train")
    assert (train.id, train.prompt, train.target) == ("law/0", "鉄道法", "\n第一条　鉄道とは\n第二条")
    (held,) = tasks.load("corpus/law").documents("validation")
    assert held.prompt == "Rails are long pieces of steel, laid in" and held.target.endswith("laid in two rows.")
    assert tasks.load("skills/sort").documents("test") == tasks.load("skills/sort").examples("test"), (
        "where no more is known"
    )


@each(
    "text",
    [
        "一行。\n" * 300,
        "句点で終わる文。" * 200,
        "no end " * 500,
        "A sentence. Another one! " * 100,
        "あ" * 1000,
        "\n\n\n",
        "short",
        "　字下げ\n" * 90 + "長" * 900 + "\n終",
    ],
)
def test_passages_are_the_text_in_pieces(text):
    found = passages(text, 400)
    assert all(0 < len(passage) <= 400 for passage in found)
    assert "".join("".join(found).split()) == "".join(text.split()), "nothing is lost"
    assert len(found) <= 2 + 2 * len(text) // 400


def test_cuts_are_at_the_ends_of_lines_and_sentences():
    assert passages("一行目。\n二行目。\n三行目。", 10) == ["一行目。\n二行目。", "三行目。"]
    assert passages("ab. cd. ef.", 8) == ["ab. cd.", "ef."]


def test_the_beginning_of_a_continuation_is_scored(data):
    task = tasks.load("corpus/law")
    (example,) = task.examples("train")
    assert task.score(example, example.target) == tasks.Score(1.0, example.answers[0].replace("\u3000", " "))
    assert 0 < task.score(example, "第一条 船とは").value < 1
    assert not task.score(example, "\n").parsed


def test_corpora_are_found_and_others_refused(data):
    assert tasks.registry.find("tasks", "corpus").parts() == ["law"]
    with pytest.raises(UnknownName, match="Did you mean 'law'"):
        tasks.load("corpus/laws")
    with pytest.raises(Invalid, match="No split 'test'; there are: train, validation"):
        tasks.load("corpus/law").examples("test")


def test_without_data_it_says_what_to_fetch(nowhere):
    with pytest.raises(NoData, match=r"The corpus law is not here: .* corpus/law\.jsonl"):
        tasks.load("corpus/law").examples("train")


@pytest.mark.data
def test_real():
    parts = tasks.registry.find("tasks", "corpus").parts()
    assert len(parts) == 5
    for part in parts:
        task = tasks.load(f"corpus/{part}")
        found = {split: task.examples(split) for split in ("train", "validation")}
        assert {e.prompt for e in found["train"]}.isdisjoint(e.prompt for e in found["validation"])
    assert len(tasks.load("corpus/ja_railway_law").examples("train")) > 1000
