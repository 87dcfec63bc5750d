"""Selects the largest of very many numbers without sorting them.

The bits of a non-negative float, read as an integer, are in the order of the floats. So the smallest selected number is found
digit by digit, with one histogram per digit. The memory is one chunk, the numbers that share the first digit, and the answer.
Shapes: J entries.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from yosegi.errors import Invalid

CHUNK = 1 << 19
DIGITS = ((20, 11), (9, 11), (0, 9))
"""(shift, bits) of each digit, the highest first; the sign bit is zero."""
INFINITE = 0x7F8
"""The first digit of infinity and NaN."""


def prefix(score_J: Tensor, share: float, among_J: Tensor | None = None) -> Tensor:
    """Returns True for the fewest largest entries whose sum reaches `share` of the total.

    Args:
        score_J: fp32, finite, not negative.
        share: from 0 to 1.
        among_J: True for the entries that can be selected; None for all.
    """
    return _largest(score_J, share, among_J, weighted=True)


def top(score_J: Tensor, count: int, among_J: Tensor | None = None) -> Tensor:
    """Returns True for the `count` largest entries; of equal entries the first are selected."""
    return _largest(score_J, count, among_J, weighted=False)


def _largest(score_J: Tensor, need: float, among_J: Tensor | None, weighted: bool) -> Tensor:
    """Selects the largest entries until their sum (`weighted`) or their number reaches `need`."""
    if score_J.dtype != torch.float32 or score_J.ndim != 1:
        raise Invalid("Scores must be one fp32 vector.")
    value = 0  # the digits found so far of the smallest selected number
    chunks = [(bits, among) for bits, among in _chunks(score_J, among_J)]
    for digit, (shift, width) in enumerate(DIGITS):
        each = torch.zeros(1 << width, dtype=torch.float64)
        for bits, among in chunks:
            bits = bits if among is None else bits[among]
            weights = bits.view(torch.float32).double() if weighted else None
            each += torch.bincount((bits >> shift) & ((1 << width) - 1), weights, minlength=1 << width).cpu()
        if digit == 0:
            if any(bool((bits < 0).any()) for bits, _ in chunks) or bool(each[INFINITE:].any()):
                raise Invalid("Scores must be finite and not negative.")
            if weighted:
                need *= float(each.sum())
            if need <= 0:
                return torch.zeros_like(score_J, dtype=torch.bool)
        down = each.flip(0)
        above = down.cumsum(0)
        place = min(int((above < need).sum()), int(down.nonzero()[-1]))  # rounding may ask for more than there is
        need -= float(above[place] - down[place])
        value = (value << width) | (len(each) - 1 - place)
        if shift:  # only numbers that share the digits found so far matter for the next one
            chunks = [(bits[_sharing(bits, among, value, shift)], None) for bits, among in chunks]
    bits_J = score_J.view(torch.int32)
    selected_J, equal_J = bits_J > value, bits_J == value
    if among_J is not None:
        selected_J, equal_J = selected_J & among_J, equal_J & among_J
    number = float(torch.tensor(value, dtype=torch.int32).view(torch.float32))
    count = (
        need / number if weighted and number else need
    )  # how many of the entries equal to the smallest selected number
    selected_J[equal_J.nonzero().squeeze(1)[: int(-(-(count - 1e-9) // 1))]] = True
    return selected_J


def _chunks(score_J: Tensor, among_J: Tensor | None) -> Iterator[tuple[Tensor, Tensor | None]]:
    bits = score_J.contiguous().view(torch.int32).split(CHUNK)
    return zip(bits, [None] * len(bits) if among_J is None else among_J.split(CHUNK), strict=True)


def _sharing(bits: Tensor, among: Tensor | None, value: int, shift: int) -> Tensor:
    sharing = bits >> shift == value
    return sharing if among is None else sharing & among
