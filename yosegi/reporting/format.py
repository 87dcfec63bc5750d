"""How numbers and texts are printed: three decimals where the file has more, a real minus sign, a dash for what is not known."""

import json
import math
from typing import Any

from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

NONE = "–"


def known(value: Any) -> float | None:
    """Returns the value if it is a finite number, else None (JSON allows NaN, and a measurement may be missing)."""
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
    """Returns a difference: +0.125, −0.125, 0.000."""
    text = number(value)
    return f"+{text}" if value is not None and value > 0 and text != "0.000" else text


def probability(p: float | None) -> str:
    """Returns a p-value: two figures that count, and never a bare zero."""
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


def cut(text: str, limit: int) -> str:
    """Returns the text, or its beginning and an ellipsis."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def plural(count: int, word: str) -> str:
    """1 model, 2 models."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def one_line(text: Any, limit: int) -> str:
    """Returns the end of a text without its line breaks: in a prompt that is the question, after examples and instructions."""
    words = " ".join(str(text or "").split())
    return words if len(words) <= limit else "…" + words[-limit:]


def between(low: float | None, high: float | None) -> str:
    """Returns an interval in words, or nothing."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def flat(value: Any, name: str = "") -> list[tuple[str, str]]:
    """Returns a nested configuration as rows of name and value: `versions.torch`, `2.9.1`."""
    if isinstance(value, dict) and value:
        return [row for key, inner in value.items() for row in flat(inner, f"{name}.{key}" if name else str(key))]
    if isinstance(value, list):
        value = " ".join(map(str, value))
    return [(name or "value", "" if value is None else str(value))]


def json_for_page(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return htmlsafe_json_dumps(value, ensure_ascii=False, separators=(",", ":"))


def text(value: Any) -> str:
    """Returns a prompt or an answer as text: what is not text is written as JSON."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def words(value: Any) -> str:
    """Returns a list as one text, and what is not there as none."""
    return ", ".join(map(str, value)) if isinstance(value, list) else "" if value is None else str(value)
