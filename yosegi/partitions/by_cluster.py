"""Model-based clustering (MBC): tasks whose experts look alike share one learner.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

Each task first gets an expert of its own, trained briefly. In space "factors", the authors', all A and B of an expert are one
vector; its smallest entries are silenced, a truncated SVD of all experts shortens it, and each two are compared by cosine
(`_embedding.py`). K-means then runs on the rows of the cosine matrix: a task is described by its likeness to all tasks.
Vectors of factors mean something only among experts that began at the same A. After little training that A is still most of
each vector, and all look alike; space "delta" compares what experts do, however it is written (library/similarity.py). The
authors' code silences 0.8, 0.5 or 0.2 of the entries, in three places.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.library.origin import check_one_base, check_origin
from yosegi.library.similarity import similarity
from yosegi.partitions import Data, Partition
from yosegi.partitions._embedding import cosines

SPACES = ("factors", "delta")


def by_cluster(
    data: Data,
    experts: Sequence[Expert],
    k: int = 10,
    *,
    space: str = "factors",
    sparsity: float = 0.5,
    components: int = 64,
    seed: int = 42,
) -> Partition:
    """Learners cluster0, cluster1 … from the most experts to the fewest; `evidence` is what `cluster` says.

    Args:
        data: each task needs an expert.
        experts: those of other tasks are left out, and named in the evidence. All tasks of one expert stay together; one
            that does not say its tasks is taken by its name.
        k: how many clusters.
        space: "factors" as in the paper, or "delta".
        sparsity: share of an expert's entries to silence (factors).
        components: of the truncated SVD (factors); more than there are experts is no truncation.
        seed: of k-means.
    """
    owner: dict[str, Expert] = {}
    for expert in experts:
        for task in expert.tasks or (expert.name,):
            if task in data and task in owner:
                raise Invalid(
                    f"Experts {owner[task].name!r} and {expert.name!r} both learnt task {task!r}: leave one out."
                )
            owner[task] = expert
    if lonely := [task for task in data if task not in owner]:
        raise UnknownName(
            f"Task {lonely[0]!r} has no expert to be clustered by ({len(lonely)} of {len(data)} tasks have none). "
            f"The experts learnt: {', '.join(sorted(owner)[:40]) or 'nothing'}."
        )
    used = list({id(owner[task]): owner[task] for task in data}.values())
    found = cluster(used, k, space=space, sparsity=sparsity, components=components, seed=seed)
    home = {expert: name for name, members in found["clusters"].items() for expert in members}
    tasks: dict[str, list[str]] = {name: [] for name in found["clusters"]}
    for task in data:
        tasks[home[owner[task].name]].append(task)
    return Partition(
        {name: [example for task in held for example in data[task]] for name, held in tasks.items()},
        {name: tuple(held) for name, held in tasks.items()},
        {**found, "left_out": sorted({expert.name for expert in experts} - home.keys())},
    )


def cluster(
    experts: Sequence[Expert],
    k: int = 10,
    *,
    space: str = "factors",
    sparsity: float = 0.5,
    components: int = 64,
    seed: int = 42,
) -> dict[str, Any]:
    """Experts by the company they keep, as JSON: `clusters`, `labels`, `sizes`, `silhouette`, `similarity`, and how.

    The experts are taken in alphabetical order, so that k-means begins the same however they are given. The silhouette,
    of the rows that k-means saw, needs 2 to T - 1 clusters and is null otherwise.
    """
    experts = sorted(experts, key=lambda expert: expert.name)
    cosine_TT = _compare(experts, space, sparsity, components)
    names = [expert.name for expert in experts]
    if len(set(names)) < len(names):
        raise Invalid(f"Two of the experts are called {max(names, key=names.count)!r}.")
    labels, inertia = _kmeans(cosine_TT, k, seed)
    members = [[name for name, label in zip(names, labels, strict=True) if label == c] for c in range(k)]
    factors = space == "factors"
    return {
        "space": space,
        "k": k,
        "seed": seed,
        "sparsity": sparsity if factors else None,
        "components": min(components, len(experts)) if factors else None,
        "experts": names,
        "labels": labels,
        "clusters": {f"cluster{c}": held for c, held in enumerate(members)},
        "sizes": [len(held) for held in members],
        "silhouette": _silhouette(cosine_TT, labels),
        "inertia": inertia,
        "similarity": [[round(value, 6) for value in row] for row in cosine_TT.tolist()],
    }


def sweep(
    experts: Sequence[Expert],
    ks: Sequence[int],
    *,
    space: str = "factors",
    sparsity: float = 0.5,
    components: int = 64,
    seed: int = 42,
) -> list[dict[str, Any]]:
    """One row for each k: silhouette, inertia, sizes. The experts are compared once."""
    cosine_TT = _compare(sorted(experts, key=lambda expert: expert.name), space, sparsity, components)
    rows: list[dict[str, Any]] = []
    for k in ks:
        labels, inertia = _kmeans(cosine_TT, k, seed)
        sizes = [labels.count(c) for c in range(k)]
        rows.append({"k": k, "silhouette": _silhouette(cosine_TT, labels), "inertia": inertia, "sizes": sizes})
    return rows


def _compare(experts: Sequence[Expert], space: str, sparsity: float, components: int) -> Tensor:
    if space not in SPACES:
        raise UnknownName.among("space for clustering", space, SPACES)
    if not experts:
        raise Invalid("There are no experts to cluster.")
    if not 0 <= sparsity < 1:
        raise Invalid(f"sparsity={sparsity}: it is the share of entries to silence, at least 0 and less than 1.")
    if components < 1:
        raise Invalid(f"components={components}: an embedding needs at least one.")
    check_one_base(experts)
    if space == "delta":
        return similarity(experts)
    check_origin(experts, "compared", 'space="delta"')
    return cosines(experts, sparsity, components)


def _kmeans(cosine_TT: Tensor, k: int, seed: int) -> tuple[list[int], float]:
    """Labels by falling size of the cluster, then by first member; and the inertia."""
    if not 1 <= k <= len(cosine_TT):
        raise Invalid(f"k={k}: {len(cosine_TT)} experts can be 1 to {len(cosine_TT)} clusters.")
    from sklearn.cluster import KMeans  # a second to import, and only clustering needs it

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # said below, as an error
        means = KMeans(k, init="k-means++", n_init=10, random_state=seed)  # type: ignore[arg-type]  # typed as str alone
        raw: list[int] = means.fit_predict(cosine_TT.numpy()).tolist()
    order = sorted(set(raw), key=lambda label: (-raw.count(label), raw.index(label)))
    if len(order) < k:
        raise Invalid(f"k={k}: the experts are only {len(order)} different ones, by their likeness to each other.")
    return [order.index(label) for label in raw], float(means.inertia_)  # type: ignore[arg-type]


def _silhouette(cosine_TT: Tensor, labels: list[int]) -> float | None:
    from sklearn.metrics import silhouette_score

    if not 2 <= len(set(labels)) < len(labels):
        return None
    return float(silhouette_score(cosine_TT.numpy(), labels))
