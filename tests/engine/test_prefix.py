"""What is read once is scored as if it had been read every time: of every kind of model, under every router."""

from inspect import signature

import pytest
import torch

from tests.engine.test_score import counted
from tests.training.conftest import characters, tiny_base, tiny_t5
from yosegi import registry
from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach, linears, shape
from yosegi.engine.arm import Arm
from yosegi.engine.prefix import can_branch, clusters, plant, tree
from yosegi.engine.score import score_candidates, score_logprobs
from yosegi.tasks import Candidates, Example, Score, Task

SHOTS = "1+1=2 2+3=5 4+5=9 7+1=8 "
TOKENIZER = characters()
SIZE = {"vocab_size": len(TOKENIZER), "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
ENDS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 1}


class Quiz(Task):
    """Four candidates of several tokens, two of one token, after a few worked examples; and the answer."""

    name = "quiz"

    def candidates(self, example):
        return {
            "long": Candidates(("12", "12 3", "abcdef", "3+4+5"), example.prompt),
            "short": Candidates(("1", "2"), example.prompt),
            "bare": Candidates(("a", "bcd", "bce"), example.meta["bare"]),
        }

    def score_logprobs(self, example, logprobs):
        return Score(0.0)


EXAMPLES = [
    Example(str(n), f"{SHOTS}{n}+{n * m}=", str(n + n * m), meta={"bare": f"{n} "})
    for n, m in ((1, 1), (2, 31), (3, 3), (4, 2), (5, 500), (6, 1))
]


def plain(base, ids, target, tell=lambda: None):
    """One row by itself; the sum over its last `target` tokens."""
    tell()
    with torch.no_grad():
        logp = base.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    return sum(logp[t - 1, ids[t]].item() for t in range(len(ids) - target, len(ids)))


def rows_of(base, example):
    """Prompt and text of everything that a quiz scores, in order, and the number of tokens that are asked for."""
    groups = Quiz().candidates(example)
    texts = [(some.prompt, text, 0) for some in groups.values() for text in some.texts]
    for prompt, text, end in [*texts, (example.prompt, example.target, 1)]:
        ids = base.tokenizer(text).input_ids + [base.tokenizer.eos_token_id] * end
        yield base.tokenizer(prompt).input_ids, ids


def check(base, banks=None, known=None, tolerance=1e-4):
    """Everything equals the loop; returns the tokens that were read, and those that the loop read."""
    with counted(base) as read:
        scored = score_candidates(base, Quiz(), EXAMPLES, banks=banks, known=known, batch_size=4)
    loop = 0
    for n, example in enumerate(EXAMPLES):

        def tell(n=n):
            if banks is not None:
                banks.set_batch(**{what: values[n : n + 1] for what, values in (known or {}).items()})

        found = [one for some in scored.logprobs[n].values() for one in some]
        *rows, (prompt, answer) = rows_of(base, example)
        for one, (before, ids) in zip(found, rows, strict=True):
            assert one.tokens == len(ids)
            assert one.sum_logprob == pytest.approx(plain(base, before + ids, len(ids), tell), abs=tolerance)
            loop += len(before) + len(ids)
        mean = plain(base, prompt + answer, len(answer), tell) / len(answer)
        assert scored.answers[n] == pytest.approx(mean, abs=tolerance)
        loop += len(prompt) + len(answer)
    return sum(read), loop


def named(kind, model):
    torch.manual_seed(0)
    return Base(kind, "0" * 12, model().eval(), TOKENIZER)


