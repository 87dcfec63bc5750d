"""Every family of models × what is done with it: attach, train, route, measure, import and export, generate.

The reference is always another program or the plainest loop: a copy of the model whose weights were edited, each row alone,
each training alone, PEFT, and transformers' own `generate`.
"""

import copy
import functools
import re
from contextlib import contextmanager

import pytest
import torch

from tests.conftest import each
from tests.training.conftest import characters, flat
from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach, left_out, linears
from yosegi.engine.arm import Arm
from yosegi.engine.engine import Engine
from yosegi.engine.score import sum_logprobs
from yosegi.errors import Invalid, Refused, UnknownName
from yosegi.inits import fresh
from yosegi.library.interchange import read_peft, write_peft
from yosegi.routers.arrow import Arrow
from yosegi.routers.by_request import ByRequest
from yosegi.routers.softmax import Softmax
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example
from yosegi.training.fleet import fleet, fresh_expert
from yosegi.training.settings import FFN, Settings

GQA = {"num_key_value_heads": 2}
MAMBA = {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 4}
FUSED = "4 fused expert tensors"
KERNELS = "linears whose weights fused kernels read"
GATES = "2 fused tensors"
T5 = {"num_layers": 2, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_heads": 4, "decoder_start_token_id": 0}
FAMILIES = {
    "llama": (14, 6, "", GQA),
    "qwen3": (14, 6, "", GQA | {"head_dim": 8}),
    "gemma3_text": (14, 6, "", GQA | {"head_dim": 8, "sliding_window": 4}),
    "phi": (12, 4, "", {}),
    "gpt2": (8, 4, "", {}),
    "opt": (12, 4, "", {"ffn_dim": 48, "word_embed_proj_dim": 32}),
    "t5": (32, 8, "", T5),
    "mixtral": (8, 0, FUSED, GQA | {"num_local_experts": 4}),
    "qwen3_moe": (8, 0, FUSED, GQA | {"head_dim": 8, "moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}),
    "mamba": (2, 0, KERNELS, {"state_size": 4}),
    "mamba2": (2, 0, KERNELS, {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1, "chunk_size": 4}),
    "falcon_h1": (16, 6, KERNELS, GQA | MAMBA),
    "recurrent_gemma": (13, 6, GATES, {"lru_width": 32, "num_key_value_heads": 1, "block_types": ["recurrent", "attention"]}),
    "rwkv": (14, 6, "", {"attention_hidden_size": 32, "rescale_every": 0}),
}  # fmt: skip
"""How many linears all-linear covers, how many of them are feed-forward (LoRAMoE's targets), what is said of the rest, and the
config beyond the common sizes."""

LATE = ("opt", "falcon_h1")
"""Those that call the first linear of a block after another one: scope=ffn is refused."""

ROWS = [[5, 9, 14, 7], [6, 11, 4, 19, 8, 10, 13]]
SETTINGS = {"max_steps": 3, "rank": 2, "learning_rate": 0.01, "per_device_train_batch_size": 2, "dropout": 0.0}
STILL = ("dropout", "dropout_rate", "attn_pdrop", "embd_pdrop", "resid_pdrop")


@functools.cache
def tiny(family: str, **more) -> Base:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    tokenizer, sizes = characters(), {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
    own = FAMILIES[family][3] | more if family in FAMILIES else more
    config = AutoConfig.for_model(
        family, **({} if "d_model" in own else sizes), num_hidden_layers=2, vocab_size=len(tokenizer), pad_token_id=0,
        bos_token_id=1, eos_token_id=1, max_position_embeddings=64, **dict.fromkeys(STILL, 0.0), **own,
    )  # fmt: skip
    torch.manual_seed(0)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model = kind.from_config(config).eval()
    with torch.no_grad():  # an untrained head is of one opinion about all tokens
        for p in model.parameters():
            if p.dim() == 2:
                p.mul_(3)
    return Base(family, "0123456789ab", model, tokenizer)


def pair(model) -> list[Expert]:
    """Two experts that say something in every linear."""
    torch.manual_seed(1)
    start = fresh(model, "a", rank=2, alpha=4)
    return [
        Expert(name, {k: Factors(torch.randn_like(f.A_RI) / 4, torch.randn_like(f.B_OR) / 4, 2.0) for k, f in start.factors.items()})
        for name in ("a", "b")
    ]  # fmt: skip


@torch.no_grad()
def edited(model, *weighted):
    """A copy of a model with Σ w ΔW added to the weights themselves."""
    model = copy.deepcopy(model)
    for expert, w in weighted:
        for layer, f in expert.factors.items():
            linear, delta_OI = model.get_submodule(layer), w * f.scale * f.B_OR @ f.A_RI
            linear.weight += delta_OI.mT if type(linear).__name__ == "Conv1D" else delta_OI
    return model


@torch.no_grad()
def logits(base, rows=ROWS, model=None, banks=None, experts=None):
    """The logits of each row, from one batch padded on the right."""
    longest = max(map(len, rows))
    ids_BT = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    mask_BT = torch.tensor([[int(t < len(row)) for t in range(longest)] for row in rows])
    if banks is not None:
        banks.set_batch(mask_BT=mask_BT, experts=experts)
    more = {"decoder_input_ids": ids_BT} if base.seq2seq else {}
    found = (model or base.model)(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False, **more).logits
    return [one[: len(row)] for one, row in zip(found, rows, strict=True)]


def close(one, other):
    for got, expected in zip(one, other, strict=True):
        torch.testing.assert_close(got, expected, atol=2e-4, rtol=1e-3)


@contextmanager
def beside(base, experts, router):
    banks = attach(base.model, experts, router)
    try:
        yield banks
    finally:
        banks.detach()


@each("family", FAMILIES)
def test_attach(family):
    """Experts stand beside every linear they name; mixed or one each, they are what editing the weights would be."""
    base = tiny(family)
    before, experts = logits(base), pair(base.model)
    a, b = experts
    with beside(base, [fresh(base.model, name, rank=2, alpha=4) for name in "ab"], Uniform()):
        close(logits(base), before)
    with beside(base, experts, Uniform()) as banks:
        mixed = logits(base, banks=banks)
        banks.route(ByRequest())
        apart = logits(base, banks=banks, experts=["b", "a"])
    close(mixed, logits(base, model=edited(base.model, (a, 0.5), (b, 0.5))))
    alone = [logits(base, model=edited(base.model, (one, 1)))[n] for n, one in enumerate((b, a))]
    close(apart, alone)
    assert (mixed[0] - before[0]).abs().max() > 0.01 < (alone[0] - mixed[0]).abs().max()
    assert all(torch.equal(*two) for two in zip(logits(base), before, strict=True)), "the base came back"


@each("family", FAMILIES)
def test_train(family, tmp_path):
    """One pass over two experts is two trainings, and moves every A and B."""
    base = tiny(family)
    data = {n: [Example(f"{n}{i}", f"{i}+{n}=", str(i + n), (str(i + n),)) for i in range(4, 8)] for n in (1, 7)}
    groups = {name: data[n] for name, n in (("one", 1), ("two", 7))}
    start = fresh_expert(base, Settings(**SETTINGS), "start")
    together = fleet(base, groups, Run(tmp_path / family), Settings(**SETTINGS))
    for expert in together:
        name = expert.name
        alone = fleet(base, {name: groups[name]}, Run(tmp_path / f"{family}-{name}"), Settings(**SETTINGS))[0]
        torch.testing.assert_close(flat(expert), flat(alone), atol=2e-4, rtol=1e-3)
        still = [k for k, f in expert.factors.items() if not f.B_OR.any() or torch.equal(f.A_RI, start.factors[k].A_RI)]
        assert not still, still
        assert len(expert.factors) == FAMILIES[family][0]


@each("family", FAMILIES)
def test_route(family):
    """A token's weights do not depend on who shares its batch; a row is read as if it were alone."""
    base = tiny(family)
    scope = "projection" if family in LATE else "ffn"
    for router in (Arrow(top_k=1), Softmax(start="random", scope=scope)):
        seen = []
        with beside(base, pair(base.model), router) as banks:
            for rows in (ROWS, *([row] for row in ROWS)):
                banks.context.weights = {}
                seen.append((logits(base, rows, banks=banks), banks.context.weights))
        (together, weights), *alone = seen
        for n, (words, by_layer) in enumerate(alone):
            close(together[n : n + 1], words)
            assert set(by_layer) == set(weights) == set(linears(base.model))
            for layer, w_HE in by_layer.items():
                torch.testing.assert_close(weights[layer][n, : w_HE.shape[1]], w_HE[0], atol=1e-4, rtol=1e-3, msg=layer)
        spread = torch.cat([w_HE.flatten(0, -2) for w_HE in weights.values()])
        assert spread.std(0).min() > 0.01, "the router does choose"


@each("family", FAMILIES)
def test_measure(family):
    """What is scored together, beginnings shared, are the log-probabilities of each row alone with edited weights."""
    base, experts = tiny(family), pair(tiny(family).model)
    prompts, answers = [ROWS[1], ROWS[1], ROWS[0]], [[12, 5], [9, 4, 7, 1], [8, 1]]
    model, alone = edited(base.model, *((one, 0.5) for one in experts)), []
    for prompt, answer in zip(prompts, answers, strict=True):
        inputs = {"input_ids": torch.tensor([prompt if base.seq2seq else prompt + answer])}
        more = {"labels": torch.tensor([answer])} if base.seq2seq else {}
        with torch.no_grad():
            logp_TV = model(**inputs, **more).logits[0].float().log_softmax(-1)
        places = range(len(answer)) if base.seq2seq else range(len(prompt) - 1, len(prompt) + len(answer) - 1)
        alone.append(sum(float(logp_TV[place, token]) for place, token in zip(places, answer, strict=True)))
    rows = [
        {"input_ids": p, "labels": a} if base.seq2seq else {"input_ids": p + a, "labels": [-100] * len(p) + a}
        for p, a in zip(prompts, answers, strict=True)
    ]
    with beside(base, experts, Uniform()) as banks:
        assert sum_logprobs(base, rows, groups=[0, 0, 1], banks=banks) == pytest.approx(alone, abs=1e-3)


@each("family", FAMILIES)
def test_the_feed_forward_is_found(family):
    """LoRAMoE stands there, and is refused where there is none."""
    if covered := FAMILIES[family][1]:
        assert len(found := linears(tiny(family).model, FFN)) == covered and not any(
            "att" in name.lower() for name in found
        )
    else:
        with pytest.raises(UnknownName, match="linear of this model"):
            linears(tiny(family).model, FFN)


@each("family", FAMILIES)
def test_import_and_export(family, tmp_path):
    """PEFT computes what is computed here, and what all-linear does not cover is said."""
    from peft import PeftModel

    base, (covered, _, rest, _) = tiny(family), FAMILIES[family]
    expert = pair(base.model)[0]
    write_peft(expert, tmp_path / family, task_type="SEQ_2_SEQ_LM" if base.seq2seq else "CAUSAL_LM")
    again = read_peft(tmp_path / family, base.model)
    assert len(again.factors) == covered and again.factors.keys() == expert.factors.keys()
    assert all(
        map(torch.equal, again.factors[k][:2], f[:2]) and again.factors[k].scale == f.scale
        for k, f in expert.factors.items()
    )
    with beside(base, [again], Uniform()):
        ours = logits(base)
    close(logits(base, model=PeftModel.from_pretrained(copy.deepcopy(base.model), tmp_path / family).eval()), ours)
    said = left_out(base.model)
    assert said is None if not rest else re.match(rf"all-linear covers {covered} linears; .*{rest}", said), said


@each("family", FAMILIES)
def test_generate(family):
    """The engine answers as transformers' own `generate` does, one prompt at a time, with edited weights."""
    base = tiny(family)
    experts, prompts = pair(base.model), ["1+2=", "abc+7=de"]
    answers = Engine(base).generate(Arm("both", experts), prompts, max_new_tokens=8)
    model = edited(base.model, *((one, 0.5) for one in experts))
    for prompt, answer in zip(prompts, answers, strict=True):
        ids = base.tokenizer(prompt, return_tensors="pt").input_ids
        made = model.generate(ids, max_new_tokens=8, do_sample=False)[0, 1 if base.seq2seq else ids.shape[1] :]
        assert answer.text == base.tokenizer.decode(made, skip_special_tokens=True), prompt


SWITCH = T5 | {"num_experts": 2, "num_sparse_encoder_layers": 1, "num_decoder_layers": 1}
REFUSED = [
    ("mamba", {}, "dt_proj", r"mixer.dt_proj: the model reads the weight of this linear instead of calling it"),
    ("rwkv", {"rescale_every": 6}, ["output"], r"attention.output: the model reads the weight"),
    ("switch_transformers", SWITCH, r".*expert_0\.wi", r"expert_0.wi belongs to the base's own experts and sees only the tokens"),
    *((family, {}, "all-linear", r"scope=ffn: .* cannot follow the first linear") for family in LATE),
]  # fmt: skip


@each("family, more, targets, line", REFUSED)
def test_what_cannot_be_right_is_refused_by_name(family, more, targets, line):
    base = tiny(family, **more)
    assert ("4 linears of the base's own experts" in (left_out(base.model) or "")) == (more is SWITCH)
    with (
        pytest.raises(Invalid, match=line),
        beside(base, [fresh(base.model, "a", rank=2, alpha=4, targets=targets)], Softmax(scope="ffn")) as banks,
    ):
        logits(base, banks=banks)


def test_an_adapter_beside_what_is_never_called_is_refused(tmp_path):
    base = tiny("mamba")
    layer = "backbone.layers.0.mixer.dt_proj"
    I = base.model.get_submodule(layer).in_features
    O = base.model.get_submodule(layer).out_features
    write_peft(Expert("a", {layer: Factors(torch.ones(1, I), torch.ones(O, 1), 1.0)}), tmp_path / "a")
    with pytest.raises(Refused, match=rf"has factors for {layer}: the model reads the weight"):
        read_peft(tmp_path / "a", base.model)
