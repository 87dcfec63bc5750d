from tests.conftest import each
from yosegi.tasks.readers.answers import near
from yosegi.tasks.readers.numbers import INSTRUCTION, Numbers


class Sums(Numbers):
    kind = "sums"
    most_shots = 2
    instruction = INSTRUCTION

    def rows(self, split):
        return [{"id": "0", "question": "1/3?", "answer": "0.333333"}, {"id": "1", "question": "2+2?", "answer": "4.0"}]

    def shots(self):
        return [
            {"id": f"s{i}", "question": f"{i}+1?", "answer": str(i + 1), "solution": f"It is {i + 1}."}
            for i in range(2)
        ]


def test_prompt_and_target():
    third, four = Sums("ja/1shot").examples("test")
    assert four.answers == ("4",) and four.target == "答えは4です。"
    assert (
        four.prompt
        == "問題を順を追って解き、最後に答えを書いてください。\n\n問題：0+1?\n答え：It is 1.\n\n問題：2+2?\n答え："
    )
    assert Sums().score(third, "a third, 1/3").value == 1.0 and Sums().score(third, "0.3").value == 0.0
    assert not Sums().score(third, "no idea").parsed


@each(
    "answer, gold, right",
    [
        ("1/3", "0.333333", True),
        ("0.33", "0.333333", True),
        ("0.34", "0.333333", False),
        ("0.3", "0.333333", False),
        ("0", "0.333333", False),
        ("2/3", "0.666667", True),
        ("0.67", "0.666667", True),
        ("0.66", "0.666667", False),
        ("17/3", "5.666666666666667", True),
        ("6", "5.666666666666667", False),
        ("43", "43", True),
        ("9.431", "9.43", False),
        ("-43", "43", False),
    ],
)
def test_a_decimal_that_was_cut_is_the_fraction_it_stands_for(answer, gold, right):
    assert near(answer, gold) is right
