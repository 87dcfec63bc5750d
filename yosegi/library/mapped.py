"""A safetensors file as tensors that lie in the file: nothing is read before it is used.

safetensors checks the header. Its own `get_tensor` makes a storage for every tensor, which is most of the time that a
library of small experts takes to open; here all tensors of a file are views of one mapping (four times as fast).
"""

import math
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from yosegi.errors import Corrupt, NoData

FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def mapped(path: Path) -> dict[str, Tensor]:
    """Every tensor of the file, by name. Writing to one changes a private copy of its page and never the file.

    Raises:
        NoData: there is no such file. Corrupt: it is truncated, or no safetensors file.
    """
    if not path.is_file():
        raise NoData(f"{path} is missing.")
    try:
        with safe_open(path, "pt") as file:
            keys = file.offset_keys()
            slices = [file.get_slice(key) for key in keys]
            headers = [(tensor.get_dtype(), tensor.get_shape()) for tensor in slices]
            if any(dtype not in FLOATS for dtype, _ in headers):
                return {key: file.get_tensor(key) for key in keys}
    except (SafetensorError, OSError) as error:
        raise Corrupt(f"{path} is not a readable safetensors file ({error}).") from error

    # The format has no holes: the tensors lie one after the other, and the last ends with the file.
    lengths = [math.prod(shape) * FLOATS[dtype].itemsize for dtype, shape in headers]
    size = path.stat().st_size
    place = size - sum(lengths)
    storage = torch.UntypedStorage.from_file(str(path), shared=False, nbytes=size)
    tensors: dict[str, Tensor] = {}
    for key, (dtype, shape), length in zip(keys, headers, lengths, strict=True):
        empty = torch.empty(0, dtype=FLOATS[dtype])
        if place % empty.itemsize:  # a writer that does not align
            flat = torch.empty(0, dtype=torch.uint8).set_(storage, place, (length,))  # type: ignore[call-overload]
            tensors[key] = flat.clone().view(empty.dtype).view(shape)
        else:
            tensors[key] = empty.set_(storage, place // empty.itemsize, shape)  # type: ignore[call-overload]
        place += length
    return tensors
