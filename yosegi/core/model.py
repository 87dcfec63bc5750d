"""Put experts into a model, and take them out again. The base is wrapped, never edited: out comes what went in, bit for bit.

banks = attach(model, [Expert, Expert, …], Arrow())      y = W x + up(mix(down(x), w)) in every layer they touch
banks.set_batch(tasks=["gsm8k", "mgsm_ja"])                what the routers may know of the next batch
banks.detach()                                          the model as it was
"""

# Torch is typed in part; strictness is for our own lines.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import re
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from math import gcd

import torch
from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert
from yosegi.core.layer import ExpertLinear, check
from yosegi.core.mix import Mix, outputs
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName


class Banks(Mapping[str, Bank]):
    """The banks of one model, by layer name. Made by `put`."""

    def __init__(self, model: nn.Module, layers: dict[str, ExpertLinear], context: Context, trainable: dict[str, bool]):
        self.model, self.layers, self.context, self._trainable = model, layers, context, trainable

    def __getitem__(self, layer: str) -> Bank:
        return self.layers[layer].bank

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    @property
    def names(self) -> tuple[str, ...]:
        """The experts, in the order the weights count them."""
        return self._first().names

    @property
    def tasks(self) -> list[str]:
        """Every task some expert was trained on."""
        return self._first().tasks

    def set_batch(
        self,
        *,
        tasks: Sequence[str | None] | None = None,
        experts: Sequence[str | None] | None = None,
        features: Tensor | None = None,
        mask_BT: Tensor | None = None,
        row_X: Tensor | None = None,
    ) -> None:
        """Tell the routers about the next batch.

        Args:
            tasks: per sequence its task; None for one that no expert learnt.
            experts: per sequence the expert it asks for; None for the base.
            features: [B, F], what is known of each prompt as a whole.
            mask_BT: 1 where a token is real.
            row_X: the sequence of each token, where the batch is one flat row of many sequences.
        """
        device = next(self.model.parameters()).device

        def count(what: str, names: Sequence[str | None], places: dict[str | None, int]) -> Tensor:
            for name in names:
                if name not in places:
                    raise UnknownName.among(what, str(name), filter(None, places))
            return torch.tensor([places[name] for name in names], device=device)

        task_K: dict[str | None, int] = {None: -1} | {name: k for k, name in enumerate(self.tasks)}
        expert_E: dict[str | None, int] = {None: -1} | {name: e for e, name in enumerate(self.names)}
        task_B = None if tasks is None else count("task of this bank", tasks, task_K)
        expert_B = None if experts is None else count("expert of this bank", experts, expert_E)
        context = self.context
        context.task_B, context.expert_B, context.run_K, context.every = task_B, expert_B, None, False
        if experts and expert_B is not None:
            if row_X is not None:
                experts, expert_B = [experts[b] for b in row_X.tolist()], expert_B[row_X]
            long = gcd(*(sum(1 for _ in run) for _, run in groupby(experts)))
            context.run_K, context.every = expert_B[::long], tuple(experts[::long]) == self.names
        context.features_BF, context.mask_BT, context.row_X = features, mask_BT, row_X
        context.blocks.clear()
        context.once.clear()

    def route(self, router: Router, mix: Mix | None = None) -> None:
        """Give every layer another router (a copy each), and another mix when one is named."""
        for layer in self.layers.values():  # all or none of them
            check(layer.bank, mix or layer.mix)
        ordered = [name for name, _ in self.model.named_modules() if name in self.layers]
        for name, layer in self.layers.items():
            layer.router, layer.mix = copy.deepcopy(router).train(layer.training), mix or layer.mix
            layer.router.place(name, ordered)
            layer.router.bind(layer.bank)
            layer.router.to(layer.bank.A_ERI.device)

    @contextmanager
    def disabled(self) -> Generator[None]:
        """The base alone, while the block lasts."""
        for layer in self.layers.values():
            layer.disabled = True
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.disabled = False

    @contextmanager
    def ablated(self, experts: Sequence[str]) -> Generator[None]:
        """Some experts say nothing, while the block lasts. The others are as loud as they were: only theirs is missing."""
        for name in experts:
            if name not in self.names:
                raise UnknownName.among("expert of this bank", name, self.names)
        disabled_E = torch.tensor([name in experts for name in self.names], device=next(self.model.parameters()).device)
        before, self.context.disabled_E = self.context.disabled_E, disabled_E if experts else None
        try:
            yield
        finally:
            self.context.disabled_E = before

    def experts(self) -> list[Expert]:
        """The experts as they stand, detached, with their origin folded in."""
        first = self._first()
        found = []
        for e, name in enumerate(self.names):
            factors = {layer: f for layer, bank in self.items() if (f := bank.factors(e)) is not None}
            found.append(Expert(name, factors, {"task": list(first.tasks_E[e])}))
        return found

    def router_state(self) -> dict[str, Tensor]:
        """What the routers have learnt, by "layer|name"; "|name" where it is one tensor that all layers share."""
        states = {layer: module.router.state_dict() for layer, module in self.layers.items()}
        found: dict[str, Tensor] = {}
        for layer, state in states.items():
            for name, value in state.items():
                places = {other[name].data_ptr() for other in states.values() if name in other}
                one = len(places) == 1 and len(states) > 1 and value.numel() > 0
                found[f"{'' if one else layer}|{name}"] = value
        return found

    def load_router_state(self, learnt: Mapping[str, Tensor]) -> None:
        """Put back what `learnt` gave. The experts have to be the same, in the same order."""
        if strange := {key.rpartition("|")[0] for key in learnt} - {"", *self.layers}:
            raise Invalid(f"What was learnt is of layer {min(strange)}, which no expert here touches.")
        for layer, module in self.layers.items():
            module.router.load_layer(layer, learnt)

    def parameters(self) -> dict[str, nn.Parameter]:
        """What trains: the factors of every bank and whatever the routers learn, by name in the model."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def detach(self) -> None:
        """Hand every linear back and restore what was trainable before. A second time there is nothing left to do."""
        for name, layer in self.layers.items():
            self.model.set_submodule(name, layer.base)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trainable.get(name, parameter.requires_grad))
        self.layers, self._trainable = {}, {}

    def _first(self) -> Bank:
        for bank in self.values():
            return bank
        raise Invalid("These experts have been taken out of the model.")


def attach(
    model: nn.Module,
    experts: Sequence[Expert],
    router: Router,
    mix: Mix = outputs,
    *,
    heads: int = 1,
    dropout: float = 0.0,
    rank: int | None = None,
) -> Banks:
    """Stand experts beside the linears they name; everything else is frozen.

    Args:
        model: any module whose linears carry the layer names of the experts.
        experts: at least one; ranks and layers may differ. An expert has weight 0 in a layer it does not have.
        router: copied into every layer.
        mix: `outputs` or `factors`.
        heads: slices routed on their own (MHR).
        dropout: on what the experts read, in training.
        rank: the inner width of the stacks; by default the largest rank.
    """
    if not experts:
        raise Invalid("There is no expert to put into the model.")
    if twice := [name for name, times in Counter(e.name for e in experts).items() if times > 1]:
        raise Invalid(f"Two experts of one bank are called {twice[0]!r}.")
    if any(isinstance(module, ExpertLinear) for module in model.modules()):
        raise Invalid("This model already has experts in it; take them out first.")
    known = dict(model.named_modules())
    names = list(dict.fromkeys(layer for expert in experts for layer in expert.factors))
    for name in names:
        if name not in known or not is_linear(known[name]):
            raise UnknownName.among("linear of this model", name, linears(model))
    if not names:
        raise Invalid("These experts touch no layer at all.")

    context = Context()
    layers: dict[str, ExpertLinear] = {}
    who, tasks_E = [e.name for e in experts], [e.tasks for e in experts]
    ordered = [name for name in known if name in set(names)]
    for name in names:
        base = known[name]
        factors = [expert.factors.get(name) for expert in experts]
        bank = Bank(who, tasks_E, factors, shape(base), rank, device=base.weight.device)  # type: ignore[arg-type]
        (own := copy.deepcopy(router)).place(name, ordered)
        layer = ExpertLinear(base, bank, own, mix, heads, dropout, name, context).train(model.training)
        layer.router.to(base.weight.device)  # type: ignore[arg-type]
        layers[name] = layer

    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    for name, layer in layers.items():  # nothing above has touched the model: it is changed whole or not at all
        model.set_submodule(name, layer)
    return Banks(model, layers, context, trainable)


def linears(model: nn.Module, targets: str | Sequence[str] = "all-linear") -> list[str]:
    """The names of the linears an expert is to touch.

    Args:
        model: looked through in order.
        targets: "all-linear" (all but the output head), a regular expression for the whole name, or a list of names and
            name endings such as "q_proj". Of a multimodal model, "all-linear" and endings mean its text model.
    """
    everywhere, inside = _linears(model), _text_model(model)
    every = [name for name in everywhere if name.startswith(inside)]
    if targets == "all-linear":
        return every
    if isinstance(targets, str):
        try:
            pattern = re.compile(targets)
        except re.error as error:
            raise Invalid(f"Target modules {targets!r} is not a regular expression: {error}.") from error
        ending = [n for n in every if n.endswith("." + targets)]
        found = [n for n in everywhere if pattern.fullmatch(n) or n == targets or n in ending]
        missing = [] if found else [targets]
    else:
        found = [n for n in every if any(n == t or n.endswith("." + t) for t in targets)]
        missing = [t for t in targets if not any(n == t or n.endswith("." + t) for n in every)]
    if missing:
        endings = dict.fromkeys(n.rpartition(".")[2] for n in every)
        raise UnknownName.among("linear of this model", missing[0], endings)
    return found


def left_out(model: nn.Module) -> str | None:
    """Returns, as one line, what "all-linear" does not reach in a model where one would expect it to; None for most models."""
    covered, rest = linears(model), []
    fused = [
        f"{name}.{key}"
        for name, module in model.named_modules()
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3 and "Conv" not in type(module).__name__ and name.startswith(_text_model(model))
    ]
    if fused:
        endings = dict.fromkeys(re.sub(r"^.*\.\d+\.", "…", name) for name in fused)
        rest.append(f"{len(fused)} fused expert tensors ({', '.join(endings)}) are not linears and stay frozen")
    if other := [name for name in _linears(model) if name not in set(covered)]:
        rest.append(f"{len(other)} linears outside the text model ({_text_model(model)[:-1]}) stay frozen")
    return f"all-linear covers {len(covered)} linears; {'; '.join(rest)}." if rest else None


def _linears(model: nn.Module) -> list[str]:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return [name for name, module in model.named_modules() if is_linear(module) and module is not head]


def _text_model(model: nn.Module) -> str:
    """What the names inside the text model of a multimodal one begin with; "" where all of the model is text."""
    config = getattr(model, "config", None)
    text = getattr(config, "get_text_config", lambda: config)()
    if text is config or getattr(config, "is_encoder_decoder", False):
        return ""
    inner = model.get_decoder()  # type: ignore[operator]
    return next(f"{name}." if name else "" for name, module in model.named_modules() if module is inner)


def is_linear(module: nn.Module) -> bool:
    """nn.Linear, its quantised kin, and the transposed `Conv1D` of GPT-2."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def shape(linear: nn.Module) -> tuple[int, int]:
    """(outputs, inputs)."""
    if isinstance(linear, nn.Linear):
        return linear.out_features, linear.in_features
    inputs, outputs = linear.weight.shape  # type: ignore[union-attr, misc]
    return int(outputs), int(inputs)  # type: ignore[arg-type]


@torch.no_grad()
def weight(linear: nn.Module) -> Tensor:
    """W [O, I] in fp32, whichever way the module stores it. Of a quantised one, what it computes with."""
    W: Tensor = linear.weight  # type: ignore[assignment]
    if not W.is_floating_point():  # packed: it is asked what it makes of every unit vector
        # with a gradient: bitsandbytes repacks weights on some CPUs as soon as an input comes without
        eye_II = torch.eye(shape(linear)[1], device=W.device, requires_grad=True)
        W_IO: Tensor = linear(eye_II) - linear(torch.zeros_like(eye_II[:1], requires_grad=True))  # without the bias
        return W_IO.mT.float().contiguous()
    return (W if isinstance(linear, nn.Linear) else W.mT).detach().float()