def models():
    import transformers as t

    llama = {**SIZE, "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": 128, **ENDS}
    return {
        "gpt2": lambda: t.GPT2LMHeadModel(
            t.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=26, n_positions=96, **ENDS)
        ),
        "opt": lambda: t.OPTForCausalLM(
            t.OPTConfig(**SIZE, ffn_dim=64, max_position_embeddings=96, word_embed_proj_dim=32, **ENDS)
        ),
        "qwen3": lambda: t.Qwen3ForCausalLM(t.Qwen3Config(**llama, head_dim=8)),
        "gemma2": lambda: t.Gemma2ForCausalLM(t.Gemma2Config(**llama, head_dim=8, sliding_window=200)),
        "gpt_neox": lambda: t.GPTNeoXForCausalLM(
            t.GPTNeoXConfig(**SIZE, intermediate_size=64, max_position_embeddings=96, **ENDS)
        ),
        "wide window": lambda: t.MistralForCausalLM(t.MistralConfig(**llama, sliding_window=64)),
        "narrow window": lambda: t.MistralForCausalLM(t.MistralConfig(**llama, sliding_window=16)),
        "bloom": lambda: t.BloomForCausalLM(t.BloomConfig(vocab_size=26, hidden_size=32, n_layer=2, n_head=4, **ENDS)),
        "mamba": lambda: t.MambaForCausalLM(
            t.MambaConfig(vocab_size=26, hidden_size=32, num_hidden_layers=2, state_size=4, **ENDS)
        ),
        "recurrentgemma": lambda: t.RecurrentGemmaForCausalLM(
            t.RecurrentGemmaConfig(
                **{**SIZE, "num_hidden_layers": 3}, intermediate_size=96, lru_width=32, attention_window_size=16, **ENDS
            )
        ),
    }


BRANCH = {"gpt2", "opt", "qwen3", "gemma2", "gpt_neox", "wide window", "narrow window"}
"""Kinds that read what rows have in common once."""


@pytest.mark.parametrize(
    "kind",
    ["gpt2", "opt", "qwen3", "gemma2", "gpt_neox", "wide window", "narrow window", "bloom", "mamba", "recurrentgemma"],
)
def test_every_kind_of_model_gives_the_numbers_of_the_loop(kind):
    base = named(kind, models()[kind])
    assert can_branch(base.model) is (kind in BRANCH)
    read, loop = check(base)
    assert read < (0.45 if kind in BRANCH - {"narrow window"} else 1.1) * loop


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_prompts_and_worked_examples_are_read_once(attention):
    base = tiny_base()
    base.model.set_attn_implementation(attention)
    check(base)
    with counted(base) as read:
        score_candidates(base, Quiz(), EXAMPLES)
    prompts = sum(len(e.prompt) - len(SHOTS) + len(e.meta["bare"]) for e in EXAMPLES)
    candidates = sum(len(ids) - 1 for e in EXAMPLES for _, ids in rows_of(base, e))
    assert sum(read) < 1.5 * (len(SHOTS) + prompts + candidates), "little but padding besides"


def test_candidates_of_one_token_cost_one_row_of_any_model():
    base = named("mamba", models()["mamba"])
    assert not can_branch(base.model)
    with counted(base) as read:
        score_logprobs(base, [("1+2=", text) for text in "0123456789"])
    assert read == [len("1+2=")]


def test_an_encoder_decoder_encodes_a_prompt_once():
    base = tiny_t5()
    texts = [(e.prompt, text) for e in EXAMPLES for text in ("12", "abc", "3+4+5")]
    sizes = []
    hook = base.model.get_encoder().register_forward_hook(lambda *seen: sizes.append(seen[2].last_hidden_state.shape))
    found = score_logprobs(base, texts)
    hook.remove()
    assert sum(shape[0] for shape in sizes) == len(EXAMPLES)
    for one, (prompt, text) in zip(found, texts, strict=True):
        ids, labels = (torch.tensor([TOKENIZER(some).input_ids]) for some in (prompt, text))
        with torch.no_grad():
            logp = base.model(input_ids=ids, labels=labels).logits[0].log_softmax(-1)
        assert one.sum_logprob == pytest.approx(logp.gather(-1, labels[0, :, None]).sum().item(), abs=1e-4)


def experts_of(model, targets="all-linear"):
    """Three experts of two tasks that move the model a good deal."""
    torch.manual_seed(0)
    modules, found = dict(model.named_modules()), []
    for name, task in (("a", "quiz"), ("b", "sums"), ("c", "sums")):
        factors = {}
        for layer in linears(model, targets):
            O, I = shape(modules[layer])
            factors[layer] = Factors(torch.randn(4, I) / I**0.5, torch.randn(O, 4) / 4, 1.0)
        found.append(Expert(name, factors, {"task": [task]}))
    return found


ROUTERS = [
    *((name, {}) for name in registry.names("routers")),
    ("softmax", {"scope": "ffn", "top_k": 2}),
    ("centroid", {"top_k": 1, "temperature": 0.1}),
    ("predictor", {"top_k": 1}),
    ("retrieval", {"top_k": 1}),
]


