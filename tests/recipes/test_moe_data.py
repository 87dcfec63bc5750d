"""What `loramoe` reads, and how it makes baselines equal."""

import dataclasses

import pytest

from yosegi.bases import load
from yosegi.errors import Invalid
from yosegi.inits import fresh
from yosegi.recipes._moe_data import Pace, bank, equal_rank, keeper, lora, read, typed_rows
from yosegi.recipes.loramoe import SMOKE, Config
from yosegi.training.settings import FFN


def test_a_lora_and_a_bank_read_the_same_rows_in_the_same_order():
    plan = read(SMOKE)
    for language in ("en", "ja", "mixed"):
        typed = plan.typed(language)
        flat = [row.id for of_kind in typed.values() for rows in of_kind.values() for row in rows]
        assert flat == [row.id for row in plan.rows("both", language)]
        assert list(typed) == ["easy", "hard"]
    assert plan.whole == "mixed" and plan.languages == ["en", "ja"]
    assert [task.name for task in plan.some("hard", "ja")] == ["skills/chain+wp_ja"]


def test_types_by_lot_are_as_many_of_each_and_not_the_same_ones():
    plan = read(SMOKE)
    data = plan.typed("mixed")
    drawn, again = (typed_rows(data, plan, "random", seed) for seed in (1, 1))

    def of(some, kind):
        return sorted(row.id for rows in some[kind].values() for row in rows)

    assert drawn == again
    assert [len(of(drawn, k)) for k in data] == [len(of(data, k)) for k in data]
    assert of(drawn, "easy") != of(data, "easy")
    assert sorted(of(drawn, "easy") + of(drawn, "hard")) == sorted(of(data, "easy") + of(data, "hard"))
    by_language = typed_rows(data, plan, "language", 0)
    assert list(by_language) == ["en", "ja"] and set(by_language["ja"]) == {"skills/wp_ja", "skills/chain+wp_ja"}


def test_a_task_without_a_training_split_is_only_asked(monkeypatch):
    from yosegi.tasks.skills import Skills

    whole = Skills.examples

    def examples(self, split):
        if split == "train" and self.part == "add":
            raise Invalid("There is only a test split.")
        return whole(self, split)

    monkeypatch.setattr(Skills, "examples", examples)
    plan = read(dataclasses.replace(SMOKE, easy=("en=skills/wp_en", "en=skills/add")))
    assert [task.name for task in plan.some("easy", "en")] == ["skills/wp_en", "skills/add"]
    assert plan.names("easy", "en") == ["skills/wp_en"]
    assert not plan.learns("both", "ja"), "hard questions alone are not both"


def test_equal_parameters_are_counted_with_the_routers():
    base, config = load("nano"), Config()

    def size(rank):
        found = fresh(base.model, "one", rank=rank, alpha=1, targets=FFN)
        return sum(f.A_RI.numel() + f.B_OR.numel() for f in found.factors.values())

    one = fresh(base.model, "one", rank=1, alpha=1, targets=FFN)
    bank_size = config.experts * (size(config.rank) + sum(f.A_RI.shape[1] for f in one.factors.values()))
    rank = equal_rank(base, config)
    assert size(rank - 1) < bank_size <= size(rank)


def test_routing_is_read_from_two_lots_that_share_nothing():
    cells = read(SMOKE).cells(4)
    assert set(cells) == {
        n + o for n in ("easy en", "easy ja", "hard en", "hard ja", "known") for o in ("", ", others")
    }
    for name in ("easy en", "hard ja"):
        one, other = ({e.id for e in cells[name + o]} for o in ("", ", others"))
        assert len(one) == len(other) == 4 and not one & other


@pytest.mark.parametrize("seconds, steps", [(1.0, None), (1.01, None), (0.5, None), (1.5, 150)])
def test_what_is_quicker_gets_more_steps(seconds, steps):
    one, many = lora("both", "mixed"), bank(0.1, "mixed")
    pace = Pace({one: {"seconds": 1.0, "peak_mb": 1}, many: {"seconds": seconds, "peak_mb": 1}}, one, many)
    assert pace.longer(100) == steps


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"easy": ("skills/wp_en",)}, "LANGUAGE=TASK"),
        ({"easy": ("mixed=skills/wp_en",)}, "LANGUAGE=TASK"),
        ({"easy": ()}, "needs easy tasks"),
        ({"general": ("skills/wp_en",)}, "named twice"),
    ],
)
def test_a_config_that_makes_no_study(wrong, words):
    with pytest.raises(Invalid, match=words):
        read(dataclasses.replace(SMOKE, **wrong))


def test_a_lora_that_keeps_as_much_as_the_bank():
    bank = {"chosen": 0.01, "tried": [[0.001, -3.0, -0.1], [0.01, -1.0, -0.5]]}
    one = {"chosen": 0.02, "tried": [[0.001, -3.0, -0.1], [0.005, -2.0, -0.4], [0.01, -1.5, -0.6], [0.02, -0.5, -2.0]]}
    assert keeper(one, bank) == 0.005
    assert keeper({**one, "tried": one["tried"][2:]}, bank) == 0.01, "none keeps as much: the one that keeps most"
    assert keeper({**one, "chosen": 0.005}, bank) is None, "it does already"
    assert keeper(one, {"chosen": 0.01, "tried": [[0.01, -1.0, None]]}) is None
