"""How an answer in somebody's own data is scored, by name. Where several answers are accepted, the best counts.

exact_match   equal in Unicode's NFKC, without spaces around it; `f1` is a further metric
f1            words in common (characters of Japanese), in lower case: 2PR / (P + R), as SQuAD is scored
rougeL        Rouge-L F1 (rouge.py)
number        the number that the answer ends up with: 51, "51.", "$51" and "51 dollars" are the same (answers.py)
contains      an accepted answer stands somewhere in it, whatever the case
regex         a pattern is found in it: the row's own `regex`, or the pattern of the task
yes_no        yes or no, read out of the answer (true and false, はい and いいえ, too)
checks        every text of the row's `contains` stands in it, and the row's `regex` is found
passed        the program in it passes the tests, in the sandbox (pass@1 of a greedy answer)
accuracy, acc_norm, letter   of questions with choices, by log-likelihood (choices.py)
written       of questions with choices: the letter that a written answer ends up with
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from yosegi.errors import UnknownName
from yosegi.tasks import Example, Score
from yosegi.tasks.readers import answers, choices, rouge
from yosegi.tasks.readers.letters import LETTERS, last_letter
from yosegi.tasks.readers.shapes import Shape
from yosegi.untrusted import Pattern

FEW_WORDS = 5
NUMBER = re.compile(r"[$¥€£]? ?[-+]?(?:\d+ )?[\d,]*\.?\d+(?:[eE][-+]?\d+|/\d+)?\s?%?\.?")
YES_NO = {"yes": "yes", "true": "yes", "はい": "yes", "no": "no", "false": "no", "いいえ": "no"}
SPOKEN = re.compile(r"(?<![a-z])(?:yes|no|true|false)(?![a-z])|はい|いいえ")
ANNOUNCED = re.compile(rf"(?:answer(?:\s+is|\s*:)|答え?(?:は|:))\W*({SPOKEN.pattern})")


def exact_match(prediction: str, accepted: Sequence[str]) -> Score:
    """Returns 1 if the prediction is one of the answers, and F1."""
    answer = rouge.fold(prediction)
    return Score(float(answer in map(rouge.fold, accepted)), answer or None, {"f1": _f1(prediction, accepted)})


def f1(prediction: str, accepted: Sequence[str]) -> Score:
    """Returns the best F1 of words in common."""
    return Score(_f1(prediction, accepted), rouge.fold(prediction) or None)


def number(prediction: str, accepted: Sequence[str]) -> Score:
    """Returns 1 if the prediction ends up with the number of an answer."""
    answer, golds = answers.last_number(prediction), map(answers.last_number, accepted)
    return Score(float(answer is not None and any(gold and answers.near(answer, gold) for gold in golds)), answer)


def contains(prediction: str, accepted: Sequence[str]) -> Score:
    """Returns 1 if an answer stands somewhere in the prediction."""
    answer = rouge.fold(prediction)
    return Score(float(any(_fold(one) in _fold(answer) for one in accepted)) if answer else 0.0, answer or None)


def yes_no(prediction: str, accepted: Sequence[str]) -> Score:
    """Returns 1 if the prediction says yes where an answer does, or no."""
    verdict = read_yes_no(prediction)
    return Score(float(verdict is not None and verdict in map(read_yes_no, accepted)), verdict)


def read_yes_no(text: str) -> str | None:
    """Returns "yes" or "no": what is announced last, else what comes first, unless both are said later on only."""
    text = _fold(text)
    if announced := ANNOUNCED.findall(text):
        return YES_NO[announced[-1]]
    verdicts = [YES_NO[match[0]] for match in SPOKEN.finditer(text)]
    opens = SPOKEN.match(text.lstrip(" \t\n*\"'“「(["))
    return verdicts[0] if verdicts and (opens or len(set(verdicts)) == 1) else None


BY_ANSWERS: dict[str, Callable[[str, Sequence[str]], Score]] = {
    "exact_match": exact_match,
    "f1": f1,
    "rougeL": rouge.score,
    "number": number,
    "contains": contains,
    "yes_no": yes_no,
}
NEEDS = {
    "passed": ("tests",),
    "checks": ("contains", "regex"),
    **dict.fromkeys((*choices.MEASURES, choices.WRITTEN), ("choices",)),
}
"""Metrics for which a row needs one of these fields instead of an answer."""
METRICS = (*BY_ANSWERS, "regex", *NEEDS)


def score(metric: str, example: Example, prediction: str, pattern: str | None = None) -> Score:
    """Grades a prediction by one of the metrics that need nothing but the text."""
    if metric == choices.WRITTEN:
        letter = last_letter(prediction, example.meta["choices"])
        return Score(float(letter == LETTERS[example.meta["answer_index"]]), letter)
    if metric not in ("regex", "checks"):
        return BY_ANSWERS[metric](prediction, example.answers)
    wanted, pattern = (
        example.meta.get("contains", ()) if metric == "checks" else (),
        pattern or example.meta.get("regex"),
    )
    wanted = [wanted] if isinstance(wanted, str) else wanted
    right = all(_fold(str(one)) in _fold(prediction) for one in wanted)
    right = right and (pattern is None or Pattern(pattern, "regex").search(prediction))
    return Score(float(right) if prediction.strip() else 0.0, rouge.fold(prediction) or None)


def guess(shapes: Sequence[Shape]) -> str:
    """Returns the metric that the fields of the rows ask for."""
    kinds = {shape.kind for shape in shapes}
    if kinds == {"questions with choices"}:
        return "accuracy"
    if kinds == {"programs with tests"}:
        return "passed"
    if all({"contains", "regex"} & set(shape.meta) for shape in shapes):
        return "checks"
    texts = [answer for shape in shapes for answer in shape.answers]
    if kinds != {"texts"} and all(map(_is_number, texts)):
        return "number"
    if kinds != {"texts"} and all(_fold(text) in YES_NO for text in texts):
        return "yes_no"
    if any(len(shape.answers) > 1 for shape in shapes):
        return "exact_match"
    longest = sorted(rouge.words(text) for text in texts)
    return "exact_match" if longest[len(longest) // 2] <= FEW_WORDS else "rougeL"


def check(metric: str, shape: Shape, pattern: str | None) -> str:
    """Returns why a row cannot be scored by a metric, or ""."""
    UnknownName.check("metric of a file", [metric], METRICS)
    if fields := NEEDS.get(metric):
        return "" if set(fields) & set(shape.meta) else f"it has no {' or '.join(fields)}"
    if metric == "regex":
        return (
            "" if pattern or "regex" in shape.meta else 'there is no regex, as in file{path=…,metric=regex,pattern="…"}'
        )
    if not shape.target:
        return "it has no answer"
    if metric in ("number", "yes_no") and BY_ANSWERS[metric](shape.target, shape.answers).value < 1:
        return f"its answer {shape.target.strip()[:40]!r} is no {'number' if metric == 'number' else 'yes or no'}"
    return ""


def _is_number(text: str) -> bool:
    """A number alone, or a derivation that announces one after ####."""
    return bool(answers.hashes(text) or NUMBER.fullmatch(rouge.fold(text)))


def _f1(prediction: str, accepted: Iterable[str]) -> float:
    def one(answer: str) -> float:
        gold = Counter(rouge.tokens(answer))
        shared = (predicted & gold).total()
        return (
            2 * shared / (predicted.total() + gold.total())
            if shared
            else float(not gold and fold == rouge.fold(answer))
        )

    predicted, fold = Counter(rouge.tokens(prediction)), rouge.fold(prediction)
    return max(map(one, accepted), default=0.0) if fold else 0.0


def _fold(text: str) -> str:
    return rouge.fold(text).casefold()
