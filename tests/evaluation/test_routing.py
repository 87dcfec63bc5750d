"""The trace of a router: weights that are weights, over real tokens only, and a file that stays small."""

import json
import math

import pytest
import torch

from yosegi import files
from yosegi.bases import Base
from yosegi.core.expert import Expert, Factors
from yosegi.core.model import attach, linears, shape
from yosegi.core.router import Router
from yosegi.engine.arm import Arm
from yosegi.evaluation import routing
from yosegi.evaluation.routing import in_turn, trace, trace_groups
from yosegi.routers.arrow import Arrow
from yosegi.routers.oracle import Oracle
from yosegi.routers.uniform import Uniform
from yosegi.run import Run
from yosegi.tasks import Example, load

FOUR_DIGITS = 6e-5


def test_weights_sum_to_one_and_padding_has_no_say(nano, pair):
    task = load("skills/add")
    examples = task.examples("test")[:3]
    with Arm("a", pair, "arrow", {"top_k": 1}).attached(nano) as banks:
        found = trace(nano, banks, {task.name: examples})
        alone = [trace(nano, banks, {task.name: [e]}) for e in examples]
        assert banks.context.weights is None, "nothing is recorded afterwards"
    weights = found["tasks"][task.name]
    assert len(weights) == len(found["layers"]) == len(pair[0].factors)
    assert all(sum(layer) == pytest.approx(1, abs=2 * FOUR_DIGITS) for layer in weights)
    lengths = [len(a["tokens"][0]["text"]) for a in alone]
    for key in ("tasks", "active"):
        mean = [
            sum(n * a[key][task.name][0][e] for n, a in zip(lengths, alone, strict=True)) / sum(lengths)
            for e in range(2)
        ]
        assert found[key][task.name][0] == pytest.approx(mean, abs=2 * FOUR_DIGITS)
    assert found["active"] == found["tasks"], "one expert per token: the active one has all the weight"
    assert all(entropy == pytest.approx(0, abs=1e-6) for entropy in found["entropy"][task.name])
    (token,) = found["tokens"]
    assert "".join(token["text"]).startswith(examples[0].prompt) and len(token["weights"]) == len(token["text"])


def test_layers_stand_in_the_order_they_run(nano, pair):
    saved = [Expert(e.name, dict(sorted(e.factors.items())), e.card) for e in pair]  # as a file has them
    with Arm("a", saved).attached(nano) as banks:
        layers = trace(nano, banks, {"t": [Example("x", "1+2=", "3")]})["layers"]
        assert layers != list(banks) and set(layers) == set(banks)
    places = [int(name.split(".")[2]) for name in layers]
    assert places == sorted(places) and layers[0].endswith("q_proj") and layers[6].endswith("down_proj")


class Fixed(Router):
    """Says the same whatever it reads: `fixed` [..., H, E], cut to the batch."""

    fixed = torch.ones(1, 1)

    def forward(self, x_I, context):
        w_HE = self.fixed
        return w_HE[:, : x_I.shape[1]] if w_HE.ndim == 4 and w_HE.shape[1] > 1 else w_HE


def traced(nano, pair, w_HE, examples, monkeypatch, heads=1):
    monkeypatch.setattr(Fixed, "fixed", w_HE)
    banks = attach(nano.model, pair, Fixed(), heads=heads)
    try:
        return trace(nano, banks, {"t": examples})
    finally:
        banks.detach()


SHORT = [Example("x", "1+2=", "3")]


def test_one_weight_for_all_tokens_for_each_sequence_and_for_each_token(nano, pair, monkeypatch):
    one = traced(nano, pair, torch.tensor([[0.75, 0.25]]), SHORT, monkeypatch)
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert one["tasks"]["t"][0] == [0.75, 0.25] and one["active"]["t"][0] == [1, 1]
    assert one["entropy"]["t"][0] == pytest.approx(entropy, abs=FOUR_DIGITS)
    assert one["cv"]["t"][0] == one["balance"][0] == 0.5, "0.25 beside a mean of 0.5"
    assert one["tokens"][0]["chosen"] == ["0"] * len(one["layers"]), "one number where it is the same for every token"

    same = traced(nano, pair, torch.tensor([[1.0, 0.0], [0.0, 1.0]])[:, None, None], [*SHORT, *SHORT], monkeypatch)
    assert same["tasks"]["t"][0] == same["active"]["t"][0] == [0.5, 0.5] and same["entropy"]["t"][0] == 0
    assert same["cv"]["t"][0] == 0 and same["tokens"][0]["chosen"][0] == "0"

    n = len(one["tokens"][0]["text"])
    w_BTHE = torch.zeros(1, 99, 1, 2)
    w_BTHE[:, 0, :, 0] = w_BTHE[:, 1, :, 1] = 1.0  # then silence: the base alone
    each = traced(nano, pair, w_BTHE, SHORT, monkeypatch)
    assert each["active"]["t"][0] == pytest.approx([1 / n, 1 / n], abs=FOUR_DIGITS)
    assert each["tokens"][0]["chosen"][0] == " ".join(["0", "1", *["-1"] * (n - 2)])


