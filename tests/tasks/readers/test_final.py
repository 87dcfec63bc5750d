r"""An audit of what a final answer is read as, in English and Japanese."""

import time

from tests.conftest import each
from yosegi.tasks.readers.equal import same
from yosegi.tasks.readers.final import final

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


@each("text, gold", FOUND)
def test_the_final_answer_is_found_and_is_the_one_meant(text, gold):
    answer = final(text)
    assert answer is not None and same(answer, gold), answer


@each("text, gold", FOUND)
def test_and_is_no_other(text, gold):
    assert not any(same(final(text) or "", other) for other in ("0.987", "123456"))


def test_the_table_is_long():
    assert len(FOUND) >= 65


@each(
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


NEAR = [  # a text, what it means, and what it was once read as or might be
    # several numbers
    ("答えは3,5,7です。", "3, 5, 7", "7"),
    ("答えは1,-2です。", "1,-2", "2"),
    ("答えは2/3,1/3です。", r"\frac23,\frac13", "1/3"),
    ("答えは3-2です。", "1", "2"),
    (r"\boxed{1,2個}", "1,2", "2"),
    ("答えは3または5です", "3,5", "35"),
    (r"\boxed{3と5}", "5,3", "35"),
    ("答えは1または-2です", "1,-2", "-1"),
    (r"\boxed{1、-2}", "1,-2", "12"),
    ("答えは3個と5個です", "3,5", "35"),
    ("答えは(1,2)と(3,4)です", "(1,2),(3,4)", "(1,2)"),
    ("答えはx=1 または x=-2です", "1,-2", "-2"),
    (r"\boxed{x=1 \text{ または } x=-2}", "1,-2", "1"),
    (r"\boxed{x=1 \text{ or } x=-2}", "1,-2", "1"),
    ("The answer is 3 or 5.", "3,5", "35"),
    ("The answer is $3$ or $5$.", "3,5", "3"),
    ("答えは $3$ または $5$ です。", "3,5", "3"),
    ("答えは$3$個と$5$個です", "3,5", "3"),
    ("答えは3対2です", "3:2", "32"),
    ("答えは2と3分の1です", r"\frac73", "2"),
    # a number that is named
    ("答えは $x$ = 5 です。", "5", "x"),
    ("The answer is that $x$ equals $5$.", "5", "x"),
    ("答えはxの値は5です", "5", "x"),
    ("答えは面積は12平方センチです", "12", "1"),
    # signs and what is no rational number
    (r"\boxed{2√3}", r"2\sqrt3", "2"),
    ("The answer is 2√3.", r"2\sqrt{3}", "2"),
    ("答えは2√3です", r"2\sqrt3", "2"),
    ("答えはルート2です", r"\sqrt2", "2"),
    (r"\boxed{∛8x}", r"2x", "8x"),
    (r"\boxed{(5, ∞)}", r"(5,\infty)", "5"),
    (r"\boxed{(−∞, 3]}", r"(-\infty,3]", "3"),
    ("答えは1+√5です", r"1+\sqrt5", "15"),
    ("答えは2πです", r"2\pi", "2"),
    ("答えは5iです", "5i", "5"),
    ("答えは3xです", "3x", "3"),
    ("答えは2a個です", "2a", "2"),
    ("答えは5！です", "120", "5"),
    ("答えはマイナス5です", "-5", "5"),
    ("答えは負の5です", "-5", "5"),
    # units and what is said besides
    ("答えは12cmです", "12", "1"),
    ("答えは3か月です", "3", "1"),
    ("答えは¥500です", "500", "5"),
    ("答えは二分の一です", "0.5", "2"),
    ("答えは5であり、これは3より大きい。", "5", "3"),
    ("The answer is 5, which is prime.", "5", "1"),
    (r"The answer is $\$5$.", "5", "1"),
]


@each("text, gold, near", NEAR)
def test_and_what_looks_like_it_is_not(text, gold, near):
    answer = final(text) or ""
    assert (same(answer, gold), same(answer, near)) == (True, False), answer


@each(
    "text, part",
    [
        ("答えは2時間30分です", "30"),
        (r"\boxed{2時間30分}", "230"),
        (r"\boxed{3個中2個}", "32"),
        ("答えは3以上です", "3"),
        ("答えは3の倍数です", "3"),
        ("答えは5より大きいです", "5"),
        ("答えは3ダースです", "3"),
        ("答えは三角形です", "3"),
        ("The answer is x = 3 and y = 4.", "3"),
    ],
)
def test_a_part_of_an_answer_is_not_taken_for_it(text, part):
    assert not same(final(text) or "", part)


@each("babble", [r"\boxed{", "The answer is ", "$", r"\(", "答えは", "#### ", "{", r"\frac", "1 ", "9", r"\text{"])
def test_a_babbling_model_is_not_slow_to_score(babble):
    begun = time.monotonic()
    same(final(babble * 20_000) or "", "5")
    assert time.monotonic() - begun < 10
