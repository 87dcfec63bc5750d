"""AQuA: algebra problems with five choices and a written rationale, in English.

Ling et al. 2017, "Program Induction by Rationale Generation", arXiv:1705.04146. Apache-2.0.
Data: math_en/aqua_test (test) and math_en/aqua_dev in the data folder, else deepmind/aqua_rat ("raw") on the Hub. Upstream's
training set (97,467 rows) is not in the folder: the 254 development rows are the training split (204) and the validation (50).

A model learns to write the rationale as people wrote it, and "The answer is B." at the end. Some rationales are scrap
("ANSWER:E"); one of the test names another letter than the key. Beside `accuracy`, `letter` and `likelihood` (choices.py)
are measured without a rationale. Parts: `ja` (told in Japanese), `Kshot` (at most 8).
"""

from functools import partial

from yosegi.tasks.readers import data, forms
from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Hub, Row
from yosegi.tasks.readers.letters import LETTERS

FIELDS = ("id", "question", "choices", "answer_index", "solution")
VALIDATION = 50
TOLD = {
    "en": "Solve the problem. End with the letter of the right answer.",
    "ja": "問題を解き、最後に正しい選択肢の記号を書いてください。",
}
END = {"en": "The answer is {}.", "ja": "答えは{}です。"}


class Aqua(Choices):
    """Scored by the letter that the reasoning ends up with."""

    kind = "aqua"
    told = TOLD
    most_shots = 8
    max_new_tokens = 400
    stop = forms.NEXT

    def rows(self, split: str) -> list[Row]:
        """The problems of a split, in upstream order."""
        file = "test" if data.known(split) == "test" else "dev"
        rows = data.rows(f"math_en/aqua_{file}", HUB[file], f"AQuA ({file})", FIELDS)
        return rows if file == "test" else data.carve(rows, VALIDATION)[split == "validation"]

    def target(self, row: Row) -> str:
        """The rationale and the letter."""
        return f"{row['solution'].strip()}\n{END[self.form.language].format(LETTERS[row['answer_index']])}"


def _from_hub(file: str, number: int, raw: Row) -> Row:
    return {
        "id": f"aqua/{file}/{number}",
        "question": raw["question"],
        "choices": [option.partition(")")[2].strip() for option in raw["options"]],
        "answer_index": LETTERS.index(raw["correct"]),
        "solution": raw["rationale"],
    }


HUB = {
    file: Hub("deepmind/aqua_rat", "33301c6a050c96af81f63cad5562cb5363e88971", partial(_from_hub, file), split, "raw")
    for file, split in (("test", "test"), ("dev", "validation"))
}
