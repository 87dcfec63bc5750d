r"""One spelling for mathematics: what people write with √, ½ and ∞, or in words, is written as LaTeX.

    fold         signs:  √3, ∛(x+1), ∞, ≤, −, 1 4/5, ５    →    \sqrt{3}, \sqrt[3]{x+1}, \infty, \le, -, 1\frac{4}{5}, 5
    in_symbols   words:  3または5個, マイナス5, 2と3分の1, 3対2, x = 1 or x = -2    →    3, 5 and -5 and 2\frac{1}{3}, 3:2, 1, -2
    spelt        looks:  \left( 1,\! 2 \right), 12 \text{ cm}, 30^\circ, x = 5    →    (1,2), 12, 30, 5

A word without a symbol stays: 3以上 is not 3, and 2時間30分 is neither 230 nor 30. So what is left in Japanese is text and no
mathematics.
"""

import re
import unicodedata

from yosegi.tasks.readers.answers import BEFORE, COUNTER, NUMERAL, last_number

JAPANESE = re.compile(r"[\u3005-\u30ff\u3400-\u9fff]+")
PLAIN = re.compile(r"[+-]?(?:\d+(?:,\d{3})*(?:\.\d+)?|\.\d+)")
TEXT = r"\\(?:text|mbox|mathrm|textbf|mathbf) ?"
LATEX = re.compile(rf"{TEXT}\{{[^{{}}]*\}}|\\(?:begin|end) ?\{{\w+\}}|\\[A-Za-z]+")

SIGNS = str.maketrans(
    dict.fromkeys("−–—‐", "-")
    | {"\N{FRACTION SLASH}": "/", "∞": r"\infty ", "≤": r"\le ", "≦": r"\le ", "≥": r"\ge ", "≧": r"\ge ", "≠": r"\ne "}
    | {"∪": r"\cup ", "∩": r"\cap ", "·": r"\cdot ", "⋅": r"\cdot ", "π": r"\pi "}
)
ROOT = re.compile(r"([√∛]) ?(?:\{([^{}]*)\}|\(([^()]*)\)|(\d+(?:\.\d+)?|[A-Za-z]))")
MIXED = re.compile(r"(?<![\d}/^_])(\d+) +(\d+)/(\d+)(?!\d)")

OR_JA = "または|又は|あるいは|もしくは|および|及び|と|や|か|、"
OR = rf"{OR_JA}|or|and"
JOINED = re.compile(rf"\s*(?:{OR_JA}|,?\s*\b(?:or|and)\b)\s*")
SPOKEN = (  # words of mathematics, and the symbols for them
    (re.compile(rf"{TEXT}\{{\s*((?:{OR})|[^{{}}A-Za-z\d]*)\s*\}}"), r" \1 "),
    (re.compile(r"(?:マイナス|負の)\s*(?=[\d\\.($A-Za-z〇一二三四五六七八九十百千])"), "-"),
    (re.compile(r"プラス\s*(?=[\d\\.($A-Za-z])"), "+"),
    (re.compile(r"ルート\s*(\d+|[A-Za-z])"), r"\\sqrt{\1}"),
    (re.compile("無限大"), r"\\infty "),
    (re.compile(r"(\d+)と(\d+)分の(\d+)"), r"\1\\frac{\3}{\2}"),
    (re.compile(r"(?<!\d)(\d+)分の(\d+)"), r"\\frac{\2}{\1}"),
    (re.compile(r"(?<=\d)\s*対\s*(?=\d)"), ":"),
    (re.compile(r"\s+(?:equals|is equal to)\s+"), " = "),
    (re.compile(r"^[^=]*?(?<!また)は\s*(?=[-+.\d\\(\[{])"), ""),
)
COPULA = re.compile(r"です|でした|でしょう|である|であり|であって|だ(?=$|[、。])|[にと]なる|[にと]なり|で、")
UNIT = r"(?:[\u3005-\u30ff\u3400-\u9fff]{1,8}|km/h|m/s|[ckm]?m(?:\^?\{?[23]\}?)?|[km]?g|m?[lL])"
NO_UNIT = "以上|以下|以外|以内|未満|超|より|から|まで|ダース|割|の|乗|進"  # 3ダース is 36, 3の倍数 is no number at all
MEASURED = re.compile(rf"(?<=[\dA-Za-z}})\]!]) ?(?!.*(?:{NO_UNIT})){UNIT}$")
IN_KANJI = re.compile(
    rf"-?(?:{NUMERAL}(?:分の{NUMERAL}|{COUNTER})?|(?=\d[^a-zA-Z]*[十百千万億兆])[\d,.十百千万億兆]+(?!.*(?:{NO_UNIT})){UNIT}?)"
)

