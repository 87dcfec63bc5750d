"""Against safetensors' own reader."""

import struct

import pytest
import torch
from safetensors.torch import load_file, save_file

from yosegi.errors import Corrupt, NoData
from yosegi.library.mapped import mapped


def test_it_reads_what_safetensors_reads(tmp_path):
    tensors = {
        "a": torch.randn(3, 5),
        "b": torch.randn(7).bfloat16(),
        "c": torch.randn(2, 3, 4).double(),
        "d": torch.randn(1, 1).half(),
        "none": torch.zeros(0, 4),
        "one": torch.tensor(3.5),
    }
    save_file(tensors, tmp_path / "f", metadata={"format": "pt"})
    read = mapped(tmp_path / "f")
    assert read.keys() == tensors.keys()
    for key, tensor in load_file(tmp_path / "f").items():
        assert read[key].dtype == tensor.dtype and read[key].shape == tensor.shape and torch.equal(read[key], tensor)
    read["a"].zero_()
    assert torch.equal(mapped(tmp_path / "f")["a"], tensors["a"]), "the file is never written to"


def test_other_kinds_are_left_to_safetensors(tmp_path):
    tensors = {"a": torch.arange(5), "b": torch.randn(3).to(torch.float8_e4m3fn), "c": torch.randn(4)}
    save_file(tensors, tmp_path / "f")
    assert all(torch.equal(mapped(tmp_path / "f")[k].float(), tensors[k].float()) for k in tensors)


def test_a_file_whose_numbers_are_not_aligned(tmp_path):
    header = b'{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'
    header += b" " * (-(8 + len(header)) % 4 + 1)
    numbers = torch.randn(3)
    (tmp_path / "f").write_bytes(struct.pack("<Q", len(header)) + header + numbers.numpy().tobytes())
    assert (tmp_path / "f").stat().st_size % 4 == 1
    assert torch.equal(mapped(tmp_path / "f")["a"], numbers)


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 8, b"\xff" * 100, struct.pack("<Q", 2) + b"{]", struct.pack("<Q", 10**12) + b"{}"]
)
def test_what_is_no_safetensors_file_is_named(tmp_path, content):
    (tmp_path / "f").write_bytes(content)
    with pytest.raises(Corrupt, match="f is not a readable safetensors file"):
        mapped(tmp_path / "f")


def test_every_cut_is_read(tmp_path):
    save_file({"a": torch.randn(3, 5)}, tmp_path / "f")
    whole = (tmp_path / "f").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "f").write_bytes(whole[:length])
        with pytest.raises(Corrupt):
            mapped(tmp_path / "f")
    (tmp_path / "f").write_bytes(whole + b"more")
    with pytest.raises(Corrupt):
        mapped(tmp_path / "f")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(NoData, match="f is missing"):
        mapped(tmp_path / "f")
