"""Settings are checked before anything is loaded."""

import pytest
from pydantic import ValidationError

from yosegi.training.settings import GrpoSettings, Settings


@pytest.mark.parametrize(
    "wrong", [{"rank": 0}, {"learning_rate": -1}, {"dropout": 1}, {"precision": "fp8"}, {"ranks": 8}, {"max_steps": 0}]
)
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


def test_answers_are_not_packed():
    assert GrpoSettings(pack=None).pack is None
    with pytest.raises(ValidationError, match="pack"):
        GrpoSettings(pack=256)


def test_yaml_spells_a_number_as_a_word():
    assert Settings(learning_rate="1e-4").learning_rate == 1e-4
