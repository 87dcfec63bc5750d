r"""Reads the final number out of an answer, in English or Japanese.

An announced number wins over one that is not, and the last of its kind over earlier ones:

    \boxed{42}    >    #### 42    >    The answer is 42. / 答えは42です。 / 42円が正解です。    >    the last number in the text

It is returned in one spelling, so that equal numbers are equal strings: １，２３４ and 1 234 and 1.234e3 are "1234"; ¾, 3/4,
4分の3 and \frac{3}{4} are "0.75"; 3万5千 and 35 thousand are "35000"; 2^10 is "1024"; $-5, −5 and negative 5 are "-5".
Units, % and $ are dropped. A number that is named to be denied (not 5, 5ではない) is no answer.

Two rules keep false friends out. A minus needs a space, an "=" or the like before it: 2-3 is a range or a difference.
Kanji numerals count only where an answer is announced or stands alone, since many words contain them (一番, 十分).
Text is read, never evaluated: no computer algebra is needed, and no output of a model can make this slow.
"""

import re
import unicodedata
from decimal import Inexact, localcontext
from fractions import Fraction

KANJI = {digit: value for value, digit in enumerate("〇一二三四五六七八九")} | {"零": 0}
SMALL = {"十": 10, "百": 100, "千": 1000}
LARGE = {"万": 10**4, "億": 10**8, "兆": 10**12}

