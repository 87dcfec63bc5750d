"""Finds definition sentences in a corpus and drafts quiz questions from them, for a person to check (`yosegi terms build`).

Definitions are 「X」とは、…をいう。 and the like in Japanese, "X means …" and "X is defined as …" in English. A pattern can
be wrong, so every draft keeps its sentence as evidence and has `checked: false`. The other candidates are terms of the same
corpus, those that look most like the right one first. The same corpus gives the same drafts.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from yosegi.tasks.readers import data, spans

SPOKEN = r"(?:を(?:いう|いいます|指す|指します|意味する|意味します)|のこと(?:である|です|をいう|を指す))(?:ものとする)?"
PATTERNS = {
    "ja": (
        re.compile(rf"「(?P<word>[^「」]{{2,30}})」とは、?(?P<text>.+?){SPOKEN}$"),
        re.compile(rf"^(?P<word>[^\s、。「」（）は]{{2,20}})とは、(?P<text>.+?){SPOKEN}$"),
        re.compile(r"^[一二三四五六七八九十]+[　\s](?P<word>[^\s、。「」（）]{2,20})　(?P<text>.+?)をいう$"),
    ),
    "en": (
        re.compile(
            r"""(?:^|[,;:] )(?:(?:The|the|A|An|a|an) )?(?:term )?["“](?P<word>[^"“”]{2,60})["”],? """
            r"(?:means|is defined as|refers to)[,:]? (?P<text>.+)$"
        ),
        re.compile(
            r"^(?:(?:The|A|An|In \w+(?: \w+){0,3}, an?|In \w+(?: \w+){0,3},) )?(?P<word>[A-Za-z][\w'-]*(?: [\w'-]+){0,4}?) "
            r"(?:means(?! (?:that|of|to)\b)|is defined as|are defined as|refers to(?= an? ))[,:]? (?P<text>.+)$"
        ),
    ),
}
EMPTY = re.compile(
    r"^(?:[Tt]h(?:is|at|ese|ose)|[Ii]t|[Ww]h\w+|[Tt]here|[Ww]e|[Yy]ou|[Tt]hey|[Hh]e|[Ss]he|[Tt]erm)\b|^(?:これ|それ|ここ|この|その|次|前)"
)
INCOMPLETE = re.compile(
    r"次の(?:各号|いずれ|とおり|もの|表)|次に掲げる|をいい、|(?:the )?following\b|前項|前条|同項|同条"
)
"""A definition that points to other text ("the following") is not whole without it."""

WORDS, LONGEST = (2, 30), 240
MOST = 24
"""The terms that share a character or a text, of which candidates are taken."""
ASK = {
    "ja": ("次の説明に当てはまる用語を答えてください。\n説明：{}", "{{word}}とは、{}のことである。"),
    "en": ("Which term does this define?\nDefinition: {}", "{{word}} means {}."),
}


class Definition(NamedTuple):
    """A term, its definition, its language, and the sentence, the title and the row where it stands."""

    word: str
    text: str
    lang: str
    sentence: str
    title: str
    row: str


def definitions(rows: Sequence[data.Row]) -> list[Definition]:
    """Returns the definitions in rows of id, title and text, in order; of each term the first."""
    terms: dict[str, Definition] = {}
    for row in rows:
        for sentence, clause in _clauses(str(row.get("text") or "")):
            one = definition(clause)
            if one and (key := spans.normalise(one[0])) not in terms:
                terms[key] = Definition(*one, sentence, str(row.get("title") or ""), str(row["id"]))
    return list(terms.values())


def definition(sentence: str) -> tuple[str, str, str] | None:
    """Returns (term, definition, language) of one sentence without its full stop, or None."""
    lang = "ja" if re.search("[぀-ヿ]", sentence) else "en"
    for pattern in PATTERNS[lang]:
        if not (match := pattern.search(sentence)):
            continue
        word, text = match["word"].strip(), match["text"].strip(" ,、")
        short = len(text) >= (5 if lang == "ja" else 12) and WORDS[0] <= len(word) and len(text) <= LONGEST
        if short and not EMPTY.search(word) and not INCOMPLETE.search(text) and not _leaks(word, text):
            return word, text, lang
    return None


