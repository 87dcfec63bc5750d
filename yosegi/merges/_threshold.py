"""The k-th largest magnitude of vectors that stream by in blocks; only counts are in memory.

The bits of a positive float, read as an integer, sort as the float does. So the answer is found digit by digit, the highest
first, as in a radix sort: count the entries with each value of the digit, find the value that holds the k-th entry, and look
only there at the next digit. Exact to the last bit; two passes for up to 8 vectors, three for up to 256.
"""

from collections.abc import Callable, Iterable
from math import log2

import torch
from torch import Tensor

COUNTS = 2**19
"""The number of counts in memory, 4 MB, for any number of vectors."""


def kth_largest(blocks: Callable[[], Iterable[tuple[int, Tensor]]], vectors: int, share: float) -> Tensor:
    """Returns [vectors]: the magnitude that int(share · n), and at least one, of each vector's n entries reach or exceed.

    Args:
        blocks: each call streams all blocks again, in fp32, in any order and shape, each with the number of its vector.
        vectors: the number of vectors.
        share: the share of the entries, above 0.
    """
    digit = max(1, min(16, int(log2(COUNTS / vectors))))
    digits_E, above_E, low = torch.zeros(vectors, dtype=torch.int32), torch.zeros(vectors, dtype=torch.int64), 31
    wanted_E = torch.ones(vectors, dtype=torch.int64)
    while low:
        high, low = low, max(0, low - digit)
        size = 1 << (high - low)
        count_EX = torch.zeros(vectors, size, dtype=torch.int64)
        for e, block in blocks():
            key = block.abs().flatten().view(torch.int32)
            if high < 31:
                key = key[(key >> high) == int(digits_E[e])] & ((1 << high) - 1)
            count_EX[e] += torch.bincount(key.bitwise_right_shift_(low), minlength=size).to(count_EX.device)
        if high == 31:
            wanted_E = (share * count_EX.sum(1).double()).long().clamp(min=1)
        # How many entries reach each value of the digit; the last value that enough entries reach holds the k-th.
        reach_EX = count_EX.flip(1).cumsum(1).flip(1) + above_E[:, None]
        value_E = ((reach_EX >= wanted_E[:, None]).sum(1) - 1).clamp(min=0)
        above_E = (reach_EX - count_EX).gather(1, value_E[:, None]).squeeze(1)
        digits_E = (digits_E << (high - low)) | value_E.int()
    return digits_E.view(torch.float32)
