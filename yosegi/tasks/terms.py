"""Terms of a field, asked closed-book: given a definition, name the term. It measures what reading a corpus has taught.

The two measures of the domain experts:
  terms/NAME           QA_exact: worked examples, then the question; greedy generation to the end of the line; exact match with
                       any accepted term after a numbered normalisation (`spans.normalise`).
  terms/NAME/rank      logp_mrr: each candidate is put into a sentence, the sentences are ranked by log-likelihood, and a question
                       is worth 1 / the rank of the right one (ranking.py; also by mean and by pmi). Chance is H_c / c.
  terms/NAME/choices   letter: the candidates are listed, and the likeliest letter counts (choices.py).
  …/choices/written    The letter is read out of a written answer.
  …/halved             Half of the questions, by the hash of their ids, are the validation split and the others the test:
                       something can be chosen on the one half and measured on the other.

Data: corpus/NAME_terms in the data folder, or any file: `terms/path/to/quiz.jsonl`, as `yosegi terms build` drafts it. A row:

    {"question": …, "answer": …, "answers": [other spellings], "choices": […], "answer_index": 0,
     "statement_template": "{word}とは、…のことである。", "neutral_template": "これは{word}です。", "split": "test" or "fewshot",
     "lang": "ja" or "en", "checked": true}

`terms/NAME` needs only question and answer; `/choices` needs the choices, `/rank` the statement too. Rows of split "fewshot"
are the worked examples. Rows with `checked: false` are drafts; whatever reports their numbers says so. Railway law: 33
definitions from Japanese statutes (no copyright), three of them worked examples. With thirty questions the standard error is
0.06 to 0.09, so only a large difference is one.

Closed-book means that the text is not shown. Every law that defines a term is in the training split of `corpus/NAME`, so an
expert can have read it. Nobody knows what a base has read, so compare with the base itself.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import Candidates, Example, LogProb, Score, Task
from yosegi.tasks.readers import choices, data, ranking, spans
from yosegi.tasks.readers.forms import NEXT
from yosegi.tasks.readers.letters import LETTERS, last_letter, lettered
from yosegi.tasks.readers.records import names, read

FIELDS = ("id", "split", "question", "answer", "choices", "answer_index", "statement_template")
NEEDS = {"": (), "choices": ("choices",), "rank": ("choices", "statement_template")}
"""For each form the fields that a row needs besides question and answer."""
JAPANESE = re.compile("[぀-ヿ一-鿿]")
GAP, BLANK = "{word}", "＿＿"
NEUTRAL = {"ja": "これは{word}です。", "en": "This is {word}."}
"""Sentences that say nothing about a candidate, for pmi; a row may bring its own."""


class Terms(Task):
    """Args:
    part: the corpus or a .jsonl file; "/choices", "/choices/written" or "/rank" may follow, then "/halved".
    """

    metric = "exact_match"
    known_splits = ("validation", "test")
    max_new_tokens = 32
    stop = ("\n",)
    rule = spans.RULE

    def __init__(self, part: str):
        self.name, self.halved = f"terms/{part}", part.endswith("/halved")
        part = (whole := part.removesuffix("/halved")).removesuffix("/written")
        self.form = next((form for form in ("choices", "rank") if part.endswith(f"/{form}")), "")
        self.quiz = part.removesuffix(f"/{self.form}")
        if self.form == "rank":
            self.metric, self.generates = "logp_mrr", False
        if self.form == "choices":
            self.generates = part != whole
            self.metric = choices.WRITTEN if self.generates else "letter"
            self.stop, self.max_new_tokens = NEXT, 64
        elif part != whole:
            raise UnknownName.among("part of terms", "written", [f"{part}/choices/written"])
        self.file = Path(self.quiz).expanduser() if self.quiz.endswith((".jsonl", ".jsonl.gz")) else None
        if self.file and not self.file.is_file():
            raise NoData(f"There is no quiz {str(self.file.absolute())!r}; yosegi terms build drafts one.")
        if not self.file and (known := self.parts()):
            UnknownName.check("quiz", [whole], known)

    @classmethod
    def parts(cls) -> list[str]:
        """Returns each quiz in the data folder: open, with choices, and ranked."""
        here = data.folder()
        files = sorted((here / "corpus").glob("*_terms.jsonl*")) if here else []
        names = [file.name.split("_terms.jsonl")[0] for file in files]
        return [f"{name}{form}" for name in names for form in ("", "/choices", "/rank", "/choices/written")]

    def examples(self, split: str) -> list[Example]:
        """Returns the questions in the order of the file. There is only a test split, unless it is halved."""
        data.known(split, ("validation", "test") if self.halved else ("test",))
        rows = self._rows()
        if not (asked := [row for row in rows if row["split"] == split]):
            raise Invalid(f"{self.name} has no {split} rows here.")
        if self.form == "rank":
            return [self._ranked(row) for row in asked]
        listed = self.form == "choices"
        shots, bare = (
            "".join(
                f"{self._ask(row, lists)}{self._answer(row, lists)}\n\n" for row in rows if row["split"] == "fewshot"
            )
            for lists in (listed, False)
        )
        return [
            Example(
                row["id"],
                shots + self._ask(row, listed),
                self._answer(row, listed),
                self._accepted(row),
                _meta(row) | ({"bare": bare + self._ask(row, False), "lang": row["lang"]} if listed else {}),
            )
            for row in asked
        ]

    def score(self, example: Example, prediction: str) -> Score:
        """Returns 1 for the term or the letter. The term itself is right where the letter was wanted, too."""
        if self.form == "rank":  # answered in words: as if it had been ranked first, or not at all
            matched = spans.exact(prediction, example.answers)
            return Score(matched.value, matched.answer, dict.fromkeys(("logp_mrr_mean", "logp_mrr_pmi"), matched.value))
        if self.form == "choices" and (letter := last_letter(prediction, example.meta["choices"])):
            return Score(float(letter == example.target.strip()), letter)
        return spans.exact(prediction, example.answers)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the statement with each candidate, the right one first; and each candidate in the neutral sentence.

        With choices: the letters, and the terms after the bare question.
        """
        if self.form == "choices":
            return choices.candidates(
                example, example.meta["bare"], example.prompt, lambda text: _gap(example.meta["lang"]) + text, "letter"
            )
        if self.generates:
            return {}
        words = example.meta["candidates"]
        return {
            name: Candidates(tuple(example.meta[f"{name}_template"].replace(GAP, word) for word in words))
            for name in ("statement", "neutral")
        }

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns 1 / the rank of the right sentence by its sum; by mean and by pmi as further metrics. Of choices the letter."""
        if self.form == "choices":
            score = choices.graded(example, logprobs, "letter")
            return replace(score, metrics={**score.metrics, **({"letter": score.value} if self.generates else {})})
        words = example.meta["candidates"]
        by = {way: ranking.scores(logprobs["statement"], logprobs["neutral"], way) for way in ranking.WAYS}
        reciprocal = {way: 1 / ranking.rank(values) for way, values in by.items()}
        first = max(range(len(words)), key=lambda i: (by["sum"][i], -i))
        further = {f"logp_mrr_{way}": reciprocal[way] for way in ranking.WAYS[1:]}
        return Score(reciprocal["sum"], words[first], further)

    def chance(self, example: Example) -> float | None:
        """Returns H_c / c for c ranked candidates, 1 / c for c letters."""
        if self.form == "rank":
            return ranking.chance(len(example.meta["candidates"]))
        return 1 / len(example.meta["choices"]) if self.form == "choices" else None

    def note(self, split: str) -> str | None:
        """Returns how many of the questions are drafts."""
        rows = [row for row in self._rows() if row["split"] == split]
        drafts = sum(row.get("checked") is False for row in rows)
        return f"{drafts} of {len(rows)} questions are drafts that nobody has checked." if drafts else None

    def _rows(self) -> list[data.Row]:
        """Returns the rows with defaults filled in. The error for a bad row names its line."""
        if self.file is None:
            records = [(row["id"], row) for row in data.rows(f"corpus/{self.quiz}_terms", None, self.name, FIELDS)]
        else:
            records = read(self.file)
        rows = []
        for name, (place, row) in zip(names(records, self.name), records, strict=True):
            lang = "ja" if JAPANESE.search(str(row.get("question"))) else "en"
            rows.append({"split": "test", "choices": [], "lang": lang, **row, "id": name})
            if wrong := self._wrong(rows[-1]):
                raise Invalid(f"{self.name}: {self.file or ''}{', ' * bool(self.file)}{place}{wrong}.")
        return _halved(rows) if self.halved else rows

    def _wrong(self, row: data.Row) -> str:
        needs = NEEDS[self.form]
        if missing := [key for key in ("question", "answer", *needs) if not row.get(key)]:
            return f" has no {missing[0]}"
        if row["lang"] not in spans.LABELS:
            return f" is in {row['lang']!r}; there are {', '.join(spans.LABELS)}"
        if needs and row["answer"] not in row["choices"]:
            return ": the answer is not among the choices"
        if self.form == "rank" and GAP not in row["statement_template"]:
            return f": the statement has no {GAP} to put the candidates into"
        if self.form == "choices" and len(row["choices"]) > len(LETTERS):
            return f" has more than {len(LETTERS)} choices"
        return ""

    def _ask(self, row: data.Row, listed: bool) -> str:
        return spans.prompt(row["question"] + lettered(row["choices"] if listed else []), "", row["lang"])

    def _answer(self, row: data.Row, listed: bool) -> str:
        answer = LETTERS[row["choices"].index(row["answer"])] if listed else row["answer"]
        return _gap(row["lang"]) + answer

    def _accepted(self, row: data.Row) -> tuple[str, ...]:
        letter = (self._answer(row, True).strip(),) if self.form == "choices" else ()
        return (*letter, *_spellings(row))

    def _ranked(self, row: data.Row) -> Example:
        words = ranking.candidates(row["answer"], _spellings(row), row["choices"])
        if len(words) < 2:
            raise Invalid(f"{self.name}: {row['id']} has one candidate only: there is nothing to rank.")
        neutral = row.get("neutral_template") or NEUTRAL[row["lang"]]
        prompt = row["statement_template"].replace(GAP, BLANK).strip()
        meta = {**_meta(row), "candidates": words, "neutral_template": neutral}
        return Example(row["id"], prompt, row["answer"], _spellings(row), meta)


def _gap(lang: str) -> str:
    return "" if lang == "ja" else " "


def _spellings(row: data.Row) -> tuple[str, ...]:
    return tuple(dict.fromkeys((row["answer"], *row.get("answers", ()))))


def _meta(row: data.Row) -> dict[str, Any]:
    kept = {key: row.get(key) for key in ("choices", "answer_index", "statement_template")}
    if row["answer"] in (row["choices"] or ()):
        kept["answer_index"] = row["choices"].index(row["answer"])
    return kept


def _halved(rows: list[data.Row]) -> list[data.Row]:
    """The half of the test rows whose ids hash lowest are the validation split: the same half on every machine."""
    asked = sorted((row["id"] for row in rows if row["split"] == "test"), key=data.hashed)
    early = set(asked[: len(asked) // 2])
    return [row | {"split": "validation"} if row["id"] in early else row for row in rows]
