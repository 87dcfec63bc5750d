"""Three hundred inputs that nobody meant; `make fuzz` gives thousands."""

import random

from tests.attacks import fuzz, mutate


def test_every_reader_answers_or_refuses_in_one_line(tmp_path, capsys):
    counts, failed = fuzz.fuzz(300, 0, fuzz.available(), tmp_path)
    assert counts.total() == 300 and min(counts.values()) >= 50
    assert not any(failed.values()), capsys.readouterr().err


def test_faults_are_seen(tmp_path):
    """What crashes, takes too long, says two lines or leaves a file behind is a failure."""

    def long(*_):
        while True:
            pass

    faults = {
        "KeyError": lambda *_: {}["a"],
        "not over after": long,
        "a message of": lambda *_: fuzz.one_line("two\nlines"),
        "left over": lambda _, folder: (folder / ".tmp").write_text(""),
    }
    seconds, fuzz.SECONDS = fuzz.SECONDS, 0.1
    try:
        for words, case in faults.items():
            assert words in (fuzz.run(case, "0/x/0", tmp_path) or "")
        assert fuzz.run(lambda *_: None, "0/x/0", tmp_path) is None
    finally:
        fuzz.SECONDS = seconds


def test_a_case_is_the_same_each_time():
    row = fuzz.ROWS[2]
    for name in map(str, range(50)):
        one, again = (
            mutate.written(chance, mutate.value(chance, row)) for chance in (random.Random(name), random.Random(name))
        )
        assert one == again
    assert fuzz.ROWS[2] == row
