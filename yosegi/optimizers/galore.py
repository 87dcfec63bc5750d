"""GaLore: of each gradient only its leading directions reach the optimizer, whose memory is as small as they are.

Zhao et al. 2024, "GaLore: Memory-Efficient LLM Training by Gradient Low-Rank Projection", arXiv:2403.03507.

    every `update_gap` steps   L = the leading left singular vectors of G       (or right ones, or both: `projection`)
    R = Lᵀ G                   N = what the inner optimizer makes of R          its moments have R's shape
    W = (1 - lr weight_decay) W + scale lr L N

One wrapper around any torch optimizer. Groups say which weights are projected; none is full-rank by accident:

    Galore(matrices, lr=0.01)                                                   all of them, or it says which cannot be
    Galore([{"params": matrices, "rank": 128}, {"params": norms, "rank": None, "lr": 0.0025}], lr=0.01)

The paper leaves the moments as they are when the directions change; `rotate_state` turns them along (as in Robert et al. 2024,
"LDAdam", arXiv:2410.16103). The step of projected weights is scaled by `scale`, that of full-rank ones is not: give them their
own lr.

A singular vector has no sign of its own. Here each keeps the sign of the direction that it follows, so that moments which stay do
not pull back at a refresh; the authors' code takes what the SVD gives (`align=False`), and its steps differ from ours after the
first refresh: by .6 to 1.6 of their size on random gradients.
"""

import inspect
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from statistics import fmean
from typing import Any, NamedTuple

import torch
import torch.distributed
from torch import Tensor, nn

from yosegi.errors import Invalid, UnknownName
from yosegi.optimizers._align import align as lay_out
from yosegi.optimizers._groups import check
from yosegi.optimizers._projection import KINDS, REFRESHES, Projection, best_energy, energy, find, sides

Factory = Callable[..., torch.optim.Optimizer]
OURS = ("left", "right", "turn")
"""What the state of a projected weight has besides the inner optimizer's."""
INNER: dict[str, dict[str, Any]] = {
    "adamw": {"fused": True},
    "adam": {"fused": True},
    "sgd": {"fused": True},
    "adafactor": {"eps": (None, 1.0)},  # not scaled by the size of a weight it never sees; the paper's own setting
}
SQUARES = {"exp_avg_sq": True, "max_exp_avg_sq": True, "square_avg": True, "sum": True}
MOMENTS = SQUARES | {"exp_avg": False, "momentum_buffer": False, "grad_avg": False}
"""How a moment turns with the directions: as the gradient does, or as its squares do."""


class _Place(NamedTuple):
    """A weight: in which of our groups, in which of its optimizer's, and what that one sees of it."""

    weight: nn.Parameter
    group: int
    inner_group: int
    seen: nn.Parameter

    @property
    def projected(self) -> bool:
        return self.seen is not self.weight


