"""Any task of EleutherAI's evaluation harness (Gao et al., 10.5281/zenodo.12608602), asked by our engine and graded by the task.

    --task lm_eval:arc_easy          --task lm_eval:gsm8k:5           five worked examples
    --task lm_eval:mine/task.yaml    a task of one's own: a YAML file, whose folder is searched for what it includes

The harness writes the prompts, names the candidates and grades; arms, batches, resuming, items and statistics are ours. Prompts
are plain text, as they are there without --apply_chat_template. What the harness does not average over questions (F1 of a whole
set, perplexities of a corpus) has no row here. Tasks that run model-written programs are refused: ours run in the sandbox.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from yosegi.errors import Invalid, MissingExtra, NoData, UnknownName
from yosegi.tasks import Candidates, Example, LogProb, Score, Task

SEED = 1234
"""Of the worked examples, as the harness has it."""


class LmEval(Task):
    """One task of the harness.

    Args:
        name: as `lm-eval ls tasks` has it, or a YAML file.
        shots: worked examples before each question; by default as the task says.

    Raises:
        MissingExtra: lm-eval is not installed. NoData: its data cannot be had.
        UnknownName: it knows no such task.
        Invalid: it is a group, runs programs, or has nothing that can be averaged.
    """

    def __init__(self, name: str, shots: int | None = None):
        self.name = ":".join(["lm_eval", name, *([] if shots is None else [str(shots)])])
        self._task = task = _load(name)
        if shots is not None:
            task.set_config("num_fewshot", shots)
        if getattr(task, "UNSAFE_CODE", False):
            raise Invalid(f"{self.name} runs programs that models write, and the harness has no sandbox for them.")
        self._kind = task.OUTPUT_TYPE
        self.generates = self._kind == "generate_until"
        how = task.config.generation_kwargs or {} if self.generates else {}
        self.max_new_tokens = int(how.get("max_gen_toks", 256))
        self.stop = tuple(stop) if isinstance(stop := how.get("until") or (), list | tuple) else (stop,)
        if how.get("do_sample") or task.config.repeats != 1:
            raise Invalid(f"{self.name} draws its answers at random; here every answer is the likeliest one.")
        self._docs: dict[str, Any] = {}

    @property
    def metric(self) -> str:  # type: ignore[override]
        """The first metric that is a mean over questions."""
        return self._metrics[0]

    @property
    def _metrics(self) -> list[str]:
        aggregate, filters = self._task.aggregation(), [each.name for each in self._task._filters]
        means = [name for name, how in aggregate.items() if getattr(how, "__name__", "") == "mean"]
        if not means:
            raise Invalid(f"{self.name} has no metric that is a mean over questions ({', '.join(aggregate)}).")
        if self.generates and len(filters) > 1:
            return [f"{name},{way}" for way in filters for name in means]
        return means

    def examples(self, split: str) -> list[Example]:
        """Returns the questions that the harness evaluates, as the split "test"; nothing is trained on them."""
        if split != "test":
            raise Invalid(f"{self.name} is for evaluation only: it has no split {split!r} here.")
        task = self._task
        task.set_fewshot_seed(SEED)
        shots, examples = task.config.num_fewshot or 0, []
        for n, doc in enumerate(task.eval_docs):
            context = task.fewshot_context(doc, num_fewshot=shots, gen_prefix=task.doc_to_prefix(doc))
            asked = task.construct_requests(doc=doc, ctx=context, metadata=(task.config.task, n, 1))
            asked = asked if isinstance(asked, list) else [asked]
            self._docs[id := str(n)] = (doc, asked)
            prompt = asked[0].args[0] if self._kind != "loglikelihood_rolling" else ""
            gold = self._gold(doc, asked)
            examples.append(Example(id, prompt, gold, (gold,), chat=False))
        return examples

    def _gold(self, doc: Any, asked: Sequence[Any]) -> str:
        if self._kind != "multiple_choice":
            target = self._task.doc_to_target(doc)
            return str(target[0] if isinstance(target, list) else target)
        place = self._place(doc)
        return asked[place].args[1] if place < len(asked) else ""

    def _place(self, doc: Any) -> int:
        """The number of the right choice."""
        task = self._task
        gold = task.doc_to_text(doc) if task.multiple_input else task.doc_to_target(doc)
        gold = gold[0] if isinstance(gold, list) else gold
        return gold if isinstance(gold, int) else task.doc_to_choice(doc).index(gold)

    def candidates(self, example: Example) -> Mapping[str, Candidates]:
        """Returns the gold answer, then every request of the harness in its order."""
        if self.generates:
            return {}
        doc, asked = self._docs[example.id]
        texts = [(one.args[0], one.args[1]) if len(one.args) > 1 else (None, one.args[0]) for one in asked]
        right = texts[self._place(doc) if self._kind == "multiple_choice" else 0]
        return {str(n): Candidates((text,), prompt or None) for n, (prompt, text) in enumerate([right, *texts])}

    def score_logprobs(self, example: Example, logprobs: Mapping[str, Sequence[LogProb]]) -> Score:
        """Returns what the harness makes of the log-likelihoods."""
        doc, asked = self._docs[example.id]
        values = [logprobs[str(n + 1)][0] for n in range(len(asked))]
        results: list[Any] = [(value.sum_logprob, value.greedy) for value in values]
        if self._kind == "loglikelihood_rolling":
            results = [value.sum_logprob for value in values]
        best = max(range(len(values)), key=lambda n: values[n].sum_logprob)
        return self._scored(self._task.process_results(doc, results), asked[best].args[-1])

    def score(self, example: Example, prediction: str) -> Score:
        """Returns what the harness makes of an answer, by each of its filters."""
        doc, (request, *_) = self._docs[example.id]
        metrics: dict[str, Any] = {}
        several, answer = len(self._task._filters) > 1, None
        for way in self._task._filters:
            request.resps, request.filtered_resps = [prediction], {}
            way.apply([request])
            kept = request.filtered_resps[way.name]
            graded = self._task.process_results(doc, kept if isinstance(kept, list) else [kept])
            metrics |= {f"{name},{way.name}" if several else name: value for name, value in graded.items()}
            answer = str(kept) if answer is None else answer
        return self._scored(metrics, answer)

    def _scored(self, graded: Mapping[str, Any], answer: str | None) -> Score:
        means = {name: float(graded[name]) for name in self._metrics if name in graded}
        first = self.metric
        return Score(means.pop(first), answer if answer and "[invalid]" not in answer else None, means)


def _load(name: str) -> Any:
    """Returns the task of the harness."""
    file = Path(name) if name.endswith((".yaml", ".yml")) else None
    if file is not None and not file.is_file():
        raise NoData(f"There is no task file {name!r}.")
    manager = _manager(str(file.parent) if file else None)
    wanted = name if file is None else _named_in(file, manager)
    if wanted not in manager.task_index:
        raise UnknownName.among("task of lm-eval", wanted, manager.all_tasks)
    try:
        loaded = manager.load(wanted)["tasks"]
    except Exception as error:  # of datasets, of the Hub, of the task's own code
        what = " ".join(str(error).split())[:200]
        raise NoData(f"lm_eval:{name} could not be loaded ({type(error).__name__}: {what}).") from error
    if list(loaded) != [wanted]:
        raise Invalid(f"lm_eval:{name} is a group of tasks; name each: {', '.join(map(str, list(loaded)[:8]))}")
    return loaded[wanted]


@cache
def _manager(folder: str | None) -> Any:
    """Returns what finds the tasks of a folder, or those that come with the harness, which takes it some seconds."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError as error:
        raise MissingExtra.named("lm_eval", "eval") from error
    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    return TaskManager(include_path=folder, include_defaults=folder is None)


def _named_in(file: Path, manager: Any) -> str:
    """Returns the name of the task in a YAML file."""
    for name, entry in manager.task_index.items():
        if entry.yaml_path is not None and Path(entry.yaml_path).resolve() == file.resolve():
            return name
    raise Invalid(f"{file} is no task of lm-eval: it needs the key `task`.")
