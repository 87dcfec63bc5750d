"""Attaches experts to a model, and detaches them. The base is wrapped, never edited: afterwards it is the same bit for bit.

banks = attach(model, [Expert, Expert, …], Arrow())      y = W x + up(mix(down(x), w)) in every layer of the experts
banks.set_batch(tasks=["gsm8k", "mgsm_ja"])              what the routers may know about the next batch
banks.detach()                                           the model as it was
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

import regex
import torch
from torch import Tensor, nn

from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert
from yosegi.core.layer import NEVER_CALLED, ExpertLinear, check
from yosegi.core.mix import Mix, outputs
from yosegi.core.router import Router
from yosegi.errors import Invalid, UnknownName, shown


class Banks(Mapping[str, Bank]):
    """The banks of one model, by layer name. `attach` makes them."""

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
        """Returns the names of the experts, in the order of the weights."""
        return self._first().names

    @property
    def tasks(self) -> list[str]:
        """Returns every task of some expert."""
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
        """Sets what routers may know about the next batch.

        Args:
            tasks: the task of each sequence; None for a task of no expert.
            experts: the expert of each sequence; None for the base.
            features: [B, F], the features of each prompt as a whole.
            mask_BT: 1 where a token is real.
            row_X: the sequence of each token, if the batch is one flat row of many sequences.
        """
        device = next(self.model.parameters()).device

        def places(what: str, known: Sequence[str], given: Sequence[str | None] | None) -> Tensor | None:
            if given is None:
                return None
            UnknownName.check(f"{what} of this bank", filter(None, given), known)
            return torch.tensor([-1 if name is None else known.index(name) for name in given], device=device)

        task_B, expert_B = places("task", self.tasks, tasks), places("expert", self.names, experts)
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
        """Gives every layer a copy of another router, and another mix if one is given."""
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
        """Disables all experts while the block lasts."""
        for layer in self.layers.values():
            layer.disabled = True
        try:
            yield
        finally:
            for layer in self.layers.values():
                layer.disabled = False

    @contextmanager
    def ablated(self, experts: Sequence[str]) -> Generator[None]:
        """Sets the weights of some experts to zero while the block lasts; the weights of the others do not change."""
        UnknownName.check("expert of this bank", experts, self.names)
        disabled_E = torch.tensor([name in experts for name in self.names], device=next(self.model.parameters()).device)
        before, self.context.disabled_E = self.context.disabled_E, disabled_E if experts else None
        try:
            yield
        finally:
            self.context.disabled_E = before

    def experts(self) -> list[Expert]:
        """Returns the experts as they are, detached from the model, with their origin subtracted."""
        return [
            Expert(name, {layer: f for layer, bank in self.items() if (f := bank.factors(e)) is not None}, {"task": list(tasks)})
            for e, (name, tasks) in enumerate(zip(self.names, self._first().tasks_E, strict=True))
        ]  # fmt: skip

    def router_state(self) -> dict[str, Tensor]:
        """Returns what the routers have learnt, by "layer|name"; "|name" for one tensor that all layers share."""
        states = {layer: module.router.state_dict() for layer, module in self.layers.items()}
        tensors: dict[str, Tensor] = {}
        for layer, state in states.items():
            for name, value in state.items():
                places = {other[name].data_ptr() for other in states.values() if name in other}
                one = len(places) == 1 and len(states) > 1 and value.numel() > 0
                tensors[f"{'' if one else layer}|{name}"] = value
        return tensors

    def load_router_state(self, learnt: Mapping[str, Tensor]) -> None:
        """Loads what `router_state` returned. The experts must be the same, in the same order."""
        if unknown := {key.rpartition("|")[0] for key in learnt} - {"", *self.layers}:
            raise Invalid(f"The router's state is of layer {min(unknown)}, which no expert here has.")
        for layer, module in self.layers.items():
            module.router.load_layer(layer, learnt)

    def parameters(self) -> dict[str, nn.Parameter]:
        """Returns the trainable parameters by name: the factors of every bank and those of the routers."""
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def detach(self) -> None:
        """Restores every linear and what was trainable before. A second call does nothing."""
        for name, layer in self.layers.items():
            self.model.set_submodule(name, layer.base)
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(self._trainable.get(name, parameter.requires_grad))
        self.layers, self._trainable = {}, {}

    def _first(self) -> Bank:
        if not self.layers:
            raise Invalid("These experts have been taken out of the model.")
        return next(iter(self.values()))


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
    """Attaches experts to the linears that they name; everything else is frozen.

    Args:
        model: any module whose linears have the layer names of the experts.
        experts: at least one; ranks and layers may differ. An expert has weight 0 in a layer that it lacks.
        router: the router, copied into every layer.
        mix: `outputs` or `factors`.
        heads: slices of the input and output that are routed on their own (MHR).
        dropout: dropout of the experts' input in training.
        rank: the inner width of the stacks; by default the largest rank.
    """
    if not experts:
        raise Invalid("There is no expert to attach to the model.")
    if twice := [name for name, times in Counter(e.name for e in experts).items() if times > 1]:
        raise Invalid(f"Two experts of one bank are called {twice[0]!r}.")
    if any(isinstance(module, ExpertLinear) for module in model.modules()):
        raise Invalid("This model already has experts; detach them first.")
    known = dict(model.named_modules())
    names = list(dict.fromkeys(layer for expert in experts for layer in expert.factors))
    for name in names:
        if name not in known or not is_linear(known[name]):
            raise UnknownName.among("linear of this model", name, linears(model))
        if why := why_not(model, name):
            raise Invalid(why)
    if not names:
        raise Invalid("These experts have no layer at all.")

    context = Context()
    layers: dict[str, ExpertLinear] = {}
    ordered = [name for name in known if name in set(names)]
    for name in names:
        base, device = known[name], known[name].weight.device
        factors = [expert.factors.get(name) for expert in experts]
        bank = Bank([e.name for e in experts], [e.tasks for e in experts], factors, shape(base), rank, device)  # type: ignore[arg-type]
        (placed := copy.deepcopy(router)).place(name, ordered)
        layers[name] = ExpertLinear(base, bank, placed, mix, heads, dropout, name, context).train(model.training)
        placed.to(device)  # type: ignore[arg-type]

    trainable = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    model.requires_grad_(False)
    for name, layer in layers.items():  # nothing above has touched the model: it is changed whole or not at all
        model.set_submodule(name, layer)
    return Banks(model, layers, context, trainable)


def linears(model: nn.Module, targets: str | Sequence[str] = "all-linear") -> list[str]:
    """Returns the names of the linears that targets mean.

    Args:
        model: the model; the names are in its order.
        targets: "all-linear" (all but the output head and what `left_out` tells), a regular expression for the whole name, or
            a list of names and name endings such as "q_proj". Of a multimodal model, "all-linear" and endings mean its text
            model.

    Raises:
        Invalid: no expert can stand beside a linear that was named (`why_not`).
    """
    everywhere, inside = _linears(model), _text_model(model)
    every = [name for name in everywhere if name.startswith(inside)]
    if targets == "all-linear":
        return [name for name in every if not _own_expert(name) and not _fusible(model, name)]
    words = [targets] if isinstance(targets, str) else targets
    chosen = {word: {name for name in every if name == word or name.endswith(f".{word}")} for word in words}
    if isinstance(targets, str):
        try:
            pattern = regex.compile(targets)
            chosen[targets] |= {n for n in everywhere if pattern.fullmatch(n, timeout=1) or n == targets}
        except (regex.error, RecursionError) as error:
            raise Invalid(f"Target modules {shown(targets)} is not a regular expression: {error}.") from error
        except TimeoutError as error:
            raise Invalid(f"Target modules {shown(targets)} takes too long to match a name.") from error
    if missing := [target for target, linears in chosen.items() if not linears]:
        endings = dict.fromkeys(n.rpartition(".")[2] for n in every)
        raise UnknownName.among("linear of this model", missing[0], endings)
    named = [name for name in everywhere if any(name in linears for linears in chosen.values())]
    if why := next(filter(None, (why_not(model, name) for name in named)), None):
        raise Invalid(why)
    return named


def why_not(model: nn.Module, layer: str) -> str | None:
    """Returns why no expert can stand beside a linear, in one line; None where one can."""
    if _own_expert(layer):
        return (
            f"{layer} belongs to the base's own experts and sees only the tokens that are sent to it, not whose they are: leave "
            "it out of the targets."
        )
    return NEVER_CALLED.format(layer) if layer.endswith("dt_proj") and _fusible(model, layer) else None


def reads_encoder(layer: str) -> bool:
    """Returns whether a linear makes keys or values of cross-attention: of the encoder's tokens, not the decoder's."""
    parts = layer.split(".")
    return bool({"EncDecAttention", "encoder_attn"} & set(parts)) and parts[-1][0] in "kv"


def left_out(model: nn.Module) -> str | None:
    """Returns one line about what "all-linear" unexpectedly does not cover in a model; None for most models."""
    covered, rest = linears(model), []
    fused = [
        f"{name}.{key}"
        for name, module in model.named_modules()
        for key, parameter in module.named_parameters(recurse=False)
        if parameter.dim() == 3 and len(parameter) > 1  # a row for each channel is no matrix
        and "Conv" not in type(module).__name__ and name.startswith(_text_model(model))
    ]  # fmt: skip
    if fused:
        what = "fused expert tensors" if all("expert" in name for name in fused) else "fused tensors"
        rest.append(f"{len(fused)} {what} ({_endings(fused)}) are not linears and stay frozen")
    inside = [name for name in _linears(model) if name.startswith(_text_model(model))]
    if only_some := [name for name in inside if _own_expert(name)]:
        words = f"linears of the base's own experts ({_endings(only_some)}) see only some tokens and stay frozen"
        rest.append(f"{len(only_some)} {words}")
    if fusible := [name for name in inside if not _own_expert(name) and _fusible(model, name)]:
        rest.append(f"{len(fusible)} linears whose weights fused kernels read ({_endings(fusible)}) stay frozen")
    if other := len(_linears(model)) - len(inside):
        rest.append(f"{other} linears outside the text model ({_text_model(model)[:-1]}) stay frozen")
    return f"all-linear covers {len(covered)} linears; {'; '.join(rest)}." if rest else None


def _endings(names: Sequence[str]) -> str:
    """Returns names without the number of their block: "…mixer.x_proj, …mixer.out_proj"."""
    return ", ".join(dict.fromkeys(re.sub(r"^.*\.\d+\.", "…", name) for name in names))


def _own_expert(layer: str) -> bool:
    """Whether a linear is one of the base's experts, such as "….mlp.experts.expert_0.wi"."""
    return "experts" in layer.split(".")


