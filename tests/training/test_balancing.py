"""What the routers of a step did, added up over its batches."""

import pytest
import torch

from tests.objectives.test_balance import TOKENS, batch_of, parts, routed
from yosegi.objectives.balance import Constraint, balance
from yosegi.objectives.sft import sft
from yosegi.training.balancing import Balancing


def test_in_one_batch_or_in_several(llama, experts):
    routed(llama, experts)
    found = []
    for cut in ([3], [1, 2], [1, 1, 1]):
        how = Balancing(Constraint(beta=2.0, expert_types=[0, 0, 0, 1]), ["knowledge", "task"])
        batches = [batch_of(llama, rows, types=types) for rows, types in parts(cut)]
        how.begin(llama, batches if len(batches) > 1 else ())
        loss = sum(how(llama, batch, TOKENS) for batch in batches)
        found.append({"loss": loss.item(), **how.columns()})
    for other in found[1:]:
        assert other.pop("mass")["task"] == pytest.approx(found[0]["mass"]["task"], abs=1e-3)
        assert other == pytest.approx({k: v for k, v in found[0].items() if k != "mass"}, rel=1e-4, abs=1e-5)
    assert found[0]["loss"] == pytest.approx(found[0]["ce"] + 2 * found[0]["balance"], rel=1e-5)
    assert found[0]["ce"] == pytest.approx(sft(llama, batch_of(llama), TOKENS).item(), rel=1e-5)
    mass = found[0]["mass"]
    assert list(mass) == ["knowledge", "task"] and all(
        sum(m.values()) == pytest.approx(1, abs=2e-4) for m in mass.values()
    )
    matching = (2 * mass["knowledge"]["knowledge"] + mass["task"]["task"]) / 3  # two sequences are of the first type
    assert found[0]["match_mass"] == pytest.approx(matching, abs=2e-4)


def test_load_and_entropy_by_hand(llama, experts):
    routed(llama, experts, targets=["gate_proj"])
    how, seen = Balancing(Constraint(beta=0.0)), []
    how.begin(llama)
    how(llama, batch_of(llama), TOKENS)
    balance(llama, batch_of(llama), TOKENS, note=lambda ce, heard, *_: seen.extend(heard))
    loads = [one.Q_BN.detach().mean(0) for one in seen]
    assert len(loads) == 2
    cv = sum(float(load.std(correction=0) / load.mean()) for load in loads) / 2
    assert how.columns()["load_cv"] == pytest.approx(cv, rel=1e-5)
    assert how.columns()["entropy"] == pytest.approx(
        float(torch.stack([one.entropy_B for one in seen]).mean()), rel=1e-5
    )
    assert "mass" not in how.columns(), "no expert has a type"


def test_a_model_without_routers(llama):
    how = Balancing(Constraint())
    how.begin(llama)
    torch.testing.assert_close(how(llama, batch_of(llama), TOKENS), sft(llama, batch_of(llama), TOKENS))
    assert set(how.columns()) == {"ce"}


def test_looking_draws_no_random_number(llama, experts):
    routed(llama, experts)
    llama.train()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    Balancing(Constraint()).begin(llama, [batch_of(llama)])
    assert torch.equal(torch.get_rng_state(), before)
