"""The generated skills keep the contract: the same every time, no prompt in two splits, gold scores 1."""

import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.errors import Invalid, UnknownName
from yosegi.tasks.readers.skills import COMPOSITIONS, SKILLS, TABLES
from yosegi.tasks.skills import SIZES, Skills


def test_there_are_twenty_skills_and_a_dozen_compositions():
    assert len(TABLES | SKILLS) == 20
    assert len(COMPOSITIONS) >= 12
    assert len(set(Skills.parts())) == len(TABLES) + len(SKILLS) + len(COMPOSITIONS)


@each("part", Skills.parts())
def test_contract(part):
    task = tasks.load(f"skills/{part}")
    assert task.name == f"skills/{part}"
    test = task.examples("test")
    assert test == Skills(part).examples("test")
    assert test and len({e.id for e in test}) == len({e.prompt for e in test}) == len(test)
    for example in test:
        assert task.score(example, example.target).value == 1.0
        assert example.prompt[-1] in ":=)?" and not example.target.startswith(" ")
        silent = task.score(example, " ")
        assert (silent.value, silent.parsed) == (0.0, False)


@each("part", sorted(SKILLS) + ["reverse+upper", "chain+wp_ja"])
def test_splits_share_no_prompt(part):
    splits = {split: Skills(part).examples(split) for split in SIZES}
    prompts = [example.prompt for examples in splits.values() for example in examples]
    assert len(prompts) == len(set(prompts))
    for split, examples in splits.items():
        assert len(examples) == SIZES[split] or split == "rl" and len(examples) > SIZES[split] / 2


@each("part", TABLES)
def test_a_table_is_whole_in_every_split(part):
    tables = [[(e.prompt, e.target) for e in Skills(part).examples(split)] for split in SIZES]
    assert all(table == list(TABLES[part].items()) for table in tables)


@each(
    "part, prediction, value, answer",
    [
        ("chain", "1+1=2,2*{}={}", 1.0, "{}"),  # the steps may be wrong, the answer counts
        ("wp_ja", "{}", 1.0, "{}"),
        ("wp_en", "3+4=seven", 0.0, None),
        ("add", " {} ", 1.0, "{}"),
        ("add", "1={}", 0.0, "1={}"),  # where no steps are asked for, the whole text is the answer
    ],
)
def test_what_is_read_as_the_answer(part, prediction, value, answer):
    example = Skills(part).examples("test")[0]
    gold = example.answers[0]
    score = Skills(part).score(example, prediction.format(gold, gold))
    assert (score.value, score.answer) == (value, answer and answer.format(gold))


@each(
    "part, prompt, target",
    [
        ("janum", "42を読む:", "四十二"),
        ("janum", "10を読む:", "十"),
        ("ennum", "spell 42:", "forty two"),
        ("binary", "binary 13:", "1101"),
        ("unit", "7 km in m:", "7000"),
        ("capital", "capital of Japan:", "Tokyo"),
        ("mul", "7*8=", "56"),
    ],
)
def test_tables_are_right(part, prompt, target):
    assert TABLES[part][prompt] == target


def test_a_composition_is_one_skill_after_the_other():
    for example in Skills("reverse+upper").examples("test")[:20]:
        text = example.prompt.removeprefix("reverse upper ").removesuffix(":")
        assert example.target == text.upper()[::-1]
    for example in Skills("sort+double").examples("test")[:20]:
        digits = example.prompt.removeprefix("sort double ").removesuffix(":")
        assert example.target == "".join(sorted(digits * 2))


def test_worked_answers_are_true():
    for part in ("chain", "wp_en", "wp_ja", "chain+wp_en", "chain+wp_ja"):
        for example in Skills(part).examples("test"):
            for step in example.target.split(","):
                left, _, right = step.partition("=")
                assert eval(left) == int(right)
    for example in Skills("chain").examples("test"):
        assert eval(example.prompt.removeprefix("print")) == int(example.answers[0])


def test_unknown_names():
    with pytest.raises(UnknownName, match="Did you mean 'reverse'"):
        Skills("revers")
    with pytest.raises(Invalid, match="train, validation, test, rl"):
        Skills("add").examples("dev")
