"""One bank for the experts of many arms, so that every request of a batch is answered by an arm of its own.

    the base       w = 0                     an expert      w is one-hot            fixed weights    w is a row
    a merge        one more expert           a router       its own w, scattered into the bank's columns

A merge that is a sum (`cat`) is a row of weights as well. A column is an expert or a slice of one: an expert of a higher rank
than the others fills several columns of equal weight, since Σ_r B_r A_r x may be summed in any order, and so does not widen the
other columns. Arms that differ in mix or heads cannot share a layer; each kind gets a switch of its own.

Arms are opened and closed between two steps; experts that no open arm needs leave the model. A request keeps the seat that its
arm had when it joined: if an expert is replaced under its name, a new arm uses the new one and the request still uses the old.

Shapes: S seats, E columns, C columns of one seat, X tokens of a step, N tokens of one seat, H heads, I in, O out, R rank.
"""

import copy
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from yosegi import registry
from yosegi.bases import Base
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import named
from yosegi.core.model import Banks, attach
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.engine.features import features
from yosegi.engine.request import Request
from yosegi.errors import Invalid
from yosegi.merges import is_sum, merge, weights_of

Key = tuple[str, int, int]
"""Mix, heads, and for mixed factors the rank: arms with the same key can share a batch."""


NUMBERS = itertools.count(1)
"""Of seats, none of which has the number of another."""


def key(arm: Arm) -> Key:
    """Returns what arms of one batch have in common."""
    if not arm.experts or arm.merge or arm.mix == "outputs":
        return "outputs", arm.heads, 0
    return arm.mix, arm.heads, max(expert.rank for expert in arm.experts)


class Seat:
    """An arm in a switch: its experts and, for each layer, its router or the row of weights that every token gets.

    Making one may take long (merges, prototypes) and needs no model: a server does it beside the steps.

    Args:
        arm: the arm.
        layers: of the model, in order.

    Raises:
        Invalid: the arm is none that answers beside others, or its router needs what the engine does not know.
    """

    def __init__(self, arm: Arm, layers: Sequence[str]):
        if arm.ablate and (arm.merge or not arm.experts):
            raise Invalid(f"{arm.name}: only an expert under a router can be ablated.")
        if arm.base_delta is not None:
            raise Invalid(f"{arm.name}: an arm with whole weights of its own shares no batch.")
        if arm.needs == "experts":
            raise Invalid(f"{arm.name}: the router {arm.router} is told an expert; name that expert as the arm.")
        self.arm, self.routers, self.rows = arm, dict[str, Router](), dict[str, Tensor]()
        self.number = next(NUMBERS)
        self.column_C = self.owner_C = torch.empty(0, dtype=torch.long)  # columns of the bank, and whose they are
        self.spread_EC = torch.empty(0, 0)  # 1 where a column is an expert's, of all columns
        experts, summed = list(arm.experts), arm.merge is not None and is_sum(arm.merge)
        if arm.merge and not summed:
            experts = [merge(experts, arm.merge, name=arm.name, measure=False, **arm.merge_args)]
        self.experts, tasks_E = experts, [expert.tasks for expert in experts]
        self.tasks = sorted({task for tasks in tasks_E for task in tasks})
        self.kept_E = torch.tensor([float(expert.name not in arm.ablate) for expert in experts])
        name, arguments = ("uniform", {}) if arm.merge else (arm.router, arm.router_args)
        first: Router = registry.find("routers", name)(**arguments)
        self.layers = touched = [layer for layer in layers if any(layer in expert.factors for expert in experts)]
        self.present_LE = torch.tensor([[layer in expert.factors for expert in experts] for layer in touched])
        for layer in touched:
            if arm.merge and summed:
                weights = arm.merge_args.get("weights")
                if isinstance(weights, Mapping):  # a layer that is not named is not merged
                    weights = weights.get(layer, [0.0] * len(experts))
                self.rows[layer] = torch.tensor([weights_of(arm.merge, len(experts), weights)])
                continue
            factors = [expert.factors.get(layer) for expert in experts]
            O, I = next((f.B_OR.shape[0], f.A_RI.shape[1]) for f in factors if f)
            router = copy.deepcopy(first).eval()  # the copies share what all layers share
            router.place(layer, touched)
            router.bind(Bank([expert.name for expert in experts], tasks_E, factors, (O, I)))
            if arm.router_state:
                router.load_layer(layer, arm.router_state)
            looks = router.needs or router.follows
            if not looks and (w_HE := router(torch.zeros(1, 2, I), Context()).detach()).dim() == 2:
                self.rows[layer] = w_HE * self.kept_E
            else:
                self.routers[layer] = router

    def context(self, requests: Sequence[Request], row_X: Tensor) -> Context:
        """Returns what its routers may know of these requests of one step."""
        task_B = features_BF = None
        if self.arm.needs == "tasks":
            places = {name: place for place, name in enumerate(self.tasks)}
            task_B = torch.tensor([places.get(r.known.get("tasks", ""), -1) for r in requests], device=row_X.device)
        if self.arm.needs == "features":
            features_BF = torch.stack([request.known["features"] for request in requests])
        return Context(task_B=task_B, features_BF=features_BF, row_X=row_X)


