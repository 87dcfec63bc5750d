r"""An audit of what a final answer is read as, in English and Japanese, and of what is called the same."""

import io
import json
import os
import threading
import time

import pytest

from yosegi.tasks import _equal
from yosegi.tasks._equal import ALGEBRA, final, same, serve, spelt

FOUND = [
    # in a box
    (r"\boxed{12}", "12"),
    (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
    (r"\boxed{\dfrac{1}{2}}", "0.5"),
    (r"\boxed{1} no, \boxed{2}", "2"),
    (r"\boxed{\text{east}}", "east"),
    (r"\boxed{(1, 2)}", "(1,2)"),
    (r"\boxed{x = 5}", "5"),
    (r"\boxed{12", "12"),
    (r"\boxed{\$1,234.50}", "1234.5"),
    (r"\boxed{50\%}", "50"),
    (r"\boxed{5.4 \text{ cents}}", "5.4"),
    (r"\boxed{.35}", "0.35"),
    (r"\boxed{12}. Check: 3 + 9 = 12. It took 2 steps.", "12"),
    (r"答えは\boxed{\frac{3}{4}}です。", "0.75"),
    (r"したがって、\boxed{12個}です。", "12"),
    (r"よって \boxed{５} となる。", "5"),
    (r"\boxed{３万５千}", "35000"),
    (r"\boxed{x=\frac{1}{3}} The answer is 4.", r"\frac13"),
    # after ####
    ("6 * 7 = 42\n#### 42", "42"),
    ("#### x+1", "x+1"),
    (r"#### \frac{2}{3}", "2/3"),
    ("#### 1. First step\nadd\n#### 2. Second step\nThe answer is 7", "7"),
    ("#### Step 1\nadd\nThe answer is 7", "7"),
    # announced
    ("The answer is 42.", "42"),
    ("The answer is 42 apples.", "42"),
    ("The answer is $42$.", "42"),
    ("The answer is **42**.", "42"),
    (r"The answer is $\frac{1}{2}$, as above.", "0.5"),
    (r"The answer is \frac{1}{2}.", "0.5"),
    ("The final answer is (3, 4).", "(3,4)"),
    ("The answer is x^2 + 1.", "1+x^2"),
    ("The answer is 1,234.", "1234"),
    ("The answer is 3.5.", "3.5"),
    ("The answer is: -7", "-7"),
    ("The answer is 7. No, the answer is 8.", "8"),
    ("The answer is east.", "east"),
    (r"The answer is \(5\).", "5"),
    ("Answer: 2/3", "2/3"),
    ("答えは12個です。", "12"),
    ("答えは12個です", "12"),
    ("答えは１２個です。", "12"),
    ("答えは１，２３４円です。", "1234"),
    ("答えは－７です。", "-7"),
    ("答え：42", "42"),
    ("答え：４２。", "42"),
    ("答えは3万5千円です。", "35000"),
    ("答えは1億2000万です。", "120000000"),
    ("答えは十二個です。", "12"),
    ("答えは4分の3です。", "0.75"),
    ("答えは3/4です。", "0.75"),
    ("答えは50%です。", "50"),
    ("答えは５０％です。", "50"),
    (r"答えは$\frac{3}{4}$です。", "0.75"),
    (r"答えは\frac{3}{4}です。", "0.75"),
    (r"答えは $x=5$ です。", "5"),
    ("答えは(1,2)です。", "(1,2)"),
    ("答えはx+1です。", "1+x"),
    ("答えは2.5時間となります。", "2.5"),
    ("3+4=7。答えは7です。ちなみに2回計算しました。", "7"),
    ("したがって答えは12個になる。", "12"),
    # the last piece of mathematics, or the last number
    (r"We get $x = 3$ and then $y = 4$.", "4"),
    (r"so that \[x = \frac{1}{2}\]", "0.5"),
    (r"よって、$\sqrt{8}$ である。", r"2\sqrt{2}"),
    ("There are 3 boxes of 4, in all 12.", "12"),
    ("3つの箱に4個ずつ、全部で12個", "12"),
    # the whole text
    (r"\frac{1}{2}", "0.5"),
    ("p - q", "p-q"),
    (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}"),
    (r"(-\infty, 3]", r"(-\infty,3]"),
]


@pytest.mark.parametrize(("text", "gold"), FOUND)
def test_the_final_answer_is_found_and_is_the_one_meant(text, gold):
    answer = final(text)
    assert answer is not None and same([(answer, gold)]) == [True], answer


@pytest.mark.parametrize(("text", "gold"), FOUND)
def test_and_is_no_other(text, gold):
    assert same([(final(text) or "", "0.987"), (final(text) or "", "123456")]) == [False, False]


def test_the_table_is_long():
    assert len(FOUND) >= 65


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "I do not know.",
        "わかりません。",
        "答え",
        "答えは",
        "The answer is",
        "####",
        "-",
        "=",
        "\0",
        "\ud800",
    ],
)
def test_where_there_is_no_answer_none_is_found(text):
    assert final(text) is None


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
    ("12", "12x"),
    ("west", r"\text{east}"),
    ("(A)", r"\text{(B)}"),
    (r"\frac{1}{0}", "0"),
    ("", "0"),
    ("12", "1"),
]