class Galore(torch.optim.Optimizer):
    """GaLore over matrices, or stacks of them, and whatever a group with `rank` None trains whole.

    A projected weight is shown to the inner optimizer as a small one that is zero: what it becomes is the step. `refresh_s`,
    `refreshed` and `captured` say what looking for directions has cost, how often a weight was looked at, and which share of its
    gradient's energy was kept the last time; `attainable` what the SVD would have kept (with `audit`).

    Args:
        params: matrices, or groups. A group may have its own lr, weight_decay, rank, update_gap, scale, projection,
            refresh, power_steps, rotate_state and align.
        lr: the inner optimizer's.
        weight_decay: decoupled, of the whole weight; not scaled by `scale`.
        betas: the inner optimizer's, if it has them.
        eps: likewise.
        rank: directions kept; of a smaller matrix all it has.
        update_gap: steps between two looks at where the gradient lies.
        scale: of what is lifted back.
        projection: std (the smaller side), reverse_std, left, right, full (both; at a refresh the projected gradient is then
            diagonal, and with a small `eps` Adam makes much of the rounding beside it).
        refresh: svd, or subspace: orthogonal iteration from the directions before.
        power_steps: of that iteration.
        rotate_state: turn the moments along with the directions.
        align: a direction keeps its sign at a refresh; False is as the authors' code has it.
        inner: the name of an optimizer of torch.optim (adamw, sgd, adafactor, …), or a function of (groups, lr=…).
        inner_args: more of its own.
        per_layer: update a weight as soon as its gradient is there, and free the gradient. `accumulate` holds it back.
        audit: at each refresh measure also the energy that the SVD would keep; costs about as much as the SVD.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        weight_decay: float = 0.0,
        betas: tuple[float, float] | None = None,
        eps: float | None = None,
        rank: int = 128,
        update_gap: int = 200,
        scale: float = 0.25,
        projection: str = "std",
        refresh: str = "svd",
        power_steps: int = 1,
        rotate_state: bool = False,
        align: bool = True,
        inner: str | Factory = "adamw",
        inner_args: Mapping[str, Any] | None = None,
        per_layer: bool = False,
        audit: bool = False,
    ):
        self._inners: list[tuple[torch.optim.Optimizer, list[_Place]]] = []
        ours = {"rank": rank, "update_gap": update_gap, "scale": scale, "projection": projection, "refresh": refresh}
        ours |= {"power_steps": power_steps, "rotate_state": rotate_state, "align": align}
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, **ours})
        asked = {"betas": betas, "eps": eps, **(inner_args or {})}
        make = _factory(inner, {key: value for key, value in asked.items() if value is not None})
        self.per_layer, self.audit = per_layer, audit
        self.refresh_s, self.refreshed = self._reported = 0.0, 0
        self.captured: dict[nn.Parameter, float] = {}
        self.attainable: dict[nn.Parameter, float] = {}
        self._kept: dict[nn.Parameter, Projection] = {}
        self._turns: dict[nn.Parameter, int] = {}
        self._held = False
        self._hooks: list[Any] = []
        self._build(make, per_layer)
        if per_layer:
            distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
            if distributed and torch.distributed.get_world_size() > 1:
                raise Invalid(
                    "per_layer updates before processes have told each other their gradients: use one process."
                )
            for each, places in self._inners:
                hook = places[0].weight.register_post_accumulate_grad_hook(self._hook(each, places))
                self._hooks.append(hook)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Checks a group; there are no new ones once the optimizer is made."""
        if self._inners:
            raise Invalid("GaLore is told all its groups when it is made.")
        super().add_param_group(param_group)
        choices = {"projection": KINDS, "refresh": REFRESHES}
        check(self.param_groups[-1], "projected", ("rank", "update_gap", "power_steps"), choices)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Takes one step of every weight that has a gradient. With `per_layer` most have had theirs."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for inner, places in self._inners:
            self._advance(inner, places)
        return loss

    @contextmanager
    def accumulate(self) -> Iterator[None]:
        """While the block lasts gradients add up and no layer is updated: for all micro-batches of a step but the last."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def release(self) -> None:
        """With per_layer: weights are not updated by their backward pass any more."""
        while self._hooks:
            self._hooks.pop().remove()

    def columns(self) -> dict[str, float]:
        """Returns what looking for directions has cost since it was last asked, and what was kept of the gradients."""
        columns = {"refresh_s": round(self.refresh_s - self._reported[0], 4)}
        if self.refreshed > self._reported[1]:
            columns["captured"] = round(fmean(self.captured.values()), 6)
        self._reported = self.refresh_s, self.refreshed
        return columns

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` gave, to the last bit."""
        super().load_state_dict(state_dict)
        order = [p for group in self.param_groups for p in group["params"]]
        saved = [index for group in state_dict["param_groups"] for index in group["params"]]
        memories = {p: state_dict["state"].get(index, {}) for p, index in zip(order, saved, strict=True)}
        for inner, places in self._inners:
            inner.state.clear()
            for place in places:
                memory = self.state.get(place.weight)
                if not memory:
                    continue
                if place.projected:
                    if "turn" not in memories[place.weight]:
                        raise Invalid("This state is not of GaLore, or of other groups.")
                    self._turns[place.weight] = int(memories[place.weight]["turn"])
                    self._kept[place.weight] = Projection(memory.get("left"), memory.get("right"))
                inner.state[place.seen] = {key: value for key, value in memory.items() if key not in OURS}
                self._store(inner, place)

    def _build(self, make: Factory, per_layer: bool) -> None:
        """Makes one inner optimizer for all weights; with per_layer, each weight has its own."""
        units: list[list[_Place]] = []
        for g, group in enumerate(self.param_groups):
            for weight in group["params"]:
                small = group["rank"] is not None
                seen = nn.Parameter(_low_like(weight, group)) if small else weight
                if per_layer or not units:
                    units.append([])
                units[-1].append(_Place(weight, g, 0, seen))
        for places in units:
            groups = list(dict.fromkeys(place.group for place in places))
            places[:] = [place._replace(inner_group=groups.index(place.group)) for place in places]
            inner = make(
                [
                    {"params": [q.seen for q in places if q.group == g], "lr": self.param_groups[g]["lr"]}
                    for g in groups
                ],
                lr=self.defaults["lr"],
            )
            inner.register_step_pre_hook(lay_out)
            for g, theirs in zip(groups, inner.param_groups, strict=True):
                for key, value in theirs.items():
                    self.param_groups[g].setdefault(key, value)  # betas and the like can be read, set and saved here
            for place in places:
                if place.projected:
                    place.seen.data = place.seen.data.new_empty(0)
            self._inners.append((inner, places))

    def _hook(self, inner: torch.optim.Optimizer, places: list[_Place]) -> Callable[[Tensor], None]:
        @torch.no_grad()
        def update(weight: Tensor) -> None:
            if not self._held:
                self._advance(inner, places)
                weight.grad = None

        return update

    def _advance(self, inner: torch.optim.Optimizer, places: list[_Place]) -> None:
        """Takes one step of one inner optimizer."""
        moving = [place for place in places if place.weight.grad is not None]
        if not moving:
            return
        for place in moving:
            ours, theirs = self.param_groups[place.group], inner.param_groups[place.inner_group]
            theirs.update({key: ours[key] for key in theirs if key != "params"})
            if place.projected:
                theirs["weight_decay"] = 0.0  # it would decay the zero it sees
                low = self._look(inner, place, ours)
                place.seen.data = torch.zeros_like(low)
                place.seen.grad = low
        inner.step()
        for place in moving:
            if place.projected:
                ours = self.param_groups[place.group]
                keep = 1 - float(ours["lr"]) * ours["weight_decay"]
                self._kept[place.weight].add(place.weight, place.seen.data, keep, ours["scale"])
                place.seen.grad, place.seen.data = None, place.seen.data.new_empty(0)
                self._turns[place.weight] += 1
            self._store(inner, place)

    def _look(self, inner: torch.optim.Optimizer, place: _Place, group: dict[str, Any]) -> Tensor:
        """Returns the gradient in the kept directions, which every `update_gap` steps are looked for anew."""
        weight, G = place.weight, place.weight.grad
        assert G is not None  # _advance took only those that have one
        turn = self._turns.setdefault(weight, 0)
        if turn % group["update_gap"]:
            return self._kept[weight].project(G)
        started, before = _now(G), self._kept.get(weight)
        new = find(
            G, group["rank"], group["projection"], group["refresh"], group["power_steps"], before, group["align"]
        )
        self._kept[weight] = new
        if group["rotate_state"] and before is not None:
            _rotate(inner.state[place.seen], new, before, new.project(G).shape)
        self.refresh_s += _now(G) - started
        self.refreshed += 1
        low = new.project(G)
        self.captured[weight] = energy(low, G)
        if self.audit:
            self.attainable[weight] = best_energy(G, low.shape[-1] if new.right_NR is not None else low.shape[-2])
        return low

    def _store(self, inner: torch.optim.Optimizer, place: _Place) -> None:
        """Keeps what a checkpoint holds: the inner optimizer's memory and ours, the same tensors."""
        memory = dict(inner.state.get(place.seen, {}))
        if place.projected:
            kept = self._kept[place.weight]
            memory |= {"turn": torch.tensor(self._turns[place.weight])}
            memory |= {key: side for key, side in zip(OURS, kept, strict=False) if side is not None}
        if memory:
            self.state[place.weight] = memory


