r"""MATH-500: five hundred problems of MATH that are kept for evaluation.

Hendrycks et al. 2021, arXiv:2103.03874, and Lightman et al. 2023, "Let's Verify Step by Step", arXiv:2305.20050. MIT
licence upstream, disputed as `math` says, whose test split this is; here nothing can be trained on.
Data: math_en/math500_test in the data folder, else HuggingFaceH4/MATH-500 on the Hub.

Parts: `level1` … `level5`, the subjects, `ja`. There are no worked examples: `math/4shot` has some.
"""

from yosegi.tasks.readers.data import Hub, Source
from yosegi.tasks.readers.derivations import FIELDS, Derivations, from_test

HUB = Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", from_test, "test", ids="math500/test")


class Math500(Derivations):
    """Scored by the final expression, equal as mathematics."""

    kind = "math500"
    most_shots = 0
    source = Source("MATH-500", {"test": "math_en/math500_test"}, FIELDS, {"test": HUB}, evaluation_only=True)
