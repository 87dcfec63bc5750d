"""The prompt for a language model as teacher, and the parsing of its answer into a vote.

Huang et al. 2025 (LoRA-PAR, arXiv:2507.20999) show their prompt as a picture; this one has its parts in our words: act as the
target model, read question and answer, choose a system. The answer should be one line of JSON. JSON anywhere in the text counts;
without it, the one system that the text names.
"""

import json
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from yosegi.tasks import Example
from yosegi.teachers import Question, Vote

ACT = """Act as the language model {target_model}. You have its size and its abilities: you answer briefly, and you can work \
through a problem step by step when it asks for it. Judge by how you, as {target_model}, would come to the answer, not by how \
a stronger model would."""
JUDGE = "You sort questions by the kind of thinking that it takes to answer them."
KINDS = """You get a question together with its correct answer. Do not solve it again; decide how it has to be thought about:

{systems}

Reply with one line of JSON and nothing else: {{"system": N, "because": "one short sentence"}} where N is one of {numbers}, \
or null if you cannot tell."""
CASE = "Question:\n{question}\n\nCorrect answer:\n{answer}\n\nHow does it have to be thought about?"

MENTION = re.compile(r"(?:system|システム)\s*[-_:#]?\s*(\d+)(?!\d)", re.IGNORECASE)
DENIED = re.compile(
    r"(?:\bnot\b|n't\b|\brather than\b|\binstead of\b|\bunlike\b)[^.\n]{0,30}$|^[^.\n]{0,10}では(?:ない|ありません)"
)


def chat(example: Example, question: Question) -> list[dict[str, str]]:
    """Returns the messages that ask a teacher about one example."""
    systems = "\n".join(f"System {n}: {system.about}" for n, system in enumerate(question.systems, 1))
    numbers = ", ".join(str(n) for n in range(1, len(question.systems) + 1))
    role = ACT.format(target_model=question.target_model) if question.target_model else JUDGE
    kinds = KINDS.format(systems=systems, numbers=numbers)
    case = CASE.format(question=example.prompt.strip(), answer=example.target.strip())
    return [{"role": "system", "content": f"{role}\n\n{kinds}"}, {"role": "user", "content": case}]


def read(raw: str, k: int, tokens_in: int = 0, tokens_out: int = 0) -> Vote:
    """Parses a model's text into a vote among k systems. Two answers that contradict each other are none."""
    _, marked, answer = raw.rpartition("</think>")  # the thoughts of a reasoning model do not count
    if not marked and "<think>" in raw:
        answer = ""  # cut off while thinking
    text = unicodedata.normalize("NFKC", answer).strip()
    choice, rationale = _choice(text, k)
    if isinstance(choice, int):
        return Vote(choice - 1, rationale, raw, "", tokens_in, tokens_out)
    return Vote(None, rationale, raw, choice or "unparsable", tokens_in, tokens_out)


def _choice(text: str, k: int) -> tuple[int | str | None, str]:
    """Returns the vote in the JSON of a text; else the named system, if all mentions agree or those of the last line do."""
    rows = [_chosen(row, k) for row in objects(text)]
    if votes := {vote for vote, _ in rows if vote is not None}:
        return (votes.pop(), next(why for vote, why in rows if vote is not None)) if len(votes) == 1 else (None, "")
    mentions = [(line, _mentioned(line, k)) for line in text.splitlines()]
    named = [systems for _, systems in mentions if systems]
    if not named:
        return None, ""
    every = set().union(*named)
    choice = every if len(every) == 1 else named[-1]
    rationale = "" if MENTION.fullmatch(text.removesuffix(".")) else text[:500]
    return (choice.pop(), rationale) if len(choice) == 1 else (None, "")


def _mentioned(line: str, k: int) -> set[int]:
    """Returns the systems that a line names. A denied or unknown system makes the line useless: 0 stands for it."""
    systems = set()
    for match in MENTION.finditer(line):
        denied = DENIED.search(line[: match.start()]) or DENIED.search(line[match.end() :])
        number = _within(int(match[1]), k)
        systems.add(0 if denied or number is None else number)
    return systems | {-1} if 0 in systems else systems  # never of size one, so never a choice


def objects(text: str) -> Iterator[Any]:
    """Yields the JSON objects in a text that are not inside another."""
    decoder, start = json.JSONDecoder(), text.find("{")
    for _ in range(50):  # the cost must not grow with the square of a long text
        if start < 0:
            return
        try:
            row, end = decoder.raw_decode(text, start)
            yield row
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)


def _chosen(row: Any, k: int) -> tuple[int | str | None, str]:
    """Returns the vote and the reason in an object of the requested form; (None, "") for another form."""
    if not isinstance(row, dict) or "system" not in row:
        return None, ""
    value, why = row["system"], row.get("because")
    rationale = why.strip() if isinstance(why, str) else ""
    if value is None:
        return "abstained", rationale
    if isinstance(value, str) and (digits := re.fullmatch(r"\s*(?:system\s*)?(\d{1,3})\s*", value, re.IGNORECASE)):
        value = int(digits[1])
    if not isinstance(value, int) or isinstance(value, bool):
        return "unparsable", rationale
    return _within(value, k) or "unparsable", rationale


def _within(number: int, k: int) -> int | None:
    return number if 1 <= number <= k else None
