"""Labelled: a linear classifier that is trained on a few pages labelled by hand.

GPT-3's web pages were filtered this way, Brown et al. 2020, "Language Models are Few-Shot Learners", arXiv:2005.14165, appendix
A: hashed words and logistic regression. Here the features are hashed character 1- to 3-grams (Japanese needs no word list),
weighted by TF-IDF and scaled to length 1; the score is the probability that the page should be kept. scikit-learn trains it; two
vectors in a safetensors file and a card in JSON are stored.

`note` has the cross-validated accuracy on the labelled pages, a rough number with few pages.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from yosegi import files
from yosegi.errors import Corrupt, Invalid, NoData
from yosegi.scores import Score, Values
from yosegi.tasks.readers import records

CARD, WEIGHTS = "labelled.json", "labelled.safetensors"
FEATURES = 2**18
GRAMS = (1, 3)
READ = 20_000
"""The number of characters of a page that are read, from its beginning."""
LABELS = {True: 1, "1": 1, "keep": 1, "yes": 1, False: 0, "0": 0, "drop": 0, "no": 0}  # 1 is True, 0 is False
FOLDS = 10


class Labelled(Score):
    """Args:
    path: a JSONL file with `text` and `label` (1 or 0, "keep" or "drop"; rows with label null are left out); or the folder of a
        stored classifier.
    strength: the inverse regularisation (scikit-learn's C).
    """

    name = "labelled"

    def __init__(self, path: str, strength: float = 10.0):
        self.path, self.strength = path, strength
        if not Path(path).exists():
            raise NoData(
                f"labelled: there is no {path}. `yosegi curate CORPUS --sample 20 --out DIR` draws pages to label."
            )
        if Path(path).is_dir():
            self._read(Path(path))
        else:
            self._learn(*_rows(Path(path)))

    def of(self, texts: Sequence[str]) -> Values:
        """Returns a probability for each text; None for a blank one."""
        import numpy as np

        if not texts:
            return []
        counts = _counts(texts)
        weighted = counts.multiply(self._idf_F).tocsr()
        norm = np.sqrt(np.asarray(weighted.multiply(weighted).sum(-1)).ravel())
        margin = weighted @ self._coef_F / np.maximum(norm, 1e-12) + self._intercept
        probability = 1 / (1 + np.exp(-margin))
        return [float(value) if length else None for value, length in zip(probability, norm, strict=True)]

    def about(self) -> dict[str, Any]:
        """Returns the hash of the classifier and the size of its training set."""
        return {"name": self.name, "hash": self._hash(), "pages": self.pages, "kept": self.kept}

    def write(self, folder: Path) -> None:
        """Writes the two files, which `labelled{path=FOLDER}` reads."""
        from safetensors.numpy import save

        card = {
            "what": "logistic regression on hashed character n-grams, TF-IDF", "features": FEATURES, "grams": GRAMS,
            "read": READ, "intercept": self._intercept, "pages": self.pages, "kept": self.kept, "note": self.note,
            "hash": self._hash(),
        }  # fmt: skip
        files.write(folder / WEIGHTS, save({"coef_F": self._coef_F, "idf_F": self._idf_F}))
        files.write_json(folder / CARD, card)

    def _learn(self, texts: list[str], labels: list[int]) -> None:
        import numpy as np
        from sklearn.feature_extraction.text import TfidfTransformer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict
        from sklearn.pipeline import make_pipeline

        self.pages, self.kept = len(labels), sum(labels)
        if min(self.kept, self.pages - self.kept) < 2:
            raise Invalid(
                f"{self.path} labels {self.kept} pages to keep and {self.pages - self.kept} to drop: it needs two of each."
            )
        counts, folds = _counts(texts), min(FOLDS, self.kept, self.pages - self.kept)
        tfidf: Any = TfidfTransformer()
        model: Any = LogisticRegression(C=self.strength, class_weight="balanced", max_iter=1000)
        pipeline = make_pipeline(tfidf, model)
        cut = StratifiedKFold(folds, shuffle=True, random_state=0)
        predicted: Any = cross_val_predict(pipeline, counts, labels, cv=cut)
        right = int((predicted == np.array(labels)).sum())
        self.note = f"{right} of {self.pages} labelled pages are classified correctly when left out ({folds} folds)"
        pipeline.fit(counts, labels)
        self._idf_F = np.asarray(tfidf.idf_, dtype=np.float64)
        self._coef_F = np.asarray(model.coef_[0], dtype=np.float64)
        self._intercept = float(model.intercept_[0])

    def _read(self, folder: Path) -> None:
        from safetensors import SafetensorError
        from safetensors.numpy import load

        if not (folder / CARD).is_file() or not (folder / WEIGHTS).is_file():
            raise NoData(f"{folder} holds no classifier: {CARD} and {WEIGHTS} are missing.")
        card = files.read_json(folder / CARD)
        try:
            weights = load((folder / WEIGHTS).read_bytes())
            self._coef_F, self._idf_F = weights["coef_F"], weights["idf_F"]
            if not len(self._coef_F) == len(self._idf_F) == FEATURES:
                raise KeyError("features")
            if (card["features"], tuple(card["grams"]), card["read"]) != (FEATURES, GRAMS, READ):
                raise Invalid(f"{folder / CARD} describes other features than this version has: train it again.")
            self._intercept, self.pages, self.kept = float(card["intercept"]), int(card["pages"]), int(card["kept"])
            self.note = str(card["note"])
            if card["hash"] != self._hash():
                raise Corrupt(f"{folder}: {CARD} and {WEIGHTS} do not belong together.")
        except (SafetensorError, KeyError, TypeError) as error:
            raise Corrupt(f"{folder} is not a classifier of `labelled` ({error}).") from error

    def _hash(self) -> str:
        digest = hashlib.sha256(self._coef_F.tobytes() + self._idf_F.tobytes() + repr(self._intercept).encode())
        return digest.hexdigest()[:12]


def _counts(texts: Sequence[str]) -> Any:
    """Returns the sparse counts of the hashed n-grams [texts, FEATURES]."""
    from sklearn.feature_extraction.text import HashingVectorizer

    make: Any = HashingVectorizer
    hashing = make(analyzer="char", ngram_range=GRAMS, n_features=FEATURES, alternate_sign=False, norm=None)
    return hashing.transform([" ".join(text[:READ].split()) for text in texts])


def _rows(path: Path) -> tuple[list[str], list[int]]:
    texts: list[str] = []
    labels: list[int] = []
    for place, row in records.read(path):
        if not isinstance(row.get("text"), str):
            raise Invalid(f"{path}, {place}, has no text.")
        label = row.get("label")
        if label is None:
            continue
        if not isinstance(label, str | int | float) or label not in LABELS:
            raise Invalid(f"{path}, {place}: the label is {label!r}; it must be 1 or 0, or null if unlabelled.")
        texts.append(row["text"])
        labels.append(LABELS[label])
    return texts, labels
