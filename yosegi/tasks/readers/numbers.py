"""Word problems whose answer is one number, which is read out of whatever reasoning surrounds it (answers.py)."""

from yosegi.tasks import Example, Score
from yosegi.tasks.readers.answers import last_number, near
from yosegi.tasks.readers.data import Row
from yosegi.tasks.readers.forms import Questions

INSTRUCTION = {
    "en": "Solve the problem step by step. End with the answer.",
    "ja": "問題を順を追って解き、最後に答えを書いてください。",
}
END = {"en": "The answer is {}.", "ja": "答えは{}です。"}


class Numbers(Questions):
    """A problem with a number for an answer. A row has id, question and answer, and may have a solution."""

    max_new_tokens = 256

    def target(self, row: Row) -> str:
        """Returns the solution, or a sentence with the answer where there is none."""
        return row.get("solution") or END[self.form.language].format(self.answers(row)[0])

    def answers(self, row: Row) -> tuple[str, ...]:
        """Returns the number in the one spelling of answers.py."""
        return (last_number(row["answer"]) or row["answer"],)

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 if the prediction ends up with the right number; where gold is 0.333333, 1/3 is right."""
        answer = last_number(prediction)
        return Score(float(answer is not None and near(answer, example.answers[0])), answer)
