"""One folder with several wounds; the single ones are in test_store.py, as a library tells them."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.library.store import Library
from yosegi.library.verify import Problem, problems


@pytest.fixture
def folder(tmp_path):
    Library(tmp_path).add(Expert("x", {"m.q": Factors(torch.randn(2, 5), torch.randn(3, 2))}))
    return tmp_path / "x"


def test_a_sound_expert_has_no_problems(folder):
    assert problems(folder) == []


def test_a_problem_reads_as_one_line(folder):
    assert str(Problem(folder / "f", "is missing")) == f"{folder}/f: is missing"


def test_all_that_is_wrong_is_said_at_once(folder):
    for path in folder.iterdir():
        if path.name != "README.md":
            path.write_bytes(path.read_bytes()[:-20])
    (folder / "README.md").unlink()
    result = problems(folder)
    assert {p.file.name for p in result} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "expert.json",
    }
    assert not any(str(folder) in p.what for p in result)  # the file is said once


def test_a_changed_tensor_is_told_by_its_name_and_by_the_checksum(folder):
    content = bytearray((folder / "adapter_model.safetensors").read_bytes())
    content[-4:] = b"\x00\x00\x80\x7f"
    (folder / "adapter_model.safetensors").write_bytes(content)
    whats = sorted(p.what for p in problems(folder))
    assert len(whats) == 2
    assert whats[0] == "base_model.model.m.q.lora_B.weight holds NaN or infinity"
    assert whats[1].startswith("is not what was written: its sha256 is")


def test_a_card_that_is_no_object(folder):
    (folder / "expert.json").write_text("[]")
    assert problems(folder) == [Problem(folder / "expert.json", "is not a JSON object.")]