NUMERAL = "[〇零一二三四五六七八九十百千万億兆]{1,40}"
NUMBER = re.compile(
    r"""
    (?: (?<![^\s=:≈~(\[{<>$¥€£*_"'「『、。は|]) (?P<minus>-) [$¥€£]? )?  # what may stand before a sign
    (?: (?<![A-Za-z\d]) (?<!\d\.)  # not the 2 of cm2, nor the 0 of 2.1.0
        (?P<whole> \d{1,3}(?:,\d{3})+(?!\d) | (?<!\d\s)\d{1,3}(?:\x20\d{3})+(?![\d/]|\s\d|\s/) | \d+ )
      | (?<![A-Za-z\d.]) (?=\.\d) )
    (?P<decimals> \.\d+ )?
    (?: (?P<exponent> [eE][+-]?\d{1,2} ) (?!\d)  # more digits than that would only be a way to use up memory
      | (?P<over> \s\d+ )? \s? / \s? (?P<under> \d+ ) (?! \d | \.\d )  # 3/4, 2 3/4
      | (?P<large> [十百千万億兆] (?: \d[\d,]* | [十百千万億兆] )* ) )?
    (?: \s? (?P<times> (?i: hundred | thousand | million | billion | trillion ) ) \b )?
    """,
    re.VERBOSE,
)
ANNOUNCED = re.compile(
    r"(?i:answer)(?i:\s+(?:is|was|would be|should be)\b|\s*[:=])|(?:答え?|正解|正答|解答|回答)\s*(?:は|が|:|=)"
)
CLAIMED = re.compile(r"が(?:正解|正答|答え?)(?:です|だ|である|と?なる|。|$)", re.MULTILINE)
TIMES = {"hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
IRRATIONAL = re.compile(r"\s*(?:√|π|\\sqrt|\\pi\b)")
"""What stands behind a number that is a factor of another."""
ROOTS = ("√", r"\sqrt", r"\sqrt{", r"\sqrt {")
HASHES = re.compile(r"#### *([$¥€£-]{0,2}\.?\d[^\n]*)")
COUNTER = "(?:[円個人本枚匹冊台回点倍年日歳つ%]|時間|ドル|キロ|メートル)"
ALONE = re.compile(rf"\s*({NUMERAL}){COUNTER}?(?:です|だ)?[。.]?\s*")

# Applied in this order, around Unicode's own folding of full-width and compatibility characters (NFKC).
BEFORE = (
    (re.compile(r"(?<=\d)(?=[¼-¾⅐-⅞])"), " "),  # NFKC would make 2½ into 21/2
    (re.compile("([⁰¹²³⁴-⁹]+)"), r"^\1"),  # and cm² into cm2
)
AFTER = (
    (re.compile("[−–—‐]"), "-"),
    (re.compile(r"\b(is|was)(?:n't|\s+not)\s+[$¥€£]?-?\d{1,30}(?:[.,]\d{1,30}){0,9}(?:,?\s+but\b)?"), r"\1 "),
    (
        re.compile(
            r"[$¥€£]?-?(?<![\d.,])\d{1,30}(?:[.,]\d{1,30}){0,9}[^\s\d。、]{0,4}?(?:で|じゃ)は?(?:なく(?:て)?|ない|ありません)、?"
        ),
        "",
    ),
    (
        re.compile(r"(\b(?:is|was|be)\b|[=:]|^)[ \t]*(?:minus|negative)\s+(?=[$¥€£\d.])", re.IGNORECASE | re.MULTILINE),
        r"\1 -",
    ),
    (re.compile(r"(\bis|=)\s+-\s+(?=\d)"), r"\1 -"),
    (re.compile("\N{FRACTION SLASH}"), "/"),
    (re.compile(r"マイナス\s*(?=[\d〇一二三四五六七八九十百千¥$.])"), "-"),
    (re.compile(r"(?<!\d)(\d+)/(\d+)/(\d+)"), r"\1 \2 \3"),  # a date is not a fraction
    (re.compile(r"(?<=\d)(?=\\[dt]?frac)"), " "),
    (re.compile(r"\\[dt]?frac ?\{? ?(-?\d+) ?\}? ?\{? ?(\d+) ?\}?"), r"\1/\2"),
    (re.compile(r"(?<=\d)\{,\}(?=\d)"), ","),
    (re.compile(r"\\[,!;]|\\(?=[$%])"), ""),
    (re.compile(r" ?(?:×|\*|\\times) ?10 ?\^ ?\{?(-?\d{1,2})(?!\d)\}?"), r"e\1"),
    (re.compile(r"(?<![\d.])\d+ ?\^ ?\([^()]{0,40}\)"), "?"),
    (
        re.compile(r"(?<![\w.)}\]√])(?:\((-?\d{1,6})\)|(\d{1,6})) ?\^ ?(?:\{(-?\d+)\}|(-?\d+))(?!\d|\.\d)"),
        lambda match: _power(match),
    ),
    (re.compile(r"\^ ?(?:\{[^{}]*\}|-?\d+|\\circ)"), ""),
    (
        re.compile(rf"({NUMERAL}|\d{{1,40}})分の({NUMERAL}|\d{{1,40}})"),
        lambda match: f"{_sum(match[2])}/{_sum(match[1])}",
    ),
    (re.compile(r"\b(?:USD|JPY|EUR|GBP|Rs\.?)(?=\s?-?\d)"), "$"),
)


def last_number(text: str) -> str | None:
    """Returns the number that a text ends up with, in one spelling, or None. Only the last 8000 characters are read."""
    text = _tidy(text[-8000:])
    for announced in (boxed, hashes, _phrases):
        for segment in announced(text):
            if number := _first(segment):
                return number
    if numbers := _numbers(text):
        return numbers[-1]
    alone = ALONE.fullmatch(text)
    return _spell(_sum(alone[1])) if alone else None


def same_number(a: str, b: str) -> bool:
    """Returns whether two texts end up with the same number."""
    number = last_number(a)
    return number is not None and number == last_number(b)


def _tidy(text: str) -> str:
    for pattern, instead in BEFORE:
        text = pattern.sub(instead, text)
    text = unicodedata.normalize("NFKC", text)
    for pattern, instead in AFTER:
        text = pattern.sub(instead, text)
    return text


def _power(match: re.Match[str]) -> str:
    """Returns 2^10 as 1024. A power that is too large to write out is no number: half of it would be another one."""
    base, exponent = int(match[1] or match[2]), int(match[3] or match[4]) if len(match[3] or match[4]) < 5 else 10**5
    if abs(exponent) * len(str(base)) > 60 or (base == 0 and exponent < 0):
        return "?"
    value = Fraction(base) ** exponent
    return f"{value.numerator}/{value.denominator}" if value.denominator > 1 else str(value)


def boxed(text: str) -> list[str]:
    r"""Returns what stands in each \boxed{…}, the last one first, with its inner braces balanced."""
    contents = []
    for start in list(re.finditer(r"\\boxed ?\{", text))[-20:]:
        depth, end = 1, start.end()
        while end < len(text) and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        contents.append(text[start.end() : end - (not depth)])
    return contents[::-1]


def hashes(text: str) -> list[str]:
    """Returns what follows each ####, the last one first; "#### 1. First step" is a heading."""
    return [answer for answer in HASHES.findall(text)[::-1] if not re.match(r"\d+[.)]\s+\S", answer)]


def _phrases(text: str) -> list[str]:
    """Returns the sentence after each announcement, the last one first, or all that follows if it has no number."""
    answers = []
    for phrase in list(ANNOUNCED.finditer(text))[-20:]:
        rest = text[phrase.end() :].lstrip()
        sentence = re.split(r"[。\n]|[.!?](?=\s|$)", rest, maxsplit=1)[0]
        answers.append(sentence if _first(sentence) else rest)
    return answers[::-1] + [claim for claim in _claims(text)[:-21:-1] if _numbers(claim)]


def _claims(text: str) -> list[str]:
    """Returns what stands in its sentence before each が正解です, the last one last."""
    claims, past = [], 0
    for claim in CLAIMED.finditer(text):
        begins = max(past, *(text.rfind(end, past, claim.start()) + 1 for end in "。\n"))
        claims.append(text[begins : claim.start()])
        past = claim.end()
    return claims


def _first(segment: str) -> str | None:
    """Returns the first number of an announced answer; of "3 * 4 = 12" or "x = 12" the result."""
    head, _, tail = segment.rpartition("=")
    if not _numbers(head) or re.search(r"[+*/×÷]|\d\s?[-x]\s?\d", head):
        segment = tail if _numbers(tail) else segment
    if numbers := _numbers(segment):
        return numbers[0]
    kanji = re.search(NUMERAL, segment)
    return _spell(_sum(kanji[0])) if kanji else None


def _numbers(text: str) -> list[str]:
    return [
        number for match in NUMBER.finditer(text)
        if not IRRATIONAL.match(text, match.end())
        and not text[max(0, match.start() - 8) : match.start()].rstrip().endswith(ROOTS)
        and (number := _read(match)) is not None
    ]  # fmt: skip


def _read(match: re.Match[str]) -> str | None:
    whole = re.sub(r"[, ]", "", match["whole"] or "0")
    try:
        value = Fraction(whole + (match["decimals"] or "") + (match["exponent"] or ""))
        if match["large"]:
            value = _sum(whole + (match["decimals"] or "") + match["large"].replace(",", ""))
        elif match["over"]:
            value += Fraction(int(match["over"]), int(match["under"]))
        elif match["under"]:
            value /= int(match["under"])
        value *= TIMES[match["times"].lower()] if match["times"] else 1
        return _spell(-value if match["minus"] else value)
    except (ValueError, ZeroDivisionError):  # 3/0, or thousands of digits
        return None


def _sum(numeral: str) -> Fraction:
    """Returns the value of a numeral in kanji, in digits or in both: 十二, 二〇二五, 3万5千."""
    total, section, digits = Fraction(0), Fraction(0), None
    for token in re.findall(r"\d+(?:\.\d+)?|.", numeral):
        if token in LARGE:
            total, section, digits = total + ((section + (digits or 0)) or 1) * LARGE[token], Fraction(0), None
        elif token in SMALL:
            section, digits = section + (1 if digits is None else digits) * SMALL[token], None
        else:
            digits = (digits or 0) * 10 + KANJI[token] if token in KANJI else Fraction(token)
    return total + section + (digits or 0)


def _spell(value: Fraction) -> str:
    """Returns the one spelling of a number: 12, 0.75, or a fraction in lowest terms if its decimals never end."""
    with localcontext(prec=50) as context:
        decimal = context.divide(value.numerator, value.denominator)
        return str(value) if value.denominator == 1 or context.flags[Inexact] else f"{decimal:f}"


def near(answer: str, gold: str) -> bool:
    """Returns whether two numbers in their one spelling are equal, where gold may be a decimal that was cut (0.333333).

    Such a gold number has six decimals or more; then 1/3 is right, and so is 0.33, which equals gold rounded to two places.
    """
    a, b = Fraction(answer), Fraction(gold)
    decimals, given = (len(text.partition(".")[2]) for text in (gold, answer))
    if a == b or decimals < 6:
        return a == b
    places = min(given, decimals) if given >= 2 else decimals
    return abs(a - b) <= Fraction(1, 2 * 10**places) + Fraction(1, 10**decimals)
