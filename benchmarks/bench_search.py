"""What does a trial of a search cost beyond its evaluation, and how much less than with PEFT's adapters?

Peer      PEFT, all experts loaded as adapters: `delete_adapter`, `add_weighted_adapter(cat | svd)` and `set_adapter` for every
          trial, which is how one blends LoRAs by weights there.
Equality  logits of the model after the same weights, to 1e-4.
Expected  cat ≥ 100x: one small tensor is written, nothing is merged. svd: no more than the merge itself.

"fresh put" is our own way without a live bank: merge the experts, put the result, take it out. "study" is what Optuna and SQLite
take for one trial beside that: asked, reported in three rounds, told.
An "evaluation" is 64 questions of 48 tokens by log p, one forward pass, for comparison.
"""

import copy
import itertools
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from experts import exported, random_expert
from peft import PeftModel
from side_by_side import Row, agree, clock, difference, interleaved, options, tell
from transformers import LlamaConfig, LlamaForCausalLM

from yosegi.bases import Base
from yosegi.core.model import attach, linears, shape
from yosegi.engine.arm import Arm
from yosegi.engine.fold import fold
from yosegi.routers.uniform import Uniform
from yosegi.search.space import Space
from yosegi.search.study import open_storage
from yosegi.search.workbench import Workbench

FULL, QUICK = (8, 8, 512, 8, 9), (3, 2, 32, 1, 1)
"""Experts; their rank; width of the model; its layers; rounds."""
CALLS = itertools.count()


def study_ms(space: Space, trials: int) -> float:
    """Milliseconds of one trial in which nothing is evaluated; the median, once TPE has something to go by."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    spent = []
    with tempfile.TemporaryDirectory() as folder:
        sampler = optuna.samplers.TPESampler(seed=0, multivariate=True)
        storage = open_storage(Path(folder) / "study.db")
        study = optuna.create_study(storage=storage, direction="maximize", sampler=sampler)
        for n in range(trials):
            started = time.process_time()
            study.get_trials(deepcopy=False)
            trial = study.ask()
            space.ask(trial)
            for step in range(3):
                trial.report(float(n), step)
                trial.should_prune()
            trial.set_user_attr("result", {"scores": [[0.1] * 64]})
            study.tell(trial, float(n))
            spent.append(1e3 * (time.process_time() - started))
        storage.engine.dispose()
    return statistics.median(spent[len(spent) // 2 :])


def main(arguments: Sequence[str] | None = None) -> list[Row]:
    """One row a method."""
    chosen = options(__doc__, arguments)
    E, R, width, depth, rounds = QUICK if chosen.quick else FULL
    sizes = {"hidden_size": width, "intermediate_size": 2 * width, "num_hidden_layers": depth}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=101, num_attention_heads=4, **sizes)).eval()
    modules = dict(model.named_modules())
    shapes = {layer: shape(modules[layer]) for layer in linears(model)}
    experts = [random_expert(f"e{e}", shapes, R) for e in range(E)]
    for expert in experts:
        for f in expert.factors.values():
            f.B_OR.mul_(0.1)
    ids_BT = torch.randint(101, (4 if chosen.quick else 64, 48))
    with exported(experts) as (first, *rest):
        peer = PeftModel.from_pretrained(copy.deepcopy(model), first, adapter_name=first.name)
        for path in rest:
            peer.load_adapter(path, path.name)
    names = [e.name for e in experts]
    draw = torch.Generator().manual_seed(0)

    def weights() -> tuple[float, ...]:
        return tuple(torch.rand(E, generator=draw).add(0.05).tolist())

    def theirs(w_E: Sequence[float], how: str, **more: Any) -> None:
        name = f"blend{next(CALLS)}"
        peer.base_model.add_weighted_adapter(names, list(w_E), name, how, **more)
        peer.set_adapter(name)
        for old in [a for a in peer.peft_config if a.startswith("blend") and a != name]:
            peer.delete_adapter(old)

    @torch.no_grad()
    def row(method: str, args: dict[str, Any], live: Workbench, **more: Any) -> Row:
        def arm(w_E: Sequence[float]) -> Arm:
            return Arm(method, experts, merge=method, merge_args={**args, "weights": list(w_E)})

        def fresh() -> None:
            attach(model, [fold(arm(weights()), method)], Uniform()).detach()

        w_E = weights()
        live.apply(arm(w_E))
        logits = model(ids_BT[:2]).logits
        theirs(w_E, method, **more)
        equal = agree(f"Logits of {method}", difference(logits, peer(input_ids=ids_BT[:2]).logits), 1e-4)
        times, ratios = interleaved(
            rounds,
            theirs=lambda: theirs(weights(), method, **more),
            ours=lambda: live.apply(arm(weights())),
        )
        evaluation = statistics.median(clock(lambda: model(ids_BT)) for _ in range(max(rounds // 3, 1)))
        live.detach()
        fresh()
        put_ms = 1e3 * statistics.median(clock(fresh) for _ in range(rounds))
        params = study_ms(Space((Arm(method, experts, merge=method),)), 4 if chosen.quick else 60)
        return {
            "method": method, "experts": E, "PEFT ms": 1e3 * times["theirs"], "fresh put ms": put_ms,
            "yosegi ms": 1e3 * times["ours"], "ratio": ratios["theirs"], "study ms": params,
            "evaluation ms": 1e3 * evaluation, "equal to": equal,
        }  # fmt: skip

    with Workbench(Base("random", "", model, None), experts) as live:
        rows = [
            row("cat", {}, live),
            row("svd", {"rank": R}, live, svd_rank=R, svd_full_matrices=False),
        ]
    return tell(__doc__, rows, chosen)


if __name__ == "__main__":
    main()
