r"""Reads the final answer of a derivation, in English or Japanese. An announced answer wins over one that is not (answers.py):

    \boxed{…}   >   #### …   >   The answer is … / 答えは…です。   >   the last $…$   >   the last number

It is returned as it is written, except for words that have symbols: 3または5です is 3, 5 (symbols.py).
"""

import re

from yosegi.tasks.readers.answers import ANNOUNCED, boxed, last_number
from yosegi.tasks.readers.symbols import OR, PLAIN, UNIT, fold, in_symbols, is_math

LONGEST = 400
"""Characters of an answer that is a text of its own."""
READ = 8000

MATH = re.compile(r"\$\$(.+?)\$\$|\$((?:[^$\\]|\\.)+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
AND = re.compile(rf"(?:{UNIT}(?={OR}))?\s*(?:,|、|,?\s*(?:{OR}))\s*")
EQUALS = re.compile(r"\s*(?:=|は|equals|is equal to|is)\s*")
ASIDE = re.compile(r",?\s+(?:which|because|since|where|so|as)\b.*", re.DOTALL)


def final(text: str) -> str | None:
    """Returns the answer that a text ends up with, as it is written; None if there is none."""
    text = fold(text[-READ:])
    for announced in (boxed, _hashes, _phrases):
        for segment in announced(text):
            if answer := _bare(segment):
                return answer
    if math := MATH.findall(text):
        return _bare(next(filter(None, math[-1]))) or None
    whole = text.strip()
    return _bare(text) if 0 < len(whole) <= LONGEST and is_math(whole) else last_number(text)


def _hashes(text: str) -> list[str]:
    lines = re.findall(r"^\s*#### *(\S.*)$", text, re.MULTILINE)
    return [line for line in lines[::-1] if not re.match(r"\d+[.)]\s+\S|[A-Za-z]+\s+\d+", line)]


def _phrases(text: str) -> list[str]:
    """Returns what stands between an announcement and the end of its sentence, if that can be mathematics."""
    answers = []
    for phrase in list(ANNOUNCED.finditer(text))[-20:]:
        rest = re.split(r"。|\n|\.(?=\s|$)", text[phrase.end() :].lstrip(" :=\n"), maxsplit=1)[0]
        if re.search(r"[\d\\$]", rest) or last_number(f"答えは{rest}") or re.fullmatch(r"\W*\w+\W*", rest):
            answers.append(rest)
    return answers[::-1]


def _bare(segment: str) -> str:
    """Strips what stands around an answer: $…$, 個です, apples, **."""
    segment = re.sub(r"\*\*|`", "", _marked(segment.strip())).strip(" 。、,:").rstrip(".")
    segment = in_symbols(ASIDE.sub("", segment)[:READ]) if len(segment) <= LONGEST else segment
    if match := re.fullmatch(
        rf"(?:approximately|about|\\approx|=)?\s*([$¥€£]?{PLAIN.pattern})(?:\s+[A-Za-z ]+)?", segment
    ):
        return match[1].lstrip("¥€£")
    return segment


def _marked(segment: str) -> str:
    """Returns what stands between dollars: a list ($3$ or $5$) or equation ($x$ is $5$) that several make, else the first."""
    formulas = list(MATH.finditer(segment))
    if not formulas or segment.startswith("\\$"):
        return segment
    last = formulas[0]
    parts = ["-" * bool(re.search(r"(?:-|マイナス)\s*$", segment[: last.start()])), _inside(last)]
    for one in formulas[1:]:
        gap = segment[last.end() : one.start()]
        if not (AND.fullmatch(gap) or EQUALS.fullmatch(gap)):
            break
        parts += [", " if AND.fullmatch(gap) else " = ", _inside(one)]
        last = one
    equals = EQUALS.match(segment, last.end())
    if equals and re.fullmatch(r"\s*[A-Za-z]\s*", "".join(parts)):
        parts += [" = ", segment[equals.end() :]]
    return "".join(parts).strip()


def _inside(math: re.Match[str]) -> str:
    return next(filter(None, math.groups()))
