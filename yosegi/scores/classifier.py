"""Classifier: the score of a text-classification model, from the Hugging Face Hub or a folder.

FineWeb-Edu, Penedo et al. 2024, "The FineWeb Datasets: Decanting the Web for the Finest Text Data at Scale", arXiv:2406.17557,
keeps the pages to which a classifier gives 3 points of 5 or more. With `oshizo/japanese-sexual-moderation-v2` it is the filter
of the domain-specialisation experiments on web novels, where pages that score low, such as introductions, are dropped.

A model with one output gives that number; with several, the probability of one label (a sigmoid for multi-label models, else a
softmax). Such models read a few hundred tokens, so a page is cut into stretches; a long page is scored by a few of them, spread
evenly, and its score is their mean weighted by their lengths.
"""

from collections.abc import Sequence
from typing import Any

from yosegi.bases import read, weights_hash
from yosegi.errors import Invalid, UnknownName
from yosegi.scores import Score, Values
from yosegi.scores._windows import mean_of_pages, pieces_of

BATCH = 16  # stretches per batch


class Classifier(Score):
    """Args:
    model: a Hub id or a folder. Only safetensors are read, and no code of the repository is run.
    label: the label whose probability is the score, by name or number; by default the last one.
    stretch: characters of one stretch; 0 is as many as the model takes tokens. Excess tokens are cut off.
    stretches: the most stretches of a page.
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
        limit = min(getattr(config, "max_position_embeddings", 512), self._tokenizer.model_max_length, 8192)
        self._tokens = limit - 2 if config.model_type in ("roberta", "xlm-roberta", "camembert", "luke") else limit
        self.stretch, self.stretches = stretch or self._tokens, stretches
        if self.stretch < 1 or stretches < 1:
            raise Invalid(f"stretch={stretch}, stretches={stretches}: both must be at least 1.")

    def of(self, texts: Sequence[str]) -> Values:
        """Returns a number for each text; None for a blank one."""
        pages = [pieces_of(text.strip(), self.stretch, self.stretches) for text in texts]
        return mean_of_pages(pages, self._classify)

    def about(self) -> dict[str, Any]:
        """Returns the model by its hash, and how a page is cut."""
        return {
            "name": self.name, "model": self.model, "hash": self.hash, "label": self.label,
            "stretch": self.stretch, "stretches": self.stretches,
        }  # fmt: skip

    def _classify(self, pieces: list[str]) -> list[float]:
        """Returns the score of each stretch times its length."""
        import torch

        order, scores = sorted(range(len(pieces)), key=lambda i: len(pieces[i])), [0.0] * len(pieces)
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
                scores[i] = value * len(pieces[i])
        return scores

    def _number(self, label: str) -> int:
        names = {str(name): int(number) for number, name in self._model.config.id2label.items()}
        numbers = {"": self._outputs - 1} | {str(number): number for number in range(self._outputs)} | names
        if label not in numbers:
            raise UnknownName.among("label of this classifier", label, names)
        return numbers[label]
