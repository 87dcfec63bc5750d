from yosegi import files
from yosegi.reporting import report
from yosegi.reporting.context import Context
from yosegi.reporting.read import read
from yosegi.reporting.sections.cards import section


def change(run, name, **metrics):
    path = run / "library" / name / "expert.json"
    card = files.read_json(path)
    files.write_json(path, card | {"metrics": card["metrics"] | metrics})


def test_a_card_says_what_the_files_say(kept_run):
    chain = section(Context(read([kept_run])))["cards"][0]
    folder = kept_run / "library" / "chain"
    assert (chain.name, chain.card["rank"], chain.several("steps"), chain.several("rows")) == ("chain", 8, "400", "–")
    assert chain.size == sum(file.stat().st_size for file in folder.iterdir())
    losses = [
        row["loss"]
        for row in files.read_jsonl(kept_run / "metrics.jsonl")
        if row["expert"] == "chain" and "loss" in row
    ]
    assert chain.loss[0] == losses[0] and min(losses[-20:]) < chain.loss[1] < max(losses[-20:])


def test_the_time_of_a_pass_is_counted_once(run):
    assert section(Context(read([run])))["time"] == 44 + 45 + 46
    for name in ("chain", "reverse"):
        change(run, name, wall_s=44.0, fleet=2)
    assert section(Context(read([run])))["time"] == 44 + 45
    change(run, "wp_ja", wall_s=44.0)  # alone, and as long by chance
    assert section(Context(read([run])))["time"] == 44 + 44


def test_licence_parents_and_what_was_cut_are_said_where_there_are_any(run, kept_run, tmp_path):
    plain = report([kept_run], tmp_path / "other.html").read_text()
    path = run / "library" / "chain" / "expert.json"
    words = "8 of 8 rows lost their prompt and the end of their answer"
    card = files.read_json(path) | {"license": "apache-2.0", "parents": ["one", "two"], "metrics": {"cut": words}}
    files.write_json(path, card)
    page = report([run], tmp_path / "report.html").read_text()
    for said in (f"chain: {words}.", "apache-2.0", "one, two", "made from", "licence"):
        assert said in page and said not in plain, said
