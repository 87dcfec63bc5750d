"""How long until a library on disk is a model that is ready to answer, with every expert in it?

Peer      PEFT's `load_adapter` (low_cpu_mem_usage=True, its faster way), on the very folders of our library.
Equality  logits of several experts, by_request in one batch here and `set_adapter` one after another there, to 1e-5.
Expected  ≥ 20x for 256 experts.

PEFT's price of one more adapter grows with those already there, so it is measured over the first adapters only and then
extrapolated twice: as if it stopped growing there (the ratio in the table, in PEFT's favour), and along the straight line
through what was measured. Ours is the whole: `Library.load` and `put`, with by_request, or with Arrow and its prototypes.
"""

import copy
import statistics
import time
from collections.abc import Sequence

import torch
from experts import exported, random_expert
from peft import PeftModel
from side_by_side import Row, agree, clock, difference, options, tell
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi.core.model import attach, linears, shape
from yosegi.library.store import Library
from yosegi.routers.arrow import Arrow
from yosegi.routers.by_request import ByRequest

FULL, QUICK = (256, 40, 8, 256, 4), (6, 4, 2, 32, 1)
"""Experts; those that PEFT loads; a handful; width of the model; its layers."""


def line(times: Sequence[float], to: int) -> float:
    """The sum of the first `to` times, if they go on along the straight line through those measured."""
    slope, start = statistics.linear_regression(range(len(times)), times)
    return sum(times) + sum(start + slope * n for n in range(len(times), to))


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """A handful, then all."""
    chosen = options(__doc__, arguments)
    count, measured, handful, width, depth = QUICK if chosen.quick else FULL
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": depth}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=101, num_attention_heads=4, **sizes)).eval()
    modules, bases = dict(model.named_modules()), [copy.deepcopy(model) for _ in range(2)]
    shapes = {layer: shape(modules[layer]) for layer in linears(model)}
    spent: dict[str, list[float]] = {"theirs": [], "few": [], "all": [], "arrow": []}

    with exported([random_expert(f"e{e:03d}", shapes, rank=8) for e in range(count)]) as paths:
        library, names = Library(paths[0].parent), [path.name for path in paths]

        def ours() -> None:
            for key, some, router in (
                ("few", names[:handful], ByRequest()),
                ("all", names, ByRequest()),
                ("arrow", names, Arrow()),
            ):
                spent[key].append(
                    clock(lambda some=some, router=router: attach(model, library.load(some), router).detach())
                )

        ours()
        PeftModel.from_pretrained(bases[0], paths[0], low_cpu_mem_usage=True)
        spent = {key: [] for key in spent}  # that was to warm the files and the code, on both sides
        started = time.process_time()
        peer = PeftModel.from_pretrained(bases[1], paths[0], names[0], low_cpu_mem_usage=True)
        spent["theirs"].append(time.process_time() - started)
        for n, path in enumerate(paths[1:measured], 1):
            spent["theirs"].append(clock(lambda path=path: peer.load_adapter(path, path.name, low_cpu_mem_usage=True)))
            if n % (measured // 4) == 0:
                ours()  # in turns
        asked, ids_BT = [names[0], names[1], names[measured - 1]], torch.randint(101, (3, 16))
        banks = attach(model, library.load(), ByRequest())
        banks.set_batch(experts=asked)
        with torch.no_grad():
            for name, ids_T, logits in zip(asked, ids_BT, model(ids_BT).logits, strict=True):
                peer.set_adapter(name)
                equal = agree(f"Logits of {name}", difference(logits, peer(input_ids=ids_T[None]).logits[0]), 1e-5)

    theirs, last = spent["theirs"], statistics.mean(spent["theirs"][-handful:])
    flat = sum(theirs) + (count - measured) * last

    def row(what: str, experts: int, router: str, their: float, their_line: float | None, times: list[float]) -> Row:
        our = statistics.median(times)
        found: Row = {"experts": experts, "router": router, "PEFT ms": 1e3 * their, "PEFT is": what}
        found |= {"yosegi ms": 1e3 * our, "ratio": their / our}
        found |= {"PEFT ms per adapter": 1e3 * their / experts, "yosegi ms per adapter": 1e3 * our / experts}
        return found | {"ratio along the line": their_line and their_line / our, "equal to": equal}

    what = f"first {measured} measured, then {1e3 * last:.0f} ms each"
    return tell(
        __doc__,
        [
            row("measured", handful, "by_request", sum(theirs[:handful]), None, spent["few"]),
            row(what, count, "by_request", flat, line(theirs, count), spent["all"]),
            row(what, count, "arrow", flat, line(theirs, count), spent["arrow"]),
        ],
        chosen,
    )


if __name__ == "__main__":
    main()
