"""Social IQa: what do people want, feel or do next? In English, three choices.

Sap et al. 2019, "SocialIQA: Commonsense Reasoning about Social Interactions", arXiv:1904.09728. CC BY 4.0. Data:
lighteval/siqa on the Hub (the authors' own is a script, which is not run), or knowledge_en/{siqa_train, siqa_test} in the
data folder. Upstream's validation split is the test here, as everywhere; 500 training rows are the validation split.
Metrics of choices.py.
"""

from yosegi.tasks.readers import data
from yosegi.tasks.readers.choices import FIELDS, Choices
from yosegi.tasks.readers.data import Row

REVISION = "54c6a1f8cb6daf4f5abf24a601852612fb35eb25"


def _from_hub(row: Row) -> Row:
    choices = [row[f"answer{letter}"] for letter in "ABC"]
    return {
        "question": f"{row['context']} {row['question']}",
        "choices": choices,
        "answer_index": int(row["label"]) - 1,
    }


class Siqa(Choices):
    """Scored by the likeliest choice."""

    kind = "siqa"
    headline, most_shots = "accuracy", 20
    source = data.source(
        "Social IQa", "knowledge_en/siqa", FIELDS, "lighteval/siqa", REVISION, _from_hub,
        splits={"train": "train", "test": "validation"}, held_out=500,
    )  # fmt: skip
