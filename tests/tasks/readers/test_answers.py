import time

from tests.conftest import each
from yosegi.tasks.readers.answers import last_number, same_number

READ = [
    # announced
    ("She sells 9.\n#### 18", "18"),
    ("#### 1,234", "1234"),
    ("####-3", "-3"),
    ("#### $1,080.50", "1080.5"),
    (r"so \boxed{42}, as 6*7 is 42; that took 3 steps", "42"),
    (r"\boxed{1} no, \boxed{2}", "2"),
    (r"\boxed{\frac{1}{2}}", "0.5"),
    (r"\boxed{-\dfrac{3}{4}}", "-0.75"),
    (r"\boxed{2\frac{1}{2}}", "2.5"),
    (r"\boxed{\frac13}", "1/3"),
    (r"\boxed{1{,}234}", "1234"),
    (r"\boxed{\$18}", "18"),
    (r"\boxed{50\%}", "50"),
    (r"\boxed{x = 5}", "5"),
    (r"\boxed{12\text{ km}^2}", "12"),
    (r"\boxed{12", "12"),
    (r"\boxed{\text{none}} #### 5", "5"),
    ("#### 5\nThe answer is 6.", "5"),
    ("The answer is 42.", "42"),
    ("The answer is: **18** dollars", "18"),
    ("Answer: 1,000", "1000"),
    ("The answer is 3 * 4 = 12.", "12"),
    ("The answer is 42 (out of 50).", "42"),
    ("The answer is 5 because 5 = 2 + 3", "5"),
    ("The answer is approx. 42", "42"),
    ("The answer is 7. I used 3 steps.", "7"),
    ("The answer is 7. No, the answer is 8.", "8"),
    ("#### 1. First step\nadd\n#### 2. Second step\nThe answer is 7", "7"),
    ("答えは４２円です", "42"),
    ("答えは42です。ちなみに7日かかりました。", "42"),
    ("答え：－１，２３４個", "-1234"),
    ("48/2=24。48+24=72。答えは72です。", "72"),
    ("答えは48+24=72です", "72"),
    ("答えは十二個です。", "12"),
    ("答えは三万五千円です", "35000"),
    ("答えは二〇二五年です", "2025"),
    ("答えが-5度", "-5"),
    # the last number written
    ("12-5=7", "7"),
    ("12 - 5 = 7 apples left", "7"),
    ("I bought 3, then 4, in all 7", "7"),
    ("7个", "7"),
    ("", None),
    ("no idea", None),
    # signs
    ("2-3", "3"),
    ("10-15", "15"),
    ("10〜15", "15"),
    ("5–10", "10"),
    ("12 - 5", "5"),
    ("3個-1個", "1"),
    ("COVID-19", "19"),
    ("$-5", "-5"),
    ("-$5", "-5"),
    ("−5", "-5"),
    ("－５", "-5"),
    ("x=-2", "-2"),
    ("(-2)", "-2"),
    ("- 5 apples", "5"),
    ("-0", "0"),
    ("答えはマイナス5です", "-5"),
    ("8マイナス5は3です", "3"),
    # factors of what is no number here
    ("x = 2√3", None),
    (r"The answer is 2\sqrt{3}.", None),
    ("2π", None),
    ("√16 = 4", "4"),
    # thousands and lists
    ("1,2,3", "3"),
    ("1, 234", "234"),
    ("12,345.678", "12345.678"),
    ("in 1999, 2000 and 2,001", "2001"),
    ("1,234,56", "56"),
    # what is said of a number is read before it is
    ("正解は8円です。1月から3月まで", "8"),
    ("8円が正解です。1月から3月まで", "8"),
    ("解答：12個。3月まで", "12"),
    ("3 million", "3000000"),
    ("The answer is 1.5 million dollars.", "1500000"),
    ("The answer is 5 thousand", "5000"),
    ("1/2 million", "500000"),
    ("#### 2^10", "1024"),
    (r"\boxed{2^{10}}", "1024"),
    ("The answer is 2^10.", "1024"),
    ("(-2)^2", "4"),
    ("2^-3", "0.125"),
    ("2^(10^9)", None),
    ("The answer is 2^1000000000", None),
    ("1 000", "1000"),
    ("The answer is 10 000 000 km", "10000000"),
    ("1 000 000.5", "1000000.5"),
    ("3 4 500", "500"),
    ("51.", "51"),
    ("The answer is minus 5", "-5"),
    ("negative 3", "-3"),
    ("8 minus 5 is 3", "3"),
    ("The answer is - 5", "-5"),
    ("The answer is not 5", None),
    ("The answer is not 5 but 6", "6"),
    ("The answer isn't 7, it is 8.", "8"),
    ("答えは5ではない", None),
    ("答えは5個ではなく6個です。", "6"),
    # units
    ("50%", "50"),
    ("５０％", "50"),
    ("¥１，０００", "1000"),
    ("USD50", "50"),
    ("5km", "5"),
    ("25cm²", "25"),
    ("25 cm^2", "25"),
    ("CO2", None),
    ("H2O in 3 cups", "3"),
    ("15分", "15"),
    # decimals, exponents, fractions
    ("3.0", "3"),
    ("2.50.", "2.5"),
    (".5", "0.5"),
    ("1e3", "1000"),
    ("2.5×10^3", "2500"),
    (r"2 \times 10^{-2}", "0.02"),
    ("2^5 = 32", "32"),
    ("2⁵ = 32", "32"),
    ("v2.1.0", None),
    ("No. 1", "1"),
    ("No.1", "1"),
    ("3/4", "0.75"),
    ("-1/3", "-1/3"),
    ("¾", "0.75"),
    ("-½", "-0.5"),
    ("2½ hours", "2.5"),
    ("2 1/2 hours", "2.5"),
    ("4分の3", "0.75"),
    ("三分の一", "1/3"),
    ("10/12/2020", "2020"),
    ("24/2=12", "12"),
    ("3/0", None),
    ("12/0, so 4", "4"),
    # kanji
    ("十二", "12"),
    ("三百円です。", "300"),
    ("3万5千円", "35000"),
    ("3万5000円", "35000"),
    ("1.5万", "15000"),
    ("3百万", "3000000"),
    ("1億2,000万", "120000000"),
    ("一番です", None),
    ("十分", None),
    ("3人のうち一人が", "3"),
]


