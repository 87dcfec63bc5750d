"""Classifier: what a text-classification model says of a page; any from the Hugging Face Hub, or a folder.

FineWeb-Edu, Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", arXiv:2406.17557,
keeps the pages to which a classifier gives 3 points of 5 or more. With `oshizo/japanese-sexual-moderation-v2` it is the filter
of the domain-specialisation experiments on web novels, where pages that score low, such as introductions, are dropped.

A model of one output gives that number; of several, the probability of one label (a sigmoid where the labels may be true
together, else a softmax). Such models read a few hundred tokens, so a page is cut into stretches; a long page is judged by a
few of them, spread evenly, and its score is their mean, each weighing as many characters as it has.
"""

from collections.abc import Sequence
from typing import Any

from yosegi.bases import read, weights_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.scores import Score, Values

BATCH = 16  # stretches at a time


class Classifier(Score):
    """Args:
    model: a Hub id or a folder. Only safetensors are read, and no code of the repository is run.
    label: of which the probability is taken, by name or number; by default the last one.
    stretch: characters of one stretch; 0 is as many as the model takes tokens. What is longer in tokens is cut off.
    stretches: at most so many of a page.
    """

    name = "classifier"

    def __init__(self, model: str, label: str = "", stretch: int = 0, stretches: int = 8):
        import torch

        self._model, self._tokenizer, _ = read(
            model, "classifier", ["MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING"], dtype=torch.float32
        )
        self._model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
        self.model, self.hash = model, weights_hash(model)
        config = self._model.config
        self._outputs, self._sigmoid = config.num_labels, config.problem_type == "multi_label_classification"
        self._label = self._number(label)
        self.label = str(config.id2label.get(self._label, self._label))
        told = min(getattr(config, "max_position_embeddings", 512), self._tokenizer.model_max_length, 8192)
        self._tokens = told - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert", "luke") else told
        self.stretch, self.stretches = stretch or self._tokens, stretches
        if self.stretch < 1 or stretches < 1:
            raise Invalid(f"stretch={stretch}, stretches={stretches}: at least one character of one stretch is read.")

    def of(self, texts: Sequence[str]) -> Values:
        """One number a text; None of a blank one."""
        cut = [self._cut(text.strip()) for text in texts]
        said = iter(self._judge([piece for pieces in cut for piece in pieces]))
        found: Values = []
        for pieces in cut:
            weighed = sum(len(piece) * next(said) for piece in pieces)
            found.append(weighed / sum(map(len, pieces)) if pieces else None)
        return found

    def about(self) -> dict[str, Any]:
        """The model by its hash, and how a page is cut."""
        return {
            "name": self.name, "model": self.model, "hash": self.hash, "label": self.label,
            "stretch": self.stretch, "stretches": self.stretches,
        }  # fmt: skip

    def _cut(self, text: str) -> list[str]:
        starts = range(0, len(text), self.stretch)
        if len(starts) > self.stretches:
            last, most = len(starts) - 1, self.stretches
            starts = [starts[i * last // max(most - 1, 1)] for i in range(most)]
        return [text[start : start + self.stretch] for start in starts]

    def _judge(self, pieces: list[str]) -> list[float]:
        import torch

        order, found = sorted(range(len(pieces)), key=lambda i: len(pieces[i])), [0.0] * len(pieces)
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            batch = self._tokenizer(
                [pieces[i] for i in chosen], truncation=True, max_length=self._tokens, padding=True, return_tensors="pt"
            )
            with torch.no_grad():
                logits_BL = self._model(**batch.to(self._model.device)).logits.float()
            if self._outputs == 1:
                value_B = logits_BL[:, 0]
            else:
                value_B = (logits_BL.sigmoid() if self._sigmoid else logits_BL.softmax(-1))[:, self._label]
            for i, value in zip(chosen, value_B.tolist(), strict=True):
                found[i] = value
        return found

    def _number(self, label: str) -> int:
        names = {str(name): int(number) for number, name in self._model.config.id2label.items()}
        numbers = {str(number): number for number in range(self._outputs)}
        if not label:
            return self._outputs - 1
        if label not in names | numbers:
            raise UnknownName.among("label of this classifier", label, names)
        return names[label] if label in names else numbers[label]
