"""LoRAMoE as a bank: what it learns, keeps, resumes, and what its experts are worth one by one."""

import dataclasses

import pytest
import torch

from tests.training.conftest import flat, sums, tiny_base
from yosegi import files
from yosegi.core.model import linears
from yosegi.engine.arm import Arm
from yosegi.engine.kept import load_arm, save_arm
from yosegi.engine.score import score_answers
from yosegi.errors import Invalid, UnknownName
from yosegi.library.store import Library
from yosegi.partitions.by_type import by_type, typed
from yosegi.run import Run
from yosegi.training.loramoe import keep_types, loramoe, share_out
from yosegi.training.settings import FFN, LoraMoeSettings

QUICK = LoraMoeSettings(
    max_steps=10, per_device_train_batch_size=8, learning_rate=1e-2, router_learning_rate=0.05, dropout=0, rank=2,
    save_steps=4,
)  # fmt: skip
DATA = {"easy": {"low": sums()[:30]}, "hard": {"low": sums()[30:40], "high": sums()[60:]}}


def go(folder, base=None, settings=QUICK, experts=4, data=DATA, **more):
    return loramoe(base or tiny_base(), data, Run(folder), settings, experts=experts, **more)


def rows_of(folder):
    return files.read_jsonl(folder / "metrics.jsonl")


@pytest.mark.parametrize("scope", ["projection", "ffn"])
def test_it_learns_is_kept_and_answers_again(tmp_path, scope):
    base = tiny_base()
    before = {name: tensor.clone() for name, tensor in base.model.state_dict().items()}
    made = go(tmp_path / "run", base, QUICK.model_copy(update={"scope": scope}))
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.model.state_dict().items())
    assert (
        made.training["types"] == ["easy", "hard"]
        and made.training["expert_types"] == [0, 0, 1, 1]
        and made.tasks == ("low", "high")
    )
    assert set(made.experts[0].factors) == {n for n in linears(base.model) if ".mlp." in n}
    assert len(made.router_state) == (6 if scope == "projection" else 2)
    assert all(key.endswith("gate_proj|row_EI") for key in made.router_state) or scope == "projection"
    assert all(value.abs().max() > 1e-3 for value in made.router_state.values()), "every router moved"
    assert len({flat(e).norm().item() for e in made.experts}) == 4

    shelf = Library(tmp_path / "library", base.hash, base.name)
    for expert in made.experts:
        shelf.add(expert)
    save_arm(shelf, dataclasses.replace(made, name="bank"))
    kept = load_arm(shelf, "bank")
    assert kept.router == "softmax" and kept.training["types"] == ["easy", "hard"] and kept.tasks == ("low", "high")
    fresh = Arm("fresh", made.experts, "softmax", made.router_args, made.router_state)
    again = Arm("again", kept.experts, kept.router, kept.router_args, kept.router_state, kept.mix, kept.heads)
    found = []
    for arm in (fresh, again):
        with arm.attached(base) as banks:
            found.append(score_answers(base, sums(), banks=banks))
            with banks.disabled():
                assert score_answers(base, sums(), banks=banks) == score_answers(base, sums()), "disabled"
    assert found[0] == found[1]
    assert sum(found[0]) > sum(score_answers(base, sums())) + 10


def test_a_router_may_begin_at_random(tmp_path):
    """One step at a rate of almost nothing: at zero all weights stay equal, at random they are not."""
    settings = QUICK.model_copy(update={"max_steps": 1, "learning_rate": 1e-9, "router_learning_rate": 1e-9})
    starts = {}
    for start in ("zero", "random", "again"):
        way = {"router_start": "zero" if start == "zero" else "random"}
        starts[start] = go(tmp_path / start, settings=settings.model_copy(update=way)).router_state
    assert all(value.abs().max() < 1e-6 for value in starts["zero"].values())
    assert all(value.abs().max() > 1e-3 for value in starts["random"].values())
    assert all(torch.equal(value, starts["again"][key]) for key, value in starts["random"].items()), (
        "same seed, same start"
    )