def _factory(inner: str | Factory, asked: dict[str, Any]) -> Factory:
    """Returns the inner optimizer as a function of (groups, lr); arguments that it does not have are named."""
    if not isinstance(inner, str):
        return lambda groups, lr: inner(groups, lr=lr, **asked)
    known = {name.lower(): value for name, value in vars(torch.optim).items() if inspect.isclass(value)}
    known = {name: c for name, c in known.items() if issubclass(c, torch.optim.Optimizer) and name != "optimizer"}
    if inner.lower() not in known:
        raise UnknownName.among("optimizer of torch", inner, known)
    chosen: Any = known[inner.lower()]
    takes = list(inspect.signature(chosen).parameters)[2:]
    UnknownName.check(f"argument of {inner}", asked, takes)
    more = INNER.get(inner.lower(), {}) | asked
    return lambda groups, lr: chosen(groups, lr=lr, **more)


def _low_like(weight: Tensor, group: dict[str, Any]) -> Tensor:
    """Zeros of the shape that its projected gradient will have."""
    *stack, M, N = weight.shape
    rank, (rows, columns) = min(group["rank"], M, N), sides(group["projection"], M, N)
    return weight.new_zeros(*stack, rank if rows else M, rank if columns else N)


def _rotate(memory: dict[str, Any], new: Projection, before: Projection, shape: torch.Size) -> None:
    for key, moment in memory.items():
        if not isinstance(moment, Tensor) or moment.ndim == 0:
            continue
        if key not in MOMENTS or moment.shape != shape:
            raise Invalid(f"rotate_state does not know how {key!r} of the inner optimizer turns with the directions.")
        memory[key] = new.turned(before, moment, MOMENTS[key])


def _now(G: Tensor) -> float:
    if G.is_cuda:
        torch.cuda.synchronize(G.device)
    return time.perf_counter()
