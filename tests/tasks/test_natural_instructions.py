import pytest

from yosegi import tasks
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.tasks import natural_instructions
from yosegi.tasks.natural_instructions import NaturalInstructions

NAME = "natural_instructions/task002_sound"


def test_prompt_and_target(made_up):
    example = tasks.load(NAME).examples("test")[0]
    assert example.prompt == "Definition: Say the word of task002_sound.\n\nInput: thing 20\nOutput:"
    assert example.target == " word 20"
    assert example.answers == (" word 20", "音")


def test_both_collections_are_parts(made_up):
    assert NaturalInstructions.parts() == [
        "subtask001_colour",
        "subtask001_colour_untested",
        "task002_sound",
        "task002_sound_untested",
    ]


@pytest.mark.parametrize("name", ["subtask001_colour", "task002_sound"])
def test_the_promises_hold(made_up, check, name):
    check(tasks.load(f"natural_instructions/{name}"), {"train": 18, "validation": 2, "test": 10})


def test_the_nearest_output_is_scored(made_up):
    task = tasks.load(NAME)
    example = task.examples("test")[0]
    assert task.score(example, "音").value == 1.0
    assert task.score(example, "the word 20").value == pytest.approx(0.8)
    assert task.score(example, "\n").parsed is False


def test_a_long_definition_is_cut(made_up, monkeypatch):
    monkeypatch.setattr(natural_instructions, "DEFINITION", 7)
    assert tasks.load(NAME).examples("train")[0].prompt.startswith("Definition: Say the\n\nInput: ")


def test_an_unknown_part_says_what_was_near(made_up):
    for near in ("subtask001_color", "task002_sounds"):
        with pytest.raises(UnknownName, match="Did you mean '(subtask001_colour|task002_sound)'"):
            tasks.load(f"natural_instructions/{near}")


def test_no_part_at_all_says_which_there_are(made_up):
    with pytest.raises(Invalid, match="needs a part, .*subtask001_colour"):
        tasks.load("natural_instructions")


def test_a_task_without_test_rows_says_so(made_up):
    with pytest.raises(Invalid, match="natural_instructions/task002_sound_untested has no test rows"):
        tasks.load(f"{NAME}_untested").examples("test")


def test_a_file_of_its_own_is_a_task_too(made_up, write, check):
    rows = [{"id": str(i), "definition": "Count.", "input": f"{i}", "outputs": [f"{i + 1}"]} for i in range(40)]
    write("instruct/counting.jsonl", rows)
    check(tasks.load("natural_instructions/counting"), {"train": 33, "validation": 3, "test": 4})


def test_without_data_it_says_what_to_fetch(nowhere):
    assert NaturalInstructions.parts() == []
    with pytest.raises(NoData, match="Muennighoff/natural-instructions could not be read"):
        tasks.load("natural_instructions/task1356_somewhere")
    with pytest.raises(NoData, match="subtask9_x is not here: set YOSEGI_DATA"):
        tasks.load("natural_instructions/subtask9_x")


def test_a_folder_that_does_not_exist_is_an_error_not_an_empty_list(tmp_path, monkeypatch):
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path / "absent"))
    with pytest.raises(NoData, match="does not exist"):
        NaturalInstructions.parts()


def test_rows_from_the_hub_are_gathered_by_input(hub, check):
    raw = [
        {"id": f"t-{i}-{k}", "definition": "Name a colour.", "inputs": f"thing {i}", "targets": colour}
        for i in range(40)
        for k, colour in enumerate(["red", "blue"])
    ]
    asked = hub(raw)
    task = tasks.load("natural_instructions/task999_colours")
    check(task, {"train": 33, "validation": 3, "test": 4})
    assert task.examples("test")[0].answers == ("red", "blue")
    assert asked[0][1]["data_files"]["train"].endswith("/t*/task999_colours_t[er][as][it]*.jsonl")


@pytest.mark.data
def test_real(check):
    parts = NaturalInstructions.parts()
    assert len(parts) >= 47
    counts = dict.fromkeys(("train", "validation", "test"), 0)
    for part in parts:
        task = tasks.load(f"natural_instructions/{part}")
        check(task, {"train": 26, "validation": 2, "test": 16})
        assert len(task.definition) <= natural_instructions.DEFINITION
        for split in counts:
            counts[split] += len(task.examples(split))
    assert counts["train"] + counts["validation"] == 2653 + 880
    assert counts["test"] == 1080 + 374


def test_the_prompt_of_the_paper(made_up):
    example = tasks.load("natural_instructions/task002_sound/paper").examples("test")[0]
    asked = "\n\nNow complete the following example -\nInput: thing 20\nOutput:"
    assert example.prompt == f"Definition: Say the word of task002_sound.{asked}" and example.target == " word 20"
