"""The embedded base and two experts, as the tests of the engine have them."""

from tests.engine.conftest import nano, pair

__all__ = ["nano", "pair"]
