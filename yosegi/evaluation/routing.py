"""Which experts are active where: the weights of a router over layers, experts, tasks and tokens, as a file for the report.

Shapes: B sequences, T tokens, N real tokens, H heads, E experts, L layers.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from yosegi import files
from yosegi.bases import Base
from yosegi.core.model import Banks
from yosegi.engine.arm import Arm
from yosegi.engine.rows import to_batch, tokenise
from yosegi.objectives import IGNORED
from yosegi.run import Run
from yosegi.tasks import Example

ROWS = 32
"""Layers written one by one; with more, those of a block of the model are averaged, then neighbouring blocks."""
NUMBERS = 6000
"""Numbers of one kind for one router. More tasks and experts leave fewer rows: forty routers have to stay one small file."""
TOKENS = 64
"""The last tokens of an example are written; they have the end of the question and the answer in them."""
EXAMPLES = 4
"""Examples whose weights are written token by token; for the others only the strongest expert is."""


class LayerTrace(NamedTuple):
    """What one layer did with the examples of one task, over real tokens and heads."""

    mean_E: Tensor  # mean weight
    active_E: Tensor  # share of the tokens for which an expert has a weight above 0 in some head
    entropy: Tensor  # mean, in nats, of the weights scaled to sum to one
    cv: Tensor  # standard deviation over mean of the load `mean_E`, among the experts that this layer has: 0 if all bear the same
    first_TE: Tensor | None  # weights of the first example; None if the layer does not read its tokens (a decoder's)


@torch.no_grad()
def trace(
    base: Base,
    banks: Banks,
    examples: Mapping[str, Sequence[Example]],
    known: Mapping[str, Mapping[str, Any]] | None = None,
    max_length: int = 256,
) -> dict[str, Any]:
    """Returns what the router of `banks` does on some examples of each task, prompt and gold answer together.

    Args:
        base: the model, with the experts attached.
        banks: theirs.
        examples: by task.
        known: what the router may know of them, by task (`Banks.set_batch`).
        max_length: in tokens.

    The dict is for `routing.json`, four digits a number. A row is a layer, in the order they run, or the mean of several:
        layers    what each row is called; `averaged`, if it is there, is how many layers there are
        tasks     by task, the mean weight [row][expert]: each expert's share of the load
        active    by task, the share of real tokens for which an expert has any weight [row][expert]
        entropy   by task, over the experts of a token [row]
        cv        by task, the load's coefficient of variation [row]; `balance` is that of all tasks together, each counted alike
        tokens    of each task its first example: the last tokens of its `text`, `left_out` before them, `chosen` with a line for
                  each row, the strongest expert of every token (-1 if none is) or of all tokens alike, and for a few examples
                  the `weights` [token][expert], averaged over the layers
    """
    traces = {
        task: _trace_batch(base, banks, subset, (known or {}).get(task, {}), max_length)
        for task, subset in examples.items()
    }
    if not traces:
        return {"layers": [], "tasks": {}, "active": {}, "entropy": {}, "cv": {}, "balance": [], "tokens": []}
    layers = list(next(iter(traces.values())))
    rows = _rows(layers, max(1, min(ROWS, NUMBERS // (len(traces) * len(banks.names)))))

    def averaged(parts: Sequence[Tensor]) -> Any:
        return _digits(torch.stack([torch.stack([parts[layer] for layer in inside]).mean(0) for _, inside in rows]))

    def by_task(part: str) -> dict[str, Any]:
        return {task: averaged([getattr(layer, part) for layer in layers.values()]) for task, layers in traces.items()}

    load_LE = [torch.stack([_shares(trace[layer].mean_E) for trace in traces.values()]).mean(0) for layer in layers]
    balance_L = [_cv(load_E, banks[name].present_E.cpu()) for name, load_E in zip(layers, load_LE, strict=True)]
    return {
        "layers": [name for name, _ in rows],
        **({"averaged": len(layers)} if len(rows) < len(layers) else {}),
        "tasks": by_task("mean_E"),
        "active": by_task("active_E"),
        "entropy": by_task("entropy"),
        "cv": by_task("cv"),
        "balance": averaged(balance_L),
        "tokens": _tokens(base, banks, examples, traces, rows, max_length),
    }


def _tokens(
    base: Base,
    banks: Banks,
    examples: Mapping[str, Sequence[Example]],
    traces: Mapping[str, Mapping[str, LayerTrace]],
    rows: Sequence[tuple[str, list[int]]],
    max_length: int,
) -> list[dict[str, Any]]:
    """Returns the first example of each task, token by token."""
    most, shown = min(EXAMPLES, max(1, NUMBERS // (TOKENS * len(banks.names)))), list[dict[str, Any]]()
    for task, subset in examples.items():
        ids = tokenise(base, subset[:1], max_length)[0]["input_ids"]
        first = [layer.first_TE for layer in traces[task].values()]
        token: dict[str, Any] = {"task": task, "text": [base.tokenizer.decode([i]) for i in ids[-TOKENS:]]}
        token |= {"left_out": len(ids) - TOKENS} if len(ids) > TOKENS else {}
        token["chosen"] = [_chosen([w for layer in inside if (w := first[layer]) is not None]) for _, inside in rows]
        reading = [w_TE for w_TE in first if w_TE is not None]
        if reading and len(shown) < most:
            token["weights"] = _digits(torch.stack(reading).mean(0))
        shown.append(token)
    return shown


def keep_trace(run: Run, name: str, banks: Banks, traced: Mapping[str, Any]) -> dict[str, Any]:
    """Puts what `trace` returned into the run's `routing.json`, under a name."""
    path, router = run.path / "routing.json", {"experts": list(banks.names), **traced}
    routing = files.read_json(path) if path.exists() else {"experts": list(banks.names), "routers": {}}
    routing["routers"][name] = router
    files.write(path, json.dumps(routing, ensure_ascii=False) + "\n")  # a line: indented, long ones take seconds
    return router


