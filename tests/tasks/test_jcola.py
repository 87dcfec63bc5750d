import pytest

from yosegi import tasks


def test_the_matthews_correlation_is_of_all_answers(write, monkeypatch, tmp_path):
    from sklearn.metrics import matthews_corrcoef

    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    labels = ["acceptable"] * 6 + ["unacceptable"] * 4
    rows = [{"id": str(n), "sentence1": f"文{n}", "label": label} for n, label in enumerate(labels)]
    write("nlu_ja/jcola_valid.jsonl", rows)
    task = tasks.load("jcola")
    examples = task.examples("test")
    right = [1, 1, 1, 1, 0, 0, 1, 1, 1, 0]
    truth = [label == "acceptable" for label in labels]
    said = [one if hit else not one for one, hit in zip(truth, right, strict=True)]
    found = task.overall(examples, [{"score": float(hit)} for hit in right])
    assert found == {"mcc": pytest.approx(matthews_corrcoef(truth, said))}
    assert task.overall(examples, [{"score": float(one)} for one in truth]) == {"mcc": 0.0}, "always acceptable"
    assert (examples[0].target, task.candidates(examples[0])["choice"].texts) == ("自然", ("自然", "不自然"))
