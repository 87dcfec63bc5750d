"""The contract of routers: hyper-parameters are the config."""

import pytest
import torch

from yosegi.core.context import Context
from yosegi.core.router import Router


class Plain(Router):
    """No arguments at all."""


class Tuned(Router):
    def __init__(self, top_k: int = 2, temperature: float = 1.0):
        super().__init__()
        self.top_k, self.temperature = top_k, temperature


def test_config_of_a_router_without_arguments():
    assert Plain().config() == {}


def test_config_is_enough_to_make_it_again():
    config = Tuned(5, temperature=0.1).config()
    assert config == {"top_k": 5, "temperature": 0.1}
    assert Tuned(**config).config() == config


def test_a_router_must_have_weights():
    with pytest.raises(NotImplementedError):
        Plain()(torch.zeros(1, 2), Context())


def test_bind_is_optional():
    assert Plain().bind(None) is None