class Switch:
    """Opens seats for arms and tells the layers which arm each token belongs to; leaving `with` detaches the experts.

    Args:
        base: the model.
        key: what the arms have in common.
    """

    def __init__(self, base: Base, key: Key = ("outputs", 1, 0)):
        self.base, self.key, self.seats = base, key, list[Seat]()
        self.banks: Banks | None = None
        self.place_X = torch.empty(0, dtype=torch.long)  # the seat of each token of a step
        self.routed: list[tuple[Seat, Tensor, Context]] = []  # seats with a router, their tokens, what is known of them
        self._stale = False
        self._held: dict[Any, Expert] = {}  # the experts of the bank, by identity
        self._asked: list[int] = []  # rows of a step whose routing is kept, their last tokens, and the weights by layer
        self.last_N: Tensor | None = None
        self.kept: dict[str, Tensor] = {}

    def __enter__(self) -> "Switch":
        return self

    def __exit__(self, *_: object) -> None:
        self.seats.clear()
        self._rebuild()

    def open(self, arm: Arm | Seat) -> Seat:
        """Returns a seat for an arm. Its experts are attached from the next step on.

        Raises:
            Invalid: it cannot share a batch with the others, or its router needs what the engine does not know.
        """
        asked = arm.arm if isinstance(arm, Seat) else arm
        if key(asked) != self.key:
            raise Invalid(
                f"{asked.name}: its mix and heads {key(asked)[:2]} are not those of this batch, {self.key[:2]}."
            )
        seat = arm if isinstance(arm, Seat) else Seat(arm, [name for name, _ in self.base.model.named_modules()])
        self.seats.append(seat)
        self._stale = True
        return seat

    def close(self, seat: Seat) -> None:
        """Closes a seat. Its experts are detached at the next step, unless another arm needs them."""
        self.seats.remove(seat)
        self._stale = True

    def known(self, seat: Seat, prompts: Sequence[str], task: str = "") -> list[dict[str, Any]]:
        """Returns what the seat's router may know of each prompt (`Request.known`)."""
        if seat.arm.needs == "features" and prompts:
            vectors = features(self.base, prompts, self.banks, seat.arm.router_args.get("encoder", ""))
            return [{"features": vector} for vector in vectors]
        return [{"tasks": task} if seat.arm.needs == "tasks" else {} for _ in prompts]

    def set_batch(self, requests: Sequence[Request], row_X: Tensor | None, mask_BT: Tensor | None) -> None:
        """Tells the layers which request, and so which arm, each token belongs to."""
        if row_X is None:
            raise Invalid("Only a model with a paged cache answers by several arms in one batch.")
        self.settle()
        places = {id(seat): place for place, seat in enumerate(self.seats)}
        place_B = torch.tensor([places[id(request.seat)] for request in requests], device=row_X.device)
        self.place_X, self.routed = place_B[row_X], []
        for place in sorted({place for place in place_B.tolist() if self.seats[place].routers}):
            token_N, member_B = (self.place_X == place).nonzero().squeeze(1), (place_B == place).nonzero().squeeze(1)
            row_N = torch.searchsorted(member_B, row_X[token_N])
            context = self.seats[place].context([requests[b] for b in member_B.tolist()], row_N)
            self.routed.append((self.seats[place], token_N, context))
        self.kept, self._asked = {}, [row for row, request in enumerate(requests) if request.routing]
        rows_N = torch.tensor(self._asked, device=row_X.device)
        self.last_N = torch.searchsorted(row_X, rows_N, right=True) - 1 if self._asked else None
        if self.banks is not None:
            self.banks.set_batch(row_X=row_X)

    def routing(self, seat: Seat, row: int) -> Tensor:
        """Returns the weights [L, E] that the experts of a seat had at the last token of a row of the last step, by `Seat.layers`
        and averaged over heads; 0 where an expert lacks the layer. The request must have asked for them."""
        if not seat.layers:
            return torch.zeros(0, 0)
        first_E = torch.searchsorted(seat.owner_C, torch.arange(len(seat.experts)))
        n, column_E = self._asked.index(row), seat.column_C[first_E].to(self.place_X.device)
        return torch.stack([self.kept[layer][n, column_E] for layer in seat.layers]).cpu() * seat.present_LE

    def settle(self) -> None:
        """Attaches the experts of seats that were opened, and detaches those that no seat needs; `set_batch` does it too.

        Raises:
            Invalid: they do not fit the model. No expert is attached then.
        """
        if self._stale:
            self._rebuild()

    def _rebuild(self) -> None:
        """Attaches the bank of all open seats: every expert once, in columns of the rank that makes the bank narrowest. If it has
        the experts already, only the routers are new."""
        needed = {_identity(expert): expert for seat in self.seats for expert in seat.experts}
        distinct = {identity: needed[identity] for identity in (*filter(needed.__contains__, self._held), *needed)}
        ranks = Counter(max(expert.rank, 1) for expert in distinct.values())
        width = {R: R * sum(-(-rank // R) * n for rank, n in ranks.items()) for R in ranks}
        R = min(width, key=lambda rank: (width[rank], -rank), default=1)
        mix, heads, whole = self.key
        columns: list[Expert] = []
        places: dict[Any, range] = {}
        for identity, expert in distinct.items():
            slices = [expert] if whole else _slices(expert, R)
            places[identity] = range(len(columns), len(columns) + len(slices))
            columns += [replace(one, name=str(place)) for place, one in zip(places[identity], slices, strict=True)]
        for seat in self.seats:
            pairs = [(column, e) for e, expert in enumerate(seat.experts) for column in places[_identity(expert)]]
            seat.column_C, seat.owner_C = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).mT.contiguous()
            seat.spread_EC = torch.zeros(len(seat.experts), len(columns))
            seat.spread_EC[seat.owner_C, seat.column_C] = 1.0
        router = _Switched(self)
        if self.banks is not None and list(distinct) == list(self._held):
            self.banks.route(router)
        else:
            if self.banks is not None:
                self.banks.detach()
            self.banks, self._held = None, {}
            self.banks = attach(self.base.model, columns, router, named(mix), heads=heads) if columns else None
            self._held = distinct
            for layer in self.banks.layers.values() if self.banks else ():
                if layer.weight.dtype.is_floating_point:  # as the layer would at every step
                    layer.bank.to(layer.weight.dtype)
        self._stale = False


def _identity(expert: Expert) -> Any:
    """Returns a key that two experts share only if their factors are the same."""
    return (expert.name, expert.card["sha256"]) if expert.card.get("sha256") else id(expert)


def _slices(expert: Expert, R: int) -> list[Expert]:
    """Returns experts of rank at most R whose sum is this expert."""

    def cut(start: int) -> dict[str, Factors]:
        wide = {layer: f for layer, f in expert.factors.items() if f.rank > start}
        return {
            layer: Factors(f.A_RI[start : start + R], f.B_OR[:, start : start + R], f.scale)
            for layer, f in wide.items()
        }

    return [replace(expert, factors=cut(start)) for start in range(0, max(expert.rank, 1), R)]


class _Switched(Router):
    """The router of every layer: a row of the table for seats with fixed weights, the seat's own router for the others."""

    def __init__(self, switch: Switch):
        super().__init__()
        self.switch, self.layer = switch, ""

    def __deepcopy__(self, memo: Mapping[int, Any]) -> "_Switched":
        return _Switched(self.switch)

    def place(self, layer: str, layers: Sequence[str]) -> None:
        """Sets the layer."""
        self.layer = layer

    @torch.no_grad()
    def bind(self, bank: Bank) -> None:
        """Builds the table of fixed weights."""
        seats, device = self.switch.seats, bank.A_ERI.device
        table_SHE = torch.zeros(len(seats), self.switch.key[1], len(bank.names))
        for w_HE, seat in zip(table_SHE, seats, strict=True):
            if self.layer in seat.rows:
                w_HE[:, seat.column_C] = seat.rows[self.layer][:, seat.owner_C].float()
            elif self.layer in seat.routers:
                seat.routers[self.layer].to(device)
                seat.spread_EC = seat.spread_EC.to(device)
        self.register_buffer("table_SHE", table_SHE.to(device), persistent=False)

    def forward(self, x_I: Tensor, context: Context) -> Tensor:
        """Returns the weights [1, X, H, E] of each token."""
        w_XHE = torch.as_tensor(self.table_SHE).index_select(0, self.switch.place_X)
        for seat, token_N, known in self.switch.routed:
            if (router := seat.routers.get(self.layer)) is None:
                continue
            w_HE = known.by_token(router(x_I.index_select(1, token_N), known))
            w_NHE = w_HE.expand(1, len(token_N), *w_HE.shape[-2:])[0]
            if seat.arm.ablate:
                w_NHE = w_NHE * seat.kept_E.to(w_NHE)
            w_XHE.index_copy_(0, token_N, w_NHE.float() @ seat.spread_EC)
        if (last_N := self.switch.last_N) is not None:
            self.switch.kept[self.layer] = w_XHE[last_N].float().mean(1)
        return w_XHE[None]
