"""AQuA: algebra problems with five choices and a written rationale, in English.

Ling et al. 2017, "Program Induction by Rationale Generation", arXiv:1705.04146. Apache-2.0.
Data: math_en/aqua_test (test) and math_en/aqua_dev in the data folder, else deepmind/aqua_rat ("raw") on the Hub. Upstream's
training set (97,467 rows) is not in the folder: of the 254 development rows, 204 are the training split and 50 the validation.

A model learns to write the rationale as people wrote it, then "The answer is B." Some rationales are scrap ("ANSWER:E"); one
in the test set names another letter than the key. The metrics of choices.py are measured without a rationale;
`aqua/written` lets the model write one and scores the letter that it ends up with.
Parts: `ja` (instruction in Japanese), `Kshot` (up to 8 training problems as worked examples), `written`.
"""

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.letters import LETTERS
from yosegi.tasks.readers.numbers import END


def _from_hub(row: Row) -> Row:
    return {
        "question": row["question"],
        "choices": [option.partition(")")[2].strip() for option in row["options"]],
        "answer_index": LETTERS.index(row["correct"]),
        "solution": row["rationale"],
    }


def _hub(split: str, ids: str) -> Hub:
    return Hub("deepmind/aqua_rat", "33301c6a050c96af81f63cad5562cb5363e88971", _from_hub, split, "raw", ids=ids)


class Aqua(Choices):
    """Scored by the likeliest letter."""

    kind = "aqua"
    source = Source(
        "AQuA",
        {"train": "math_en/aqua_dev", "test": "math_en/aqua_test"},
        ("id", "question", "choices", "answer_index", "solution"),
        {"train": _hub("validation", "aqua/dev"), "test": _hub("test", "aqua/test")},
        held_out=50,
    )
    instruction = {
        "en": "Solve the problem. End with the letter of the right answer.",
        "ja": "問題を解き、最後に正しい選択肢の記号を書いてください。",
    }
    most_shots = 8
    max_new_tokens = 400

    def rationale(self, row: Row) -> str:
        """Returns the rationale and the letter."""
        return f"{row['solution'].strip()}\n{END[self.form.language].format(LETTERS[row['answer_index']])}"
