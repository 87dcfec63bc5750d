"""Every partition of the drawer: covers the data, gives no example twice, keeps its evidence, and is the same twice."""

import inspect
import json

import pytest
import torch

from yosegi import registry
from yosegi.core.expert import Expert, Factors
from yosegi.library.card import check_name
from yosegi.scores import load
from yosegi.tasks import Example

PARTITIONS = registry.names("partitions")
TASKS = ("add", "sub", "sort", "reverse", "詩", "last")
WITHIN = ("by_system", "by_score", "by_type")
"""Those that look at each example, so that one task may have several learners."""


def test_the_drawer_was_walked():
    assert len(PARTITIONS) >= 5


@pytest.fixture(params=PARTITIONS)
def name(request):
    return request.param


@pytest.fixture
def data():
    return {
        task: [
            Example(f"{task}-{n}", f"{task} {n}", ",".join(["1+1=2"] * (1 + n % 3)), meta={"even": (n + 1) % 2})
            for n in range(2 + t)
        ]
        for t, task in enumerate(TASKS)
    }


def experts():
    """One a task, of one origin; three tasks are alike."""
    generator = torch.Generator().manual_seed(1)
    A_RI, one, other = (torch.randn(s, generator=generator) for s in ((2, 9), (7, 2), (7, 2)))
    result = []
    for t, task in enumerate(TASKS):
        B_OR = (one if t < 3 else other) + 0.1 * torch.randn(7, 2, generator=generator)
        card = {"task": [task], "base_hash": "abc", "init": "kaiming", "init_seed": 0}
        result.append(Expert(f"of {task}", {"q": Factors(A_RI, B_OR)}, card))
    return result


def divide(name, data, **arguments):
    """Called with what its signature asks for."""
    method = registry.find("partitions", name)
    offered = {"experts": experts(), "k": 2, "score": load("length"), "rules": ["one: even == 1", "other"], **arguments}
    return method(data, **{key: offered[key] for key in inspect.signature(method).parameters if key in offered})


def test_every_example_has_one_learner(name, data):
    result = divide(name, data)
    dealt = [example.id for examples in result.groups.values() for example in examples]
    assert sorted(dealt) == sorted(example.id for examples in data.values() for example in examples)
    assert all(result.groups.values()), "a learner with nothing to learn"


def test_a_learner_knows_its_tasks(name, data):
    result = divide(name, data)
    assert list(result.groups) == list(result.tasks)
    every = [task for tasks in result.tasks.values() for task in tasks]
    assert sorted(every) == sorted(TASKS) if name not in WITHIN else set(every) == set(TASKS)
    for learner, tasks in result.tasks.items():
        whole = [example for task in tasks for example in data[task]]
        ours = list(result.groups[learner])
        assert ours == ([example for example in whole if example in ours] if name in WITHIN else whole)
        assert all(any(example in ours for example in data[task]) for task in tasks)
        assert check_name(learner) == learner, "it can be an expert in a library"


@pytest.mark.parametrize("name", WITHIN)
def test_a_task_can_be_divided(name, data):
    result = divide(name, data)
    one, other = result.tasks.values()
    assert set(one) & set(other)


def test_the_evidence_is_json(name, data):
    result = divide(name, data)
    assert json.loads(json.dumps(result.evidence, allow_nan=False, ensure_ascii=False)) == result.evidence


def test_the_same_twice_whatever_is_drawn_meanwhile(name, data):
    first = divide(name, data, seed=7)
    torch.rand(3)
    assert divide(name, data, seed=7) == first


def test_the_data_are_left_alone(name, data):
    before = {task: list(examples) for task, examples in data.items()}
    divide(name, data)
    assert data == before
