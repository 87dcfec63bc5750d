"""Tasks with a few choices, measured in three ways in one run.

accuracy     The model writes an answer, and a letter is read out of it (letters.py): what a user gets.
letter       The most likely next token among the letters, as MMLU is usually measured: the form need not be known.
likelihood   The choice with the highest log-likelihood per character after the bare question (lm-eval's acc_norm): what the model
             knows, whatever the form, and long choices are not at a disadvantage.

Choices that tie share the point. Where the data marks faulty questions, each metric has a twin that ends in _ok, over the
questions without a known fault; no question is left out of the metric itself.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from yosegi.tasks import Candidates, Example, LogProb, Score
from yosegi.tasks.readers.data import Row
from yosegi.tasks.readers.forms import Questions
from yosegi.tasks.readers.letters import LETTERS, last_letter, lettered


class Choices(Questions):
    """A question with choices. A row has id, question, choices and answer_index, and may have subject and error_type."""

    instruction = {
        "en": "Choose the right answer. Write its letter.",
        "ja": "正しい選択肢を選び、記号で答えてください。",
    }
    max_new_tokens = 16
    stop: tuple[str, ...] = ("\n",)

    def subsets_of(self, row: Row) -> Sequence[str | None]:
        """Returns the subject."""
        return (row.get("subject"),)

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
        """Returns the letters after the prompt, and the choices after the bare question."""
        choices = example.meta["choices"]
        bare = self.prompt(
            example.id,
            example.meta["question"],
            instruction="",
            worked=lambda row: (row["question"].strip(), _choices(row)[row["answer_index"]]),
        )
        return {
            "letter": Candidates(tuple(map(self.form.answer, LETTERS[: len(choices)])), example.prompt),
            "likelihood": Candidates(tuple(map(self.form.answer, choices)), bare),
        }

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns the metrics `letter` and `likelihood`; the score is the latter."""
        right, choices = example.meta["answer_index"], example.meta["choices"]
        letters = [one.sum_logprob for one in logprobs["letter"]]
        texts = [one.sum_logprob / max(1, len(text)) for one, text in zip(logprobs["likelihood"], choices, strict=True)]
        metrics = {"letter": _share(letters, right), "likelihood": _share(texts, right)}
        if _faultless(example):
            metrics |= {f"{name}_ok": value for name, value in metrics.items()}
        return Score(metrics["likelihood"], LETTERS[max(range(len(texts)), key=texts.__getitem__)], metrics)


def _choices(row: Row) -> list[str]:
    """Some of upstream's choices begin or end with a space, which would tell them apart."""
    return [choice.strip() for choice in row["choices"]]


def _faultless(example: Example) -> bool:
    return example.meta.get("error_type") == "ok"


def _share(values: Sequence[float], right: int) -> float:
    best = max(values)
    return (values[right] == best) / sum(value == best for value in values)
