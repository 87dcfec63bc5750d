import pytest

from yosegi import tasks
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks.readers.data import rows as read_rows

CHOICES = ["踏切", "電車線", "Ｐ線", "索道"]


def row(i, split):
    return {
        "id": f"law_terms/{i}",
        "split": split,
        "question": f"何ですか。\n説明：{i}番",
        "answer": CHOICES[i % 4],
        "choices": CHOICES,
        "answer_index": i % 4,
        "statement_template": f"{{word}}とは、{i}番のことである。",
    }


@pytest.fixture
def data(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    write("corpus/law_terms.jsonl", [row(0, "fewshot"), row(1, "fewshot"), row(2, "test"), row(3, "test")])
    write("corpus/law.jsonl", [{"id": "a", "text": "x", "split": "train"}])


def test_three_examples_then_the_question(data):
    example = tasks.load("terms/law").examples("test")[0]
    assert example.prompt == (
        "質問:何ですか。\n説明：0番\n回答:踏切\n\n質問:何ですか。\n説明：1番\n回答:電車線\n\n質問:何ですか。\n説明：2番\n回答:"
    )
    assert (example.target, example.answers) == ("Ｐ線", ("Ｐ線",))
    assert example.meta["choices"] == CHOICES and "{word}" in example.meta["statement_template"]


def test_choices(data):
    task = tasks.load("terms/law/choices")
    example = task.examples("test")[0]
    assert example.prompt.startswith("質問:何ですか。\n説明：0番\nA. 踏切\nB. 電車線\nC. Ｐ線\nD. 索道\n回答:A\n\n")
    assert example.target == "C"
    said = {
        "C": 1.0,
        "Ｃ。": 1.0,
        "C. Ｐ線": 1.0,
        "P線": 1.0,
        "A": 0.0,
        "B. Ｐ線": 0.0,
        "Cat": 0.0,
        "踏切": 0.0,
        "": 0.0,
    }
    assert {text: task.score(example, text).value for text in said} == said


def test_choices_are_judged_by_the_likeliest_letter_and_written_only_when_asked(data):
    task, written = tasks.load("terms/law/choices"), tasks.load("terms/law/choices/written")
    example = task.examples("test")[0]
    asked = task.candidates(example)
    assert (task.metric, task.generates, written.metric, written.generates) == ("letter", False, "written", True)
    assert asked["letter"].prompt == example.prompt and asked["letter"].texts == ("C", "A", "B", "D")
    assert asked["choice"].prompt == tasks.load("terms/law").examples("test")[0].prompt
    values = {"letter": [-2.0, -1.0, -3.0, -3.0], "choice": [-1.0, -9.0, -9.0, -9.0]}
    judged = task.score_logprobs(example, {k: [tasks.LogProb(v, 1) for v in vs] for k, vs in values.items()})
    assert (judged.value, judged.answer, judged.metrics) == (0.0, "A", {"accuracy": 1.0, "acc_norm": 1.0})
    assert [written.score(example, said).answer for said in ("The answer is A", "A quiet person")] == [
        "A",
        "A quiet person",
    ]
    with pytest.raises(UnknownName, match="law/choices/written"):
        tasks.load("terms/law/written")


def test_exact_match_is_of_the_normalised_line(data):
    task = tasks.load("terms/law")
    example = task.examples("test")[0]
    said = {"P線": 1.0, " 「Ｐ線」。\n質問:": 1.0, "p線": 0.0, "Ｐ線です": 0.0, "C": 0.0}
    assert {text: task.score(example, text).value for text in said} == said


def test_quizzes_are_found_and_others_refused(data):
    assert tasks.registry.find("tasks", "terms").parts() == ["law", "law/choices", "law/rank", "law/choices/written"]
    for part in ("laws", "law/choice"):
        with pytest.raises(UnknownName, match="Did you mean 'law"):
            tasks.load(f"terms/{part}")
    with pytest.raises(Invalid, match="No split 'train'; there are: test"):
        tasks.load("terms/law").examples("train")


def test_without_data_it_says_what_to_fetch(nowhere):
    with pytest.raises(NoData, match=r"terms/law is not here: .* corpus/law_terms\.jsonl"):
        tasks.load("terms/law").examples("test")


def test_ranked(data):
    task = tasks.load("terms/law/rank")
    example = task.examples("test")[0]
    assert task.metric == "logp_mrr" and example.prompt == "＿＿とは、2番のことである。"
    words = ("Ｐ線", "踏切", "電車線", "索道")
    assert not task.generates and task.candidates(example) == {
        "statement": tasks.Candidates(tuple(f"{word}とは、2番のことである。" for word in words)),
        "neutral": tasks.Candidates(tuple(f"これは{word}です。" for word in words)),
    }
    nats = [tasks.LogProb(-s, n) for s, n in ((9, 9), (8, 4), (10, 2), (11, 1), (3, 1), (1, 1), (1, 1), (9, 1))]
    score = task.score_logprobs(example, {"statement": nats[:4], "neutral": nats[4:]})
    assert (score.value, score.answer) == (1 / 2, "踏切"), "by the sum 踏切 is first"
    assert score.metrics == {"logp_mrr_mean": 1.0, "logp_mrr_pmi": 1 / 2}, "pmi: -6, -7, -9, -2"
    assert task.chance(example) == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)
    assert (tasks.load("terms/law/choices").chance(example), tasks.load("terms/law").chance(example)) == (0.25, None)
    assert tasks.load("terms/law").generates and tasks.load("terms/law").candidates(example) == {}