def trace_groups(
    base: Base,
    arm: Arm,
    groups: Mapping[str, Mapping[str, Sequence[Example]]],
    run: Run,
    *,
    each: int = 16,
) -> dict[str, Any]:
    """Traces a router on groups of examples by task, such as easy and hard ones (partitions/by_type.py), and keeps the trace.

    Of a group there are at most `each` examples, its tasks in turn; the report calls the trace by the arm's name and "by type".
    """
    chosen = {group: in_turn(tasks, each) for group, tasks in groups.items()}
    with arm.attached(base) as banks:
        if banks is None:
            return {}
        known = {group: _known(base, arm, banks, pairs) for group, pairs in chosen.items()}
        examples = {group: [example for _, example in pairs] for group, pairs in chosen.items() if pairs}
        return keep_trace(run, f"{arm.name} by type", banks, trace(base, banks, examples, known))


def in_turn(tasks: Mapping[str, Sequence[Example]], most: int) -> list[tuple[str, Example]]:
    """Returns the first of each task, then the second of each, …; those of one task together."""
    ranked = [(place, task, example) for task, examples in tasks.items() for place, example in enumerate(examples)]
    chosen = {(task, place) for place, task, _ in sorted(ranked, key=lambda one: one[0])[:most]}
    return [(task, example) for place, task, example in ranked if (task, place) in chosen]


def _known(base: Base, arm: Arm, banks: Banks, pairs: Sequence[tuple[str, Example]]) -> dict[str, Any]:
    """Returns what the router may know of examples of several tasks, by argument of `Banks.set_batch`."""
    each = [arm.known(base, banks, task, [example.prompt]) for task, example in pairs]
    return {
        what: torch.cat([one[what] for one in each])
        if isinstance(each[0][what], Tensor)
        else [value for one in each for value in one[what]]
        for what in (each[0] if each else ())
    }


