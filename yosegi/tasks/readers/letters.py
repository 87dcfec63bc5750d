r"""Reads the chosen letter out of an answer, in English or Japanese.

An announced letter wins over one that stands alone, and the last announcement over earlier ones:

    \boxed{B}   >   The answer is (B). / Answer - B / 答えはBです。 / 正解：Ｂ / Bが正解   >   the text is B / (B) because …
    >   the last line is "B" or "B is correct"   >   the last (B)   >   the text is one of the choices, word for word

False friends: "A triangle" begins with an article, "I" is a pronoun, and a lower-case letter counts only in brackets, in a box
or where it ends an announced answer. A letter that is mentioned is not chosen: "Option A is wrong", "not (A)", "AではなくB"
(which is B). An answer that names several letters (答え: A, B) has chosen none. A text that names no letter and no choice has no
answer.
"""

import re
import unicodedata
from collections.abc import Sequence

from yosegi.tasks.readers.answers import boxed
from yosegi.tasks.readers.spans import normalise

LETTERS = "ABCDEFGHIJ"
READ = 8000  # characters, from the end

OPEN = r"[\s*_\"'“(\[「『【$]*(?:\\text(?:bf)?\{[\s(\[]*)?"
ANNOUNCED = (
    r"(?:(?i:answer|choice|option|correct)(?i:\s+(?:is|was|would be|should be|:))(?i:\s+(?:the|choice|option|letter))*"
    r"|(?i:answer|correct(?:\s+(?:answer|choice|option))?)(?i:\s+(?:the|choice|option|letter))*"
    r"|(?:答え?|正解|正答|解答|回答|記号|正しい(?:の|もの|選択肢)?)(?:の記号)?(?:は|が)?)\s*[:=\-–—、]*\s*(?i:option\s*:?|choice|選択肢)?"
)
SEVERAL = r"(?!\s*(?:[,、/&]|と|や|か|または|and\b|or\b)\s*[(「]?[A-J](?![A-Za-z0-9]))"
WRONG = r"(?:not\b|\w*n't\b|wrong|incorrect|false|invalid|untrue|ruled out|eliminated|impossible)"
REJECTED = (
    r"(?![)\]」』\s]*(?:(?:is|was|are|seems?|looks?|would be|must be|can be)\s+(?:also\s+|clearly\s+)?"
    rf"{WRONG}|(?:can|could|is|does|would|wo)n't\b|cannot\b|can not\b|does not\b"
    r"|(?:[はがも]|だと)?(?:間違|誤|違|不正解|不適|正しくな|ではな|でな|じゃな|でもな|以外|とは(?:い|言)え|では(?:あり|ござい)ません)))"
)
AFTER = rf"(?=$|[^A-Za-z0-9'’])(?!で[はも])(?!\s*(?:と(?!な|い|思|考)|や)){SEVERAL}{REJECTED}"
CLAIMED = (
    r"(?<![A-Za-z0-9])(?<!と)[(「\[【]?([{letters}])[)」\]】]?"
    r"(?:\s+is\s+(?:the\s+)?(?:correct|right|answer)"
    r"|\s*(?:が|は)(?:最も)?(?:正解(?!では)|正答|正しい|答え(?!では)|適切(?!では))|\s*を(?:選(?!ば)|選択し(?!な)))"
    r"|(?:(?<!not )(?<!n't )\b(?i:choose|pick|select|go with)|\b(?i:so|thus|hence|therefore),?(?:\s+it(?:'s| is))?)"
    r"\s+(?i:(?:option|choice|answer)\s+)?[(]?([{letters}])(?=[)]?[.!]?\s*(?:$|\n))"
    r"|(?i:option|choice|選択肢)\s*[(]?([{letters}{lower}])(?=[)]?[.。!]?\s*(?:$|\n|です))"
)
INSTEAD = re.compile(
    r"(?i:\bnot\s+(?:option\s+|choice\s+)?)\(?[A-J]\)?,?\s+(?i:but\s+(?:rather\s+)?)|[「(]?[A-J][」)]?(?:で|じゃ)は?なく(?:て)?[、,]?\s*"
)
"""What is named only to be replaced: "not A but", Aではなく."""
NEGATED = r"(?<!not )(?<!n't )(?<!n’t )(?<!neither )(?<!except )(?<!nor )"
FOLLOWS = r"(?=$|[.:,、。](?:\s|$|[^\x00-\x7f])|\s*(?:です|だ|である|が(?:正|適))|\s+(?:because|since|is|as)\b)"
SENTENCE = re.compile(r"\s+(?!because\b|since\b|as\b|and\b|with\b|is\b|for\b|which\b)[a-z]")


def lettered(choices: Sequence[str]) -> str:
    """Returns the choices, each on a line after its letter."""
    return "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def last_letter(text: str, choices: Sequence[str]) -> str | None:
    """Returns the letter that a text ends up with, or None."""
    text = unicodedata.normalize("NFKC", text[-READ:]).replace("**", "").replace("__", "").strip()
    meant = INSTEAD.sub("", text)
    for rule in (_boxed, _announced, _alone, _bracketed):
        if letter := rule(meant, LETTERS[: len(choices)]):
            return letter
    return _spelt_out(text, choices)


def _boxed(text: str, letters: str) -> str | None:
    for inner in boxed(text):
        bare = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\b|[\s{}()\[\].$*]", "", inner)
        if len(bare) == 1 and bare.upper() in letters:
            return bare.upper()
    return None


def _announced(text: str, letters: str) -> str | None:
    lower = letters.lower()
    ends = rf"([{lower}])(?=[.。]?\s*(?:$|\n)|です)"
    bracketed = rf"(?<=[(\[])([{letters}{lower}])(?=[)\]]){REJECTED}"
    pattern = rf"{ANNOUNCED}{OPEN}(?:{bracketed}|([{letters}]){AFTER}|(?<=[\sは]){ends})"
    for match in list(re.finditer(pattern, text))[::-1]:
        if not match[2] or not _is_word(match[2], text[match.end() :]):
            return next(filter(None, match.groups())).upper()
    claims = list(re.finditer(CLAIMED.replace("{letters}", letters).replace("{lower}", lower), text))
    return next(filter(None, claims[-1].groups())).upper() if claims else None


def _alone(text: str, letters: str) -> str | None:
    """The whole text, its first word or its last line: B, (B), **B.**, B. Paris, B because …, Bです。, B is correct."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len({line for line in lines if line in letters and len(line) == 1}) > 1:
        return None
    opened = rf"[「『(\[【\"'“]([{letters}{letters.lower()}])[」』)\]】\"'”]\s*(?![=+/^<>-]){REJECTED}"
    for line in [lines[0], lines[-1]] if lines else []:
        if match := re.match(rf"{opened}|([{letters}]){REJECTED}(?:[)\]]\s*(?![=+/^<>-])|{SEVERAL}{FOLLOWS})", line):
            return (match[1] or match[2]).upper()
    return None


def _bracketed(text: str, letters: str) -> str | None:
    bracketed = re.findall(rf"(?<![A-Za-z0-9]){NEGATED}\(([{letters}])\){REJECTED}", text)
    return bracketed[-1] if bracketed else None


def _spelt_out(text: str, choices: Sequence[str]) -> str | None:
    answer = normalise(text).casefold() if text else ""
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if normalise(choice).casefold() == answer]
    return same[0] if answer and len(same) == 1 else None


def _is_word(letter: str, after: str) -> bool:
    """Returns whether an A or an I that is followed by this text is the word and not the letter."""
    return letter in "AI" and bool(SENTENCE.match(after))
