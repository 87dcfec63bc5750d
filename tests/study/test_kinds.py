"""Who reads what: the same rows in the same order, types that are as many, and samples that share nothing."""

import pytest

from yosegi.errors import Invalid
from yosegi.run import Run
from yosegi.study.kinds import at_chance, cells, read_kinds, validation

NAMED = {
    "easy": ("en=skills/wp_en", "ja=skills/wp_ja"),
    "hard": ("en=skills/chain+wp_en", "ja=skills/chain+wp_ja"),
}


@pytest.fixture(scope="module")
def kinds():
    return read_kinds(NAMED, limit=24)


def ids(typed):
    return [row.id for of_type in typed.values() for rows in of_type.values() for row in rows]


def test_tasks_by_kind_and_language(kinds):
    assert kinds.languages == ["en", "ja"] and kinds.whole == "mixed"
    assert [task.name for task in kinds.of("hard", "ja")] == ["skills/chain+wp_ja"]
    assert list(kinds.groups()) == ["easy en", "easy ja", "hard en", "hard ja"]
    assert len(kinds.of()) == 4 and all(len(rows) == 24 for rows in kinds.learnt().values())
    assert read_kinds({"easy": NAMED["easy"][:1], "hard": NAMED["hard"][:1]}).whole == "en"


def test_a_lora_and_a_bank_read_the_same_rows_in_the_same_order(kinds):
    for language in ("en", "ja", "mixed"):
        flat = [row.id for rows in kinds.learnt("both", language).values() for row in rows]
        assert flat == ids(kinds.typed(language)) and list(kinds.typed(language)) == ["easy", "hard"]


def test_random_types_are_as_many_of_each_and_not_the_same_ones(kinds):
    data = kinds.typed("mixed")
    drawn, again = (kinds.typed("mixed", "random", seed) for seed in (1, 1))
    assert drawn == again
    for kind in data:
        one, other = ids({kind: drawn[kind]}), ids({kind: data[kind]})
        assert len(one) == len(other) and sorted(one) != sorted(other)
    assert sorted(ids(drawn)) == sorted(ids(data))
    by_language = kinds.typed("mixed", "language")
    assert list(by_language) == ["en", "ja"] and set(by_language["ja"]) == {"skills/wp_ja", "skills/chain+wp_ja"}


def test_a_task_without_a_training_split_is_only_asked(monkeypatch):
    from yosegi.tasks.skills import Skills

    whole = Skills.examples

    def examples(self, split):
        if split in ("train", "validation") and self.part == "add":
            raise Invalid("There is only a test split.")
        return whole(self, split)

    monkeypatch.setattr(Skills, "examples", examples)
    kinds = read_kinds({**NAMED, "easy": ("en=skills/wp_en", "en=skills/add")})
    assert [task.name for task in kinds.of("easy", "en")] == ["skills/wp_en", "skills/add"]
    assert list(kinds.learnt("easy", "en")) == ["skills/wp_en"]
    assert not kinds.can_learn("both", "ja"), "hard questions alone are not both"
    assert [len(some) for some in validation(kinds.of("easy", "en"), 3)] == [3]


def test_two_samples_share_nothing(kinds):
    found = cells(kinds.groups(), 4)
    assert set(found) == {
        f"{kind} {lang}{other}" for kind in ("easy", "hard") for lang in ("en", "ja") for other in ("", ", others")
    }
    for name in ("easy en", "hard ja"):
        one, other = ({e.id for e in found[name + o]} for o in ("", ", others"))
        assert len(one) == len(other) == 4 and not one & other


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"easy": ("skills/wp_en",)}, "LANGUAGE=TASK"),
        ({"easy": ("mixed=skills/wp_en",)}, "LANGUAGE=TASK"),
        ({"easy": ()}, "no easy tasks"),
        ({"hard": ("en=skills/wp_en",)}, "named twice"),
    ],
)
def test_what_makes_no_study_is_refused(wrong, words):
    with pytest.raises(Invalid, match=words):
        read_kinds({**NAMED, **wrong})


def test_what_the_base_guesses_is_told_by_its_interval_and_chance(tmp_path):
    run = Run(tmp_path)
    row = {"model": "base", "seed": 0, "value": 0.3, "chance": 0.25}
    run.result(
        {**row, "task": "guessed", "metric": "accuracy", "ci_low": 0.9}, {**row, "task": "guessed", "metric": "letter", "ci_low": 0.2},
        {**row, "task": "known", "metric": "accuracy", "ci_low": 0.26},
        {"model": "base", "seed": 0, "task": "texts", "metric": "logp", "value": -1.0, "ci_low": -2.0},
    )  # fmt: skip
    found = {task: at_chance(run, task, 0) for task in ("guessed", "known", "texts", "unmeasured")}
    assert found == {"guessed": True, "known": False, "texts": False, "unmeasured": False}
