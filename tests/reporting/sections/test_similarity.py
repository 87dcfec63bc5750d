import json

import pytest

from yosegi.errors import Corrupt
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections.similarity import section


@pytest.fixture
def heat(tmp_path):
    def write(experts, cosine):
        (tmp_path / "similarity.json").write_text(json.dumps({"experts": experts, "cosine": cosine}))
        ((_, heat),) = section(Context(read([tmp_path])))["maps"]
        return heat

    return write


def test_an_expert_of_zeros_is_like_no_other(heat):
    one = heat(["a", "b"], [[1.0, float("nan")], [0.3, 1.0]])
    assert one.values == [[1.0, None], [0.3, 1.0]] and one.top == 0.3 and one.printed and one.diagonal


def test_many_experts_are_a_picture(heat):
    names = [f"e{i}" for i in range(30)]
    one = heat(names, [[0.5] * 30] * 30)
    assert not one.printed and json.loads(one.data)["columns"] == names


def test_what_is_no_square_is_named(heat):
    with pytest.raises(Corrupt, match=r"similarity\.json"):
        heat(["a"], [[1.0, 0.0]])
