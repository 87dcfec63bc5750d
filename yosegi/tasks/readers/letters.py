r"""Reads the chosen letter out of an answer, in English or Japanese.

An announced letter wins over one that stands alone, and the last announcement over earlier ones:

    \boxed{B}   >   The answer is (B). / Answer - B / 答えはBです。 / 正解：Ｂ / Bが正解   >   the text is B / (B) because …
    >   the last line is "B" or "B is correct"   >   the last (B)   >   the text is one of the choices, word for word

False friends: "A triangle" begins with an article, "I" is a pronoun, and a lower-case letter counts only in brackets or in a
box. An answer that names several letters (答え: A, B) has chosen none. A text that names no letter and no choice has no
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
    r"(?:(?i:answer|choice|option|correct)(?i:\s+(?:is|was|would be|should be|:))?(?i:\s+(?:the|choice|option|letter))*"
    r"|(?:答え?|正解|正答|解答|回答|選択肢|記号|正しい(?:の|もの|選択肢)?)(?:の記号)?(?:は|が)?)\s*[:=\-–—、]*"
)
SEVERAL = r"(?!\s*(?:[,、/&]|と|や|か|または|and\b|or\b)\s*[(「]?[A-J](?![A-Za-z0-9]))"
AFTER = rf"(?=$|[^A-Za-z0-9'’])(?!で[はも])(?!\s*(?:と(?!な|い|思|考)|や)){SEVERAL}"
CLAIMED = (
    r"(?<![A-Za-z0-9])(?<!と)[(「\[【]?([{letters}])[)」\]】]?"
    r"(?:\s+is\s+(?:the\s+)?(?:correct|right|answer)|\s*(?:が|は)(?:最も)?(?:正解(?!では)|正答|正しい|答え(?!では)|適切(?!では)))"
)
FOLLOWS = r"(?=$|[.:,、。](?:\s|$|[^\x00-\x7f])|\s*(?:です|だ|である|が(?:正|適))|\s+(?:because|since|is|as)\b)"
SENTENCE = re.compile(r"\s+(?!because\b|since\b|as\b|and\b|with\b|is\b|for\b|which\b)[a-z]")


def lettered(choices: Sequence[str]) -> str:
    """Returns the choices, each on a line after its letter."""
    return "".join(f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, choices, strict=False))


def last_letter(text: str, choices: Sequence[str]) -> str | None:
    """Returns the letter that a text ends up with, or None."""
    text = unicodedata.normalize("NFKC", text[-READ:]).replace("**", "").replace("__", "").strip()
    for rule in (_boxed, _announced, _alone, _bracketed):
        if letter := rule(text, LETTERS[: len(choices)]):
            return letter
    return _spelt_out(text, choices)


def _boxed(text: str, letters: str) -> str | None:
    for inner in boxed(text):
        bare = re.sub(r"\\(?:text|textbf|mathrm|mathbf)\b|[\s{}()\[\].$*]", "", inner)
        if len(bare) == 1 and bare.upper() in letters:
            return bare.upper()
    return None


def _announced(text: str, letters: str) -> str | None:
    pattern = rf"{ANNOUNCED}{OPEN}(?:(?<=[(\[])([{letters}{letters.lower()}])(?=[)\]])|([{letters}]){AFTER})"
    for match in list(re.finditer(pattern, text))[::-1]:
        if match[1] or not _is_word(match[2], text[match.end() :]):
            return (match[1] or match[2]).upper()
    claimed = re.findall(CLAIMED.replace("{letters}", letters), text)
    return claimed[-1] if claimed else None


def _alone(text: str, letters: str) -> str | None:
    """The whole text, its first word or its last line: B, (B), **B.**, B. Paris, B because …, Bです。, B is correct."""
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if len({line for line in lines if line in letters and len(line) == 1}) > 1:
        return None
    opened = rf"[「『(\[【\"'“]([{letters}{letters.lower()}])[」』)\]】\"'”]\s*(?![=+/^<>-])"
    for line in [lines[0], lines[-1]] if lines else []:
        if match := re.match(rf"{opened}|([{letters}])(?:[)\]]\s*(?![=+/^<>-])|{SEVERAL}{FOLLOWS})", line):
            return (match[1] or match[2]).upper()
    return None


def _bracketed(text: str, letters: str) -> str | None:
    bracketed = re.findall(rf"(?<![A-Za-z0-9])\(([{letters}])\)", text)
    return bracketed[-1] if bracketed else None


def _spelt_out(text: str, choices: Sequence[str]) -> str | None:
    answer = normalise(text).casefold() if text else ""
    same = [letter for letter, choice in zip(LETTERS, choices, strict=False) if normalise(choice).casefold() == answer]
    return same[0] if answer and len(same) == 1 else None


def _is_word(letter: str, after: str) -> bool:
    """Returns whether an A or an I that is followed by this text is the word and not the letter."""
    return letter in "AI" and bool(SENTENCE.match(after))
