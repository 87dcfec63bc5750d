"""The picture of a clustered library."""

import warnings

import numpy as np
from PIL import Image

from yosegi.reporting.clusters import draw, sort


def evidence(names=("a", "b", "c", "d"), of=(0, 1, 0, 0)):
    clusters = {f"cluster{c}": [n for n, label in zip(names, of, strict=True) if label == c] for c in sorted(set(of))}
    similarity = [[1.0 if i == j else -0.9 for j in of] for i in of]
    return {
        "experts": list(names),
        "clusters": clusters,
        "similarity": similarity,
        "k": len(clusters),
        "space": "delta",
        "silhouette": None if len(clusters) == len(names) else 0.5,
    }


def test_experts_are_sorted_by_cluster():
    names, cosine, ends = sort(evidence())
    assert names == ["a", "c", "d", "b"] and ends == [3, 4]
    assert cosine == [[1, 1, 1, -0.9]] * 3 + [[-0.9, -0.9, -0.9, 1]]


def test_a_picture_with_blocks(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        draw(evidence(), tmp_path / "figures" / "c.png")
    pixels = np.asarray(Image.open(tmp_path / "figures" / "c.png").convert("RGB")).astype(int)
    red, blue = ((pixels[..., x] - pixels[..., y] > 50).mean() for x, y in ((0, 2), (2, 0)))
    assert red > 1.2 * blue > 0, "ten cells are alike and six are not"


def test_many_experts_are_named_by_cluster(tmp_path):
    names = [f"expert {n}" for n in range(100)]
    draw(evidence(names, [n % 3 for n in range(100)]), tmp_path / "many.png")
    draw(evidence(names[:2], [0, 1]), tmp_path / "few.png")
    many, few = (Image.open(tmp_path / f"{n}.png").size for n in ("many", "few"))
    assert many[0] > 2 * few[0] and max(many) < 2200
