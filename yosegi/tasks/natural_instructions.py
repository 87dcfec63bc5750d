"""Natural Instructions: many small tasks, each a definition in plain words and instances of it. Scored by Rouge-L.

Mishra et al. 2022, "Cross-Task Generalization via Natural Language Crowdsourcing Instructions", arXiv:2104.08773 (v1,
subtaskNNN_…), and Wang et al. 2022, "Super-NaturalInstructions", arXiv:2204.07705 (v2, taskNNN_…). Apache-2.0.
Data: instruct/{ni_v1,sni_v2}_{tasks,train,test}; else a file of its own, instruct/NAME (rows of id, definition, input,
outputs); else Muennighoff/natural-instructions on the Hub. Of these last two a tenth, by hash, is the test split.

A name is `natural_instructions/task073_commonsenseqa_answer_generation`. A tenth of the training rows, by hash, is the
validation split. A model learns the first accepted output; the score takes the best of all of them.

With "/FORMAT" after the name the same examples are asked in other words (`formats.py`): definition (as without one),
instruction and chat are for training; question, brackets, exercise and plain share no label with those, and are for
asking whether an expert has learnt the task or its form. The base `house` has read its half of the tasks in the first.
"""

import re
from contextlib import suppress

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, rouge
from yosegi.tasks.readers.data import Hub, Row
from yosegi.tasks.readers.formats import FORMATS

FIELDS = ("id", "input", "outputs")
DEFINITION = 2000  # characters; a longer definition is cut there (of the 47 in the data folder none is)


class NaturalInstructions(Task):
    """`part` is the name of the task, or that and "/FORMAT"."""

    metric = "rougeL"
    max_new_tokens = 200

    def __init__(self, part: str):
        self.name = f"natural_instructions/{part}"
        self.part, _, form = part.partition("/")
        if (form or "definition") not in FORMATS:
            raise UnknownName.among("prompt format", form, FORMATS)
        self.format = FORMATS[form or "definition"]
        self.stop = self.format.stop
        here = _tasks()
        try:
            self.version, self.definition = here.get(self.part) or ("", self._alone()[0]["definition"])
        except NoData as error:
            if not here:
                raise
            raise UnknownName.among("Natural Instructions task", self.part, here) from error

    @classmethod
    def parts(cls) -> list[str]:
        """The tasks in the data folder; none without one, though the Hub has 876."""
        return sorted(_tasks())

    def examples(self, split: str) -> list[Example]:
        """The instances of a split, in upstream order."""
        test = data.known(split) == "test"
        if self.version:
            file = f"instruct/{self.version}_{'test' if test else 'train'}"
            rows = [row for row in data.rows(file, fields=(*FIELDS, "task")) if row["task"] == self.part]
        else:
            rows = self._alone()
            rows = data.carve(rows, len(rows) // 10)[test]
        if not test:
            rows = data.carve(rows, len(rows) // 10)[split == "validation"]
        if not rows:
            raise Invalid(f"{self.name} has no {split} rows here.")
        return [self._example(row) for row in rows]

    def score(self, example: Example, prediction: str) -> Score:
        """Rouge-L F1 against the nearest accepted output."""
        return rouge.score(prediction, example.answers)

    def _example(self, row: Row) -> Example:
        definition = self.definition.strip()[:DEFINITION]
        prompt = self.format.template.format(definition=definition, input=row["input"])
        return Example(row["id"], prompt, f"{self.format.gap}{row['outputs'][0].strip()}", tuple(row["outputs"]))

    def _alone(self) -> list[Row]:
        # on the Hub a task is train/NAME_train.jsonl or test/NAME_test.jsonl, with a row for each output of an input
        revision, files = "a29a9757125f4bb1c26445ad0d2ef7d9b2cc9c4c", f"t*/{self.part}_t[er][as][it]*.jsonl"
        hub = Hub("Muennighoff/natural-instructions", revision, _from_hub, files=files)
        hub = hub if re.fullmatch(r"task\w+", self.part) else None
        found: dict[str, Row] = {}
        for row in data.rows(f"instruct/{self.part}", hub, self.name, (*FIELDS, "definition")):
            found.setdefault(row["input"], row | {"outputs": []})["outputs"] += row["outputs"]
        return list(found.values())


def _tasks() -> dict[str, tuple[str, str]]:
    data.folder()  # a folder that was asked for and is not there is an error, not an empty list
    found = {}
    for version in ("ni_v1", "sni_v2"):
        with suppress(NoData):
            rows = data.rows(f"instruct/{version}_tasks", fields=("task", "definition"))
            found |= {row["task"]: (version, row["definition"]) for row in rows}
    return found


def _from_hub(number: int, raw: Row) -> Row:
    return {"id": raw["id"], "definition": raw["definition"], "input": raw["inputs"], "outputs": [raw["targets"]]}