def test_the_experts_one_by_one(tmp_path):
    """Without an expert: the layer's sum without its term, and no other weight changed."""
    base, made = tiny_base(), go(tmp_path)
    arm = Arm("all", made.experts, "softmax", made.router_args, made.router_state)
    layer, x = "model.layers.0.mlp.up_proj", torch.randn(2, 3, 32)
    with arm.attached(base) as banks:
        whole, w = banks.layers[layer](x), banks.layers[layer].router(x, banks.context)
        plain, terms = banks.layers[layer].base(x), [made.experts[e].delta(layer) for e in range(4)]
    for e, name in enumerate(expert.name for expert in made.experts):
        without = Arm(f"without {name}", made.experts, "softmax", made.router_args, made.router_state, ablate=(name,))
        assert without.fingerprint() != arm.fingerprint() and without.describe()["ablate"] == [name]
        with without.attached(base) as banks:
            found = banks.layers[layer](x)
        torch.testing.assert_close(found, whole - w[..., 0, e, None] * (x @ terms[e].T), atol=1e-5, rtol=1e-4)
    with Arm("none", made.experts, "softmax", made.router_args, made.router_state, ablate=tuple(e.name for e in made.experts)).attached(
        base
    ) as banks:  # fmt: skip
        torch.testing.assert_close(banks.layers[layer](x), plain)
    with (
        pytest.raises(UnknownName, match="Did you mean 'loramoe-0'"),
        Arm("x", made.experts, ablate=("loramoe0",)).attached(base),
    ):
        pass  # fmt: skip


def test_the_metrics_tell_what_the_routers_did(tmp_path):
    go(tmp_path)
    rows = rows_of(tmp_path)
    assert len(rows) == 10
    for row in rows:
        assert row["loss"] == pytest.approx(row["ce"] + 0.1 * row["balance"], abs=1e-5)
        assert 0 <= row["load_cv"] < 3 and 0 < row["entropy"] <= 1.3863 and 0 < row["match_mass"] < 1
        for masses in row["mass"].values():
            assert sum(masses.values()) == pytest.approx(1, abs=2e-4)
    first = rows[0]  # nobody has moved: even weights, Z = (1 ± δ)/4, so σ²/μ² = δ² in each of six layers
    assert first["balance"] == pytest.approx(6 * 0.01, abs=1e-5) and first["load_cv"] == pytest.approx(0, abs=1e-5)
    assert first["match_mass"] == pytest.approx(0.5) and first["entropy"] == pytest.approx(1.38629, abs=1e-4)


def test_the_constraint_holds_the_load_together(tmp_path):
    """A router that may run free is uneven; with β = 3 it is not."""
    free = QUICK.model_copy(update={"beta": 0.0, "max_steps": 30, "router_learning_rate": 0.3})
    cv = []
    for beta in (0.0, 3.0):
        go(tmp_path / str(beta), settings=free.model_copy(update={"beta": beta, "delta": 0.0}))
        cv.append(rows_of(tmp_path / str(beta))[-1]["load_cv"])
    assert cv[1] < 0.5 * cv[0]


@pytest.mark.parametrize("beta", [0.0, 2.0])
def test_how_a_step_is_cut_makes_no_difference(tmp_path, beta):
    settings = QUICK.model_copy(update={"beta": beta, "expert_types": [0, 1, 1, 1], "max_steps": 6})
    whole = go(tmp_path / "whole", settings=settings)
    cut = go(tmp_path / "cut", settings=settings.model_copy(update={"tokens_per_pass": 16}))
    for a, b in zip(whole.experts, cut.experts, strict=True):
        torch.testing.assert_close(flat(a), flat(b), atol=2e-4, rtol=1e-2)
    for key in whole.router_state:
        torch.testing.assert_close(whole.router_state[key], cut.router_state[key], atol=2e-3, rtol=1e-2)
    for one, other in zip(rows_of(tmp_path / "whole"), rows_of(tmp_path / "cut"), strict=True):
        for key in ("loss", "ce", "balance", "load_cv", "entropy", "match_mass", "grad_norm"):
            assert one[key] == pytest.approx(other[key], abs=2e-3, rel=1e-3), key


def test_dropout_drops_the_same_when_a_cut_step_is_looked_at(tmp_path):
    settings = QUICK.model_copy(update={"dropout": 0.5, "beta": 0.0, "max_steps": 4})
    go(tmp_path / "a", settings=settings.model_copy(update={"tokens_per_pass": 16}))
    go(tmp_path / "b", settings=settings.model_copy(update={"beta": 1e-9, "tokens_per_pass": 16}))
    a, b = rows_of(tmp_path / "a"), rows_of(tmp_path / "b")
    assert [row["ce"] for row in a] == pytest.approx([row["ce"] for row in b], abs=2e-4)


def test_checkpointing_of_activations_changes_nothing(tmp_path):
    settings = QUICK.model_copy(update={"scope": "ffn", "max_steps": 3})
    one = go(tmp_path / "a", settings=settings)
    other = go(tmp_path / "b", settings=settings.model_copy(update={"activation_checkpointing": True}))
    assert all(torch.equal(flat(a), flat(b)) for a, b in zip(one.experts, other.experts, strict=True))