def sentences(text: str) -> Iterator[str]:
    """Yields sentences without their full stops. A full stop in brackets does not end a sentence, the end of a line does."""
    for line in text.splitlines():
        depth, start = 0, 0
        for place, letter in enumerate(line):
            depth = max(0, depth + (letter in "（「『(") - (letter in "）」』)"))
            ends = letter in "。！？" or (letter in ".!?" and line[place + 1 : place + 2] in ("", " "))
            if ends and depth == 0:
                yield line[start:place].strip(" 　")
                start = place + 1
        if line[start:].strip():
            yield line[start:].strip(" 　")


def _clauses(text: str) -> Iterator[tuple[str, str]]:
    """Yields each sentence with each of the definitions that it joins: 「X」とは、…をいい、「Y」とは、…をいう."""
    for sentence in sentences(text):
        *before, last = re.split(r"をいい、(?=「[^「」]+」とは)", sentence)
        yield from ((sentence, clause) for clause in (*(f"{one}をいう" for one in before), last))


def drafts(terms: Sequence[Definition], choices: int = 8, shots: int = 3) -> list[dict[str, Any]]:
    """Returns the rows of a quiz: the first `shots` terms by hash are worked examples; `choices` candidates for each question."""
    ranked = sorted(range(len(terms)), key=lambda i: data.hashed(terms[i].word))
    examples = set(ranked[: min(shots, len(terms) // 5)])
    near = _neighbours(terms)
    return [_draft(one, near(one), choices, "fewshot" if i in examples else "test") for i, one in enumerate(terms)]


def _neighbours(terms: Sequence[Definition]) -> Callable[[Definition], list[Definition]]:
    """Returns a function for the terms that may be candidates beside a term: of many, those that share a character or its text.

    A character or a text gives at most MOST of its terms, so that the time for a quiz grows with its length and not its square.
    """
    shared: dict[tuple[str, str], list[Definition]] = {}
    for term in terms:
        for key in ("", f"row {term.row}", *sorted(set(term.word.lower()))):
            shared.setdefault((term.lang, key), []).append(term)

    def near(one: Definition) -> list[Definition]:
        keys = ("", f"row {one.row}", *sorted(set(one.word.lower())))
        near_by = {id(term): term for key in keys for term in shared[one.lang, key][:MOST]}
        return [term for term in near_by.values() if term is not one]

    return near


def _draft(one: Definition, others: list[Definition], choices: int, split: str) -> dict[str, Any]:
    ask, state = ASK[one.lang]
    others.sort(key=lambda other: (-_alike(one, other), data.hashed(one.word + other.word)))
    offered = sorted([one, *others[: choices - 1]], key=lambda term: data.hashed(f"{one.word}:{term.word}"))
    return {
        "id": f"{one.row}/{one.word}",
        "split": split,
        "lang": one.lang,
        "question": ask.format(one.text),
        "answer": one.word,
        "answers": [],
        "choices": [term.word for term in offered],
        "answer_index": offered.index(one),
        "statement_template": state.format(one.text.replace("{word}", "")),
        "checked": False,
        "evidence": {"sentence": one.sentence, "title": one.title, "row": one.row},
    }


def _alike(one: Definition, other: Definition) -> float:
    """Returns the share of characters that two terms have in common, and a little more if they are of the same text."""
    a, b = set(one.word.lower()), set(other.word.lower())
    return len(a & b) / len(a | b) + 0.1 * (one.row == other.row)


def _leaks(word: str, text: str) -> bool:
    """Returns whether the definition contains the term."""
    return spans.normalise(word).lower() in spans.normalise(text).lower()
