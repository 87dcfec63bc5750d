"""The base `house` reads nothing that experts are trained or measured on."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from yosegi.bases import house
from yosegi.errors import NoData
from yosegi.tasks.readers import data as readers_data

FORBIDDEN = (
    "math_en/gsm8k_train", "math_en/gsm8k_test", "math_en/gsm_hard_test", "math_en/math_train", "math_ja/gsm8k_ja_train",
    "math_en/math500_test", "math_ja/mgsm_ja_test", "code/mbpp_train", "code/mbpp_test", "code/humaneval",
    "corpus/ja_railway_law", "corpus/ja_railway_law_terms", "corpus/ja_food_essays", "corpus/ja_food_novel",
    "corpus/some_other_terms", "knowledge_en/mmlu_val", "knowledge_en/mmlu_redux_test", "knowledge_ja/jmmlu_test",
    "instruct/bbh_test", "instruct/bbh_cot_prompts", "instruct/ifeval_test", "instruct/self_instruct_252",
    "instruct/elyza_tasks_100", "instruct/jmt_bench",
)  # fmt: skip

ROW = {
    "split": "train", "lang": "en", "title": "T", "question": "Q", "context": "C", "choices": ["x", "y"], "input": "I",
    "answer_index": 1, "answer": "B", "answers": ["A"], "solution": "S", "long_answer": "L", "instruction": "D",
    "outputs": ["O"], "prompt": "P", "sentence1": "one", "sentence2": "two", "definition": "F",
}  # fmt: skip
LABELS = {"nlu_ja/jcola_train": "acceptable", "nlu_ja/jsick_train": "neutral"}
OPEN_TASK = next(f"task{n}" for n in range(99) if not house.held_out(f"task{n}"))
HELD_TASK = next(f"task{n}" for n in range(99) if house.held_out(f"task{n}"))


def folder_of(tmp_path: Path) -> Path:
    """A data folder with one row a source, whose text is known by its name; and one of every forbidden file."""
    for source in (*house.SOURCES, *FORBIDDEN):
        word = "SECRET" if source in FORBIDDEN else source.replace("/", " ")
        write(tmp_path, source, row(source, word))
    for source in ("instruct/ni_v1_tasks", "instruct/sni_v2_tasks"):
        write(
            tmp_path, source, {"task": OPEN_TASK, "definition": "Do it."}, {"task": HELD_TASK, "definition": "SECRET"}
        )
    return tmp_path


def texts_of(data: Path) -> list[str]:
    return [document.text for document in house.documents(data)]


def row(source: str, word: str, **changes) -> dict:
    named = {key: word for key in ("text", "question", "instruction", "input", "sentence1", "prompt")}
    return ROW | named | {"task": OPEN_TASK, "label": LABELS.get(source)} | changes


def write(data: Path, source: str, *rows: dict) -> None:
    (data / source).parent.mkdir(exist_ok=True)
    (data / f"{source}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("source", FORBIDDEN)
def test_a_forbidden_file_is_kept_out_and_no_source(source):
    assert house.kept_out(source) and source not in house.SOURCES


def test_no_source_is_kept_out():
    assert len(house.SOURCES) >= 20
    assert [source for source in house.SOURCES if house.kept_out(source)] == []


def test_every_source_is_read_and_nothing_else(tmp_path):
    texts = texts_of(folder_of(tmp_path))
    assert len(texts) == len(house.SOURCES)
    for source in house.SOURCES:
        assert any(source.replace("/", " ") in text for text in texts), source
    assert not any("SECRET" in text for text in texts)


def test_the_list_rules_over_the_sources(tmp_path, monkeypatch):
    monkeypatch.setitem(house.SOURCES, "math_en/gsm8k_train", "{question}")
    assert not any("SECRET" in text for text in texts_of(folder_of(tmp_path)))


@pytest.mark.parametrize("split", ["test", "valid", "validation", "dev", "val", "fewshot", None])
def test_only_training_splits_are_read(tmp_path, split):
    data = folder_of(tmp_path)
    for source in house.SOURCES:
        write(data, source, row(source, "SECRET", split=split))
    assert list(texts_of(data)) == []


def test_held_out_tasks_are_not_read(tmp_path):
    data = folder_of(tmp_path)
    for source in ("instruct/ni_v1_train", "instruct/sni_v2_train"):
        write(data, source, row(source, "SECRET", task=HELD_TASK), row(source, f"kept {source}"))
    texts = list(texts_of(data))
    assert not any("SECRET" in text for text in texts)
    assert "Definition: Do it.\n\nInput: kept instruct/ni_v1_train\n\nOutput: O" in texts


@pytest.mark.parametrize("place", [{"split": "test"}, {"split": "validation"}, {}])
def test_a_question_of_a_test_is_not_read_elsewhere_either(tmp_path, place):
    data, question = folder_of(tmp_path), "Which of the planets is the nearest to us?"
    write(data, "math_en/any_train" if not place else "knowledge_en/any", row("any", question) | place)
    write(data, "instruct/sni_v2_train", row("", f"Question: {question}\n(A) Mars (B) Venus"), row("", "another"))
    read = [document.text for document in house.documents(data) if document.source == "instruct/sni_v2_train"]
    assert read == ["Definition: Do it.\n\nInput: another\n\nOutput: O"]


def test_which_tasks_are_held_out_never_changes():
    assert house.held_out("task1572_samsum_summary") and house.held_out("subtask023_cosmosqa_question_generation")
    assert not house.held_out("task363_sst2_polarity_classification")
    held = sum(house.held_out(f"task{number}") for number in range(1000))
    assert 450 < held < 550


def test_repeated_contexts_and_texts_come_once(tmp_path):
    data = folder_of(tmp_path)
    source = "knowledge_ja/jaquad_train"
    write(data, source, *(row(source, q, lang="ja", context="同じ話") for q in ("一", "二", "二")))
    read = [document for document in house.documents(data) if document.source == source]
    assert [document.text for document in read] == ["同じ話\n\n質問: 一\n答え: A", "質問: 二\n答え: A"]
    assert {document.language for document in read} == {"ja"}


def test_the_name_depends_on_settings_and_lists_only(monkeypatch):
    name = house.name({"steps": 1, "seed": 0})
    assert name == house.name({"seed": 0, "steps": 1}) != house.name({"steps": 2, "seed": 0})
    monkeypatch.setattr(house, "HELD_OUT", (*house.HELD_OUT, "more/*"))
    assert name != house.name({"steps": 1, "seed": 0})


def test_the_name_is_that_of_the_recipe():
    recipe = pytest.importorskip("yosegi.recipes.pretrain_house")
    assert house.name(asdict(recipe.Config())) == house.NAME


def test_a_missing_base_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_CACHE", str(tmp_path))
    with pytest.raises(NoData, match="yosegi run pretrain_house"):
        house.folder()
    (tmp_path / "bases" / house.NAME).mkdir(parents=True)
    assert house.folder() == tmp_path / "bases" / house.NAME


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NoData, match="en_general_wiki.jsonl"):
        list(texts_of(tmp_path))


@pytest.mark.data
def test_nothing_held_out_comes_through_from_the_real_data():
    data = readers_data.folder()
    if data is None:
        pytest.skip("no data folder")
    documents = list(house.documents(data))
    assert len(documents) > 10_000 and {document.language for document in documents} == {"en", "ja", "code"}

    lines = {line for document in documents for line in telling(document.text)}
    read = lines | {line.rsplit(": ", 1)[-1] for line in lines}  # "Input: Question: …"
    forbidden = {line for path in data.glob("*/*.jsonl*") for line in forbidden_lines(data, path)}
    assert len(forbidden) > 20_000
    assert forbidden & read == set()


def forbidden_lines(data: Path, path: Path) -> list[str]:
    """What is said in a file by the rows that the base must not read."""
    source = str(path.relative_to(data)).split(".jsonl")[0]
    rows = [row for _, row in readers_data.lines(path)]
    if not source.endswith("_tasks"):
        rows = [row for row in rows if house.kept_out(source) or row.get("split") not in house.TRAINING or held(row)]
    else:
        rows = [row for row in rows if house.held_out(row["task"])]
    fields = ("text", "question", "instruction", "sentence1", "definition")
    return [line for row in rows for line in telling("\n".join(row.get(field) or "" for field in fields))]


def telling(text: str) -> list[str]:
    """The lines of a text that are too long to stand in two texts by chance."""
    return [line.strip() for line in text.split("\n") if len(line.strip()) > 80]


def held(row: dict) -> bool:
    return "task" in row and house.held_out(row["task"])
