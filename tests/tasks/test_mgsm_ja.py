import dataclasses

import pytest

from yosegi import tasks
from yosegi.errors import Invalid, NoData


def test_targets_are_made_of_the_english_marks(made_up):
    by_id = {example.id: example for example in tasks.load("mgsm_ja").examples("train")}
    example = next(example for id, example in by_id.items() if int(id.rpartition("/")[2]) % 10)
    number = int(example.id.rpartition("/")[2])
    a, b = 1000 + number, number + 2
    assert example.prompt == f"問題：アンは{a}個のりんごを持ち、{b}個買いました。何個ありますか？\n答え："
    assert example.target == f"{a}+{b}={a + b}。答えは{a + b}です。"


def test_a_solution_without_marks_leaves_the_answer(made_up):
    task = tasks.load("mgsm_ja")
    bare = [e for s in ("train", "validation") for e in task.examples(s) if int(e.id.rpartition("/")[2]) % 10 == 0]
    assert len(bare) == 3
    assert all(example.target == f"答えは{example.answers[0]}です。" for example in bare)
    assert task.examples("test")[0].target == "答えは-7です。"


def test_the_promises_hold(made_up, check):
    check(tasks.load("mgsm_ja"), {"train": 23, "validation": 5, "test": 1})


def test_both_languages_hold_out_the_same_problems(made_up):
    def problems(name, split):
        return {example.id.rpartition("/")[2] for example in tasks.load(name).examples(split)}

    assert problems("mgsm_ja", "validation") <= problems("gsm8k", "validation")
    assert problems("mgsm_ja", "train") <= problems("gsm8k", "train")


@pytest.mark.parametrize(
    "prediction", ["答えは−７です。", "3-10=-7。答えは－７円です。", "-7", r"\boxed{-7}", "答え：-7.0"]
)
def test_an_answer_counts_however_it_is_written(made_up, prediction):
    task = tasks.load("mgsm_ja")
    assert task.score(task.examples("test")[0], prediction).value == 1.0


@pytest.mark.parametrize("prediction", ["答えは7です。", "", "わかりません。"])
def test_a_wrong_answer_does_not(made_up, prediction):
    task = tasks.load("mgsm_ja")
    assert task.score(task.examples("test")[0], prediction).value == 0.0


def test_exemplars_are_solved_in_words(made_up):
    example = tasks.load("mgsm_ja/1shot").examples("test")[0]
    assert example.prompt == "問題：猫は？\n答え：5+6=11。答えは11です。\n\n問題：ボブは？\n答え："


def test_the_training_set_is_only_in_the_folder(nowhere):
    with pytest.raises(NoData, match="set YOSEGI_DATA"):
        tasks.load("mgsm_ja").examples("train")


def test_a_row_that_cannot_be_joined_is_named(made_up, write):
    write("math_ja/gsm8k_ja_train.jsonl.gz", [{"id": "1", "question": "?", "answer": "1"}])
    with pytest.raises(Invalid, match="row 1 has no 'gsm8k_train_index'"):
        tasks.load("mgsm_ja").examples("train")


def test_rows_from_the_hub(hub):
    asked = hub([{"text": "猫が\t三匹？\t1,003"}])
    (example,) = tasks.load("mgsm_ja").examples("test")
    assert (example.id, example.answers) == ("mgsm_ja/test/0", ("1003",))
    assert example.prompt == "問題：猫が\t三匹？\n答え："
    assert asked[0][1]["data_files"]["test"].endswith("/mgsm_ja.tsv")


@pytest.mark.data
def test_real(check):
    task = tasks.load("mgsm_ja")
    check(task, {"train": 5296, "validation": 199, "test": 188})
    assert "48/2=24。48+24=72。答えは72です。" in {example.target for example in task.examples("train")}
    example, shots = task.examples("test")[0], task.shots()
    assert len(shots) == 8
    solved = [dataclasses.replace(example, answers=task.answers(shot)) for shot in shots]
    assert all(task.score(one, shot["solution"]).value == 1.0 for one, shot in zip(solved, shots, strict=True))
    held = {example.id.rpartition("/")[2] for example in tasks.load("gsm8k").examples("validation")}
    assert {example.id.rpartition("/")[2] for example in task.examples("validation")} <= held
    assert held.isdisjoint(example.id.rpartition("/")[2] for example in task.examples("train"))
