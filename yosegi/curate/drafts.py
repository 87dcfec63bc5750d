"""Questions about any text, novels too, drafted by a teacher for a person to check (`yosegi terms build --teacher`).

A teacher reads one passage at a time and answers with one line of JSON: a question that one term of the passage answers, other
spellings of the term, wrong candidates, and a sentence with the term. A model can be wrong, so a draft is dropped unless its
answer stands in the passage and not in the question, and what is kept says `checked: false` and has its passage as evidence.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from yosegi.curate.definitions import WORDS, sentences
from yosegi.errors import Invalid
from yosegi.tasks import subset
from yosegi.tasks.readers import data, spans
from yosegi.tasks.terms import GAP, JAPANESE
from yosegi.teachers import Teacher, load
from yosegi.teachers._answers import objects
from yosegi.teachers._kept import AskingTeacher, Chat

LENGTH = (80, 600)
"""Characters of a passage."""
LONGEST = 300
"""Characters of a question and of a statement."""
ROLE = """You write quiz questions about texts. You get a passage and write one question that somebody who knows the text can \
answer without seeing it. The answer is one term, a word or a name that stands in the passage, and the question does not \
contain it. Use the language of the passage. Reply with one line of JSON and nothing else: the question, the answer, other \
spellings of it, {choices} wrong terms that sound plausible, and a sentence that states the fact, with {gap} for the term."""
ASK = 'Passage from "{title}":\n{text}'
SHOWN = (
    ASK.format(
        title="Old crafts",
        text="In the hills of Hakone carpenters glue thin rods of many kinds of wood into blocks, and plane off sheets that show "
        "one pattern. Boxes covered with them are sold to travellers; the craft is called yosegi.",
    ),
    '{"question": "What is the craft called in which rods of many kinds of wood are glued into one pattern?", '
    '"answer": "yosegi", "answers": ["Yosegi-zaiku"], "choices": ["origami", "urushi", "ikebana"], "statement": "The craft in '
    'which rods of many kinds of wood are glued into one pattern is called {word}."}',
)
"""A worked example, without which small models do not keep to the form."""


class Passage(NamedTuple):
    """A part of a text, with the title and the row it is from."""

    id: str
    text: str
    title: str
    row: str


def passages(rows: Sequence[data.Row], limit: int | None) -> tuple[list[Passage], int]:
    """Returns at most so many passages of rows of id, title and text, and how many there are; a larger limit adds some."""
    every = [
        Passage(f"{row['id']}/{n}", text, str(row.get("title") or ""), str(row["id"]))
        for row in rows
        for n, text in enumerate(_cut(str(row["text"])))
    ]
    return subset(every, limit), len(every)


def _cut(text: str) -> Iterator[str]:
    """Yields whole sentences, joined until they are long enough. One that is too long is left out."""
    stop, gap, least = ("。", "", LENGTH[0]) if JAPANESE.search(text) else (".", " ", 2 * LENGTH[0])
    joined = ""
    for sentence in sentences(text):
        if len(sentence) < LENGTH[1] - least:
            joined += f"{gap if joined else ''}{sentence}{stop}"
        if len(joined) >= least:
            yield joined
            joined = ""
    if len(joined) >= least / 2:
        yield joined


def open_teacher(spec: str, **options: Any) -> AskingTeacher:
    """Returns a teacher that writes; `structure` and `random` only vote."""
    teacher: Teacher = load(spec, **options)
    if not isinstance(teacher, AskingTeacher):
        raise Invalid(f"{spec} writes nothing: --teacher is http://host:port/v1#model or local/BASE.")
    return teacher


def draft(teacher: AskingTeacher, read: Sequence[Passage], choices: int) -> tuple[list[data.Row], Counter[str]]:
    """Returns a row of a quiz for each usable answer, the first about each term, and why the others were dropped.

    Args:
        teacher: is asked about each passage once; what it answered before is not asked again.
        read: the passages.
        choices: candidates of a question; where the teacher has too few, terms of other drafts follow.
    """
    texts = teacher.texts([_chat(passage, choices) for passage in read])
    rows, dropped, terms = list[data.Row](), Counter[str](), set[str]()
    for passage, text in zip(read, texts, strict=True):
        row = "no answer came" if text is None else _row(passage, text, teacher.name)
        if not isinstance(row, str) and spans.normalise(row["answer"]) in terms:
            row = "the term has a question"
        if isinstance(row, str):
            dropped[row] += 1
        else:
            terms.add(spans.normalise(row["answer"]))
            rows.append(row)
    for row in rows:
        others = _shuffled([one["answer"] for one in rows if one["lang"] == row["lang"]], row["id"])
        offered = list(dict.fromkeys([row["answer"], *row["choices"], *others]))[:choices]
        row["choices"] = _shuffled(offered, row["id"])
        row["answer_index"] = row["choices"].index(row["answer"])
    return rows, dropped


def _shuffled(words: Sequence[str], by: str) -> list[str]:
    return sorted(words, key=lambda word: data.hashed(f"{by}:{word}"))


def _chat(passage: Passage, choices: int) -> Chat:
    written = (ROLE.format(choices=choices - 1, gap=GAP), *SHOWN, ASK.format(title=passage.title, text=passage.text))
    roles = ("system", "user", "assistant", "user")
    return [{"role": role, "content": content} for role, content in zip(roles, written, strict=True)]


def _row(passage: Passage, text: str, teacher: str) -> data.Row | str:
    """Returns a teacher's text as a row, or why it is none."""
    row = next((one for one in objects(text.rpartition("</think>")[2]) if isinstance(one, dict)), {})
    question, answer, statement = (_line(row.get(key)) for key in ("question", "answer", "statement"))
    if not question or not answer:
        return "not in the form"
    if answer not in passage.text or not 1 <= len(answer) <= WORDS[1]:
        return "the answer is no term of the passage"
    if (plain := spans.normalise(answer).lower()) in spans.normalise(question).lower():
        return "the question has the answer in it"
    if GAP not in statement:
        statement = statement.replace(answer, GAP) if answer in statement else f"{question} {GAP}"
    others, spelt = (_lines(row.get(key)) for key in ("choices", "answers"))
    return {
        "id": f"{passage.id}/{answer}", "split": "test", "lang": "ja" if JAPANESE.search(passage.text) else "en",
        "question": question, "answer": answer, "answers": [one for one in spelt if one != answer],
        "choices": [one for one in others if spans.normalise(one).lower() != plain and one not in spelt],
        "answer_index": 0, "statement_template": statement, "checked": False,
        "evidence": {"sentence": passage.text, "title": passage.title, "row": passage.row, "teacher": teacher},
    }  # fmt: skip


def _line(value: Any) -> str:
    """Returns a text in one line; "" for anything else or what is too long."""
    text = " ".join(value.split()) if isinstance(value, str) else ""
    return text if len(text) <= LONGEST else ""


def _lines(value: Any) -> list[str]:
    return list(dict.fromkeys(filter(None, map(_line, value)))) if isinstance(value, list) else []
