"""LoRA-PAR end to end on real questions, in English and in Japanese, labelled by a server that does not always behave."""

import dataclasses
import json

import pytest

from yosegi import files, tasks
from yosegi.partitions.by_system import by_system
from yosegi.recipes import lora_par
from yosegi.run import Run
from yosegi.teachers import load as teacher
from yosegi.teachers.structure import count

REAL = dataclasses.replace(
    lora_par.SMOKE, tasks=("gsm8k", "mgsm_ja"), known=("skills/capital",), limit=8, asked=2, measured=3, max_length=160,
    max_completion_length=12, warm=1, grpo_steps=2, rewards=("correct", "integer", "soft_format", "strict_format", "tags"),
)  # fmt: skip


def scripted(questions):
    """Says System 2 of what takes more than three steps; every fifth request is refused, one answer is no answer."""
    slow = {question: count(target) > 3 for question, target in questions.items()}

    def behave(n, body):
        if n % 5 == 4:
            return {"status": 429 if n % 2 else 500, "headers": {"Retry-After": "0"}, "body": b"{}"}
        asked = body["messages"][-1]["content"]
        found = next(question for question in slow if question in asked)
        if n == 2:
            return "I would rather not say."
        return json.dumps({"system": 1 + slow[found], "because": "its steps were counted"})

    return behave


@pytest.mark.data
def test_the_structure_of_answers_needs_no_server(served):
    data = {task: tasks.load(task).examples("train")[: REAL.limit] for task in REAL.tasks}
    labelled = by_system(data, [teacher("structure")], target_model=REAL.target_model)
    assert len(labelled.groups) == 2 and not served.bodies


@pytest.mark.data
@pytest.mark.slow
def test_both_stages_on_gsm8k(tmp_path, served):
    data = {task: tasks.load(task).examples("train")[: REAL.limit] for task in REAL.tasks}
    served.behave = scripted({example.prompt: example.target for some in data.values() for example in some})
    teachers, target = (f"{served.url}#scripted",), "nano, 0.8 million parameters"
    config = dataclasses.replace(REAL, teachers=teachers, target_model=target, inits=("normal",))
    run = Run(tmp_path / "run", {"recipe": "lora_par", **dataclasses.asdict(config)})
    lora_par.main(config, run)
    rows = [row for row in files.read_jsonl(run.path / "metrics.jsonl") if row["stage"] == "grpo"]
    assert {row["step"] for row in rows} == {1, 2} and all("reward_tags" in row and "kl" in row for row in rows)
    asked = {row["task"] for row in run.results()}
    assert {"gsm8k", "mgsm_ja"} <= asked
    found = files.read_json(run.path / "findings.json")["findings"]
    assert any("System 2" in json.dumps(part) for part in found)
    requests = len(served.bodies)
    assert requests >= 2 * REAL.limit
    assert any("nano, 0.8 million parameters" in json.dumps(body) for body in served.bodies)
    again = [teacher(spec, answers=run.path / "answers.jsonl") for spec in teachers]
    by_system(
        data, again, target_model=target
    )  # what was answered is kept: only the one without an answer is asked again
    assert len(served.bodies) - requests <= 2
