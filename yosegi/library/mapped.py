"""Safetensors files as tensors that lie in the file: nothing is read before it is used."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from yosegi.errors import Corrupt, NoData


def mapped(path: Path) -> dict[str, Tensor]:
    """Returns every tensor of a file. Writing to one changes a private copy of its page and never the file.

    Raises:
        NoData: there is no such file. Corrupt: it is truncated, or not a safetensors file.
    """
    if not path.is_file():
        raise NoData(f"{path} is missing.")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{path} is not a readable safetensors file ({error}).") from error
