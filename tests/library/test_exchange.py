"""Experts go out as PEFT adapters and come back as they were; nothing else is replaced."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.library.exchange import export_expert, import_expert
from yosegi.library.store import Library


@pytest.fixture
def library(tmp_path):
    library = Library(tmp_path / "shelf", "abc", "b")
    library.add(Expert("a", {"model.q": Factors(torch.randn(2, 9), torch.randn(7, 2), 2.0)}, {"task": ["t"]}))
    return library


def test_out_and_in_again(library, tmp_path):
    export_expert(library, "a", tmp_path / "out")
    other = Library(tmp_path / "other")
    expert = import_expert(other, tmp_path / "out")
    assert expert.name == "out" and other.card("out")["base_hash"] == "abc" and other.card("out")["task"] == ["t"]
    assert torch.equal(other["out"].delta("model.q"), library["a"].delta("model.q"))
    assert import_expert(other, library.path / "a", "copy").name == "copy" and sorted(other) == ["copy", "out"]
    with pytest.raises(Invalid, match="'copy'"):
        import_expert(other, library.path / "a", "copy")


def test_the_base_of_the_library_is_the_expert_s(library, tmp_path):
    export_expert(library, "a", tmp_path / "out")
    named = Library(tmp_path / "named", "xyz", "c")
    import_expert(named, tmp_path / "out", "a")
    assert (named.card("a")["base"], named.card("a")["base_hash"]) == ("c", "xyz")


def test_only_an_adapter_is_replaced(library, tmp_path):
    export_expert(library, "a", tmp_path / "out")
    with pytest.raises(Invalid, match="is there already"):
        export_expert(library, "a", tmp_path / "out")
    export_expert(library, "a", tmp_path / "out", overwrite=True)
    (tmp_path / "mine").mkdir()
    with pytest.raises(Invalid, match="is no adapter"):
        export_expert(library, "a", tmp_path / "mine", overwrite=True)
