import time

import pytest

from tests.conftest import each
from yosegi import tasks
from yosegi.tasks.readers import data
from yosegi.tasks.readers.letters import last_letter

CITIES = ["Paris", "London", "Rome", "Berlin", "Madrid"]

READ = [
    # in a box
    (r"\boxed{B}", "B"),
    (r"so \boxed{\text{(C)}}.", "C"),
    (r"Answer: $\boxed{D}$", "D"),
    (r"\boxed{A} no, \boxed{B}", "B"),
    (r"\boxed{b}", "B"),
    (r"\boxed{42} The answer is C.", "C"),
    # announced
    ("The answer is (B).", "B"),
    ("The answer is B", "B"),
    ("The answer is **B**.", "B"),
    ("The answer is $B$", "B"),
    ("The answer is (b)", "B"),
    ("The answer is: C. Rome", "C"),
    ("The correct option is C.", "C"),
    ("Answer - A", "A"),
    ("Answer : A", "A"),
    ("ANSWER:E", "E"),
    ("Answer: Option C", "C"),
    ("CORRECT OPTION:OPTION E", "E"),
    ("Choice B.", "B"),
    ("the option (d)", "D"),
    ("Final Answer:\nA", "A"),
    ("Answer: A\nNo. Answer: D", "D"),
    ("The answer is A because it is", "A"),
    ("A is wrong, C is wrong, so the answer is B", "B"),
    # in Japanese
    ("答えはBです。", "B"),
    ("正解：Ｂ", "B"),
    ("答え：（Ｃ）", "C"),
    ("正解は「D」です", "D"),
    ("正解は、Eである。", "E"),
    ("答え:A. パリ", "A"),
    ("答え：Ａ", "A"),
    ("選択肢Aが正しい", "A"),
    ("首都なので、答えはＡになります。", "A"),
    ("よって正解はCだ", "C"),
    ("Cです。", "C"),
    ("よってBが正解", "B"),
    ("正しいのはBです", "B"),
    ("Dが答えです", "D"),
    ("答えはDとなる", "D"),
    ("記号はB", "B"),
    ("【B】", "B"),
    ("Bは正しくない。よってCが正しい。", "C"),
    ("Therefore, B is correct.", "B"),
    ('"C"', "C"),
    ("(b)", "B"),
    # a mention is not a choice
    ("回答はAではなくBです", "B"),
    ("正解はAでなくBです", "B"),
    ("The correct answer is not A but B", "B"),
    ("Option A is incorrect, so B", "B"),
    ("Choice A is wrong, choice B is right", "B"),
    ("Aは誤り。Bが正しい", "B"),
    ("選択肢Aが誤りで、選択肢Cが正しい", "C"),
    ("A or B? I choose B.", "B"),
    ("Bを選びます", "B"),
    ("The answer is b.", "B"),
    ("答えはbです", "B"),
    ("Option A is wrong", None),
    ("Option B is clearly wrong.", None),
    ("Option A: Paris is in France.", None),
    ("The answer is not B", None),
    ("The answer isn't A", None),
    ("A can't be right", None),
    ("A is not correct", None),
    ("It is not (A).", None),
    ("(A) is false", None),
    ("I would not choose A.", None),
    ("all except A", None),
    ("A quiet person", None),
    ("選択肢Aは間違い", None),
    ("答えはAではありません", None),
    ("答えはAとは言えない", None),
    ("正しい答えはA以外です", None),
    ("Aは違います", None),
    # alone
    ("A", "A"),
    (" B\n", "B"),
    ("**B**", "B"),
    ("B. London", "B"),
    ("B) London", "B"),
    ("(B) London", "B"),
    ("B\nQuestion: what is", "B"),
    ("It costs 5.\nD", "D"),
    ("D is the correct choice", "D"),
    ("Hence (A) is correct answer.", "A"),
    ("It is (A) or (B), so (B)", "B"),
    # spelt out
    ("London", "B"),
    ("london.", "B"),
    # none
    ("", None),
    ("b", None),
    ("F", None),
    ("Answer: F", None),
    ("Bob", None),
    ("A triangle has three sides", None),
    ("I think so", None),
    ("A and B", None),
    ("答え:A,B", None),
    ("The answer is A or B.", None),
    ("A\nB\nC\nD", None),
    ("Bは正解ではない", None),
    ("A's", None),
    ("A = 3", None),
    ("The answer is a triangle", None),
    ("The answer is A triangle", None),
    ("The answer is not known", None),
    ("What is A?", None),
    ("AとBのうちB", None),
    ("わかりません", None),
    ("Oslo", None),
]


@each("text, letter", READ)
def test_the_chosen_letter_is_read(text, letter):
    assert last_letter(text, CITIES) == letter


def test_the_table_is_long():
    assert len(READ) >= 60


def test_only_letters_that_are_there_are_chosen():
    assert last_letter("The answer is D.", CITIES[:4]) == "D"
    assert last_letter("The answer is D.", CITIES[:3]) is None


def test_a_text_that_two_choices_share_names_neither():
    assert last_letter("same", ["same", "same", "other"]) is None
    assert last_letter("other", ["same", "same", "other"]) == "C"


@each("babble", ["Answer: ", "((((", "Answer (", "A ", r"\boxed{", "答え：「", "\n", "the answer is the "])
def test_a_babbling_model_is_not_slow_to_score(babble):
    begun = time.perf_counter()
    last_letter(babble * 20_000, CITIES)
    assert time.perf_counter() - begun < 2


@pytest.mark.data
def test_what_people_wrote_is_read_as_they_meant_it():
    """508 rationales in as many styles: the letter of most is found, and a wrong one is rarer than one in a hundred."""
    rows = [row for file in ("dev", "test") for row in data.rows(f"math_en/aqua_{file}")]
    said = [(last_letter(row["solution"], row["choices"]), row["answer"]) for row in rows]
    assert len(rows) == 508
    assert sum(letter == gold for letter, gold in said) >= 455
    assert sum(letter not in (gold, None) for letter, gold in said) <= 3
    assert tasks.load("aqua").score(tasks.load("aqua").examples("test")[0], "A").parsed
