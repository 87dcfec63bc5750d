"""The questions: validation ones alone, the same in rounds as at once, weighed as asked."""

import sys
import types

import pytest

from yosegi import tasks
from yosegi.engine.arm import Arm
from yosegi.engine.score import score_answers
from yosegi.errors import Invalid, UnknownName
from yosegi.search.probe import Goal, Probe, read_goal
from yosegi.tasks import Example, Score, Task


class Guarded(Task):
    """Whoever looks at test is caught."""

    name = "guarded"

    def examples(self, split):
        if split == "test":
            raise AssertionError("somebody looked at test")
        return [Example(f"{split}-{n}", f"{n}", f"{n}", (str(n),)) for n in range(6)]

    def score(self, example, prediction):
        return Score(float(prediction.strip() in example.answers), prediction)


@pytest.fixture
def guarded(monkeypatch):
    module = types.ModuleType("some_tasks")
    module.Guarded = Guarded
    monkeypatch.setitem(sys.modules, "some_tasks", module)
    return "some_tasks:Guarded"


@pytest.mark.parametrize("split", ["test", "train", "rl"])
def test_no_split_but_validation(nano, split):
    with pytest.raises(Invalid, match=f"validation split and at no other; '{split}'"):
        Probe(nano, [read_goal("skills/add")], split=split)


def test_goals_are_read(guarded):
    goal = read_goal("skills/add:logp=0.5")
    assert (goal.task.name, goal.metric, goal.weight, goal.label) == ("skills/add", "logp", 0.5, "skills/add:logp")
    assert read_goal("skills/add").metric == "accuracy" == read_goal("skills/add:accuracy=2").metric
    written = read_goal("skills{part=add}:logp=2")
    assert (written.task.name, written.metric, written.weight) == ("skills/add", "logp", 2.0)
    assert read_goal("skills{part=add}=.5").weight == 0.5 and read_goal("skills{part=add}").metric == "accuracy"
    assert read_goal(guarded).task.name == "guarded" and read_goal(f"{guarded}:logp=3").weight == 3
    for text, said in (("skills/ad:logp", "Did you mean 'add'"), ("skills/add:logpp", "Did you mean 'logp'")):
        with pytest.raises(UnknownName, match=said):
            read_goal(text)
    for text in ("skills/add=x", "skills/add=0", "skills/add=-1", "skills/add=nan"):
        with pytest.raises(Invalid, match="weight"):
            read_goal(text)


def test_rounds_ask_every_question_once(nano, guarded):
    goals = [read_goal("skills/add:logp"), read_goal("skills/reverse")]
    once = list(Probe(nano, goals, limit=7, rounds=1).run(None))
    rounds = [[list(s) for s in scores] for scores in Probe(nano, goals, limit=7, rounds=3).run(None)]
    assert [len(r[0]) for r in rounds] == [2, 4, 7] and len(once) == 1
    assert rounds[-1][0] == pytest.approx(once[0][0], abs=1e-5) and rounds[-1][1] == once[0][1]
    examples = goals[0].task.examples("validation")[:7]
    assert once[0][0] == pytest.approx(score_answers(nano, examples), abs=1e-5)
    assert len(list(Probe(nano, [read_goal(guarded)], limit=2, rounds=5).run(None))) == 2, "no round without a question"


def test_means_are_weighed():
    probe = object.__new__(Probe)
    task = tasks.load("skills/add")
    probe.goals = [Goal(task, "accuracy", 1.0), Goal(task, "logp", 3.0)]
    assert probe.mean([[1.0, 0.0], [-2.0]]) == pytest.approx((1 * 0.5 + 3 * -2) / 4)


def test_nothing_to_ask_is_refused(nano):
    with pytest.raises(Invalid, match="at least one task"):
        Probe(nano, [])
    with pytest.raises(Invalid, match="skills/add:logp is asked twice"):
        Probe(nano, [read_goal("skills/add:logp")] * 2)
    with pytest.raises(Invalid, match="no validation examples"):
        Probe(nano, [read_goal("skills/add")], limit=0)


def test_a_router_is_told_what_it_hears(nano, trio):
    arm = Arm("oracle", trio, "oracle")
    probe = Probe(nano, [read_goal("skills/reverse:logp")], limit=4, rounds=2)
    with arm.attached(nano) as banks:
        (found,) = list(probe.run(banks, arm))[-1]
    with Arm("b", trio[1:2]).attached(nano) as banks:
        (alone,) = list(Probe(nano, probe.goals, limit=4, rounds=2).run(banks))[-1]
    assert found == pytest.approx(alone, abs=1e-4)
