r"""An audit of what is called the same, and of the process that says so."""

import io
import json
import os
import threading
import time

import pytest

from tests.conftest import each
from yosegi.tasks.readers import values
from yosegi.tasks.readers.equal import ALGEBRA, same, serve

SAME = [
    ("0.5", r"\frac12"),
    ("1/2", r"\dfrac{1}{2}"),
    (r"\tfrac{2}{4}", r"\frac12"),
    ("(x+1)^2", "x^2+2x+1"),
    (r"\sqrt{8}", r"2\sqrt{2}"),
    ("(1,2)", r"\left( 1, 2 \right)"),
    ("5", "x = 5"),
    (r"10,\!080", "10080"),
    (r"1{,}000", "1000"),
    ("12 cm", r"12\text{ cm}"),
    (r"30^\circ", "30"),
    ("30°", "30"),
    (r"\text{(B)}", "(B)"),
    ("270/7", "\\frac{270}7\\text{ degrees}"),
    ("2x+3=y", "y = 2x + 3"),
    (r"\{2,1\}", r"\{1,2\}"),
    (r"1+\sqrt{19},1-\sqrt{19}", r"1 \pm \sqrt{19}"),
    ("1 4/5", r"1\frac{4}{5}"),
    ("1.8", r"1\frac{4}{5}"),
    ("864", r"864 \mbox{ inches}^2"),
    (r"\begin{pmatrix}-2\\-14\end{pmatrix}", r"\begin{pmatrix} -2 \\ -14 \end{pmatrix}"),
    ("９", "9"),
    ("½", "0.5"),
    ("52", "52_8"),
    ("52_{8}", "52_8"),
    ("BA", "AB"),
]
OTHER = [
    ("0.33", r"\frac13"),
    ("(2,1)", "(1,2)"),
    ("x+1", "x-1"),
    (r"[0,\infty)", r"(0,\infty)"),
    ("1", "1,2"),
    ("3.14", r"\pi"),
    ("-5", "5"),
    ("51_8", "52_8"),
    ("52_9", "52_8"),
    ("52_{10}", "52_8"),
    ("1001_3", "1001_2"),
    ("neve", r"\text{even}"),
    ("Evelny", r"\text{Evelyn}"),
    ("3以上", "3"),
    ("12", "12x"),
    ("west", r"\text{east}"),
    ("(A)", r"\text{(B)}"),
    (r"\frac{1}{0}", "0"),
    ("", "0"),
    ("12", "1"),
]


CASE_8 = [  # what math-verify calls equal, and is not
    ("1/2006!", "1/2004!"),
    ("2^{-98}", "2^{-99}"),
    (r"1+1/\mathrm{e}", r"1-1/\mathrm{e}"),
    (r"4\sqrt(2)", "4"),
    (r"1:4:9:\ldots", r"1:2:3:\ldots"),
    ("1, 4, 9, ...", "1, 2, 3, ..."),
    ("7:30 a.m.", "7:30 p.m."),
    ("2^{10^9}", "2^{10^9+1}"),
    ("10000!", "10001!"),
    ("10000!", "10000!+1"),
    ("2^{100}", "2^{100}+1"),
    (r"5\text{ cents}", r"5\text{ dollars}"),
    ("5 m", "5 km"),
    ("1:2", "1:2:3"),
    ("[0,1)", "[0,1]"),
    (r"1\le x<2", "[1,2]"),
    (r"0.\overline{3}", "0.3"),
    ("10^{-30}", "0"),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix}2\\1\end{pmatrix}"),
]
CASE_8_SAME = [  # and the other way round
    (r"1\le x\le 2", "[1,2]"),
    ("x > 3", r"(3,\infty)"),
    (r"x < 1", r"(-\infty, 1)"),
    (r"x \in [0,1)", r"0 \le x < 1"),
    (r"\emptyset", r"\varnothing"),
    ("∅", r"\{\}"),
    (r"0.\overline{3}", r"\frac13"),
    (r"0.1\overline{6}", "1/6"),
    (r"4\sqrt(2)", r"\sqrt{32}"),
    ("2:4", "1:2"),
    ("19, 43", r"19 \text{ and }43"),
    ("7:30", "7:30 a.m."),
    ("10000!", r"10000 \cdot 9999!"),
    (r"\log_2 8", "3"),
    (r"(-\infty,1)\cup(2,\infty)", r"(2,\infty)\cup(-\infty,1)"),
    (r"5\text{ cm}", "5"),
    (r"\sin^2 x + \cos^2 x", "1"),
    ("y = 2x+3", "2y = 4x+6"),
]


def test_equal_as_mathematics():
    assert [pair for pair in SAME + CASE_8_SAME if not same(*pair)] == []


def test_not_equal_as_mathematics():
    assert [pair for pair in OTHER + CASE_8 if same(*pair) or same(*pair[::-1])] == []


HOSTILE = [
    "2^(10^9)", "10000!", "(10^9)!", "9^9^9^9", "(" * 190 + "1" + ")" * 190, "sin(2^(10^9))", "1," * 199 + "1", "1/" * 190 + "1",
    r"(10^{15})!^{10^{15}}", r"\binom{10^8}{5\cdot 10^7}", "i^{10^{15}}", "{" * 399, r"\frac" * 80, "|" * 399,
]  # fmt: skip


@each("answer", HOSTILE)
def test_no_answer_can_make_its_value_slow(answer):
    """In terms of this process: what is unclear goes to the process with the limit."""
    begun = time.process_time()
    values.agree(answer, answer + "+1")
    assert values.agree("7", answer) is not True
    assert time.process_time() - begun < 2


def test_what_takes_for_ever_is_not_the_same_and_the_next_is_judged_as_before(monkeypatch):
    monkeypatch.setattr("yosegi.tasks.readers.equal.SECONDS", 2)
    begun, started = time.monotonic(), ALGEBRA.restarts
    assert (ALGEBRA.same("2003^{2002^{2001}}", "7"), ALGEBRA.same("2+x", "x+2")) == (False, True)
    assert time.monotonic() - begun < 60 and ALGEBRA.restarts > started


def test_a_process_that_died_is_started_again():
    assert ALGEBRA.same("2+x", "x+2")
    ALGEBRA.process.kill()
    assert ALGEBRA.same("y+x", "x+y")


def test_threads_take_turns():
    """math-verify's own limit on time works in the main thread only."""
    verdicts = {}

    def ask(n):
        verdicts[n] = [ALGEBRA.same(f"{n}+x", f"x+{n + more}") for more in (0, 1)]

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert verdicts == {n: [True, False] for n in range(4)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_asks_a_process_of_its_own():
    assert ALGEBRA.same("z+x", "x+z")
    before, (read, write) = ALGEBRA.process.pid, os.pipe()
    child = os.fork()
    if not child:
        said = ALGEBRA.same("w+x", "x+w") and ALGEBRA.process.pid != before
        ALGEBRA.close()
        os.write(write, b"1" if said else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    assert ALGEBRA.same("v+x", "x+v") and ALGEBRA.process.pid == before, "the parent's is left alone"


def test_a_broken_question_is_answered_all_the_same(monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr("resource.setrlimit", lambda *limits: None)  # or all tests after this one starve
    serve(io.StringIO('["1", "1"]\nnonsense\n["\\\\frac{", "x"]\n'), told)
    assert [json.loads(line) for line in told.getvalue().splitlines()] == [True, False, False]