@pytest.fixture
def own(write, tmp_path, nowhere):
    """A quiz of one's own, in English."""

    def make(*rows):
        write("own.jsonl", list(rows))
        return tasks.load(f"terms/{tmp_path}/own.jsonl"), tasks.load(f"terms/{tmp_path}/own.jsonl/rank")

    return make


ROW = {"question": "What carries current?", "answer": "catenary", "choices": ["ballast", "catenary"],
       "statement_template": "A {word} carries {current}, and a {word} hangs."}  # fmt: skip


def test_a_file_of_ones_own(own):
    shot = {"question": "What lies below?", "answer": "ballast", "split": "fewshot", "checked": False}
    task, ranked = own(
        {**ROW, "answers": ["overhead line"], "checked": False},
        shot | {"choices": ROW["choices"]} | {"statement_template": "{word}"},
    )
    example = task.examples("test")[0]
    assert example.prompt == "Question: What lies below?\nAnswer: ballast\n\nQuestion: What carries current?\nAnswer:"
    assert (example.id, example.target, example.answers) == ("1", " catenary", ("catenary", "overhead line"))
    said = {"overhead line.": 1.0, " catenary": 1.0, "Catenary": 0.0, "catenary wire": 0.0}
    assert {text: task.score(example, text).value for text in said} == said
    assert task.note("test") == "1 of 1 questions are drafts that nobody has checked." and task.rule == "normaliser 1"
    assert ranked.candidates(ranked.examples("test")[0])["statement"].texts == tuple(
        f"A {word} carries {{current}}, and a {word} hangs." for word in ("catenary", "ballast")
    )


def test_checked_rows_and_rows_that_do_not_say_are_not_remarked_on(own):
    task, _ = own({**ROW, "checked": True}, {**ROW, "id": "b"})
    assert task.note("test") is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": ""}, "line 1 has no answer"),
        ({"choices": []}, "line 1 has no choices"),
        ({"choices": ["ballast", "rail"]}, "line 1: the answer is not among the choices"),
        ({"statement_template": "It hangs."}, "line 1: the statement has no {word}"),
        ({"statement_template": None}, "line 1 has no statement_template"),
        ({"choices": ["catenary", "catenary。"]}, "1 has one candidate only"),
        ({"lang": "fr"}, "line 1 is in 'fr'; there are ja, en"),
        ({"split": "fewshot"}, "no test rows"),
    ],
)
def test_what_is_wrong_with_a_row_is_said(own, change, said):
    _, ranked = own({**ROW, **change})
    with pytest.raises(Invalid, match=said.replace("{", "[{]")):
        ranked.examples("test")


def test_an_id_is_given_once_and_a_file_is_there(own, tmp_path):
    task, _ = own({**ROW, "id": "a"}, {**ROW, "id": "a"})
    with pytest.raises(Invalid, match="line 2: the id 'a' is taken by an earlier row"):
        task.examples("test")
    with pytest.raises(NoData, match="yosegi terms build"):
        tasks.load(f"terms/{tmp_path}/none.jsonl/rank")


@pytest.mark.data
def test_real():
    for name in ("terms/ja_railway_law", "terms/ja_railway_law/choices", "terms/ja_railway_law/rank"):
        task = tasks.load(name)
        examples = task.examples("test")
        assert len(examples) == 30 and len({example.prompt for example in examples}) == 30
        shown = 0 if name.endswith("/rank") else 4
        assert all(example.prompt.count("回答:") == shown for example in examples)
        assert all(score.value == 1.0 for score in task.scores(examples, [example.target for example in examples]))
    laws = {example.prompt for example in tasks.load("corpus/ja_railway_law").examples("train")}
    rows = read_rows("corpus/ja_railway_law_terms")
    assert all(row["raw"]["law"] in laws for row in rows), "what is asked can be read in training"


def test_halves(write, tmp_path, nowhere):
    rows = [{**ROW, "id": f"q{n}", "question": f"What is {n}?"} for n in range(7)] + [
        {**ROW, "id": "s", "split": "fewshot"}
    ]
    write("own.jsonl", rows)
    whole, task = (tasks.load(f"terms/{tmp_path}/own.jsonl/rank{end}") for end in ("", "/halved"))
    early, late = ([example.id for example in task.examples(split)] for split in ("validation", "test"))
    assert (len(early), len(late)) == (3, 4) and not set(early) & set(late)
    assert sorted(early + late) == [example.id for example in whole.examples("test")]
    assert task.name == f"terms/{tmp_path}/own.jsonl/rank/halved" and task.metric == "logp_mrr"
    write("own.jsonl", rows[::-1])
    assert set(early) == {example.id for example in task.examples("validation")}, "whatever the order of the file"
    with pytest.raises(Invalid, match="No split 'validation'; there are: test"):
        whole.examples("validation")
    open_ = tasks.load(f"terms/{tmp_path}/own.jsonl/halved")
    assert {example.id for example in open_.examples("validation")} == set(early) and open_.metric == "exact_match"
