"""By cluster: model-based clustering (MBC), where tasks with similar experts share one learner.

Ostapenko et al. 2024, "Towards Modular LLMs by Building and Reusing a Library of LoRAs", arXiv:2405.11157.

Each task first gets its own expert, trained briefly. In space "factors", the authors', all A and B of an expert are one vector;
its smallest entries are set to zero, a truncated SVD of all experts shortens it, and each two are compared by cosine
(library/similarity.py). K-means then runs on the rows of the cosine matrix: a task is described by its similarity to all tasks.
Vectors of factors can be compared only among experts that started from the same A₀, and after little training that A₀ dominates
and all look alike; space "moved" compares A - A₀ and B in the same way, and space "delta" the deltas, whatever their factors. The
authors' code zeroes 0.8, 0.5 or 0.2 of the entries, in three places.
"""

import warnings
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from yosegi.core.expert import Expert
from yosegi.errors import Invalid, UnknownName
from yosegi.library.origin import check_one_base, check_origin, moved
from yosegi.library.similarity import SPACES, similarity
from yosegi.partitions import Data, Partition


def by_cluster(
    data: Data,
    experts: Sequence[Expert],
    k: int = 10,
    *,
    space: str = "factors",
    sparsity: float = 0.5,
    components: int = 64,
    seed: int = 42,
    start: Expert | None = None,
) -> Partition:
    """Returns the learners cluster0, cluster1 … from the most experts to the fewest; the evidence is that of `cluster`.

    Args:
        data: the examples of each task; each task needs an expert.
        experts: those of other tasks are left out and listed in the evidence. The tasks of one expert stay together; an expert
            without tasks stands for the task of its name.
        k: the number of clusters.
        space: "factors" as in the paper, "moved", or "delta".
        sparsity: the share of an expert's entries that are set to zero (factors).
        components: components of the truncated SVD (factors); at least as many as experts means no truncation.
        seed: seed of k-means.
        start: the factors at which the experts began (`inits.start_of`), for "moved".
    """
    owner: dict[str, Expert] = {}
    for expert in experts:
        for task in expert.tasks or (expert.name,):
            if task in data and task in owner:
                raise Invalid(
                    f"Experts {owner[task].name!r} and {expert.name!r} were both trained on {task!r}: leave one out."
                )
            owner[task] = expert
    if missing := [task for task in data if task not in owner]:
        raise UnknownName(
            f"Task {missing[0]!r} has no expert to be clustered by ({len(missing)} of {len(data)} tasks have none). "
            f"The experts were trained on: {', '.join(sorted(owner)[:40]) or 'nothing'}."
        )
    used = list({id(owner[task]): owner[task] for task in data}.values())
    clusters = cluster(used, k, space=space, sparsity=sparsity, components=components, seed=seed, start=start)
    cluster_of = {expert: name for name, members in clusters["clusters"].items() for expert in members}
    tasks: dict[str, list[str]] = {name: [] for name in clusters["clusters"]}
    for task in data:
        tasks[cluster_of[owner[task].name]].append(task)
    left_out = sorted({expert.name for expert in experts} - cluster_of.keys())
    return Partition.of_tasks(data, tasks, {**clusters, "left_out": left_out})


def cluster(experts: Sequence[Expert], k: int = 10, *, seed: int = 42, **how: Any) -> dict[str, Any]:
    """Clusters experts; returns JSON: `clusters`, `labels`, `sizes`, `silhouette`, `similarity`, and the arguments.

    The experts are sorted by name, so that their order does not change k-means. The silhouette, of the rows of the cosine
    matrix, needs 2 to T - 1 clusters and is null otherwise. `how` is the space, sparsity, components and start of `by_cluster`.
    """
    names, cosine_TT, used = _compare(experts, **how)
    labels, row = _kmeans(cosine_TT, k, seed)
    members = [[name for name, label in zip(names, labels, strict=True) if label == c] for c in range(k)]
    clusters = {f"cluster{c}": held for c, held in enumerate(members)}
    cosines = [[round(value, 6) for value in row] for row in cosine_TT.tolist()]
    evidence = {"experts": names, "labels": labels, "clusters": clusters, "similarity": cosines}
    return {**used, "seed": seed, **row, **evidence}


def sweep(experts: Sequence[Expert], ks: Sequence[int], *, seed: int = 42, **how: Any) -> list[dict[str, Any]]:
    """Returns a row for each k: silhouette, inertia, sizes. The experts are compared once."""
    _, cosine_TT, _ = _compare(experts, **how)
    return [_kmeans(cosine_TT, k, seed)[1] for k in ks]


def _compare(
    experts: Sequence[Expert],
    space: str = "factors",
    sparsity: float = 0.5,
    components: int = 64,
    start: Expert | None = None,
) -> tuple[list[str], Tensor, dict[str, Any]]:
    """Returns the names of the experts in order, their cosines, and the arguments that were used."""
    experts = sorted(experts, key=lambda expert: expert.name)
    names = [expert.name for expert in experts]
    if len(set(names)) < len(names):
        raise Invalid(f"Two of the experts are called {max(names, key=names.count)!r}.")
    UnknownName.check("space for clustering", [space], (*SPACES, "moved"))
    if not experts:
        raise Invalid("There are no experts to cluster.")
    if not 0 <= sparsity < 1:
        raise Invalid(
            f"sparsity={sparsity}: it must be the share of entries to set to zero, at least 0 and less than 1."
        )
    if components < 1:
        raise Invalid(f"components={components}: it must be at least 1.")
    check_one_base(experts)
    if space == "delta":
        return names, similarity(experts), {"space": space, "sparsity": None, "components": None}
    check_origin(experts, "compared", 'space="delta"')
    if space == "moved":
        if start is None:
            raise Invalid('space="moved" needs the factors at which the experts began (start).')
        experts = moved(experts, start)
    used = {"space": space, "sparsity": sparsity, "components": min(components, len(experts))}
    return names, similarity(experts, "factors", sparsity, components), used


def _kmeans(cosine_TT: Tensor, k: int, seed: int) -> tuple[list[int], dict[str, Any]]:
    """Returns labels, by decreasing size of the cluster and then by first member; and k, silhouette, inertia, sizes."""
    if not 1 <= k <= len(cosine_TT):
        raise Invalid(f"k={k}: {len(cosine_TT)} experts can be 1 to {len(cosine_TT)} clusters.")
    from sklearn.cluster import KMeans  # a second to import, and only clustering needs it
    from sklearn.metrics import silhouette_score

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Number of distinct clusters")  # an error below
        means = KMeans(k, init="k-means++", n_init=10, random_state=seed)  # type: ignore[arg-type]  # typed as str alone
        raw: list[int] = means.fit_predict(cosine_TT.numpy()).tolist()
    order = sorted(set(raw), key=lambda label: (-raw.count(label), raw.index(label)))
    if len(order) < k:
        raise Invalid(f"k={k}: by their similarities there are only {len(order)} different experts.")
    labels = [order.index(label) for label in raw]
    silhouette = float(silhouette_score(cosine_TT.numpy(), labels)) if 2 <= k < len(labels) else None
    sizes = [labels.count(c) for c in range(k)]
    return labels, {"k": k, "silhouette": silhouette, "inertia": float(means.inertia_), "sizes": sizes}  # type: ignore[arg-type]
