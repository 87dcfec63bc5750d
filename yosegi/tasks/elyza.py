"""ELYZA-tasks-100: Japanese instructions of many kinds, with a rubric for people or a judge. Answers are kept, nothing is scored.

ELYZA 2023, https://huggingface.co/datasets/elyza/ELYZA-tasks-100. CC BY-SA 4.0. Data, in the data folder only:
instruct/elyza_tasks_100. The reference answers and rubrics are in the items beside the answers.
"""

from yosegi.tasks import Example
from yosegi.tasks.readers.data import Row, Source
from yosegi.tasks.readers.unscored import Unscored


class Elyza(Unscored):
    """Nothing is scored."""

    name = "elyza"
    source = Source(
        "ELYZA-tasks-100", {"test": "instruct/elyza_tasks_100"}, ("id", "instruction"), evaluation_only=True
    )

    def example(self, row: Row) -> Example:
        """Returns the instruction and its input."""
        prompt = "\n\n".join(filter(None, [row["instruction"].strip(), (row.get("input") or "").strip()]))
        kept = {key: row[key] for key in ("outputs", "eval_aspect") if row.get(key)}
        return Example(row["id"], prompt, "", (), kept)