LOOKS = (  # what does not tell two answers apart, and what replaces it
    (re.compile(r"(?<!\\)\\(?:(?:left|right|displaystyle|[bB]ig[lr]?)(?![a-z])|[!,;: ])"), ""),
    (re.compile(r"\\[dt]frac"), r"\\frac"),
    (re.compile(r"\^ ?\{? ?\\circ ?\}?|°"), ""),
    (re.compile(r"\\?%|\\?\$|\\(?:text|mbox|mathrm) ?\{ ?percent ?\}"), ""),
    (re.compile(r"(?<=[\d}]) ?\\(?:text|mbox|mathrm) ?\{[^{}\d]*\}(?:\^ ?\{?\d\}?)?$"), ""),  # 5.4 \text{ cents}
    (re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf) ?\{([^{}]*)\}"), r"\1"),
    (re.compile(r"(?<=\d),(?=\d{3}(?!\d))(?=[^()\[\]]*$)"), ""),
    (re.compile(r"\{,\}"), ""),
    (re.compile(r"\\varnothing|∅|\\\{\s*\\\}"), r"\\emptyset"),
    (re.compile(r"\\sqrt ?\(([^()]*)\)"), r"\\sqrt{\1}"),
    (re.compile(r"\\frac ?(\d) ?(\d)"), r"\\frac{\1}{\2}"),
)


NAMED_UNIT = re.compile(r"(?<=[\d}]) ?(?:\\(?:text|mbox|mathrm) ?\{ ?)?([A-Za-z]{1,12})\}?$")
PLAIN_UNIT = re.compile(r"(?<=\d)(?: ?(?:[ckm]m|[km]g|m[lL]|km/h|m/s)| [mgl])(?:\^?\{?[23]\}?)?$")
UNITS = (
    (
        "length",
        "mm|millimeter",
        "cm|centimeter",
        "m|meter",
        "km|kilometer",
        "in|inch|inche",
        "ft|foot|feet",
        "yd|yard",
        "mile",
    ),
    ("mass", "mg|milligram", "g|gram", "kg|kilogram"),
    ("money", "cent", "dollar"),
    ("time", "second", "minute", "hour", "day", "week", "month", "year"),
    ("angle", "degree", "radian"),
)
"""Units that tell two answers apart where both name one: kinds, and the names of each unit in the singular."""


def fold(text: str) -> str:
    """Returns the text with one character for each sign, and with LaTeX commands for the signs that have one."""
    for pattern, instead in BEFORE:
        text = pattern.sub(instead, text)
    text = unicodedata.normalize("NFKC", text).translate(SIGNS).replace("{\\,}", "")
    text = ROOT.sub(
        lambda match: rf"\sqrt{'[3]' * (match[1] == '∛')}{{{match[2] or match[3] or match[4] or ''}}}", text
    )
    return MIXED.sub(r"\1\\frac{\2}{\3}", text)


def in_symbols(segment: str) -> str:
    """Returns an answer with words as symbols and without the units of its numbers, as far as that is possible."""
    japanese = bool(JAPANESE.search(segment))
    answer = COPULA.split(segment, maxsplit=1)[0] if japanese else segment
    for pattern, instead in SPOKEN:
        answer = pattern.sub(instead, answer)
    pieces = [_unitless(piece) if japanese else piece for piece in JOINED.split(answer.strip())]
    if len(pieces) == 1 or not all(map(is_math, pieces)):
        pieces = [_unitless(answer.strip()) if japanese else answer.strip()]
    return _of_one_letter(", ".join(pieces))


def tidy(answer: str) -> str:
    """Returns an answer without what does not tell two answers apart, its spaces kept."""
    for pattern, instead in LOOKS:
        answer = pattern.sub(instead, answer)
    return PLAIN_UNIT.sub("", answer).rstrip(".").casefold()


def unit(answer: str) -> tuple[str, str] | None:
    """Returns what the unit of an answer measures, and the unit; None where it has none that is known."""
    match = NAMED_UNIT.search(answer.rstrip(" ."))
    name = re.sub(r"(?<=\w\w)s$", "", match[1].strip().lower()) if match else ""
    return next(
        ((kind, names.split("|")[0]) for kind, *scale in UNITS for names in scale if name in names.split("|")), None
    )


def spelt(answer: str) -> str:
    """Returns one spelling for answers that differ only in looks."""
    answer = re.sub(r"\s+", "", tidy(answer))
    return re.sub(r"^[a-z]=(?=[^=]+$)", "", answer)


def is_math(text: str) -> bool:
    """Returns whether a line is mathematics: it has no words but LaTeX's own and those in \\text{}."""
    rest = LATEX.sub(" 0 ", text)
    return not re.search(r"\n|[^\W\d_]{3}|[\u3040-\u9fff]", rest) and bool(re.search(r"\w", rest))


def _unitless(piece: str) -> str:
    """Returns 12個 and 面積は12平方センチ as 12, 十二個 as 12 and 3万5千円 as 35000."""
    if IN_KANJI.fullmatch(piece) and (number := last_number(f"答えは{piece}")):
        return number
    bare = re.sub(rf"^{JAPANESE.pattern}\s*(?=[-+.\d\\(\[{{A-Za-z$])", "", MEASURED.sub("", piece))
    return piece if JAPANESE.search(bare) else bare


def _of_one_letter(answer: str) -> str:
    """Returns x = 1, x = -2 as 1, -2."""
    named = [re.fullmatch(r"\s*([A-Za-z])\s*=\s*([^=]+?)\s*", piece) for piece in answer.split(",")]
    letters = {match and match[1] for match in named}
    if len(named) < 2 or len(letters) > 1 or None in letters:
        return answer
    return ", ".join(match[2] for match in named if match)
