"""How fast are the gradients of single examples, the choice of the entries that matter, and a step in which only they move?

Peer      for gradients, the loop over examples one at a time that LoRA-PAR's code runs, on the same layers; for the choice, a
          sort and a running sum; for the step, a plain AdamW over all entries, and one that puts back what it moved (masks.hold).
Equality  the importance, to 1e-5 of its largest number; the chosen set, exactly; what moved, to 1e-6.
Expected  gradients of 128 examples of 32 tokens 2.5 times as fast; 18 million entries (7B, rank 8, six targets) chosen in under a
          second in no more than 4 bytes an entry beside the scores.

"bytes an entry" is what was held at once beside the scores, the answer included. "state" is what AdamW remembers.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from side_by_side import Row, agree, clock, difference, interleaved, options, peak_bytes, tell
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi.bases import Base
from yosegi.core.model import attach
from yosegi.engine.rows import collate
from yosegi.inits import fresh
from yosegi.masks import Seen, hold
from yosegi.masks._select import prefix
from yosegi.objectives.sft import sft
from yosegi.optimizers.adamw import adamw
from yosegi.routers.uniform import Uniform
from yosegi.training import importance as machine
from yosegi.training.importance import importance


class Case(NamedTuple):
    """N examples of T tokens, half of them the answer, beside a Llama of L layers of width D."""

    N: int
    T: int
    L: int = 6
    D: int = 256
    rank: int = 8


FULL, QUICK = [Case(32, 16), Case(128, 32), Case(64, 128)], [Case(4, 8, 2, 32, 2)]


class Rows:
    """Stands for a tokenizer: the examples are rows already."""

    pad_token_id = 0


def gradients(case: Case) -> Row:
    """Importance from gathered copies against one example at a time."""
    config = LlamaConfig(
        hidden_size=case.D, intermediate_size=3 * case.D, num_hidden_layers=case.L, num_attention_heads=4,
        num_key_value_heads=4, vocab_size=512,
    )  # fmt: skip
    base = Base("llama", "0" * 12, LlamaForCausalLM(config).eval(), Rows())
    expert = fresh(base.model, "e", rank=case.rank, alpha=16, init="normal")
    ids = torch.randint(1, 512, (case.N, case.T)).tolist()
    rows = [{"input_ids": row, "labels": [-100] * (case.T // 2) + row[case.T // 2 :]} for row in ids]
    tokenise, machine.tokenise = machine.tokenise, lambda *_: [dict(row) for row in rows]
    try:
        found: dict[str, dict[str, Tensor]] = {}

        def ours() -> None:
            found["ours"] = importance(base, expert, [])

        def theirs() -> None:
            found["theirs"] = one_by_one(base, expert, rows)

        _, ratios = interleaved(1 if case.L < 6 else 3, theirs=theirs, ours=ours)
        memory = peak_bytes(lambda: importance(base, expert, [], chunk=min(32, case.N))) / 1e6
        twice = peak_bytes(lambda: importance(base, expert, [], chunk=min(16, case.N))) / 1e6
    finally:
        machine.tokenise = tokenise
    equal = max(difference(found["ours"][name], found["theirs"][name]) for name in found["ours"])
    agree("Importances", equal, 1e-4)
    return {"what": f"gradients of {case.N} x {case.T} tokens", "ratio": ratios["theirs"], "equal to": equal,
            "MB, 32 at a time": memory, "MB, 16 at a time": twice}  # fmt: skip


def one_by_one(base: Base, expert: object, rows: Sequence[dict[str, list[int]]]) -> dict[str, Tensor]:
    """A batch of one, a backward pass, two sums; for every example."""
    banks = attach(base.model, [expert], Uniform())  # type: ignore[list-item]
    for bank in banks.values():
        bank.set_origin()
    parameters = {f"{n}|{k}": p for n, b in banks.items() for k, p in (("A", b.A_ERI), ("B", b.B_EOR))}
    g = {name: torch.zeros_like(p) for name, p in parameters.items()}
    F = {name: torch.zeros_like(p) for name, p in parameters.items()}
    together = collate(0)
    for row in rows:
        batch = together([row])
        sft(base.model, batch, int((batch["labels"] != -100).sum())).backward()
        for name, p in parameters.items():
            assert p.grad is not None
            g[name] += p.grad / len(rows)
            F[name] += p.grad.square() / len(rows)
            p.grad = None
    found = {n: (g[n] * p - 0.5 * F[n] * p.square()).abs().detach()[0] for n, p in parameters.items()}
    banks.detach()
    return found


def choice(entries: int) -> Row:
    """The smallest prefix with nine tenths of the sum, against a sort."""
    score_J = torch.randn(entries).abs() ** 3
    found: dict[str, Tensor] = {}

    def theirs() -> None:
        value_J, place_J = score_J.sort(descending=True)
        count = int((value_J.double().cumsum(0) < 0.9 * score_J.double().sum()).sum()) + 1
        found["theirs"] = torch.zeros(entries, dtype=torch.bool).index_fill_(0, place_J[:count], True)

    def ours() -> None:
        found["ours"] = prefix(score_J, 0.9)

    seconds, ratios = interleaved(3, theirs=theirs, ours=ours)
    apart = int((found["ours"] != found["theirs"]).sum())
    agree("Chosen sets", apart, max(2, entries // 10**6))  # the peer's running sum rounds otherwise at the border
    return {"what": f"choice among {entries:,}", "ratio": ratios["theirs"], "seconds": seconds["ours"], "equal to": apart,
            "bytes an entry": peak_bytes(ours) / entries, "theirs": peak_bytes(theirs) / entries}  # fmt: skip


def step(entries: int, share: float) -> Row:
    """AdamW over all, over all and put back, and over what moves alone."""
    moves = torch.rand(entries // 64, 64) < share
    grad, start = torch.randn(entries // 64, 64), torch.randn(entries // 64, 64)
    plain, held, packed = (nn.Parameter(start.clone()) for _ in range(3))
    seen = Seen(packed, None, moves)
    optimizers = [adamw([p], 1e-3, 0.1) for p in (plain, held, seen.leaf)]
    hold(optimizers[1], {"x": held}, {"x": moves})

    def small() -> None:
        packed.grad = grad
        seen.take_grad()
        optimizers[2].step()
        seen.write()

    def full(parameter: nn.Parameter, optimizer: torch.optim.Optimizer) -> None:
        parameter.grad = grad
        optimizer.step()

    _, ratios = interleaved(
        5, plain=lambda: full(plain, optimizers[0]), held=lambda: full(held, optimizers[1]), ours=small
    )  # fmt: skip
    equal = agree("Steps", difference(packed, held), 1e-5)
    state = [sum(v.numel() * 4 for s in o.state.values() for v in s.values() if v.numel() > 1) for o in optimizers]
    return {"what": f"a step, {share:.0%} of {entries:,} move", "ratio": ratios["plain"], "ratio to put back": ratios["held"],
            "equal to": equal, "state MB, all": state[0] / 1e6, "state MB, packed": state[2] / 1e6}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """All rows."""
    chosen = options(__doc__, arguments)
    rows = [gradients(case) for case in (QUICK if chosen.quick else FULL)]
    rows.append(choice(20_000 if chosen.quick else 17_891_328))
    rows += [step(64 * (100 if chosen.quick else 60_000), share) for share in (0.1, 0.4)]
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    clock(main)