def test_the_curriculum_is_followed(tmp_path):
    go(tmp_path, settings=QUICK.model_copy(update={"curriculum": ["easy", "hard"]}))
    rows = rows_of(tmp_path)
    assert all(set(row["mass"]) == {"easy"} for row in rows[:5]) and all("hard" in row["mass"] for row in rows[5:])


def test_shares_of_tasks(tmp_path):
    settings = QUICK.model_copy(update={"shares": {"low": 0.0, "high": 1.0}, "max_steps": 2})
    go(tmp_path, settings=settings)
    assert all(set(row["mass"]) == {"hard"} for row in rows_of(tmp_path)), "high is hard"


def test_a_partition_by_type(tmp_path):
    data = {"low": sums()[:10], "high": sums()[90:]}
    found = by_type(data, {("low", "0+1"): "hard"}, rules=["hard: task == high", "easy"])
    assert {t: {task: len(some) for task, some in of.items()} for t, of in typed(found, data).items()} == {
        "hard": {"high": 10, "low": 1},
        "easy": {"low": 9},
    }
    keep_types(tmp_path / "types.json", found)
    kept = files.read_json(tmp_path / "types.json")
    assert len(kept["rows"]) == 20 and kept["tasks"] == {"hard": ["low", "high"], "easy": ["low"]}


@pytest.mark.parametrize(
    ("experts", "types", "found"), [(6, 2, [0, 0, 0, 1, 1, 1]), (5, 2, [0, 0, 0, 1, 1]), (3, 3, [0, 1, 2])]
)
def test_experts_are_shared_out(experts, types, found):
    assert share_out(experts, types) == found


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"init": "pissa"}, "begin apart"),
        ({"expert_types": [0, 1]}, "each of 4 experts"),
        ({"expert_types": [0, 1, 2, 0]}, "from 0 to 1"),
        ({"shares": {"easy": 1.0, "high": 1.0}}, "not about both"),
        ({"curriculum": ["esy", "hard"]}, "Did you mean 'easy'"),
    ],
)
def test_wrong_settings(tmp_path, wrong, said):
    with pytest.raises(Invalid if "Did" not in said else UnknownName, match=said):
        go(tmp_path, settings=QUICK.model_copy(update=wrong))


def test_the_feed_forward_blocks_of_every_kind(any_model):
    found = linears(any_model, FFN)
    assert len(found) >= 4 and not any("attn" in n.lower() or "attention" in n.lower() for n in found)


def test_banks_of_other_types_read_the_same_rows_in_the_same_order(tmp_path):
    """With β 0 the types change nothing, so the losses have to be the same, step by step."""
    rows = {"low": sums()[:40], "high": sums()[60:]}
    dealt = {"even": {}, "odd": {}}
    for task, some in rows.items():
        for n, row in enumerate(some):
            dealt["odd" if n % 2 else "even"].setdefault(task, []).append(row)
    losses = []
    for name, data, in_order in (("own", DATA, None), ("dealt", dealt, rows), ("apart", dealt, None)):
        go(tmp_path / name, data=data, settings=QUICK.model_copy(update={"beta": 0.0}), in_order=in_order)
        losses.append([row["ce"] for row in rows_of(tmp_path / name) if "ce" in row])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5) and losses[0] != pytest.approx(losses[2], rel=1e-3)


def test_more_types_than_experts_are_refused(tmp_path):
    data = {str(n): {f"t{n}": some[:4]} for n, some in enumerate([next(iter(DATA["easy"].values()))] * 5)}
    with pytest.raises(Invalid, match="5 types share 4 experts, so that 1 have none"):
        go(tmp_path, data=data)


def test_more_active_experts_than_there_are(tmp_path):
    with pytest.raises(Invalid, match="top_k=5: there are 4 experts"):
        go(tmp_path, settings=QUICK.model_copy(update={"top_k": 5}))


def test_a_model_that_lays_its_tokens_in_one_row(tmp_path):
    """OPT's feed-forward knows no sequences; types, padding and routers do."""
    from dataclasses import replace

    from transformers import OPTConfig, OPTForCausalLM

    base = tiny_base()
    torch.manual_seed(0)
    config = OPTConfig(
        vocab_size=base.model.config.vocab_size, hidden_size=32, ffn_dim=48, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=64, word_embed_proj_dim=32, dropout=0.0, pad_token_id=base.tokenizer.pad_token_id,
    )  # fmt: skip
    made = go(tmp_path / "run", replace(base, model=OPTForCausalLM(config).eval()))
    assert {name.rpartition(".")[2] for name in made.experts[0].factors} == {"fc1", "fc2"}
    assert rows_of(tmp_path / "run")[0]["balance"] == pytest.approx(4 * 0.01, abs=1e-5)