@each("text, number", READ)
def test_the_final_number_is_read(text, number):
    assert last_number(text) == number


def test_the_table_is_long():
    assert len(READ) >= 100


@each("text, number", [row for row in READ if row[1]])
def test_what_was_read_reads_the_same_again(text, number):
    assert last_number(number) == number


SAME = [("3.0", "3"), ("1,234", "1234"), ("４２", "42"), ("1/2", "0.5"), ("2/6", "1/3"), ("1e3", "1,000"), ("-0", "0")]


@each("a, b", SAME)
def test_equal_numbers_are_the_same(a, b):
    assert same_number(a, b) and same_number(b, a)


@each("a, b", [("3", "-3"), ("1/3", "0.33"), ("", ""), ("none", "none"), ("", "0"), ("3", "30")])
def test_other_numbers_and_no_numbers_are_not(a, b):
    assert not same_number(a, b)


BABBLE = [
    " ",
    "1,",
    r"\boxed{",
    "Answer: ",
    "1 ",
    "9",
    "1/",
    "^ ",
    r"\frac ",
    "-",
    "十",
    "10^",
    "####1\n",
    "=1",
    "答えは九",
]


@each("babble", BABBLE)
def test_a_babbling_model_is_not_slow_to_score(babble):
    begun = time.perf_counter()
    last_number(babble * 20_000)
    assert time.perf_counter() - begun < 2


@each("text", ["9" * 7000, "1" + "0" * 6000 + "分の1", "1e99999999", "九" * 7000, "9" * 4299 + "兆"])
def test_a_number_too_long_to_mean_anything_does_no_harm(text):
    last_number(text)