def _fusible(model: nn.Module, layer: str) -> bool:
    """Whether the kernels of a state-space model may read the weight of this linear instead of calling it: Mamba's are given
    x_proj, dt_proj and out_proj, those of Mamba 2 out_proj. No expert is active there, and none learns. PEFT leaves out
    out_proj as well."""
    mixer, _, name = layer.rpartition(".")
    inside = model.get_submodule(mixer)
    return name in ("x_proj", "dt_proj", "out_proj") and hasattr(inside, "A_log") and hasattr(inside, "D")


def _linears(model: nn.Module) -> list[str]:
    head = getattr(model, "get_output_embeddings", lambda: None)()
    return [name for name, module in model.named_modules() if is_linear(module) and module is not head]


def _text_model(model: nn.Module) -> str:
    """Returns the prefix of the names inside the text model of a multimodal one; "" if all of the model is text."""
    config = getattr(model, "config", None)
    text = getattr(config, "get_text_config", lambda: config)()
    if text is config or getattr(config, "is_encoder_decoder", False):
        return ""
    inner = model.get_decoder()  # type: ignore[operator]
    return next(f"{name}." if name else "" for name, module in model.named_modules() if module is inner)


def is_linear(module: nn.Module) -> bool:
    """Returns whether this is an nn.Linear, a quantised one, or the transposed `Conv1D` of GPT-2."""
    return isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D"


def shape(linear: nn.Module) -> tuple[int, int]:
    """Returns (outputs, inputs)."""
    if isinstance(linear, nn.Linear):
        return linear.out_features, linear.in_features
    inputs, outputs = linear.weight.shape  # type: ignore[union-attr, misc]
    return int(outputs), int(inputs)  # type: ignore[arg-type]


@torch.no_grad()
def weight(linear: nn.Module) -> Tensor:
    """Returns W [O, I] in fp32, however the module stores it; for a quantised one, the weight that it computes with."""
    W: Tensor = linear.weight  # type: ignore[assignment]
    if not W.is_floating_point():  # packed: its outputs for all unit vectors are the weight
        # with a gradient: bitsandbytes repacks weights on some CPUs as soon as an input comes without
        eye_II = torch.eye(shape(linear)[1], device=W.device, requires_grad=True)
        W_IO: Tensor = linear(eye_II) - linear(torch.zeros_like(eye_II[:1], requires_grad=True))  # without the bias
        return W_IO.mT.float().contiguous()
    return (W if isinstance(linear, nn.Linear) else W.mT).detach().float()
