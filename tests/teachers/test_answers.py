"""What is asked, and how free text becomes a vote or none."""

from tests.conftest import each
from yosegi.tasks import Example
from yosegi.teachers import Question, System, scale
from yosegi.teachers._answers import chat, read

CASE = Example("1", "Question: How many?\nAnswer:", " 1+1=2\n#### 2")


def test_role_play_names_whom_to_play_and_without_it_nobody_is():
    played, alone = chat(CASE, Question(target_model="Qwen3-0.6B")), chat(CASE, Question())
    assert [turn["role"] for turn in played] == ["system", "user"]
    assert played[0]["content"].count("Qwen3-0.6B") == 2 and "Act as" not in alone[0]["content"]
    assert played[1] == alone[1] and "How many?" in alone[1]["content"] and "1+1=2\n#### 2" in alone[1]["content"]


def test_k_systems_are_described_in_their_order():
    systems = (
        System("recall", "known {by} heart"),
        System("think", "to be derived"),
        System("look_up", "to be looked up"),
    )
    text = chat(CASE, Question(systems))[0]["content"]
    assert (
        "System 1: known {by} heart\nSystem 2: to be derived\nSystem 3: to be looked up" in text and "1, 2, 3" in text
    )
    assert '{"system": N, "because"' in text


def test_what_is_asked_can_be_answered_in_that_form():
    for k in (2, 3, 9):
        assert len(scale(k)) == k and len({s.about for s in scale(k)}) == k
        assert read(f'{{"system": {k}, "because": "x"}}', k).system == k - 1


@each(
    "raw, system, rationale",
    [
        ('{"system": 1, "because": "recalled"}', 0, "recalled"),
        ('  {"system": 2}\n', 1, ""),
        ('{"system": "2", "because": "r"}', 1, "r"),
        ('{"system": "System 1", "because": 3}', 0, ""),
        ("System 2", 1, ""),
        ("System 1.", 0, ""),
        ('```json\n{"system": 2, "because": "chain"}\n```', 1, "chain"),
        ('Sure! {"note": {"system": 9}} {"system": 1, "because": "b"} Hope that helps.', 0, "b"),
        ('{"system": 2, "because": "a"}\n{"system": 2, "because": "b"}', 1, "a"),
        ("<think>System 1? No.</think>System 2", 1, ""),
        ("<think>{\"system\": 1}</think>\n{\"system\": 2}", 1, ""),
        ("It needs several steps, so it is **System 2**.", 1, None),
        ("System 1 would be quick.\nBut steps are chained.\nFinal: system_2", 1, None),
        ("この問題はシステム２です。", 1, None),
        ("Ｓｙｓｔｅｍ　１", 0, ""),
        ('{"system": 2, "because": "cut off in the mid', None, None),
    ],
)  # fmt: skip
def test_read(raw, system, rationale):
    vote = read(raw, 2, 5, 6)
    assert vote.system == system and vote.raw == raw and (vote.tokens_in, vote.tokens_out) == (5, 6)
    if rationale is not None:
        assert vote.rationale == rationale
    assert (vote.lost == "") == (system is not None)


@each(
    "raw",
    [
        "",
        "I cannot say.",
        "2",
        "System 1 or System 2",
        "It is not System 2.",
        "This isn't System 1",
        "Rather System 2 than one, rather than System 1",
        "システム1ではありません",
        "System 3",
        "System 12",
        "System 0",
        '{"system": 3}',
        '{"system": 0, "because": "System 2"}',
        '{"system": true}',
        '{"system": 1.5}',
        '{"system": [1]}',
        '{"system": 1} {"system": 2}',
        '{"answer": 1}',
        "[1]",
        "null",
        "<think>System 1, I am sure, because",
        "{" * 5000,
        "[" * 100_000,
        '{"a":' * 20_000,
    ],
)
def test_unparsable(raw):
    vote = read(raw, 2)
    assert vote.system is None and vote.lost == "unparsable"


def test_abstaining_is_not_the_same_as_babbling():
    vote = read('{"system": null, "because": "no question"}', 2)
    assert (vote.system, vote.lost, vote.rationale) == (None, "abstained", "no question")


def test_systems_beyond_two():
    assert (
        read('{"system": 3}', 3).system == 2 and read("System 3", 3).system == 2 and read("System 4", 3).system is None
    )
