"""Natural Instructions: many small tasks, each a definition in plain words and instances of it. Scored by Rouge-L.

Mishra et al. 2022, "Cross-Task Generalization via Natural Language Crowdsourcing Instructions", arXiv:2104.08773 (v1,
subtaskNNN_…), and Wang et al. 2022, "Super-NaturalInstructions", arXiv:2204.07705 (v2, taskNNN_…). Apache-2.0.
Data: instruct/{ni_v1,sni_v2}_{tasks,train,test}; else a file for each task, instruct/NAME (rows of id, definition, input,
outputs); else Muennighoff/natural-instructions on the Hub. Of these last two a tenth, by hash, is the test split.

A name is `natural_instructions/task073_commonsenseqa_answer_generation`. A tenth of the training rows, by hash, is the
validation split. A model learns the first accepted output; the score is the best over all of them.

"/FORMAT" after the name asks the same examples in another prompt format (formats.py): definition (the default), instruction
and chat are for training; question, brackets, exercise and plain share no label with those and test whether an expert has
learnt the task or only its form. `paper` is the prompt of the Super-NaturalInstructions paper.
"""

import re
from contextlib import suppress

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import Example, Score, Task
from yosegi.tasks.readers import data, rouge
from yosegi.tasks.readers.data import Hub, Row
from yosegi.tasks.readers.formats import FORMATS

FIELDS = ("id", "input", "outputs")
DEFINITION = 2000  # characters; a longer definition is cut (none of the 47 in the data folder is)


class NaturalInstructions(Task):
    """Args:
    part: the name of the task, to which "/FORMAT" may be added.
    """

    metric = "rougeL"
    known_splits = ("train", "validation", "test")
    max_new_tokens = 200

    def __init__(self, part: str):
        self.name = f"natural_instructions/{part}"
        self.part, _, form = part.partition("/")
        UnknownName.check("prompt format", filter(None, [form]), FORMATS)
        self.format = FORMATS[form or "definition"]
        self.stop = self.format.stop
        known = _tasks()
        try:
            self.version, self.definition = known.get(self.part) or ("", self._file()[0]["definition"])
        except NoData as error:
            if not known:
                raise
            raise UnknownName.among("Natural Instructions task", self.part, known) from error

    @classmethod
    def parts(cls) -> list[str]:
        """Returns the tasks in the data folder. The Hub has 876 more, which are not listed."""
        return sorted(_tasks())

    def rows(self, split: str) -> list[Row]:
        """Returns the instances of a split, in upstream order."""
        test = data.known(split) == "test"
        if self.version:
            file = f"instruct/{self.version}_{'test' if test else 'train'}"
            rows = [row for row in data.rows(file, fields=(*FIELDS, "task")) if row["task"] == self.part]
        else:
            rows = self._file()
            rows = data.carve(rows, len(rows) // 10)[test]
        if not test:
            rows = data.carve(rows, len(rows) // 10)[split == "validation"]
        if not rows:
            raise Invalid(f"{self.name} has no {split} rows here.")
        return rows

    def score(self, example: Example, prediction: str) -> Score:
        """Returns the best Rouge-L F1 against an accepted output."""
        return rouge.score(prediction, example.answers)

    def example(self, row: Row) -> Example:
        """Returns an instance after the definition, in the prompt format."""
        definition = self.definition.strip()[:DEFINITION]
        prompt = self.format.template.format(definition=definition, input=row["input"])
        return Example(row["id"], prompt, f"{self.format.gap}{row['outputs'][0].strip()}", tuple(row["outputs"]))

    def _file(self) -> list[Row]:
        # on the Hub a task is train/NAME_train.jsonl or test/NAME_test.jsonl, with a row for each output of an input
        revision, files = "a29a9757125f4bb1c26445ad0d2ef7d9b2cc9c4c", f"t*/{self.part}_t[er][as][it]*.jsonl"
        hub = Hub("Muennighoff/natural-instructions", revision, _from_hub, files=files)
        hub = hub if re.fullmatch(r"task\w+", self.part) else None
        by_input: dict[str, Row] = {}
        for row in data.rows(f"instruct/{self.part}", hub, self.name, (*FIELDS, "definition")):
            by_input.setdefault(row["input"], row | {"outputs": []})["outputs"] += row["outputs"]
        return list(by_input.values())


def _tasks() -> dict[str, tuple[str, str]]:
    data.folder()  # a folder that was asked for and is not there is an error, not an empty list
    definitions = {}
    for version in ("ni_v1", "sni_v2"):
        with suppress(NoData):
            rows = data.rows(f"instruct/{version}_tasks", fields=("task", "definition"))
            definitions |= {row["task"]: (version, row["definition"]) for row in rows}
    return definitions


def _from_hub(row: Row) -> Row:
    return {"id": row["id"], "definition": row["definition"], "input": row["inputs"], "outputs": [row["targets"]]}
