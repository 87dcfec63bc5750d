"""A made-up data folder in the schema of the real one, and a way to work where there is none."""

import gzip
import json

import pytest


def lines(rows):
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def write(tmp_path):
    """Put rows (or plain text) into a file under the test's own folder."""

    def write(name, rows):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = (rows if isinstance(rows, str) else lines(rows)).encode()
        path.write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
        return path

    return write


@pytest.fixture
def made_up(write, tmp_path, monkeypatch):
    """`YOSEGI_DATA` with thirty English sums, the same in Japanese, and two tasks of Natural Instructions."""
    monkeypatch.setenv("YOSEGI_DATA", str(tmp_path))
    english, japanese = [], []
    for i in range(30):
        a, b = 1000 + i, i + 2
        mark = f"<<{a}+{b}={a + b}>>" if i % 10 else ""
        english.append(
            {
                "id": f"gsm8k/train/{i}",
                "question": f"Ann has {a} apples and buys {b}. How many has she?",
                "solution": f"She has {a}+{b} = {mark}{a + b} apples.",
                "answer": str(a + b),
            }
        )
        japanese.append(
            {
                "id": f"gsm8k_ja/train/{i}",
                "question": f"アンは{a}個のりんごを持ち、{b}個買いました。何個ありますか？",
                "solution": None,
                "answer": str(a + b),
                "gsm8k_train_index": i,
            }
        )
    write("math_en/gsm8k_train.jsonl.gz", english)
    write("math_en/gsm8k_test.jsonl", [{**english[0], "id": "gsm8k/test/0", "question": "Bob has 7?"}])
    write("math_ja/gsm8k_ja_train.jsonl.gz", japanese[:-1])
    write(
        "math_ja/mgsm_ja_test.jsonl",
        [{"id": "mgsm_ja/test/0", "question": "ボブは？", "answer": "-7", "solution": None}],
    )
    solved = {"id": "mgsm_ja/exemplar/1", "question": "猫は？", "answer": "11", "solution": "5+6=11。答えは11です。"}
    write("math_ja/mgsm_ja_exemplars.jsonl", [solved])
    for version, name in (("ni_v1", "subtask001_colour"), ("sni_v2", "task002_sound")):
        row = {"task": name, "definition": f" Say the word of {name}. "}
        instances = [
            {"id": f"{name}/{i}", "task": name, "input": f"thing {i}", "outputs": [f" word {i}", "音"]}
            for i in range(30)
        ]
        write(f"instruct/{version}_tasks.jsonl", [row, {"task": f"{name}_untested", "definition": "Say nothing."}])
        write(f"instruct/{version}_train.jsonl", instances[:20])
        write(f"instruct/{version}_test.jsonl", instances[20:])
    return tmp_path


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data folder at all: neither named nor beside the current folder."""
    monkeypatch.delenv("YOSEGI_DATA", raising=False)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")


@pytest.fixture
def hub(nowhere, monkeypatch):
    """A Hub that hands out the given rows and remembers how it was asked."""
    import datasets

    asked = []

    def serve(rows):
        monkeypatch.setattr(datasets, "load_dataset", lambda *args, **kwargs: asked.append((args, kwargs)) or rows)
        return asked

    return serve


@pytest.fixture
def local_hub(nowhere, tmp_path, monkeypatch):
    """A Hub on this disk: repositories are folders, and `datasets` itself reads them. Remembers the revisions asked for."""
    import datasets

    from yosegi.tasks.readers import data

    load, revisions = datasets.load_dataset, {}

    def serve(repo, config, **splits):
        folder = tmp_path / "hub" / repo
        entries = []
        for split, rows in splits.items():
            file = folder / (config or "default") / f"{split}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(lines(rows), encoding="utf-8")
        for file in sorted(folder.glob("*/*.jsonl")):
            entries.append((file.parent.name, file.stem, file.relative_to(folder)))
        card = "---\nconfigs:\n"
        for name in dict.fromkeys(name for name, _, _ in entries):
            card += f"- config_name: {name}\n  data_files:\n"
            card += "".join(f"  - split: {split}\n    path: {path}\n" for n, split, path in entries if n == name)
        (folder / "README.md").write_text(card + "---\n")

    def load_dataset(repo, config=None, *, split, revision=None):
        revisions[repo] = revision
        assert (tmp_path / "hub" / repo).is_dir(), f"{repo} is not on this Hub"
        return load(str(tmp_path / "hub" / repo), config, split=split, cache_dir=str(tmp_path / "cache"))

    data._fetch.cache_clear()
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    serve.revisions = revisions
    yield serve
    data._fetch.cache_clear()


def check(task, minimum):
    """What every task promises, on every split: enough rows, ids once, the same list twice, gold scores 1."""
    prompts = {}
    for split, least in minimum.items():
        examples = task.examples(split)
        assert len(examples) >= least
        assert examples == task.examples(split)
        assert len({example.id for example in examples}) == len(examples)
        wrong = [example.id for example in examples if task.score(example, example.target).value != 1.0]
        assert not wrong
        prompts[split] = {example.prompt for example in examples}
    assert prompts["train"].isdisjoint(prompts["test"])
    assert prompts["train"].isdisjoint(prompts["validation"])


@pytest.fixture(name="check")
def _check():
    return check
