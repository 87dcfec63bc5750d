"""How numbers are printed: three decimals where the file has more, a real minus sign, a dash for what is not known."""

import math
from typing import Any

NONE = "–"


def known(value: Any) -> float | None:
    """The value if it is a finite number, else None (JSON allows NaN, and a measurement may be missing)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def number(value: float | None) -> str:
    """0.7125 -> 0.713, 1234567 -> 1,234,567, -1.5 -> −1.500."""
    if value is None:
        return NONE
    text = f"{value:,.0f}" if isinstance(value, int) or abs(value) >= 1000 else f"{value:.3f}"
    return "0.000" if text == "-0.000" else text.replace("-", "−")


def signed(value: float | None) -> str:
    """A difference: +0.125, −0.125, 0.000."""
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and text != "0.000" else text


def probability(p: float | None) -> str:
    """A p-value: two figures that count, and never a bare zero."""
    if p is None:
        return NONE
    if p < 0.001:
        return "< 0.001"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def seconds(value: float | None) -> str:
    """1.25 -> 1.2 s, 90 -> 1 min 30 s, 7260 -> 2 h 01 min."""
    if value is None:
        return NONE
    if value < 60:
        return f"{value:.1f} s"
    if value < 3600:
        return f"{int(value) // 60} min {int(value) % 60:02d} s"
    return f"{int(value) // 3600} h {int(value) % 3600 // 60:02d} min"


def size(count: int) -> str:
    """Bytes: 1536 -> 1.5 kB."""
    value, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def cut(text: str, limit: int) -> str:
    """The text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
