"""Tasks with a few choices, measured in several ways in one run.

accuracy   `Choices`: the model writes an answer, and a letter is read out of it (letters.py): what a user gets. `Cloze`: the
           choice with the highest log-likelihood after the bare question (lm-eval's acc); nothing is written.
acc_norm   The choice with the highest log-likelihood per character after the bare question (lm-eval's acc_norm): what the model
           knows, whatever the form, and long choices are not at a disadvantage.
letter     The most likely next token among the letters, after the listed choices, as MMLU is usually measured: the form need not
           be known.

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


class Choices(Questions):
    """A question with choices. A row has id, question, choices and answer_index, and may have subject and error_type."""

    instruction = {
        "en": "Choose the right answer. Write its letter.",
        "ja": "正しい選択肢を選び、記号で答えてください。",
    }
    max_new_tokens = 16
    stop: tuple[str, ...] = ("\n",)

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

    def question(self, row: Row) -> str:
        """Returns the question with its lettered choices."""
        return row["question"].strip() + lettered(_choices(row))

    def target(self, row: Row) -> str:
        """Returns the letter."""
        return LETTERS[row["answer_index"]]

    def answers(self, row: Row) -> tuple[str, ...]:
        """Returns the letter and the text of the choice, unless the text looks like another letter."""
        choices, letter = _choices(row), LETTERS[row["answer_index"]]
        text = choices[row["answer_index"]]
        return (letter, text) if last_letter(text, choices) == letter else (letter,)

    def meta(self, row: Row) -> dict[str, Any]:
        """Returns the row's own fields: scoring needs the choices, reports the subject and the known error."""
        kept = {key: row[key] for key in ("answer_index", "subject", "error_type") if key in row}
        return {"question": row["question"].strip(), "choices": _choices(row), **kept}

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if the letter that the prediction ends up with is the right one."""
        letter = last_letter(prediction, example.meta["choices"])
        value = float(letter == LETTERS[example.meta["answer_index"]])
        return Score(value, letter, {"accuracy_ok": value} if _faultless(example) else {})

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the choices after the bare question, and the letters after the prompt."""
        bare = self.prompt(
            example.id,
            example.meta["question"],
            instruction="",
            worked=lambda row: (row["question"].strip(), _choices(row)[row["answer_index"]]),
        )
        return candidates(example, bare, example.prompt, self.form.answer)

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the metrics `acc_norm` and `letter`; the score is the former."""
        score = graded(example, logprobs, "acc_norm")
        metrics = {"letter": score.metrics["letter"], "acc_norm": score.value}
        if _faultless(example):
            metrics |= {f"{name}_ok": value for name, value in metrics.items()}
        return Score(score.value, score.answer, metrics)

    def chance(self, example: Example) -> float | None:
        """Returns the share of one choice."""
        return 1 / len(example.meta["choices"])


class Cloze(Choices):
    """A question whose choices are not shown, except to ask for the letter: nothing is written, all is log-likelihood."""

    instruction = {"en": "", "ja": ""}
    generates = False

    def question(self, row: Row) -> str:
        """Returns the bare question."""
        return row["question"].strip()

    def target(self, row: Row) -> str:
        """Returns the text of the right choice."""
        return _choices(row)[row["answer_index"]]

    def answers(self, row: Row) -> tuple[str, ...]:
        """Returns the text of the right choice."""
        return (self.target(row),)

    def score(self, example: Example, prediction: str) -> Score:
        """Grades a written answer all the same: the text of a choice, or its letter."""
        if normalise(prediction) == normalise(example.answers[0]):
            return Score(1.0, LETTERS[example.meta["answer_index"]])
        return super().score(example, prediction)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the choices after the prompt, and the letters after the listed choices."""
        listed = self.prompt(
            example.id,
            example.meta["question"] + lettered(example.meta["choices"]),
            instruction=Choices.instruction[self.form.language],
            worked=lambda row: (Choices.question(self, row), Choices.target(self, row)),
        )
        return candidates(example, example.prompt, listed, self.form.answer)

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the accuracy; `acc_norm` and `letter` are further metrics."""
        return graded(example, logprobs)


def candidates(example: Example, bare: str, listed: str, answer: Callable[[str], str]) -> dict[str, Candidates]:
    """Returns the choices after the bare question and the letters after the listed choices, the right one first."""
    order, choices = _right_first(example), example.meta["choices"]
    return {
        "choice": Candidates(tuple(answer(choices[i]) for i in order), bare),
        "letter": Candidates(tuple(answer(LETTERS[i]) for i in order), listed),
    }


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


def _choices(row: Row) -> list[str]:
    """Some of upstream's choices begin or end with a space, which would tell them apart."""
    return [choice.strip() for choice in row["choices"]]


def _faultless(example: Example) -> bool:
    return example.meta.get("error_type") == "ok"