def test_one_of_several_heads_is_enough_to_be_active(nano, pair, monkeypatch):
    found = traced(nano, pair, torch.tensor([[1.0, 0.0], [0.5, 0.5]]), SHORT, monkeypatch, heads=2)
    assert found["tasks"]["t"][0] == [0.75, 0.25] and found["active"]["t"][0] == [1, 1]
    assert found["entropy"]["t"][0] == pytest.approx(math.log(2) / 2, abs=FOUR_DIGITS), (
        "of each head, not of their mean"
    )


def test_no_expert_is_chosen_where_all_weights_are_equal(nano, pair):
    with Arm("a", pair).attached(nano) as banks:
        found = trace(nano, banks, {"t": SHORT})
    assert set(found["tokens"][0]["chosen"]) == {"-1"} and set(found["balance"]) == {0.0}


@pytest.mark.parametrize("router", [Uniform(), Arrow(), Oracle()])
def test_an_expert_is_not_active_in_a_layer_it_does_not_have(nano, pair, router):
    first, second = pair
    some = {name: f for name, f in second.factors.items() if "mlp" in name}
    banks = attach(nano.model, [first, Expert("part", some, {"task": ["t"]})], router)
    try:
        found = trace(nano, banks, {"t": SHORT}, {"t": {"tasks": ["t"]}} if router.needs else None)
    finally:
        banks.detach()
    for name, mean, active, cv in zip(
        found["layers"], found["tasks"]["t"], found["active"]["t"], found["cv"]["t"], strict=True
    ):
        assert (active[1] > 0) == (mean[1] > 0) == ("mlp" in name)
        assert cv == 0 if "mlp" not in name else cv >= 0, "among one expert there is nothing to share"


def test_many_tasks_experts_and_tokens_stay_a_small_file(nano, pair, monkeypatch):
    long = {f"task {i}": [Example("x", "reverse abcdefgh: " * 20, "hgfedcba")] for i in range(6)}
    with Arm("a", pair, "arrow").attached(nano) as banks:
        whole = trace(nano, banks, long)
        monkeypatch.setattr(routing, "NUMBERS", 8 * 6 * 2)
        blocks = trace(nano, banks, long)
        monkeypatch.setattr(routing, "NUMBERS", 3 * 6 * 2)
        few = trace(nano, banks, long)
    assert "averaged" not in whole and blocks["averaged"] == few["averaged"] == len(whole["layers"]) == 28
    assert blocks["layers"] == [f"model.layers.{i}" for i in range(4)]
    assert few["layers"] == ["model.layers.0 +", "model.layers.2 +"]
    for key in ("tasks", "active"):
        mean = [
            sum(row[0] for row in whole[key]["task 3"][:7]) / 7,
            sum(row[0] for row in whole[key]["task 3"][:14]) / 14,
        ]
        assert [found[key]["task 3"][0][0] for found in (blocks, few)] == pytest.approx(mean, abs=2 * FOUR_DIGITS)
    tokens = whole["tokens"]
    assert len(tokens) == 6 and ["weights" in token for token in tokens] == [True] * 4 + [False] * 2
    assert all(len(token["text"]) == routing.TOKENS for token in tokens)
    ids = (
        nano.tokenizer(long["task 0"][0].prompt).input_ids
        + nano.tokenizer("hgfedcba", add_special_tokens=False).input_ids
    )
    assert tokens[0]["left_out"] + routing.TOKENS == min(len(ids) + 1, 256)
    assert "".join(tokens[0]["text"]).rstrip().endswith(nano.tokenizer.eos_token)
    assert all(len(line.split()) in (1, routing.TOKENS) for line in tokens[0]["chosen"])
    assert json.loads(json.dumps(whole)) == whole


