"""Our engine and EleutherAI's harness get the same numbers on the same prompts, whichever of the two asks."""

import json
from functools import partial
from importlib.util import find_spec

import pytest

from yosegi.engine.arm import Arm
from yosegi.errors import Invalid, NoData, UnknownName
from yosegi.evaluation.measure import evaluate
from yosegi.run import Run
from yosegi.tasks import lm_eval as tasks_of_lm_eval
from yosegi.tasks import load as load_task

pytestmark = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval comes with yosegi-lora[eval]")

ROWS = [
    {
        "question": f"{a}+{b}=",
        "choices": [str(a + b + off) for off in offs],
        "right": offs.index(0),
        "answer": str(a + b),
    }
    for a, b, offs in [(1, 2, [0, 3, 10]), (12, 7, [1, 0]), (4, 4, [2, 1, 0]), (9, 1, [0, 90])]
]
TASKS = {
    "sums": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: right
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}, {metric: acc_norm, aggregation: mean, higher_is_better: true}]
""",
    "shown": """
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: choices
doc_to_target: right
target_delimiter: ""
fewshot_split: test
num_fewshot: 2
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
""",
    "written": """
output_type: generate_until
doc_to_text: "{{question}}"
doc_to_target: answer
generation_kwargs: {until: ["\\n", ":"], max_gen_toks: 6, do_sample: false}
filter_list:
  - {name: strict, filter: [{function: regex, regex_pattern: "^(\\\\d+)$"}, {function: take_first}]}
  - {name: loose, filter: [{function: regex, regex_pattern: "(\\\\d)"}, {function: take_first}]}
metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]
""",
    "likeliest": """
output_type: loglikelihood
doc_to_text: "{{question}}"
doc_to_target: answer
target_delimiter: ""
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}, {metric: perplexity, aggregation: perplexity, higher_is_better: false}]
""",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("harness")
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    for name, text in TASKS.items():
        head = f"task: {name}\ndataset_path: json\ntest_split: test\ndataset_kwargs: {{data_files: {{test: {folder}/rows.jsonl}}}}\n"
        (folder / f"{name}.yaml").write_text(head + text)
    return folder


def theirs(model, folder, *names):
    import lm_eval
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    return lm_eval.simple_evaluate(model, tasks=list(names), task_manager=manager, bootstrap_iters=0)


def test_the_same_numbers_from_both_sides_and_from_their_own_model(folder, nano, tmp_path):
    from lm_eval.models.huggingface import HFLM

    from yosegi.evaluation.harness import Harness

    tasks = [load_task(f"lm_eval:{folder}/{name}.yaml") for name in TASKS]
    run = Run(tmp_path / "run")
    rows = {(row["task"], row["metric"]): row for row in evaluate(nano, [Arm("base")], tasks, run)}
    bridged = theirs(Harness(nano), folder, *TASKS)
    plain = theirs(HFLM(pretrained=nano.model, tokenizer=nano.tokenizer, batch_size=1), folder, *TASKS)
    checked = 0
    for name in TASKS:
        for key, value in plain["results"][name].items():
            metric, _, way = key.partition(",")
            if not isinstance(value, float) or "stderr" in metric:
                continue
            assert bridged["results"][name][key] == pytest.approx(value, abs=1e-4), (name, key)
            ours = rows.get((f"lm_eval:{folder}/{name}.yaml", metric if way == "none" else key))
            if metric != "perplexity":
                assert ours["value"] == pytest.approx(value, abs=1e-6), (name, key)
                checked += 1
        ll = [sample["resps"] for sample in plain["samples"][name]]
        if name in ("sums", "likeliest"):
            again = [sample["resps"] for sample in bridged["samples"][name]]
            for a, b in zip(ll, again, strict=True):
                assert [float(x[0][0]) for x in a] == pytest.approx([float(x[0][0]) for x in b], abs=1e-4)
                assert [x[0][1] for x in a] == [x[0][1] for x in b], "greedy"
    assert checked == 6 and rows[f"lm_eval:{folder}/written.yaml", "exact_match,strict"]["value"] > 0
    logps = rows[f"lm_eval:{folder}/sums.yaml", "logp"]
    assert logps["n"] == 4 and logps["value"] < 0


def test_shots_are_named_after_the_task(folder):
    shown, more = load_task(f"lm_eval:{folder}/shown.yaml"), load_task(f"lm_eval:{folder}/shown.yaml:1")
    assert more.name.endswith(".yaml:1")
    assert [len(task.examples("test")[0].prompt.split("\n\n")) for task in (shown, more)] == [3, 2]
    assert more.examples("test") == more.examples("test"), "the same examples every time"


def test_what_cannot_be_asked_is_said(folder, tmp_path, monkeypatch):
    away = "task: away\ndataset_path: nobody/nothing\ntest_split: test\n" + TASKS["sums"]
    (tmp_path / "away.yaml").write_text(away)
    with pytest.raises(NoData, match=r"away.yaml could not be loaded \("):
        load_task(f"lm_eval:{tmp_path}/away.yaml")  # offline
    known = tasks_of_lm_eval._manager(str(folder))
    monkeypatch.setattr(tasks_of_lm_eval, "_manager", lambda _: known)
    assert load_task("lm_eval:sums").examples("test")[0].prompt == "1+2="
    with pytest.raises(UnknownName, match="Did you mean 'sums'"):
        load_task("lm_eval:sumz")
    monkeypatch.undo()
    with pytest.raises(NoData, match=r"no task file .*nowhere.yaml"):
        load_task("lm_eval:nowhere.yaml")
    with pytest.raises(Invalid, match="evaluation only"):
        load_task(f"lm_eval:{folder}/sums.yaml").examples("train")
    (tmp_path / "odd.yaml").write_text("group: odd\ntask: [sums]\n")
    with pytest.raises(Invalid, match="needs the key `task`"):
        load_task(f"lm_eval:{tmp_path}/odd.yaml")


def test_the_harness_has_one_model_more(folder, monkeypatch, capsys):
    from lm_eval import tasks

    from yosegi.evaluation.harness import main

    local = partial(
        tasks.TaskManager, include_path=str(folder), include_defaults=False
    )  # its own tasks take seconds to find
    monkeypatch.setattr("lm_eval.tasks.TaskManager", lambda **given: local())
    monkeypatch.setattr("lm_eval.evaluator.TaskManager", lambda *given, **more: local())
    words = ["run", "--model", "yosegi", "--model_args", "base=nano,arm=base", "--tasks", "sums"]
    monkeypatch.setattr("sys.argv", ["harness", *words, "--include_path", str(folder)])
    main()
    assert "|sums" in (out := capsys.readouterr().out.replace(" ", "")) and "acc_norm" in out
