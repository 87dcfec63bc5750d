"""MMLU: questions about 57 subjects, in English, four choices, with the known errors marked.

Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding", arXiv:2009.03300, MIT licence. Errors:
Gema et al. 2024, "Are We Done with MMLU?", arXiv:2406.04127 (MMLU-Redux), CC BY 4.0, who read 100 questions of each subject.
Data: knowledge_en/mmlu_redux_test (test) and knowledge_en/mmlu_val (validation) in the data folder, else cais/mmlu ("all") on the
Hub, which marks no errors. Of the data folder's 4,300 test questions, 230 have a known error and 29 no verdict.

`mmlu` asks all subjects in turn, in the order of the hashes of the ids (upstream's files begin with more errors than they end
with), so that the first few hundred questions are a fair sample; `mmlu/anatomy` asks one subject. Further parts: `ja`
(instruction in Japanese), `Kshot` (up to 5 validation questions, of the subject itself if there is one). The metrics are
those of choices.py.

There is no training split. Validation questions that the test repeats are left out.
"""

from yosegi.tasks.readers.choices import Choices
from yosegi.tasks.readers.data import Hub, Row, Source
from yosegi.tasks.readers.forms import ranked


def _from_hub(row: Row) -> Row:
    return {**{key: row[key] for key in ("question", "choices", "subject")}, "answer_index": row["answer"]}


REVISION = "c30699e8356da336a370243923dbaf21066bb9fe"


class Mmlu(Choices):
    """Scored by the likeliest letter."""

    kind = "mmlu"
    shuffled = True  # subject by subject in turn
    source = Source(
        "MMLU",
        {"validation": "knowledge_en/mmlu_val", "test": "knowledge_en/mmlu_redux_test"},
        ("id", "question", "choices", "answer_index", "subject"),
        {s: Hub("cais/mmlu", REVISION, _from_hub, s, "all", ids=f"mmlu/{s}") for s in ("validation", "test")},
        apart="question",
        evaluation_only=True,
    )
    most_shots = 5

    def shots(self) -> list[Row]:
        """Returns validation questions of the subset."""
        return ranked(self.rows("validation"))
