"""The card, apart from the library that keeps it."""

import pytest
import torch

from yosegi.core.expert import Expert, Factors
from yosegi.errors import Corrupt, Invalid, WrongBase
from yosegi.library.card import FIELDS, card_of, check_base, check_name, read_card, readme
from yosegi.library.interchange import as_peft


def made(name="x", base=None, base_hash=None, seq2seq=False, **card):
    expert = Expert(name, {"m.q": Factors(torch.randn(2, 5), torch.randn(3, 2), 2.0)}, card)
    _, config = as_peft(expert, base, "SEQ_2_SEQ_LM" if seq2seq else "CAUSAL_LM")
    return card_of(expert, config, "0" * 64, base, base_hash), config


def test_every_field_is_there_and_more_are_kept():
    card, _ = made(task="t", relative_error=0.1)
    assert set(card) == {*FIELDS, "relative_error"} and card["task"] == ["t"] and card["alpha"] == 4


def test_what_the_expert_says_of_its_base_comes_first():
    card, _ = made(base="here", base_hash="h")
    assert (card["base"], card["base_hash"]) == ("here", "h")
    expert = Expert("x", {"m": Factors(torch.ones(1, 1), torch.ones(1, 1))}, {"base": "there", "base_hash": "t"})
    card = card_of(expert, as_peft(expert)[1], "0", "here", "h")
    assert (card["base"], card["base_hash"]) == ("there", "t")


def test_check_name_returns_the_name():
    assert check_name("数学") == "数学"
    with pytest.raises(Invalid, match="'../x': it holds a path separator"):
        check_name("../x")


def test_check_base_takes_an_expert_or_a_card():
    message = r"^expert 'x' was trained beside Qwen3-0.6B@a1b2; this is Qwen3-1.7B@c3d4\.$"
    card = {"name": "x", "base": "Qwen/Qwen3-0.6B", "base_hash": "a1b2000"}
    for it in (card, Expert("x", {}, card)):
        check_base(it, "anything", "a1b2000")
        with pytest.raises(WrongBase, match=message):
            check_base(it, "models/Qwen3-1.7B/", "c3d4000")
    with pytest.raises(
        WrongBase, match="expert 'y' does not say which base it was trained beside; this is a base@c3d4"
    ):
        check_base({"name": "y"}, None, "c3d4000")


def test_read_card_names_what_is_wrong(tmp_path):
    with pytest.raises(Corrupt, match="expert.json is missing"):
        read_card(tmp_path)
    (tmp_path / "expert.json").write_text("3")
    with pytest.raises(Corrupt, match="expert.json is not a JSON object"):
        read_card(tmp_path)


def test_a_local_base_is_no_hub_id(tmp_path):
    for base in (str(tmp_path), "smollm2", None):
        card, config = made(base=base)
        assert "base_model" not in readme(card, config)
    card, config = made(base="org/model", seq2seq=True)
    text = readme(card, config)
    assert 'base_model: "org/model"' in text and "AutoModelForSeq2SeqLM.from_pretrained('org/model')" in text


def test_nothing_breaks_out_of_a_table():
    card, config = made(training="a | b\n# c", metrics={"m|n": "1\n2"})
    rows = [line for line in readme(card, config).splitlines() if line.startswith("|")]
    assert "| training | a \\| b # c |" in rows and "| m\\|n | 1 2 |" in rows


def merged(parents=("a", "b"), **card):
    training = {"merge": "ties", "weights": [0.5, -1.0], "density": 0.2}
    return readme(*made(name="both", training=training, parents=list(parents), **card))


def test_a_merged_expert_says_of_what_and_what_it_cost():
    text = merged(relative_error=0.83125, truncation_error=0.5)
    assert "Merged by ties from 0.5 · a + -1 · b. Made again by" in text
    assert "\nyosegi merge 'ties{density=0.2}(a*0.5,b*-1.0)' --name both\n" in text
    assert "| distance from the weighted sum | 0.8313 of its norm |" in text
    assert "| lost in the cut to this rank | 0.5 of its norm |" in text
    assert "distance" not in merged() and "lost" not in merged(), "nothing that nobody measured"


def test_only_a_merge_is_told_as_one():
    for training in (None, "merge", {"method": "lora"}, {"merge": "ties", "weights": [1.0]}, {"merge": "ties"}):
        assert "Merged" not in readme(*made(training=training, parents=["a", "b"]))
    text = readme(*made(relative_error=0.25))
    assert "| lost in the cut to this rank | 0.25 of its norm |" in text and "weighted sum" not in text
