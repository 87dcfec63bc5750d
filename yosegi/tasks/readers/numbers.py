"""What word problems with one number for an answer have in common: how they are told, and how they are scored."""

from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, forms
from yosegi.tasks.readers.answers import last_number, near

TOLD = {
    "en": "Solve the problem step by step. End with the answer.",
    "ja": "問題を順を追って解き、最後に答えを書いてください。",
}
END = {"en": "The answer is {}.", "ja": "答えは{}です。"}


class Numbers(Task):
    """What a task says of itself: its rows, its worked examples, and the language it is asked in.

    Args:
        part: a subset, `en` or `ja`, `Kshot`, or several of them with "/" between.
    """

    kind: str
    language = "en"
    subsets: tuple[str, ...] = ()
    most_shots = 8
    max_new_tokens = 256
    stop = forms.NEXT

    def __init__(self, part: str = ""):
        self.form = forms.read(self.kind, part, self.subsets, self.language, self.most_shots)
        self.name = f"{self.kind}/{part}" if part else self.kind

    @classmethod
    def parts(cls) -> list[str]:
        """Subsets, languages, and all the worked examples."""
        return [*cls.subsets, *forms.LABELS, f"{cls.most_shots}shot"]

    def rows(self) -> list[data.Row]:
        """The problems: id, question, answer and, where there is one, a solution."""
        raise NotImplementedError

    def shots(self) -> list[data.Row]:
        """The worked examples, in order."""
        raise NotImplementedError

    def examples(self, split: str) -> list[Example]:
        """The problems, in upstream order. There is only a test split."""
        data.known(split, ("test",))
        rows = [row for row in self.rows() if self.form.subset in ("", row.get("subset"))]
        before = [self._pair(row) for row in (self.shots() if self.form.shots else [])[: self.form.shots]]
        return [self._example(self._pair(row), before) for row in rows]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if the prediction ends up with the right number; 1/3 is right where gold says 0.333333."""
        answer = last_number(prediction)
        return Score(float(answer is not None and near(answer, example.answers[0])), answer)

    def _example(self, asked: Example, before: list[Example]) -> Example:
        prompt = forms.after(TOLD[self.form.language], before, asked.prompt)
        return Example(asked.id, prompt, asked.target, asked.answers)

    def _pair(self, row: data.Row) -> Example:
        answer = last_number(row["answer"]) or row["answer"]
        target = row.get("solution") or END[self.form.language].format(answer)
        return Example(row["id"], self.form.render(row["question"].strip()), self.form.answer(target), (answer,))
