"""An adapter, or an expert of another library, comes in as it is."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.library.exchange import import_expert
from yosegi.library.store import Library


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "shelf", "abc", "b")
    library.add(Expert("a", {"model.q": Factors(torch.randn(2, 9), torch.randn(7, 2), 2.0)}, {"task": ["t"]}))
    return library


def test_out_of_one_library_into_another(library, tmp_path):
    other = Library(tmp_path / "other")
    expert = import_expert(other, library.path / "a", "copy")
    assert expert.name == "copy" and other.card("copy")["base_hash"] == "abc" and other.card("copy")["task"] == ["t"]
    assert torch.equal(other["copy"].delta("model.q"), library["a"].delta("model.q"))
    with pytest.raises(Invalid, match="'copy'"):
        import_expert(other, library.path / "a", "copy")
    assert import_expert(other, library.path / "a", "copy", overwrite=True).name == "copy"


def test_the_base_of_the_library_is_the_expert_s(library, tmp_path):
    named = Library(tmp_path / "named", "xyz", "c")
    import_expert(named, library.path / "a", "a")
    assert (named.card("a")["base"], named.card("a")["base_hash"]) == ("c", "xyz")