def test_a_decoder_beside_an_encoder_reads_tokens_of_its_own(nano, t5, monkeypatch):
    monkeypatch.setattr(routing, "ROWS", 48)  # one for each linear
    torch.manual_seed(0)
    everywhere = {}
    for name in linears(t5):
        O, I = shape(t5.get_submodule(name))
        everywhere[name] = [Factors(torch.randn(2, I), torch.randn(O, 2), 1.0) for _ in range(2)]
    experts = [Expert(f"e{i}", {name: both[i] for name, both in everywhere.items()}, {}) for i in range(2)]

    class Small:
        """The nano tokenizer, with ids that fit."""

        pad_token_id, eos_token_id = 0, 1

        def __call__(self, texts, add_special_tokens=True):
            return type("Rows", (), {"input_ids": [[2 + ord(c) % 90 for c in text] for text in texts]})

        def decode(self, ids):
            return str(ids[0])

    base = Base("t5", "", t5, Small())
    for answer in ("ab", "abc"):  # of another length than the prompt, and with its end of the same
        banks = attach(t5, experts, Arrow(top_k=1))
        try:
            found = trace(base, banks, {"t": [Example("x", "1+2=", answer)]})
        finally:
            banks.detach()
        assert all(sum(row) == pytest.approx(1, abs=2 * FOUR_DIGITS) for row in found["tasks"]["t"])
        reads = [
            "encoder." in name or name.endswith(("EncDecAttention.k", "EncDecAttention.v")) for name in found["layers"]
        ]
        assert [line != "" for line in found["tokens"][0]["chosen"]] == reads and True in reads and False in reads
        steps = {
            round(len(answer + ".") * row[0], 2) % 1
            for row, r in zip(found["active"]["t"], reads, strict=True)
            if not r
        }
        assert steps <= {0.0, 1.0}, "shares of the answer's own tokens"


ADD, REVERSE = (load(f"skills/{name}").examples("test")[:4] for name in ("add", "reverse"))


def test_groups_stand_beside_the_tasks(nano, pair, tmp_path):
    run, arm = Run(tmp_path), Arm("a", pair, "arrow", {"top_k": 1})
    files.write_json(tmp_path / "routing.json", {"experts": ["adder", "turner"], "routers": {"a": {}}})
    found = trace_groups(nano, arm, {"short": {"skills/add": ADD[:2]}, "long": {"skills/reverse": REVERSE}}, run)
    kept = files.read_json(tmp_path / "routing.json")["routers"]
    assert list(kept) == ["a", "a by type"] and kept["a by type"] == found and list(found["tasks"]) == ["short", "long"]
    with arm.attached(nano) as banks:
        assert found["tasks"]["short"] == trace(nano, banks, {"t": ADD[:2]})["tasks"]["t"]


def test_each_example_is_known_by_its_task(nano, pair, tmp_path):
    """The oracle knows the task: half of a group of two tasks uses the one expert, half the other."""
    groups = {"both": {"skills/add": ADD[:2], "skills/reverse": REVERSE[:2]}, "one": {"skills/add": ADD[:2]}}
    found = trace_groups(nano, Arm("o", pair, "oracle"), groups, Run(tmp_path))
    assert found["tasks"]["one"][0] == [1.0, 0.0] and 0 < found["tasks"]["both"][0][0] < 1
    assert list(files.read_json(tmp_path / "routing.json")["routers"]) == ["o by type"]


def test_the_base_alone_has_no_router_to_trace(nano, tmp_path):
    assert trace_groups(nano, Arm("base"), {"g": {"skills/add": ADD}}, Run(tmp_path)) == {}
    assert not (tmp_path / "routing.json").exists()


@pytest.mark.parametrize(
    ("most", "found"), [(1, ["a0"]), (3, ["a0", "a1", "b0"]), (4, ["a0", "a1", "a2", "b0"]), (9, None)]
)
def test_tasks_take_turns(most, found):
    tasks = {"a": ["a0", "a1", "a2"], "b": ["b0"]}
    assert [example for _, example in in_turn(tasks, most)] == (found or ["a0", "a1", "a2", "b0"])
