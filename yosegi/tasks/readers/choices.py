"""Tasks with a few choices, measured by log-likelihood, in three ways in one run:

accuracy   The choice with the highest log-likelihood after the bare question (lm-eval's acc).
acc_norm   The choice with the highest log-likelihood per character after the bare question (lm-eval's acc_norm): long choices are
           not at a disadvantage.
letter     The most likely next token among the letters, after the listed choices, as MMLU is usually measured.

So the headline of a task (its `headline`) measures what a model knows, and not whether it has learnt a form. Nothing is written
unless the part `written` asks for it: then the choices are listed, the model writes an answer, and `written` is the share of
answers out of which the right letter is read (letters.py).

Choices that tie share the point. Where the data marks faulty questions, each metric has a twin that ends in _ok, over the
questions without a known fault; no question is left out of the metric itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from yosegi.errors import NoData
from yosegi.tasks import Candidates, Example, LogProb, Score
from yosegi.tasks.readers.data import Row, Source, in_turn
from yosegi.tasks.readers.forms import Questions
from yosegi.tasks.readers.letters import LETTERS, last_letter, lettered
from yosegi.tasks.readers.spans import normalise

MEASURES = ("accuracy", "acc_norm", "letter")
WRITTEN = "written"


class Choices(Questions):
    """A question with choices. A row has id, question, choices and answer_index, and may have context, subject and error_type.

    Attributes:
        headline: one of `MEASURES`, the score of the task. With "letter" the prompt lists the choices and a model learns to
            write the letter; with the others it shows the bare question, and a model learns to write the right choice.
        labels_question: whether a bare question stands between labels; without them it is a text that a choice goes on.
    """

    headline = "letter"
    labels_question = True
    instruction = {
        "en": "Choose the right answer. Write its letter.",
        "ja": "正しい選択肢を選び、記号で答えてください。",
    }
    options = (WRITTEN,)
    max_new_tokens = 64

    def __init__(self, part: str = ""):
        super().__init__(part)
        self.generates = self.form.option == WRITTEN
        self.metric = WRITTEN if self.generates else self.headline
        self.lists = self.generates or self.headline == "letter"

    @classmethod
    def subsets(cls) -> list[str] | None:
        """Returns the subjects in the data folder, where questions have subjects."""
        if not cls.shuffled:
            return []
        try:
            return sorted({row["subject"] for row in Source("", cls.source.files, cls.source.fields).rows("test")})
        except NoData:
            return None

    def subsets_of(self, row: Row) -> Sequence[str | None]:
        """Returns the subject."""
        return (row.get("subject"),)

    def rows(self, split: str) -> list[Row]:
        """Returns the questions of a split; where they have subjects, one of each, then another of each …"""
        return in_turn(super().rows(split), "subject") if self.shuffled else super().rows(split)

    def rationale(self, row: Row) -> str:
        """Returns what is written after listed choices: the letter."""
        return LETTERS[row["answer_index"]]

    def target(self, row: Row) -> str:
        """Returns the letter, or the text of the right choice where the choices are not listed."""
        return self.rationale(row) if self.lists else _choices(row)[row["answer_index"]]

    def answers(self, row: Row) -> tuple[str, ...]:
        """Returns the accepted answers: the letter and the text, unless the text looks like another letter."""
        choices, letter = _choices(row), LETTERS[row["answer_index"]]
        text = choices[row["answer_index"]]
        if not self.lists:
            return (text,)
        return (letter, text) if last_letter(text, choices) == letter else (letter,)

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns the row's own fields: scoring needs the choices, reports the subject and the known error."""
        kept = {
            key: row[key] for key in ("answer_index", "context", "subject", "error_type") if row.get(key) is not None
        }
        return {"question": row["question"].strip(), "choices": _choices(row), **kept}

    def example(self, row: Row) -> Example:
        """Returns a question after its worked examples, with its choices or bare."""
        target = self.form.answer(self.target(row))
        prompt, chat = self._asked(row["id"], row, self.lists), self.lists or self.labels_question
        return Example(row["id"], prompt, target, self.answers(row), self.meta(row), chat=chat)

    def _asked(self, id: str, row: Mapping[str, Any], lists: bool) -> str:
        def ask(row: Mapping[str, Any]) -> str:
            question = row["question"].strip() + (lettered(_choices(row)) if lists else "")
            return self.about(dict(row)) + (self.form.render(question) if lists or self.labels_question else question)

        def worked(row: Row) -> str:
            return ask(row) + self.form.answer(self.rationale(row) if lists else _choices(row)[row["answer_index"]])

        return self.prompt(id, ask(row), self.instruction[self.form.language] if lists else "", worked)

    def score(self, example: Example, prediction: str) -> Score:
        """Grades a written answer: the letter that it ends up with, or the text of a choice."""
        choices, right = example.meta["choices"], LETTERS[example.meta["answer_index"]]
        same = not self.lists and normalise(prediction) == normalise(example.answers[0])
        letter = right if same else last_letter(prediction, choices)
        value = float(letter == right)
        return Score(value, letter, {f"{self.metric}_ok": value} if _faultless(example) else {})

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the choices after the bare question, and the letters after the listed ones; the headline's come first."""
        bare, listed = (self._asked(example.id, example.meta, lists) for lists in (False, True))
        return candidates(example, bare, listed, self.form.answer, self.headline)

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the headline; the other measures are further metrics."""
        score = graded(example, logprobs, self.headline)
        metrics = {**score.metrics, self.headline: score.value}
        metrics |= {f"{name}_ok": value for name, value in metrics.items()} if _faultless(example) else {}
        if not self.generates:
            del metrics[self.headline]
        return Score(score.value, score.answer, metrics)

    def chance(self, example: Example) -> float | None:
        """Returns the share of one choice."""
        return 1 / len(example.meta["choices"])


def candidates(
    example: Example, bare: str, listed: str, answer: Callable[[str], str], measure: str = "accuracy"
) -> dict[str, Candidates]:
    """Returns the choices after the bare question and the letters after the listed choices, the right one first.

    The group that `measure` compares comes first.
    """
    order, choices = _right_first(example), example.meta["choices"]
    groups = {
        "choice": Candidates(tuple(answer(choices[i]) for i in order), bare),
        "letter": Candidates(tuple(answer(LETTERS[i]) for i in order), listed),
    }
    return dict(sorted(groups.items(), reverse=measure == "letter"))


def graded(example: Example, logprobs: Mapping[str, Sequence[LogProb]], measure: str = "accuracy") -> Score:
    """Returns one of the `MEASURES` as the score, with the letter that it chose, and the others as further metrics."""
    order, sums = _right_first(example), [one.sum_logprob for one in logprobs["choice"]]
    lengths = [max(1, len(example.meta["choices"][i])) for i in order]
    values = {
        "accuracy": sums,
        "acc_norm": [total / length for total, length in zip(sums, lengths, strict=True)],
        "letter": [one.sum_logprob for one in logprobs["letter"]],
    }
    metrics = {name: (one[0] == max(one)) / one.count(max(one)) for name, one in values.items()}
    chosen = values[measure]
    return Score(metrics.pop(measure), LETTERS[order[chosen.index(max(chosen))]], metrics)


FIELDS = ("id", "question", "choices", "answer_index")


def labelled(row: Row) -> Row:
    """Returns a row of the Hub with choices {"text": […], "label": […]} and an answerKey as one of ours."""
    choices, right = read_choices(row["choices"], row["answerKey"])
    return {"question": row.get("question") or row["question_stem"], "choices": choices, "answer_index": right} | (
        {"id": str(row["id"])} if row.get("id") else {}
    )


def read_choices(choices: Any, answer: Any) -> tuple[list[str], int]:
    """Returns the choices as texts and the place of the right one, however a data set writes the two.

    Choices are a list of texts, a list of {"label", "text"}, {"label": […], "text": […]} or {"A": …, "B": …}; the answer is a
    place counted from 0, a label, a letter or the text of a choice.

    Raises:
        ValueError: there are fewer than two choices or too many, or the answer is none of them.
    """
    labels: list[Any] = []
    if isinstance(choices, Mapping) and {"text", "label"} <= set(choices):
        labels, choices = list(choices["label"]), list(choices["text"])
    elif isinstance(choices, Mapping):
        labels, choices = list(choices), list(choices.values())
    elif all(isinstance(choice, Mapping) for choice in choices):
        labels, choices = [one.get("label") for one in choices], [one.get("text") for one in choices]
    texts = [str(choice).strip() for choice in choices]
    if not 2 <= len(texts) <= len(LETTERS):
        raise ValueError(f"it has {len(texts)} choices, and there may be 2 to {len(LETTERS)}")
    if isinstance(answer, bool):
        answer = (
            {True: "yes", False: "no"}[answer] if {"yes", "no"} <= {text.lower() for text in texts} else str(answer)
        )
    if isinstance(answer, int | float) and answer in range(len(texts)):
        return texts, int(answer)
    written = str(answer).strip()
    for names in (labels, texts, [text.casefold() for text in texts], LETTERS[: len(texts)], range(len(texts))):
        places = [i for i, name in enumerate(names) if str(name) in (written, written.casefold())]
        if len(places) == 1:
            return texts, places[0]
    raise ValueError(f"the answer {written!r} is none of its {len(texts)} choices")


def _right_first(example: Example) -> list[int]:
    right = example.meta["answer_index"]
    return [right, *(i for i in range(len(example.meta["choices"])) if i != right)]


def _choices(row: Mapping[str, Any]) -> list[str]:
    """Some of upstream's choices begin or end with a space, which would tell them apart."""
    return [choice.strip() for choice in row["choices"]]


def _faultless(example: Example) -> bool:
    return example.meta.get("error_type") == "ok"