def _trace_batch(
    base: Base, banks: Banks, examples: Sequence[Example], known: Mapping[str, Any], max_length: int
) -> dict[str, LayerTrace]:
    """Sends one batch through the model and returns what each layer recorded, in the order they ran."""
    batch = to_batch(base, tokenise(base, examples, max_length))
    if base.seq2seq and batch["labels"].shape[1] == batch["input_ids"].shape[1]:
        batch["labels"] = pad(batch["labels"], (0, 1), value=IGNORED)  # so that a length tells whose tokens they are
    banks.set_batch(mask_BT=batch["attention_mask"], **known)
    banks.context.weights = {}
    try:
        base.model(**batch)
        recorded = banks.context.weights
    finally:
        banks.context.weights = None
    prompt_BT, answer_BT = batch["attention_mask"].bool(), batch["labels"] != IGNORED
    traces: dict[str, LayerTrace] = {}
    for name, w_HE in recorded.items():
        tokens = w_HE.shape[1] if w_HE.ndim == 4 else 1
        reads = tokens in (1, prompt_BT.shape[1])
        traces[name] = _trace_layer(w_HE, prompt_BT if reads else answer_BT, banks[name].present_E, reads)
    return traces


def _trace_layer(w_HE: Tensor, real_BT: Tensor, present_E: Tensor, reads: bool = True) -> LayerTrace:
    """Takes any w [..., H, E]. A weight for an expert that this layer does not have does nothing here."""
    w_BTHE = (w_HE.float() * present_E).expand(*real_BT.shape, *w_HE.shape[-2:])
    w_NHE = w_BTHE[real_BT]
    mean_E = w_NHE.mean((0, 1)).cpu()
    return LayerTrace(
        mean_E=mean_E,
        active_E=(w_NHE > 0).any(1).float().mean(0).cpu(),
        entropy=torch.special.entr(_shares(w_NHE)).sum(-1).mean().cpu(),
        cv=_cv(mean_E, present_E.cpu()),
        first_TE=w_BTHE[0, real_BT[0]][-TOKENS:].mean(1).cpu() if reads else None,
    )


def _shares(w_E: Tensor) -> Tensor:
    """Scaled to sum to one; zeros stay zeros."""
    return w_E / w_E.sum(-1, keepdim=True).clamp(min=1e-9)


def _cv(load_E: Tensor, present_E: Tensor) -> Tensor:
    load_E = load_E[present_E]
    return load_E.std(correction=0) / load_E.mean().clamp(min=1e-9)


def _rows(layers: Sequence[str], most: int) -> list[tuple[str, list[int]]]:
    """Returns at most so many rows: the name of each, and the layers in it."""
    if len(layers) <= most:
        return [(name, [place]) for place, name in enumerate(layers)]
    blocks: dict[str, list[int]] = {}
    for place, name in enumerate(layers):
        parts = name.split(".")
        number = next((i for i, part in enumerate(parts) if part.isdigit()), len(parts))
        blocks.setdefault(".".join(parts[: number + 1]), []).append(place)
    names, step = list(blocks), -(-len(blocks) // most)
    several = [names[i : i + step] for i in range(0, len(names), step)]
    return [
        (group[0] + (" +" if len(group) > 1 else ""), [place for name in group for place in blocks[name]])
        for group in several
    ]


def _chosen(parts: Sequence[Tensor]) -> str:
    """Returns the strongest expert of each token, as "3 0 0 2"; one number if it is the same for all, "" if none reads."""
    if not parts:
        return ""
    w_TE = torch.stack(list(parts)).mean(0)
    best = w_TE.topk(min(2, w_TE.shape[-1]))
    stands_out = best.values[:, 0] > (best.values[:, 1:].sum(-1) + 1e-6)
    chosen = torch.where(stands_out, best.indices[:, 0], -1).tolist()
    return " ".join(map(str, chosen if len(set(chosen)) > 1 else chosen[:1]))


def _digits(x: Tensor) -> Any:
    """Four after the point, as plain lists."""
    return x.double().round(decimals=4).tolist()
