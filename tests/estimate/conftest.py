"""A tiny Llama with a job's experts in it, and what torch really keeps for the backward pass."""

import dataclasses

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from yosegi.core.model import attach
from yosegi.estimate.memory import WHOLE
from yosegi.estimate.shapes import ATTENTION, FFN
from yosegi.inits import fresh
from yosegi.objectives.lm import lm
from yosegi.routers.by_request import ByRequest
from yosegi.routers.softmax import Softmax
from yosegi.routers.uniform import Uniform

CONFIG = {
    "vocab_size": 300, "hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip


def config(**changes):
    from transformers import LlamaConfig

    return LlamaConfig(**{**CONFIG, **changes})


def model_of(job, **changes):
    """The model, ready to train, and a batch for it."""
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    model = LlamaForCausalLM(config(**changes)).to(torch.bfloat16 if job.dtype == "bf16" else torch.float32)
    rows = job.at_once // job.length
    ids_BT = torch.randint(3, 300, (rows, job.length))
    batch = {"input_ids": ids_BT, "labels": ids_BT, "attention_mask": torch.ones_like(ids_BT)}
    if job.method in WHOLE and not job.embeddings:  # as training/dense.py has it
        for name, p in model.named_parameters():
            p.requires_grad_("_proj" in name)
    if job.method not in WHOLE:
        targets = {"ffn": list(FFN), "attention": list(ATTENTION)}.get(job.targets, job.targets)
        n = job.experts
        start = fresh(model, "e", rank=job.rank, alpha=8, targets=targets)
        experts = [dataclasses.replace(start, name=f"e{e}") for e in range(n)]
        router = {"loramoe": Softmax, "fleet": ByRequest}.get(job.method, Uniform)()
        banks = attach(model, experts, router, dropout=job.dropout)
        asked = [f"e{row * n // rows}" for row in range(rows)] if job.method == "fleet" else None
        banks.set_batch(mask_BT=batch["attention_mask"], experts=asked)
    return model.train(), batch


def kept(model, batch, bf16):
    """Bytes that the forward pass leaves for the backward pass, storage by storage, without the model's own."""
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    found = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = lm(model, batch, 1)
    return sum(storage.nbytes() for storage in found.values()), loss


@pytest.fixture
def measured():
    """measured(job, **changes of the config): (model, batch, bytes kept, loss)."""

    def measure(job, **changes):
        model, batch = model_of(job, **changes)
        return model, batch, *kept(model, batch, job.bf16 and job.dtype == "fp32")

    return measure
