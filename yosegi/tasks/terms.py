"""Terms of a field, asked closed-book: a definition is given, the term is wanted. Did reading the corpus teach anything?

The two measures of the domain experts. `terms/NAME` is QA_exact: the examples, then the question, generation to the end of the
line, exact match with any accepted term after a numbered normalisation (`spans.normalise`). `terms/NAME/rank` is logp_mrr:
each candidate is put into a sentence, the sentences are ranked by their likelihood, and a question is worth 1 / the rank of the
right one (`ranking.py`: the sum over the sentence; also by mean and pmi; chance is H_c / c, said beside every result).
`terms/NAME/choices` shows the candidates and wants the letter.
With `/halved` at the end (`terms/NAME/rank/halved`) half of the questions are for validation, by the hash of their ids, and the
others are the test: something may be chosen by the one half and measured on the other.
Data: corpus/NAME_terms in the data folder, or any file: `terms/path/to/quiz.jsonl`, as `yosegi terms build` drafts it. A row:

    {"question": …, "answer": …, "answers": [other spellings], "choices": […], "answer_index": 0,
     "statement_template": "{word}とは、…のことである。", "neutral_template": "これは{word}です。", "split": "test" or "fewshot",
     "lang": "ja" or "en", "checked": true}

Only question and answer are needed to ask openly; choices and the statement are needed to rank. The k rows of split "fewshot"
are the k examples. Rows that say `checked: false` are drafts: whatever reports their numbers says so.
Railway law: 33 definitions from Japanese statutes (no copyright), three of them the examples. Thirty questions: a standard
error of 0.06 to 0.09, so only a large difference is one.

Closed-book means that the text is not shown; every law that defines a term is in the training split of `corpus/NAME`, so an
expert can have read it. The base `house` has read none of those laws: what it knows of them, an expert taught it.
Of other bases nobody can say so: compare with the base itself.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import data, ranking, spans

FIELDS = ("id", "split", "question", "answer", "choices", "answer_index", "statement_template")
LETTERS = "ABCDEFGHIJ"
FORMS = ("choices", "rank")
HALVED = "/halved"
GAP, BLANK = "{word}", "＿＿"
NEUTRAL = {"ja": "これは{word}です。", "en": "This is {word}."}
"""Sentences that say nothing of a candidate, for pmi; a row may bring its own."""


class Terms(Task):
    """Args:
    part: the corpus or a .jsonl file, then "/choices" or "/rank" if you like, then "/halved" if you like.
    """

    metric = "exact_match"
    max_new_tokens = 32
    stop = ("\n",)
    rule = spans.RULE

    def __init__(self, part: str):
        self.name, self.halved = f"terms/{part}", part.endswith(HALVED)
        part = part.removesuffix(HALVED)
        self.source, _, form = part.rpartition("/")
        self.form = form if form in FORMS and self.source else ""
        self.source = self.source if self.form else part
        self.file = Path(self.source).expanduser() if re.search(r"\.jsonl(\.gz)?$", self.source) else None
        self.choices = self.form == "choices"
        if self.form == "rank":
            self.metric, self.generates = "logp_mrr", False
        there = self.parts()
        if self.file is not None:
            if not self.file.is_file():
                raise NoData(f"There is no quiz {str(self.file.absolute())!r}; yosegi terms build drafts one.")
        elif there and part not in there:
            raise UnknownName.among("quiz", part, there)

    @classmethod
    def parts(cls) -> list[str]:
        """Each quiz in the data folder: open, with choices, and ranked."""
        here = data.folder()
        files = sorted((here / "corpus").glob("*_terms.jsonl*")) if here else []
        names = [file.name.split("_terms.jsonl")[0] for file in files]
        return [f"{name}{form}" for name in names for form in ("", "/choices", "/rank")]

    def examples(self, split: str) -> list[Example]:
        """The questions, in the order of the file. There is only a test split, unless it is halved."""
        data.known(split, ("validation", "test") if self.halved else ("test",))
        rows = self._rows()
        if not (asked := [row for row in rows if row["split"] == split]):
            raise Invalid(f"{self.name} has no {split} rows here.")
        shots = "".join(f"{self._ask(row)}{self._answer(row)}\n\n" for row in rows if row["split"] == "fewshot")
        return [self._example(row, shots) for row in asked]

    def score(self, example: Example, prediction: str) -> Score:
        """1 if it is the term, or the letter. The term itself is right where the letter was wanted, too."""
        if self.form == "rank":  # said in words: as if it had been ranked first, or not at all
            found = spans.exact(prediction, example.answers)
            return Score(found.value, found.answer, dict.fromkeys(("logp_mrr_mean", "logp_mrr_pmi"), found.value))
        letter = spans.normalise(prediction)[:2]
        if self.choices and letter and letter[0] in LETTERS and not letter[1:].isalpha():
            return Score(float(letter[0] == example.target.strip()), letter[0])
        return spans.exact(prediction, example.answers)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """The statement with each candidate, the right one first; and each candidate in the neutral sentence."""
        if self.generates:
            return {}
        words = example.meta["candidates"]
        return {
            name: Candidates(tuple(example.meta[f"{name}_template"].replace(GAP, word) for word in words))
            for name in ("statement", "neutral")
        }

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """1 / the rank of the right sentence, by its sum; by mean and pmi besides."""
        words = example.meta["candidates"]
        by = {way: ranking.scores(logprobs["statement"], logprobs["neutral"], way) for way in ranking.WAYS}
        worth = {way: 1 / ranking.rank(values) for way, values in by.items()}
        first = max(range(len(words)), key=lambda i: (by["sum"][i], -i))
        return Score(worth["sum"], words[first], {f"logp_mrr_{way}": worth[way] for way in ranking.WAYS[1:]})

    def chance(self, example: Example) -> float | None:
        """H_c / c of c candidates ranked, 1 / c of c letters."""
        if self.form == "rank":
            return ranking.chance(len(example.meta["candidates"]))
        return 1 / len(example.meta["choices"]) if self.choices else None

    def note(self, split: str) -> str | None:
        """How many of the questions are drafts."""
        rows = [row for row in self._rows() if row["split"] == split]
        drafts = sum(row.get("checked") is False for row in rows)
        return f"{drafts} of {len(rows)} questions are drafts that nobody has checked." if drafts else None

    def _rows(self) -> list[data.Row]:
        """The rows with what they may leave out; what is wrong with one is said with its line."""
        if self.file is None:
            rows = [(row["id"], row) for row in data.rows(f"corpus/{self.source}_terms", None, self.name, FIELDS)]
        else:
            rows = [(f"{self.file}, line {number}", row) for number, row in data.lines(self.file)]
        needs = {"choices": ("choices",), "rank": ("choices", "statement_template")}.get(self.form, ())
        found = []
        for n, (where, row) in enumerate(rows, 1):
            row = {"split": "test", "choices": [], "lang": _language(row), **row, "id": str(row.get("id", n))}
            if missing := [key for key in ("question", "answer", *needs) if not row.get(key)]:
                raise Invalid(f"{self.name}: {where} has no {missing[0]}.")
            if row["lang"] not in spans.FORMS:
                raise Invalid(f"{self.name}: {where} is in {row['lang']!r}; there are {', '.join(spans.FORMS)}.")
            if needs and row["answer"] not in row["choices"]:
                raise Invalid(f"{self.name}: {where}: the answer is not among the choices.")
            if self.form == "rank" and GAP not in row["statement_template"]:
                raise Invalid(f"{self.name}: {where}: the statement has no {GAP} to put the candidates into.")
            if self.choices and len(row["choices"]) > len(LETTERS):
                raise Invalid(f"{self.name}: {where} has more than {len(LETTERS)} choices.")
            found.append(row)
        if twice := {row["id"] for row in found if sum(other["id"] == row["id"] for other in found) > 1}:
            raise Invalid(f"{self.name}: two rows have the id {sorted(twice)[0]!r}.")
        return _halved(found) if self.halved else found

    def _ask(self, row: data.Row, before: str = "") -> str:
        lines = [f"\n{letter}. {choice}" for letter, choice in zip(LETTERS, row["choices"], strict=False)]
        return spans.prompt(row["question"] + "".join(lines if self.choices else []), before, row["lang"])

    def _answer(self, row: data.Row) -> str:
        space = "" if row["lang"] == "ja" else " "
        return space + (LETTERS[row["choices"].index(row["answer"])] if self.choices else row["answer"])

    def _example(self, row: data.Row, shots: str) -> Example:
        answers = tuple(dict.fromkeys((row["answer"], *row.get("answers", ()))))
        meta: dict[str, Any] = {key: row.get(key) for key in ("choices", "answer_index", "statement_template")}
        if self.form == "rank":
            words = ranking.candidates(row["answer"], answers, row["choices"])
            if len(words) < 2:
                raise Invalid(f"{self.name}: {row['id']} has one candidate only: there is nothing to rank.")
            meta |= {"candidates": words, "neutral_template": row.get("neutral_template") or NEUTRAL[row["lang"]]}
            return Example(
                row["id"], row["statement_template"].replace(GAP, BLANK).strip(), row["answer"], answers, meta
            )
        letter = (self._answer(row).strip(),) if self.choices else ()
        return Example(row["id"], self._ask(row, shots), self._answer(row), (*letter, *answers), meta)


def _halved(rows: list[data.Row]) -> list[data.Row]:
    """The half of the test rows whose ids hash lowest are for validation: the same half on every machine."""
    asked = sorted((row["id"] for row in rows if row["split"] == "test"), key=data.hashed)
    early = set(asked[: len(asked) // 2])
    return [row | {"split": "validation"} if row["id"] in early else row for row in rows]


def _language(row: data.Row) -> str:
    """Japanese where there are kana or kanji in the question."""
    return "ja" if re.search(r"[぀-ヿ一-鿿]", str(row.get("question"))) else "en"
