"""What tasks with a few choices have in common: three ways to answer, measured in one run.

accuracy     the model writes an answer, and a letter is read out of it (letters.py): what a user would get
letter       of the letters, the one that the model thinks most likely next, as MMLU is measured: no need to know the form
likelihood   the question without its choices; of their texts, the one most likely for each of its characters
             (lm-eval's acc_norm), so that a long choice is not held against it: what the model knows, whatever the form

Equally likely choices share the point. Of upstream's questions that are known to be faulty nothing is hidden: each metric has
a twin that ends in _ok, over the questions without a known error, where the data says which they are.
"""

from collections.abc import Mapping, Sequence

from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import data, forms
from yosegi.tasks.readers.letters import LETTERS, last_letter

TOLD = {"en": "Choose the right answer. Write its letter.", "ja": "正しい選択肢を選び、記号で答えてください。"}


class Choices(Task):
    """What a task says of itself: its rows, the language it is asked in, and how many worked examples it has.

    Args:
        part: a subset, `en` or `ja`, `Kshot`, or several of them with "/" between.
    """

    kind: str
    language = "en"
    told = TOLD
    most_shots = 0
    max_new_tokens = 16
    stop: tuple[str, ...] = ("\n",)

    def __init__(self, part: str = ""):
        self.form = forms.read(self.kind, part, self.subsets(), self.language, self.most_shots)
        self.name = f"{self.kind}/{part}" if part else self.kind
        self._pool: list[data.Row] | None = None

    @classmethod
    def subsets(cls) -> list[str] | None:
        """The names of the subsets of the questions; None where only the data could say."""
        return []

    @classmethod
    def parts(cls) -> list[str]:
        """Subsets, languages, and a few worked examples where there are some."""
        return [*(cls.subsets() or []), *forms.LABELS, *(["5shot"] if cls.most_shots >= 5 else [])]

    def rows(self, split: str) -> list[data.Row]:
        """The questions of a split: id, question, choices and answer_index."""
        raise NotImplementedError

    def shots(self) -> list[data.Row]:
        """What worked examples are taken from: by default the training questions."""
        return self.rows("train")

    def target(self, row: data.Row) -> str:
        """What a model learns to write: the letter."""
        return LETTERS[row["answer_index"]]

    def examples(self, split: str) -> list[Example]:
        """The questions of a split, in upstream order."""
        return [self._example(_tidy(row)) for row in self.rows(split)]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if the letter that the prediction ends up with is the right one."""
        letter = last_letter(prediction, example.meta["choices"])
        value = float(letter == LETTERS[example.meta["answer_index"]])
        return Score(value, letter, {"accuracy_ok": value} if _sound(example) else {})

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """The letters after the prompt, and the texts after the bare question."""
        choices, question = example.meta["choices"], example.meta["question"]
        before = [
            self._pair(row, self.form.answer(row["choices"][row["answer_index"]])) for row in self._shown(example.id)
        ]
        bare = forms.after("", before, self.form.render(question))
        letters = LETTERS[: len(choices)]
        return {
            "letter": Candidates(tuple(self.form.answer(letter) for letter in letters), example.prompt),
            "likelihood": Candidates(tuple(self.form.answer(choice) for choice in choices), bare),
        }

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """`letter` and `likelihood`."""
        right, choices = example.meta["answer_index"], example.meta["choices"]
        letters = [one.sum_logprob for one in logprobs["letter"]]
        normed = [
            one.sum_logprob / max(1, len(text)) for one, text in zip(logprobs["likelihood"], choices, strict=True)
        ]
        found = {"letter": _share(letters, right), "likelihood": _share(normed, right)}
        best = LETTERS[max(range(len(normed)), key=normed.__getitem__)]
        also = found | ({f"{name}_ok": value for name, value in found.items()} if _sound(example) else {})
        return Score(found["likelihood"], best, also)

    def _example(self, row: data.Row) -> Example:
        letter, text = LETTERS[row["answer_index"]], row["choices"][row["answer_index"]]
        before = [self._pair(shot, self.form.answer(self.target(shot)), listed=True) for shot in self._shown(row["id"])]
        prompt = forms.after(self.told[self.form.language], before, self.form.render(_listed(row)))
        answers = (letter, text) if last_letter(text, row["choices"]) == letter else (letter,)
        kept = {key: row[key] for key in ("question", "choices", "answer_index", "subject", "error_type") if key in row}
        return Example(row["id"], prompt, self.form.answer(self.target(row)), answers, kept)

    def _pair(self, row: data.Row, answer: str, listed: bool = False) -> Example:
        return Example(row["id"], self.form.render(_listed(row) if listed else row["question"]), answer)

    def _shown(self, without: str) -> list[data.Row]:
        if not self.form.shots:
            return []
        if self._pool is None:
            self._pool = forms.ranked([_tidy(row) for row in self.shots()])
        return forms.shown(self._pool, self.form.shots, without)


def _tidy(row: data.Row) -> data.Row:
    """Some of upstream's questions and choices begin or end with a space, which would tell the choices apart."""
    return {**row, "question": row["question"].strip(), "choices": [choice.strip() for choice in row["choices"]]}


def _listed(row: data.Row) -> str:
    lines = [f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=False)]
    return row["question"] + "".join(lines)


def _sound(example: Example) -> bool:
    return example.meta.get("error_type") == "ok"


def _share(values: Sequence[float], right: int) -> float:
    best = max(values)
    return (values[right] == best) / sum(value == best for value in values)
