"""What `loramoe` says of its answers."""

from yosegi.recipes._moe import holds, ids


def test_an_answer_stands_in_a_text_only_by_itself():
    assert holds("so it is 12.", ["12"]) and holds("3+9=12", ["12"]) and holds("答えは12です", ["12"])
    assert not holds("312 or 12.5 or 1.12 or x12", ["12"])
    assert not holds("anything", ["", "7"])


def test_many_ids_are_counted():
    assert ids(set()) == "none"
    assert ids({"b", "a"}) == "a, b"
    assert ids({f"q{n}" for n in range(10)}).endswith("and 2 more")