@pytest.mark.parametrize(("name", "arguments"), ROUTERS, ids=str)
@pytest.mark.parametrize("make", [tiny_base, tiny_t5])
def test_under_every_router_the_numbers_are_those_of_the_loop(name, arguments, make):
    base = make()
    router = registry.find("routers", name)(**arguments)
    experts = experts_of(base.model, ["wi", "wo"] if base.seq2seq and "scope" in arguments else "all-linear")
    banks = attach(base.model, experts, router)
    base.model.eval()
    try:
        teach(banks, router)
        arm = Arm("arm", experts, name, arguments)
        known = {"experts": ["a", "b", "c", "a", None, "b"]} if name == "by_request" else {}
        known = known or arm.known(base, banks, "quiz", [example.prompt for example in EXAMPLES])
        if base.seq2seq:
            check_encoder_decoder(base, banks, known)
        else:
            read, loop = check(base, banks, known)
            assert read < (0.6 if router.needs in ("features", "experts") else 0.45) * loop
    finally:
        banks.detach()


def check_encoder_decoder(base, banks, known):
    scored = score_candidates(base, Quiz(), EXAMPLES, banks=banks, known=known, batch_size=4)
    for n, example in enumerate(EXAMPLES):
        found = [one for some in scored.logprobs[n].values() for one in some]
        for one, (before, text) in zip(found, rows_of(base, example), strict=False):
            banks.set_batch(**{what: values[n : n + 1] for what, values in known.items()})
            ids, labels = torch.tensor([before]), torch.tensor([text])
            with torch.no_grad():
                logp = base.model(input_ids=ids, labels=labels).logits[0].log_softmax(-1)
            assert one.sum_logprob == pytest.approx(logp.gather(-1, labels[0, :, None]).sum().item(), abs=1e-4)


def teach(banks, router):
    """Random data teach a router what real data would (training/routers.py)."""
    torch.manual_seed(3)
    for n, (layer, module) in enumerate(banks.layers.items()):
        if router.learns == "inputs":
            module.router.fit(torch.randn(3, banks[layer].A_ERI.shape[-1]))
        if router.learns == "prompts" and n == 0:  # all layers share it
            few = {"steps": 20} if "steps" in signature(router.fit).parameters else {}
            module.router.fit(torch.randn(12, 32), ["quiz", "sums"] * 6, **few)
        if router.learns == "gates":
            module.router.begin().data.normal_()
            module.router.end()
        for parameter in module.router.parameters():
            parameter.data.normal_()


def test_rows_are_joined_only_where_it_saves():
    rows = [{"input_ids": [1, 2, 3, 4, *rest], "labels": [-100] * 4 + rest} for rest in ([5, 6], [5, 7], [9])]
    (joined,) = plant(rows, [(0, 1, 2)], 100)
    assert joined == tree(rows, (0, 1, 2)) == ((0, 1, 2), [1, 2, 3, 4], [[5, 6], [5, 7], [9]], 4)
    assert joined.forked and joined.size == 6 and not tree(rows, (0,)).forked
    assert len(list(plant(rows, [(0, 1, 2)], 5))) == 3, "longer than the model may branch"
    unlike = [{"input_ids": [n, 2, 3, 4], "labels": [-100, 2, 3, 4]} for n in (5, 6)]
    assert [one.trunk for one in plant(unlike, [(0, 1)], 100)] == [[5, 2, 3], [6, 2, 3]]


def test_prefixes_end_before_what_is_asked_for():
    shots = list(range(30))
    rows = [{"input_ids": [*shots, n, 7], "labels": [-100] * 31 + [7]} for n in (40, 41, 42)]
    asked = {"input_ids": [*shots, 43, 7], "labels": [-100] * 10 + [*shots[10:], 43, 7]}
    other = {"input_ids": [*range(50, 90)], "labels": [-100] * 39 + [89]}
    trees = [tree([*rows, asked, other], [n]) for n in range(5)]
    (none, alone), (length, cluster) = clusters(trees[:3] + trees[4:], 1000)
    assert none == 0 and [one.rows for one in alone] == [(4,)] and length == 30 and len(cluster) == 3
    assert all(length <= min(one.target for one in some) - 1 for length, some in clusters(trees, 1000) if length)
    assert clusters(trees, 31)[0] == (0, trees[4:]) or clusters(trees, 20) == [(0, trees)]
