import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.errors import UnknownName
from yosegi.tasks.readers.instructions import CHECKS, followed, loosened, tell

FOLLOWED = [  # an instruction, its arguments, a response that follows it and one that does not
    ("keywords:existence", {"keywords": ["sea", "sun"]}, "Sunny seaside", "sea only"),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "A catalogue", "A Cat sat"),
    ("keywords:frequency", {"keyword": "yes", "frequency": 2, "relation": "at least"}, "yes, Yes", "yes"),
    ("keywords:letter_frequency", {"letter": "!", "let_frequency": 2, "let_relation": "less than"}, "a!", "a!!"),
    ("language:response_language", {"language": "hi"}, "यह एक घर है और वह में है", "This is a house"),
    ("language:response_language", {"language": "mr"}, "हे घर आहे आणि ते मोठे आहे", "यह एक घर है और वह में है"),
    ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, "One. Two!", "One"),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, "two words", "these are three"),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "a\n***\nb", "a\n\nb"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        "a\n\nSo, b",
        "So\n\nb",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a] and b"),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, "Bye. P.P.S. more", "Bye. P.S. more"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "* a"),
    ("detectable_format:constrained_response", {}, "I say: My answer is no.", "no"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* **b**", "*a* ** **"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1 x PART 2 y",
        "PART 1 x",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', "a: 1"),
    ("detectable_format:title", {}, "<<Worms>> eat", "<<>> eat"),
    ("combination:two_responses", {}, "a******b", "a******a"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "say it. Done", "Done. Say it."),
    ("startend:end_checker", {"end_phrase": "Bye now"}, "x bye now \n", "bye now x"),
    ("startend:quotation", {}, ' "all of it" ', '"half" of it'),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "A BIG dog",
        "a BIG dog",
    ),
    ("change_case:english_capital", {}, "THE CAT IS ON THE MAT", "The cat"),
    ("change_case:english_lowercase", {}, "the cat is on the mat", "The cat"),
    ("punctuation:no_comma", {}, "none here", "one, here"),
]


@each("name, arguments, right, wrong", FOLLOWED)
def test_an_instruction_is_followed_or_not(name, arguments, right, wrong):
    assert followed(name, arguments, right) and not followed(name, arguments, wrong)
    assert not followed(name, arguments, " \n"), "nothing follows nothing"


def test_every_check_is_in_the_table():
    assert set(CHECKS) == {row[0] for row in FOLLOWED} and len(CHECKS) == 25


def test_an_unknown_instruction_is_refused_by_name():
    with pytest.raises(UnknownName, match="punctuation:no_comma"):
        followed("punctuation:no_commas", {}, "a")


def test_loosely_the_first_and_last_line_and_asterisks_do_not_count():
    assert "b" in loosened("Sure:\n*b*\nBye") and "Sure:\n*b*" in loosened("Sure:\n*b*\nBye")


@each(
    "text, language",
    [("Das ist nicht der Hund", "de"), ("Това е къща и на нея са", "bg"), ("안녕하세요", "ko"), ("12", None)],
)
def test_a_language_is_told(text, language):
    assert tell(text) == language


def test_prompts_and_instructions_are_counted_strictly_and_loosely(write, monkeypatch, tmp_path):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    ids = ["punctuation:no_comma", "change_case:english_lowercase"]
    write(
        "instruct/ifeval_test.jsonl", [{"id": "0", "prompt": "Write.", "instruction_id_list": ids, "kwargs": [{}, {}]}]
    )
    task = tasks.load("ifeval")
    (example,) = task.examples("test")
    score = task.score(example, "Sure, here:\nthe cat is on the mat")
    assert (score.value, score.metrics) == (0.0, {"loose": 1.0})
    items = [{"prediction": "The cat is here"}]
    assert task.overall([example], items) == {"instruction_strict": 0.5, "instruction_loose": 0.5}
    write("instruct/ifeval_test.jsonl", [{"id": "0", "prompt": "x", "instruction_id_list": ["a:b"], "kwargs": [{}]}])
    with pytest.raises(UnknownName, match="a:b"):
        tasks.load("ifeval").examples("test")
