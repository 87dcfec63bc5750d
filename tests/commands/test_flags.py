"""Flags come from the settings classes: every field is one, with the type, the default and the help that the class has."""

import pytest
import typer.main

from yosegi.commands import app
from yosegi.commands._fields import fields_of
from yosegi.commands._flags import flags
from yosegi.errors import Invalid


def test_every_field_of_the_class_is_read_as_pydantic_has_it():
    from yosegi.training.settings import GrpoSettings

    found = fields_of("training/settings.py", "GrpoSettings")
    assert set(found) == {
        name for name, field in GrpoSettings.model_fields.items() if field.annotation is not type(None)
    }
    for name, flag in found.items():
        default = GrpoSettings.model_fields[name].default
        if flag.kind in (int, float) and default is not None:
            assert flag.kind(flag.default) == default, name
    assert found["num_generations"].help.startswith("Answers to one question")


def test_values_arrive_as_the_class_takes_them():
    received = {}

    @flags("training/settings.py", "Settings")
    def verb(name: str = "x", **options):
        """A verb."""
        received.update(options, name=name)

    verb(name="y", rank=4, targets="q_proj,v_proj", init_args="{power_steps: 8}", seed=None)
    assert received == {"name": "y", "rank": 4, "targets": ["q_proj", "v_proj"], "init_args": {"power_steps": 8}}
    with pytest.raises(Invalid, match="--init-args .* is not valid YAML"):
        verb(init_args="{a: [}")


def test_help_lists_the_workflow_and_every_verb_has_a_panel():
    group = typer.main.get_command(app())
    names = group.list_commands(None)
    assert names[0] == "demo" and names.index("train") < names.index("merge") < names.index("eval")
    assert not [name for name, verb in group.commands.items() if verb.rich_help_panel == "Other"]
