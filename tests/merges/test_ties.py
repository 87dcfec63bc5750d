"""TIES against a loop over every entry, its trim over the whole expert, and PEFT where PEFT does the same."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.merges import merge

LAYERS = ("q", "v", "k")


@pytest.mark.parametrize("weights", [None, [1.0, 1.0, 1.0], [0.4, 0.4, 0.4], [0.2, 0.5, 0.3], [1.0, -2.0, 0.5]])
@pytest.mark.parametrize("density", [0.05, 0.2, 1.0])
def test_is_the_loop_over_entries(make, trimmed, elected, weights, density):
    experts = [make("a"), make("b", 3), make("c", 1, layers=["q", "k"])]
    merged = merge(experts, "ties", weights, density=density, rank="full")
    cut = [trimmed(expert, density) for expert in experts]
    for layer in LAYERS:
        want = elected([w * c[layer] for w, c in zip(weights or [1.0] * 3, cut, strict=True)])
        torch.testing.assert_close(merged.delta(layer), want, atol=1e-5, rtol=0)
    assert merged.card["truncation_error"] == 0 and merged.card["training"]["weights"] == weights or [1.0] * 3


def test_the_trim_is_over_the_whole_expert_and_not_layer_by_layer(make):
    expert = make("a")
    merged = merge([expert], "ties", density=0.2, rank="full")
    stays = {layer: merged.delta(layer) != 0 for layer in LAYERS}
    assert sum(int(s.sum()) for s in stays.values()) == int(0.2 * sum(s.numel() for s in stays.values()))
    kept = {layer: float(s.float().mean()) for layer, s in stays.items()}
    assert kept["v"] > 0.4 and kept["k"] < 0.05, "the layer with the largest delta keeps most"


def test_one_expert_untrimmed_is_itself(make):
    expert = make("a")
    for weight in (1.0, -1.5):
        merged = merge([expert], "ties", [weight], density=1)
        for layer in LAYERS:
            torch.testing.assert_close(merged.delta(layer), weight * expert.delta(layer), atol=1e-5, rtol=0)
        assert merged.card["relative_error"] < 1e-5 and merged.card["truncation_error"] < 1e-5


def pair(*values):
    """Experts of one layer whose deltas are diagonal: entries one by one."""
    return [
        Expert(name, {"q": Factors(torch.eye(len(v)), torch.tensor(v).diag())}, {})
        for name, v in zip("abcd", values, strict=False)
    ]


def test_the_election_by_hand():
    experts = pair([3.0, 1.0, -1.0, 0.0], [-1.0, 2.0, -2.0, 5.0], [1.0, -4.0, -3.0, 0.0])
    got = merge(experts, "ties", density=1, rank="full").delta("q").diagonal()
    assert got.tolist() == [2.0, -4.0, -2.0, 5.0]  # (3 + 1)/2, -4 alone, all three, the only one that says anything


def test_a_draw_goes_to_the_sign_that_wins_elsewhere():
    for sign in (1.0, -1.0):
        experts = pair([2.0 * sign, 1.0, sign, 0.0], [-2.0 * sign, -1.0, 3 * sign, sign])
        got = merge(experts, "ties", density=1, rank="full").delta("q").diagonal()
        assert got.tolist() == [2 * sign, sign, 2 * sign, sign]


def test_a_draw_everywhere_goes_up():
    got = merge(pair([2.0, -1.0], [-2.0, 1.0]), "ties", density=1, rank="full").delta("q").diagonal()
    assert got.tolist() == [2.0, 1.0]


def test_a_draw_looks_at_all_layers(make):
    up = {"x": Factors(torch.eye(2), torch.eye(2)), "y": Factors(torch.eye(2), -torch.ones(2, 2))}
    down = {"x": Factors(torch.eye(2), -torch.eye(2)), "y": Factors(torch.eye(2), -torch.ones(2, 2))}
    merged = merge([Expert("a", up), Expert("b", down)], "ties", density=1, rank="full")
    assert torch.equal(merged.delta("x"), -torch.eye(2)), "y elects minus four times"


def test_a_negative_weight_votes_against_its_expert():
    experts = pair([2.0, 1.0], [1.0, 4.0])
    got = merge(experts, "ties", [-1.0, 1.0], density=1, rank="full").delta("q").diagonal()
    assert got.tolist() == [-2.0, 4.0]


def test_peft_agrees_on_one_layer_with_equal_weights(make, peer, tmp_path):
    """One layer: its trim is the same. The scale enters once (it entered twice before PEFT #3111)."""
    experts = [make(name, layers=["k"], scale=1.5) for name in "abc"]
    add, added = peer(experts, tmp_path)
    add(list("abc"), [0.7] * 3, "theirs", "ties_svd", svd_rank=6, density=0.3)
    merged = merge(experts, "ties", [0.7] * 3, density=0.3, rank="full")
    torch.testing.assert_close(merged.delta("k"), added("theirs", "k"), atol=1e-5, rtol=0)


def test_peft_trims_layer_by_layer(make, peer, tmp_path):
    experts = [make(name) for name in "ab"]
    add, added = peer(experts, tmp_path)
    add(list("ab"), [1.0] * 2, "theirs", "ties_svd", svd_rank=12, svd_full_matrices=False, density=0.2)
    kept = [float((added("theirs", layer).abs() > 1e-4).float().mean()) for layer in LAYERS]
    assert max(kept) < 0.45 and min(kept) > 0.15, "as much of each"
    ours = merge(experts, "ties", density=0.2, rank="full")
    kept = [float((ours.delta(layer) != 0).float().mean()) for layer in LAYERS]
    assert max(kept) > 0.5 and min(kept) < 0.1


def test_peft_elects_without_the_weights(peer, tmp_path):
    """A weight of -1 does not vote there: the sign of both is plus, and then one of them is turned round."""
    experts = pair([2.0, 1.0], [1.0, 4.0])
    add, added = peer(experts, tmp_path)
    add(list("ab"), [-1.0, 1.0], "theirs", "ties_svd", svd_rank=2, density=0.999)
    assert added("theirs", "q")[0, 0] > -1.01, "(-2 + 1) / 2, though both now want to go elsewhere"
    assert merge(experts, "ties", [-1.0, 1.0], density=1, rank="full").delta("q")[0, 0] == -2


@pytest.mark.parametrize("rank", [1, 3, None])
def test_the_cut_is_the_best_of_its_rank_and_says_what_it_lost(make, rank):
    experts = [make("a"), make("b", 3)]
    whole = merge(experts, "ties", density=0.5, rank="full")
    merged = merge(experts, "ties", density=0.5, **({"rank": rank} if rank else {}))
    lost = total = 0.0
    for layer in LAYERS:
        S = torch.linalg.svdvals(whole.delta(layer).double())
        lost, total = lost + S[rank or 3 :].square().sum(), total + S.square().sum()
        apart = (whole.delta(layer) - merged.delta(layer)).double().square().sum()
        assert float(apart) == pytest.approx(float(S[rank or 3 :].square().sum()), rel=1e-4)
    assert merged.rank == (rank or 3)
    assert merged.card["truncation_error"] == pytest.approx(float(lost / total) ** 0.5, rel=1e-4)
    assert merged.card["relative_error"] != pytest.approx(merged.card["truncation_error"], rel=1e-2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"density": 0}, "density=0"),
        ({"density": 1.5}, "density=1.5"),
        ({"density": "much"}, "density='much'"),
        ({"density": True}, "density=True"),
        ({"density": float("nan")}, "density=nan"),
        ({"rank": 0}, "rank=0"),
        ({"rank": "wide"}, "rank='wide'"),
        ({"rank": 1.5}, "rank=1.5"),
    ],
)
def test_what_cannot_be(make, arguments, message):
    with pytest.raises(Invalid, match=message):
        merge([make("a")], "ties", **arguments)
