"""Questions that a teacher drafts: what it may not invent, that nothing is paid for twice, and what a person then gets."""

import json

import pytest

from yosegi import files
from yosegi.curate.drafts import draft, open_teacher, passages
from yosegi.curate.quiz import draft_quiz
from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import load

NOVEL = [
    {"id": f"n/{n}", "title": "The Kettle", "split": "train", "text": f"Old Mr {name} put the {thing} on the fire. "
     f"It was a cold morning, and nobody but the cat of the house saw what he did with it afterwards. {'x' * 700}."}
    for n, (name, thing) in enumerate([("Aoki", "kettle"), ("Baba", "pan"), ("Chiba", "pot"), ("Doi", "stone")])
]  # fmt: skip


def question(name, thing, **more):
    row = {"question": f"What did Mr {name} put on the fire?", "answer": thing, "answers": [f"the {thing}"]}
    row |= {"choices": ["shoe", thing, "hat", "letter"], "statement": f"Mr {name} put the {{word}} on the fire."}
    return json.dumps(row | more)


def behave(n, body):
    asked = body["messages"][-1]["content"]
    name, thing = next((name, thing) for name, thing in PAIRS.items() if name in asked)
    return f"Here it is: {question(name, thing)}"


PAIRS = {"Aoki": "kettle", "Baba": "pan", "Chiba": "pot", "Doi": "stone"}


@pytest.fixture
def novel(tmp_path):
    files.write(tmp_path / "novel.jsonl", files.lines(NOVEL))
    return tmp_path


def test_a_novel_without_definitions_gives_a_quiz(novel, served):
    served.behave = behave
    made = draft_quiz([str(novel / "novel.jsonl")], novel / "quiz.jsonl", choices=4, teacher=f"{served.url}#m", limit=3)
    assert (made["drafts"], made["terms"], made["read"], made["passages"], made["dropped"]) == (3, [], 3, 4, {})
    rows = files.read_jsonl(novel / "quiz.jsonl")
    for row in rows:
        assert (
            row["checked"] is False
            and row["answer"] in row["evidence"]["sentence"]
            and "#m" in row["evidence"]["teacher"]
        )
        assert row["choices"][row["answer_index"]] == row["answer"] and len(set(row["choices"])) == 4
        assert row["answers"] == [f"the {row['answer']}"] and "{word}" in row["statement_template"]
    for form in ("", "/rank", "/choices"):
        task = load(f"terms/{novel / 'quiz.jsonl'}{form}")
        assert len(task.examples("test")) == 3 and "3 of 3 questions are drafts" in task.note("test")
        assert task.score(task.examples("test")[0], task.examples("test")[0].target).value == 1


def test_nothing_is_asked_twice_and_more_may_be_asked(novel, served):
    served.behave = behave
    corpus, teacher = [str(novel / "novel.jsonl")], f"{served.url}#m"
    first = draft_quiz(corpus, novel / "a.jsonl", teacher=teacher, limit=2)
    assert len(served.bodies) == 2
    (novel / "a.jsonl").unlink()  # as if killed before it was written
    assert draft_quiz(corpus, novel / "a.jsonl", teacher=teacher, limit=2) == first and len(served.bodies) == 2
    more = draft_quiz(corpus, novel / "a.jsonl", teacher=teacher, limit=4, overwrite=True)
    assert more["drafts"] == 4 and len(served.bodies) == 4
    with pytest.raises(Invalid, match="somebody may have checked"):
        draft_quiz(corpus, novel / "a.jsonl", teacher=teacher)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("I would rather not.", "not in the form"),
        ('{"question": 3, "answer": ["kettle"]}', "not in the form"),
        (question("Aoki", "samovar"), "the answer is no term of the passage"),
        (question("Aoki", "kettle", question="Which kettle was it?"), "the question has the answer in it"),
        ("<think>" + question("Aoki", "kettle") + "</think> no", "not in the form"),
        (question("Aoki", "kettle", question="Q" * 400), "not in the form"),
    ],
)
def test_what_is_invented_or_gives_itself_away_is_dropped(served, text, why):
    served.behave = lambda n, body: text
    rows, dropped = draft(open_teacher(f"{served.url}#m"), passages(NOVEL[:1], 1)[0], 4)
    assert rows == [] and dropped == {why: 1}


def test_candidates_and_a_statement_that_are_missing_are_made(served):
    def sparse(n, body):
        row = json.loads(behave(n, body).partition(": ")[2])
        return json.dumps(
            {"question": row["question"], "answer": row["answer"], "statement": f"It was the {row['answer']}."}
        )

    served.behave = sparse
    rows, dropped = draft(open_teacher(f"{served.url}#m"), passages(NOVEL, 4)[0], 3)
    assert not dropped and all(set(row["choices"]) < set(PAIRS.values()) and len(row["choices"]) == 3 for row in rows)
    assert {row["statement_template"] for row in rows} == {"It was the {word}."}


def test_a_term_is_asked_once(served):
    served.behave = lambda n, body: question("Aoki", "cat")
    rows, dropped = draft(open_teacher(f"{served.url}#m"), passages(NOVEL, 4)[0], 4)
    assert len(rows) == 1 and dropped == {"the term has a question": 3}


def test_passages_are_whole_sentences_and_more_are_added_to_fewer():
    novel = [{"id": "j", "title": "", "text": "彼は釜を火にかけた。" * 40}]
    every, count = passages([*NOVEL, *novel], None)
    assert len(every) == count and all(p.text.endswith(("。", ".")) and len(p.text) <= 600 for p in every)
    few, more = (passages([*NOVEL, *novel], limit)[0] for limit in (3, 5))
    assert len(few) == 3 and set(few) < set(more)


def test_a_local_model_may_draft_and_one_that_only_votes_may_not(novel):
    """The embedded base writes nothing usable: the definitions remain, and what was looked at is said."""
    text = "\n\n".join(f'"thing{i}" means the object that has number {i} on it. It is small.' for i in range(4))
    (novel / "law.txt").write_text(text * 3)
    made = draft_quiz([str(novel / "law.txt")], novel / "quiz.jsonl", teacher="local{base=nano}", limit=1)
    assert made["drafts"] == 4 and made["read"] == 1 == made["drafted"] + sum(made["dropped"].values())
    assert (novel / "quiz.answers.jsonl").exists()
    with pytest.raises(Invalid, match="structure writes nothing"):
        draft_quiz([str(novel / "law.txt")], novel / "b.jsonl", teacher="structure")
    with pytest.raises(UnknownName):
        draft_quiz([str(novel / "law.txt")], novel / "b.jsonl", teacher="local/nowhere")
    with pytest.raises(Invalid, match="--teacher drafts"):
        draft_quiz([str(novel / "novel.jsonl")], novel / "b.jsonl")
    assert not (novel / "b.jsonl").exists()