@pytest.mark.parametrize(("a", "b"), SAME)
def test_equal_as_mathematics(a, b):
    assert same([(a, b)]) == [True]


@pytest.mark.parametrize(("a", "b"), OTHER)
def test_not_equal_as_mathematics(a, b):
    assert same([(a, b)]) == [False]


def test_looks_do_not_count():
    assert spelt(r"\left( 1,\! 2 \right)") == spelt("(1, 2)")
    assert spelt(r"\text{East}.") == spelt("east")
    assert spelt("1,234") == "1234" and spelt("1,2") == "1,2" and spelt("(1,234)") == "(1,234)"


def test_what_takes_for_ever_is_not_the_same_and_the_next_is_judged_as_before(monkeypatch):
    monkeypatch.setattr(_equal, "SECONDS", 2)
    begun, started = time.monotonic(), ALGEBRA.restarts
    assert same([("2003^{2002^{2001}}", "7"), ("2+x", "x+2")]) == [False, True]
    assert time.monotonic() - begun < 60 and ALGEBRA.restarts > started


def test_a_process_that_died_is_started_again():
    assert same([("2+x", "x+2")]) == [True]
    ALGEBRA.process.kill()
    assert same([("y+x", "x+y")]) == [True]


def test_threads_take_turns():
    """math-verify's own limit on time works in the main thread only."""
    verdicts = {}

    def ask(n):
        verdicts[n] = same([(f"{n}+x", f"x+{n}"), (f"{n}+x", f"x+{n + 1}")])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert verdicts == {n: [True, False] for n in range(4)}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_asks_a_process_of_its_own():
    assert same([("z+x", "x+z")]) == [True]
    before, (read, write) = ALGEBRA.process.pid, os.pipe()
    child = os.fork()
    if not child:
        said = same([("w+x", "x+w")]) == [True] and ALGEBRA.process.pid != before
        ALGEBRA.close()
        os.write(write, b"1" if said else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    assert same([("v+x", "x+v")]) == [True] and ALGEBRA.process.pid == before, "the parent's is left alone"


def test_a_broken_question_is_answered_all_the_same(monkeypatch):
    told = io.StringIO()
    monkeypatch.setattr("resource.setrlimit", lambda *limits: None)  # or all tests after this one starve
    serve(io.StringIO('["1", "1"]\nnonsense\n["\\\\frac{", "x"]\n'), told)
    assert [json.loads(line) for line in told.getvalue().splitlines()] == [True, False, False]


@pytest.mark.parametrize(
    "babble", [r"\boxed{", "The answer is ", "$", r"\(", "答えは", "#### ", "{", r"\frac", "1 ", "9", r"\text{"]
)
def test_a_babbling_model_is_not_slow_to_score(babble):
    begun = time.monotonic()
    same([(final(babble * 20_000) or "", "5")])
    assert time.monotonic() - begun < 10
