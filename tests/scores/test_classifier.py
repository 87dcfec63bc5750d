"""A text-classification model made on the spot: loaded as one of the Hub is, and asked as the plain loop would."""

import pytest
import torch

from yosegi.errors import Corrupt, Invalid, NoData, UnknownName
from yosegi.scores.classifier import Classifier

LETTERS = "鉄道法律料理物語abcdefg"


@pytest.fixture
def make(tmp_path):
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    def make(labels=("bad", "good"), name="bert", **more):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *LETTERS]))
        BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=16).save_pretrained(folder)
        sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        names = {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
        config = BertConfig(vocab_size=5 + len(LETTERS), max_position_embeddings=16, **sizes, **names, **more)
        model = BertForSequenceClassification(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # as it begins, all texts look the same to it
                parameter.copy_(torch.randn_like(parameter) / 2)
        model.save_pretrained(folder)
        return str(folder), model, BertTokenizerFast.from_pretrained(folder)

    return make


@torch.no_grad()
def logits(model, tokenizer, text):
    return model(**tokenizer(text, truncation=True, max_length=16, return_tensors="pt")).logits[0]


def test_the_probability_of_a_label(make):
    folder, model, tokenizer = make()
    texts = ["鉄道法", "料理", "a b c d", "物語鉄道 efg"]
    expected = [logits(model, tokenizer, text).softmax(-1) for text in texts]
    assert Classifier(folder).of(texts) == pytest.approx([p[1].item() for p in expected], rel=1e-4)
    for label in ("bad", "0"):
        assert Classifier(folder, label=label).of(texts) == pytest.approx([p[0].item() for p in expected], rel=1e-4)
    assert max(p[1].item() for p in expected) - min(p[1].item() for p in expected) > 0.01


def test_labels_that_may_be_true_together_and_a_single_number(make):
    folder, model, tokenizer = make(name="multi", problem_type="multi_label_classification")
    assert Classifier(folder, label="bad").of(["料理"]) == [
        pytest.approx(logits(model, tokenizer, "料理").sigmoid()[0].item(), rel=1e-4)
    ]
    folder, model, tokenizer = make(("points",), name="points")
    assert Classifier(folder).of(["料理"]) == [pytest.approx(logits(model, tokenizer, "料理")[0].item(), rel=1e-4)]


def test_a_long_page_is_the_mean_of_its_stretches(make):
    folder, model, tokenizer = make()
    text = "鉄道法律" * 3 + "料理物語" * 3 + "abcd" * 2 + "鉄"
    pieces = [text[start : start + 10] for start in range(0, len(text), 10)]
    message = [logits(model, tokenizer, piece).softmax(-1)[1].item() for piece in pieces]
    whole = sum(value * len(piece) for value, piece in zip(message, pieces, strict=True)) / len(text)
    assert Classifier(folder, stretch=10).of([text]) == [pytest.approx(whole, rel=1e-4)]
    ends = (message[0] * 10 + message[-1] * len(pieces[-1])) / (10 + len(pieces[-1]))
    assert Classifier(folder, stretch=10, stretches=2).of([text]) == [pytest.approx(ends, rel=1e-4)]
    assert Classifier(folder).stretch == 16


def test_what_decides_is_said_and_changes_with_the_weights(make):
    one, other = Classifier(make(name="one")[0]), Classifier(make(name="other")[0])
    assert one.about()["hash"] != other.about()["hash"] and one.about()["label"] == "good"


def test_what_is_no_classifier(make, tmp_path):
    folder, _, _ = make()
    with pytest.raises(UnknownName, match="No label of this classifier is called 'god'. Did you mean 'good'"):
        Classifier(folder, label="god")
    with pytest.raises(Invalid, match="stretches=0"):
        Classifier(folder, stretches=0)
    with pytest.raises(NoData, match="no folder and could not be fetched"):
        Classifier("nobody/no-such-model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(Corrupt, match="cannot be loaded"):
        Classifier(str(tmp_path / "empty"))


def test_a_head_that_is_missing_is_not_made_up(make, tmp_path):
    from safetensors.torch import load_file, save_file

    folder, _, _ = make()
    file = tmp_path / "bert" / "model.safetensors"
    save_file({name: value for name, value in load_file(file).items() if "classifier" not in name}, file)
    with pytest.raises(Corrupt, match="its weights lack classifier.bias, classifier.weight"):
        Classifier(folder)


def test_pickled_weights_are_never_read(make, tmp_path):
    folder, model, _ = make()
    (tmp_path / "bert" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "bert" / "pytorch_model.bin")
    with pytest.raises(Corrupt):
        Classifier(folder)
