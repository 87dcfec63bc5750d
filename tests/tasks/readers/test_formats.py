import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.errors import UnknownName
from yosegi.tasks.readers.formats import FAMILIAR, FORMATS, UNSEEN

NAME = "natural_instructions/subtask001_colour"


def test_the_same_examples_in_other_words(made_up, check):
    plain = tasks.load(NAME)
    for form in FORMATS:
        task = tasks.load(f"{NAME}/{form}")
        check(task, {"train": 18, "validation": 2, "test": 10})
        pairs = list(zip(plain.examples("test"), task.examples("test"), strict=True))
        assert task.name == f"{NAME}/{form}" and task.stop == FORMATS[form].stop
        for one, other in pairs:
            assert (one.id, one.answers, one.target.strip()) == (other.id, other.answers, other.target.strip())
            assert one.prompt != other.prompt or form == "definition"
            assert "Say the word of subtask001_colour." in other.prompt and "thing 2" in other.prompt
    assert tasks.load(f"{NAME}/definition").examples("test") == plain.examples("test")


def test_braces_in_a_text_are_only_text(made_up, write):
    rows = [
        {"id": str(i), "definition": "Fill {input}.", "input": f"{{{i}}} {{definition}}", "outputs": ["x"]}
        for i in range(9)
    ]
    write("instruct/braces.jsonl", rows)
    prompts = {example.prompt for example in tasks.load("natural_instructions/braces/plain").examples("train")}
    assert "Fill {input}.\n\n{3} {definition}\n\n--" in prompts


def test_unseen_formats_have_nothing_of_the_familiar_ones():
    assert len(FAMILIAR) == 3 and len(UNSEEN) == 4 and not set(FAMILIAR) & set(UNSEEN)
    labels = ("Definition", "Input", "Output", "Instruction", "Response", "User", "Assistant", "###")
    for form in UNSEEN.values():
        assert not any(label in form.template.replace("{input}", "") for label in labels)
    assert all(any(label in form.template for label in labels) for form in FAMILIAR.values())


@each("form", FORMATS)
def test_a_format_can_be_asked_in(form):
    template, gap, stop = FORMATS[form]
    assert "{definition}" in template and "{input}" in template and not template.endswith((" ", "\n"))
    assert gap in (" ", "\n") and stop
    going_on = f"answer\n\n{template}".split("answer", 1)[1]
    assert any(end in going_on for end in stop), "asking again is going on too long"


def test_an_unknown_format_says_what_was_near(made_up):
    with pytest.raises(UnknownName, match="No prompt format is called 'brackts'. Did you mean 'brackets'"):
        tasks.load(f"{NAME}/brackts")


@pytest.mark.data
def test_real():
    for form in FORMATS:
        task = tasks.load(f"natural_instructions/task002_quoref_answer_generation/{form}")
        for split in ("train", "validation", "test"):
            assert not any(stop in example.target for example in task.examples(split) for stop in task.stop)
