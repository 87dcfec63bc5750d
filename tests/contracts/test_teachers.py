"""Every teacher of the drawer: one vote an example, of the systems there are, the same twice; and how they are named."""

import json

import pytest

from yosegi import registry
from yosegi.errors import Invalid, UnknownName
from yosegi.tasks import Example
from yosegi.teachers import LOST, PAIR, Question, Teacher, Vote, load, scale

TEACHERS = registry.names("teachers")
ROWS = [Example(f"例{n}", f"How much is {n}+1? 寄木", ",".join(["1+1=2"] * (1 + n % 5))) for n in range(23)]


def test_the_drawer_was_walked():
    assert len(TEACHERS) >= 4


@pytest.fixture(params=TEACHERS)
def teacher(request, tmp_path):
    if request.param == "endpoint":
        served = request.getfixturevalue("served")
        served.behave = lambda n, body: judge(body["messages"])
        return load(f"{served.url}#m", answers=tmp_path / "answers.jsonl")
    teacher = load(request.param, base="nano", answers=tmp_path / "a.jsonl")
    if request.param == "local":
        teacher.write = lambda chats: [judge(c) for c in chats]
    return teacher


def judge(messages):
    """A model that has something to say about most."""
    n = int(messages[1]["content"].split("much is ")[1].split("+")[0])
    return "hm" if n % 7 == 0 else json.dumps({"system": 1 + n % 2, "because": "寄木"})


@pytest.mark.parametrize("k", [2, 3, 5])
def test_one_vote_an_example(teacher, k):
    votes = teacher.label(ROWS, Question(scale(k)))
    assert len(votes) == len(ROWS) and all(isinstance(vote, Vote) for vote in votes)
    for vote in votes:
        assert (vote.system in range(k) and not vote.lost) or (vote.system is None and vote.lost in LOST)
    assert len({vote.system for vote in votes} - {None}) > 1, "it makes a difference"


def test_the_same_twice(teacher):
    assert teacher.label(ROWS, Question()) == teacher.label(ROWS, Question())


def test_no_examples(teacher):
    assert teacher.label([], Question()) == []


def test_it_says_what_it_is(teacher):
    assert isinstance(teacher, Teacher) and teacher.name
    assert json.loads(json.dumps(teacher.about())) == teacher.about() and teacher.about()["name"] == teacher.name


def test_the_examples_are_left_alone(teacher):
    before = list(ROWS)
    teacher.label(ROWS, Question())
    assert before == ROWS


def test_scale_is_the_papers_pair_or_a_chain():
    assert scale(2) == PAIR and [s.name for s in scale(4)] == ["system1", "system2", "system3", "system4"]
    for k in (1, 0, 10):
        with pytest.raises(Invalid, match="2 to 9 systems"):
            scale(k)


def test_names_that_lead_nowhere():
    with pytest.raises(UnknownName, match="No teacher is called 'structur'. Did you mean 'structure'[?]"):
        load("structur")
    with pytest.raises(Invalid, match="http://host:port/v1#model"):
        load("endpoint")
    with pytest.raises(Invalid, match="local needs its base, as in local{base=BASE}"):
        load("local")
    with pytest.raises(Invalid, match="Cannot reach"):
        load("no_such_package:Teacher")


def test_options_that_are_not_its_own_are_left_out():
    assert load("structure", steps=(3,), seed=1, timeout=2).steps == (3,)
    one = load("http://h/v1#m?price_in=2", steps=(3,), timeout=2.0, temperature=None)
    assert (one.timeout, one.price, one.temperature) == (2.0, (2.0, 0.0), 0.0)
