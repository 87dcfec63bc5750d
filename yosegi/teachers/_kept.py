"""Answers on disk: a model is asked a question once, also by several processes that share the file.

One JSON line for each answer, appended and synced as it comes, so that a killed labelling loses at most the answers on their
way. The key is a hash of everything that decides the answer: the model, the messages, the parameters. The file never contains
an account's key.
"""

import fcntl
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Corrupt
from yosegi.progress import Bar, progress
from yosegi.tasks import Example
from yosegi.teachers import Question, Teacher, Vote
from yosegi.teachers._answers import chat, read

Chat = list[dict[str, str]]


@dataclass(frozen=True)
class Answer:
    """A model's text and its tokens (0 if the endpoint does not report them)."""

    text: str
    tokens_in: int = 0
    tokens_out: int = 0


class Kept:
    """Args:
    path: the file, created with the first answer; None keeps answers in memory only.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self.answers: dict[str, Answer] = {}

    def load(self) -> None:
        """Reads the file again, with what others have added."""
        if self.path is None or not self.path.exists():
            return
        for number, row in enumerate(files.read_jsonl(self.path), 1):
            try:
                answer = Answer(row["text"], int(row["tokens_in"]), int(row["tokens_out"]))
                self.answers[str(row["key"])] = answer
            except (KeyError, TypeError, ValueError) as error:
                raise Corrupt(f"{self.path}: row {number} is not an answer ({error}). Delete the row.") from error

    def add(self, key: str, answer: Answer) -> None:
        """Stores one answer. Several processes may add to one file."""
        self.answers[key] = answer
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            files.append(file, [{"key": key, **asdict(answer)}], sync=True)


class AskingTeacher(Teacher):
    """The base of teachers that ask a language model."""

    kept: Kept

    def ask(self, missing: Mapping[str, Chat], bar: Bar) -> None:
        """Asks these chats and stores the answers under their keys."""
        raise NotImplementedError

    def texts(self, chats: Sequence[Chat]) -> list[str | None]:
        """Returns the model's answer to each chat, asking what has no stored answer; None where none came."""
        answers = self.kept.answers
        return [answers[k].text if k in answers else None for k in self._asked(chats)]

    def _asked(self, chats: Sequence[Chat]) -> list[str]:
        """Asks what has no stored answer; returns the keys of the chats."""
        self.spent.clear()
        self.kept.load()
        identity = {
            name: value for name, value in self.about().items() if name != "key"
        }  # another key, the same answer
        keys = [key(messages=messages, **identity) for messages in chats]
        if missing := {k: c for k, c in zip(keys, chats, strict=True) if k not in self.kept.answers}:
            with progress(self.name.rpartition("#")[2], len(missing)) as bar:
                self.ask(missing, bar)
        failed = self.spent["failed"]
        self.note = f"{failed} questions got no answer: the same command asks them again" if failed else ""
        return keys

    def label(self, examples: Sequence[Example], question: Question) -> list[Vote]:
        """Asks what has no stored answer, then reads all answers."""
        keys = self._asked([chat(example, question) for example in examples])
        votes: list[Vote] = []
        counted: set[str] = set()  # equal questions are one answer, whose tokens count once
        for k in keys:
            if (answer := self.kept.answers.get(k)) is None:
                votes.append(Vote(None, lost="failed"))
                continue
            tokens = (0, 0) if k in counted else (answer.tokens_in, answer.tokens_out)
            votes.append(read(answer.text, len(question.systems), *tokens))
            counted.add(k)
        return votes


def key(**values: Any) -> str:
    """Returns the hash of everything that decides an answer."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:32]
