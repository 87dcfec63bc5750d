import pytest

from yosegi.errors import Invalid, UnknownName
from yosegi.tasks.readers.forms import Form, Questions, ranked, read, shown


def test_words_come_in_any_order():
    assert read("math", "", ["level1"], "en", 8) == Form("", "en", 0)
    assert read("math", "level1/ja/4shot", ["level1"], "en", 8) == Form("level1", "ja", 4)
    assert read("math", "4shot/ja/level1", ["level1"], "en", 8) == Form("level1", "ja", 4)


def test_where_the_data_would_have_to_say_any_word_is_a_subset():
    assert read("mmlu", "anatomy", None, "en").subset == "anatomy"
    with pytest.raises(UnknownName):
        read("aqua", "anatomy", [], "en")


def test_what_cannot_be_is_refused_with_what_is_near():
    with pytest.raises(UnknownName, match="'levle1'. Did you mean 'level1'"):
        read("math", "levle1", ["level1"], "en", 8)
    with pytest.raises(Invalid, match="has 8 worked examples to show, so there is no '9shot'"):
        read("math", "9shot", [], "en", 8)
    with pytest.raises(Invalid, match="has no worked examples"):
        read("jmmlu", "1shot", [], "en")
    with pytest.raises(Invalid, match="more than one language"):
        read("math", "en/ja", [], "en")
    with pytest.raises(Invalid, match="more than one subset"):
        read("math", "a/b", ["a", "b"], "en")
    with pytest.raises(UnknownName):
        read("math", "a/", ["a"], "en")


def test_a_question_between_its_labels():
    assert Form("", "en", 0).render("1+1?") + Form("", "en", 0).answer("2") == "Question: 1+1?\nAnswer: 2"
    assert Form("", "ja", 0).render("1+1?") + Form("", "ja", 0).answer("2") == "問題：1+1?\n答え：2"


def test_a_question_is_never_its_own_worked_example():
    pool = ranked([{"id": str(i)} for i in range(20)])
    assert pool == ranked([{"id": str(i)} for i in reversed(range(20))])
    assert shown(pool, 3, "none") == pool[:3]
    assert shown(pool, 3, pool[1]["id"]) == [pool[0], pool[2], pool[3]]


class Sums(Questions):
    kind, most_shots = "sums", 2
    instruction = {"en": "Solve.", "ja": ""}

    def rows(self, split):
        return [
            {"id": f"{split}/{i}", "question": f" {i}+1? ", "answer": f"{i + 1}", "solution": f"{i + 1}."}
            for i in range(3)
        ]


def test_instruction_worked_examples_and_question():
    example = Sums("2shot").examples("test")[0]
    head, first, second, asked = example.prompt.split("\n\n")
    assert head == "Solve." and asked == "Question: 0+1?\nAnswer:"
    assert first != second and all(
        shot in {f"Question: {i}+1?\nAnswer: {i + 1}." for i in range(3)} for shot in (first, second)
    )
    assert Sums("ja").examples("test")[0].prompt == "問題：0+1?\n答え："
    assert (example.target, example.answers) == (" 1.", ("1",))
