"""A few labelled pages against scikit-learn's own pipeline; kept without pickle, and damaged files are named."""

import json

import pytest

from yosegi import files
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.scores.labelled import CARD, FEATURES, GRAMS, WEIGHTS, Labelled

LAW = [
    "第一条　鉄道事業者は、届け出なければならない。",
    "第二条　軌道の敷設は許可を受けること。",
    "第三条　運賃を定める。",
]
FOOD = ["お登和さんは笑って鍋の蓋を取った。", "この料理は牛肉をよく煮て作ります。", "まア美味しい、と妻君が言う。"]


@pytest.fixture
def labels(tmp_path):
    rows = [{"text": text, "label": 1} for text in LAW] + [{"text": text, "label": "drop"} for text in FOOD]
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"text": "unsorted", "label": None}]))
    return path


def test_it_is_the_pipeline_of_scikit_learn(labels):
    from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    line = make_pipeline(
        HashingVectorizer(analyzer="char", ngram_range=GRAMS, n_features=FEATURES, alternate_sign=False, norm=None),
        TfidfTransformer(),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=1000),
    )
    line.fit([" ".join(text.split()) for text in LAW + FOOD], [1] * 3 + [0] * 3)  # every blank is one blank
    new = ["第九条　軌道事業者は許可を受ける。", "牛肉の料理は美味しい。", "unrelated English words"]
    assert Labelled(str(labels)).of(new) == pytest.approx(
        line.predict_proba([" ".join(text.split()) for text in new])[:, 1].tolist(), rel=1e-5
    )


def test_it_tells_what_it_was_taught(labels):
    score = Labelled(str(labels))
    law, food = score.of(["第十条　鉄道の許可を受けなければならない。"]), score.of(["妻君が料理を煮て笑った。"])
    assert law > [0.5] > food
    assert score.about()["pages"] == 6 and score.about()["kept"] == 3
    assert score.note.endswith("of 6 labelled pages are classified correctly when left out (3 folds)")


def test_kept_and_read_again_without_pickle(labels, tmp_path):
    score = Labelled(str(labels))
    score.write(tmp_path / "kept")
    again = Labelled(str(tmp_path / "kept"))
    assert again.of(LAW + FOOD) == score.of(LAW + FOOD) and again.about() == score.about() and again.note == score.note
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == [CARD, WEIGHTS]


def test_damaged_files_are_named(labels, tmp_path):
    folder = tmp_path / "kept"
    Labelled(str(labels)).write(folder)
    card, weights = files.read_json(folder / CARD), (folder / WEIGHTS).read_bytes()
    for content in (weights[:100], weights[:-8], b"\x80\x04pickle"):
        (folder / WEIGHTS).write_bytes(content)
        with pytest.raises(Corrupt):
            Labelled(str(folder))
    (folder / WEIGHTS).write_bytes(weights)
    for change, error in (({"intercept": 9.0}, Corrupt), ({"grams": [1, 9]}, Invalid), ({"pages": None}, Corrupt)):
        files.write_json(folder / CARD, card | change)
        with pytest.raises(error):
            Labelled(str(folder))
    (folder / CARD).unlink()
    with pytest.raises(NoData, match="holds no classifier"):
        Labelled(str(folder))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a", "label": 1}] * 3, "labels 3 pages to keep and 0 to drop"),
        ([{"text": "a", "label": 1}, {"label": 0}], "line 2, has no text"),
        ([{"text": "a", "label": "perhaps"}], "line 1: the label is 'perhaps'"),
        ([{"text": "a", "label": 2}], "the label is 2"),
        ([{"text": "a", "label": None}], "labels 0 pages to keep and 0 to drop"),
    ],
)
def test_what_is_no_labelling(tmp_path, rows, message):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(Invalid, match=message):
        Labelled(str(path))


def test_no_file():
    with pytest.raises(NoData, match="--sample 20"):
        Labelled("nowhere.jsonl")
