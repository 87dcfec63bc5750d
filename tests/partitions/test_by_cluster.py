"""Model-based clustering: planted groups are found, the gauge is (not) seen, and what cannot be is said."""

import json

import numpy as np
import pytest
import torch

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid, UnknownName, WrongBase
from yosegi.library.similarity import similarity
from yosegi.partitions.by_cluster import by_cluster, cluster, sweep

LAYERS = {"q": (24, 30), "v": (16, 40)}


def planted(sizes, noise=0.3, rank=3, seed=0, init_seed=0, **card):
    """As many experts as `sizes` says went each way, of one initial A; shuffled, named and taught after their group."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator)

    start = {layer: normal(rank, I) for layer, (_, I) in LAYERS.items()}
    result = []
    for group, size in enumerate(sizes):
        way = {layer: (normal(rank, I), normal(O, rank)) for layer, (O, I) in LAYERS.items()}
        for member in range(size):
            factors = {}
            for layer, (A_RI, B_OR) in way.items():
                A = start[layer] + 0.5 * (A_RI + noise * normal(*A_RI.shape))
                factors[layer] = Factors(A, B_OR + noise * normal(*B_OR.shape), 2.0)
            known = {"task": [f"{group}/{member}"], "base_hash": "abc", "init": "kaiming", "init_seed": init_seed}
            result.append(Expert(f"expert {group}.{member}", factors, known | card))
    return [result[place] for place in torch.randperm(len(result), generator=generator)]


def data_of(experts):
    return {task: [f"{task} example {n}" for n in range(2)] for expert in experts for task in expert.tasks}


def true_labels(result):
    return [int(name.split()[1].split(".")[0]) for name in result["experts"]]


@each("space", ["factors", "delta"])
def test_planted_groups_are_found_and_numbered_by_size(space):
    experts = planted([3, 7, 5])
    result = by_cluster(data_of(experts), experts, 3, space=space)
    assert list(result.groups) == ["cluster0", "cluster1", "cluster2"]
    assert [{task.split("/")[0] for task in tasks} for tasks in result.tasks.values()] == [{"1"}, {"2"}, {"0"}]
    assert [len(examples) for examples in result.groups.values()] == [14, 10, 6]
    evidence = result.evidence
    assert (
        evidence["sizes"] == [7, 5, 3] and evidence["space"] == space and (evidence["k"], evidence["seed"]) == (3, 42)
    )
    assert evidence["silhouette"] > 0.5 and evidence["left_out"] == []
    assert evidence["clusters"]["cluster2"] == ["expert 0.0", "expert 0.1", "expert 0.2"]
    assert (evidence["sparsity"], evidence["components"]) == ((0.5, 15) if space == "factors" else (None, None))


def test_it_is_the_authors_way():
    """Flatten, silence, TruncatedSVD, normalise, cosine, k-means on its rows: the same clusters, and the cosines to 1e-4."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import TruncatedSVD
    from sklearn.metrics import adjusted_rand_score, silhouette_score

    experts = sorted(planted([9, 8, 6, 4], noise=0.5), key=lambda e: e.name)
    result = cluster(experts, 4, sparsity=0.5, components=4)
    X_TP = np.stack([torch.cat([t.flatten() for f in e.factors.values() for t in f[:2]]).numpy() for e in experts])
    X_TP[np.abs(X_TP) <= np.quantile(np.abs(X_TP), 0.5, axis=1, keepdims=True)] = 0
    U_TC = TruncatedSVD(4, n_iter=5, random_state=42).fit_transform(X_TP)
    U_TC /= np.linalg.norm(U_TC, axis=1, keepdims=True)
    theirs = U_TC @ U_TC.T
    assert np.abs(np.array(result["similarity"]) - theirs).max() < 1e-4
    fitted = KMeans(4, init="k-means++", n_init=10, random_state=42).fit(theirs)
    assert adjusted_rand_score(fitted.labels_, result["labels"]) == 1 == adjusted_rand_score(true_labels(result), result["labels"])  # fmt: skip
    assert result["inertia"] == pytest.approx(fitted.inertia_, rel=1e-3)
    assert result["silhouette"] == pytest.approx(silhouette_score(theirs, fitted.labels_), abs=1e-3)


def test_k_means_sees_the_rows_of_the_cosine_matrix():
    """Not the embeddings: what it reports is the inertia around the means of rows."""
    result = cluster(planted([5, 4]), 2, space="delta")
    rows, labels = np.array(result["similarity"]), np.array(result["labels"])
    inertia = sum(((rows[labels == c] - rows[labels == c].mean(0)) ** 2).sum() for c in (0, 1))
    assert result["inertia"] == pytest.approx(inertia, rel=1e-3)


def test_delta_is_what_similarity_says():
    experts = sorted(planted([2, 3]), key=lambda e: e.name)
    result = torch.tensor(cluster(experts, 2, space="delta")["similarity"], dtype=torch.float64)
    torch.testing.assert_close(result, similarity(experts), atol=1e-6, rtol=0)


def rewritten(experts):
    """The same deltas in other words: each expert's A and B turned by a matrix of its own."""
    result = []
    for expert in experts:
        M_RR = torch.linalg.qr(torch.randn(3, 3)).Q * torch.tensor([0.2, 1.0, 5.0])
        factors = {
            layer: Factors(M_RR @ f.A_RI, f.B_OR @ torch.linalg.inv(M_RR), f.scale)
            for layer, f in expert.factors.items()
        }
        result.append(Expert(expert.name, factors, expert.card))
    return result


def test_delta_does_not_see_how_experts_are_written_and_factors_does():
    """As it should be: vectors of factors are the paper's, and are why a library shares its origin. Nothing to fix."""
    experts = planted([5, 4, 3])
    other = rewritten(experts)
    plain, turned = (np.array(cluster(e, 3, space="delta")["similarity"]) for e in (experts, other))
    assert np.abs(plain - turned).max() < 1e-4
    assert cluster(experts, 3, space="delta")["labels"] == cluster(other, 3, space="delta")["labels"]
    plain, turned = (np.array(cluster(e, 3)["similarity"]) for e in (experts, other))
    assert np.abs(plain - turned).max() > 0.3
    assert cluster(experts, 3)["labels"] != cluster(other, 3)["labels"]


def test_other_origins_are_refused_for_factors_only():
    experts = planted([3, 3]) + planted([2], seed=5, init_seed=5)
    experts[-1] = Expert("late", experts[-1].factors, experts[-1].card)
    experts[-2] = Expert("later", experts[-2].factors, experts[-2].card)
    with pytest.raises(Invalid, match='kaiming, seed 0; kaiming, seed 5.*cannot be compared.*space="delta"'):
        cluster(experts, 3)
    assert sorted(cluster(experts, 3, space="delta")["sizes"]) == [2, 3, 3]


def test_an_unknown_origin_is_doubted():
    experts = planted([3, 3], init=None)
    with pytest.warns(UserWarning, match=r"6 of 6\) does not say at which numbers it began"):
        assert cluster(experts, 2)["sizes"] == [3, 3]


def test_the_order_of_the_experts_is_no_matter():
    experts = planted([6, 5, 4], noise=2.0)
    assert cluster(experts, 3) == cluster(experts[::-1], 3)


def test_experts_of_several_tasks_keep_them_together_and_others_are_left_out():
    experts = planted([3, 2])
    broad = Expert("broad", experts[0].factors, {**experts[0].card, "task": ["x", "y"]})
    quiet = Expert("quiet", experts[1].factors, {**experts[1].card, "task": []})
    data = {"y": ["y1"], **data_of(experts[2:]), "x": ["x1", "x2"], "quiet": ["q1"]}
    away = planted([1], seed=9)[0]
    away = Expert("away", away.factors, {**away.card, "task": ["elsewhere"]})
    result = by_cluster(data, [*experts[2:], broad, quiet, away], 2)
    (home,) = [name for name, tasks in result.tasks.items() if "x" in tasks]
    assert "y" in result.tasks[home] and "broad" in result.evidence["clusters"][home]
    assert result.evidence["left_out"] == ["away"] and "away" not in result.evidence["experts"]
    assert sum(result.evidence["sizes"]) == 5
    assert result.groups[home] == [example for task in result.tasks[home] for example in data[task]]


def test_a_task_has_one_expert():
    experts = planted([3, 2])
    data = data_of(experts)
    with pytest.raises(
        UnknownName, match=r"Task 'new' has no expert .*\(2 of 7 tasks.*The experts were trained on: 0/0, 0/1"
    ):
        by_cluster({**data, "new": ["a"], "newer": ["b"]}, experts, 2)
    twin = Expert("twin", experts[0].factors, experts[0].card)
    with pytest.raises(Invalid, match=rf"'{experts[0].name}' and 'twin' were both trained on"):
        by_cluster(data, [*experts, twin], 2)


@each("k", [0, 6])
def test_too_many_clusters_are_told_what_is_possible(k):
    experts = planted([3, 2])
    for call in (lambda: by_cluster(data_of(experts), experts, k), lambda: sweep(experts, [2, k])):
        with pytest.raises(Invalid, match=f"k={k}: 5 experts can be 1 to 5 clusters"):
            call()


def test_the_ends_have_no_silhouette():
    experts = planted([3, 2])
    assert cluster(experts, 1)["silhouette"] is None and cluster(experts, 5)["silhouette"] is None
    assert cluster(experts, 5)["sizes"] == [1] * 5
    assert json.dumps(cluster(experts, 5), allow_nan=False)


def test_copies_cannot_be_told_apart():
    one, *_ = planted([1])
    copies = [Expert(f"copy{n}", one.factors, one.card) for n in range(4)]
    with pytest.raises(Invalid, match="k=2: by their similarities there are only 1 different"):
        cluster(copies, 2)
    assert cluster(copies, 1)["sizes"] == [4]
    with pytest.raises(Invalid, match="Two of the experts are called 'copy0'"):
        cluster([*copies, copies[0]], 1)


def test_a_sweep_is_each_k_alone():
    experts = planted([6, 5, 4])
    rows = sweep(experts, [2, 3, 15], components=3)
    assert [row["k"] for row in rows] == [2, 3, 15] and rows[1]["sizes"] == [6, 5, 4] and rows[2]["silhouette"] is None
    for row in rows:
        alone = cluster(experts, row["k"], components=3)
        assert row == {key: alone[key] for key in ("k", "silhouette", "inertia", "sizes")}
    assert (
        rows[1]["silhouette"] > rows[0]["silhouette"] and rows[0]["inertia"] > rows[1]["inertia"] > rows[2]["inertia"]
    )


def test_impossible_arguments_are_refused():
    experts = planted([3, 2])
    with pytest.raises(UnknownName, match="'deltas'. Did you mean 'delta'"):
        cluster(experts, 2, space="deltas")
    with pytest.raises(Invalid, match="no experts"):
        cluster([], 2)
    for sparsity in (-0.1, 1.0, float("nan")):
        with pytest.raises(Invalid, match="sparsity="):
            cluster(experts, 2, sparsity=sparsity)
    with pytest.raises(Invalid, match="components=0"):
        cluster(experts, 2, components=0)
    stranger = Expert("stranger", experts[0].factors, {**experts[0].card, "base_hash": "def"})
    for space in ("factors", "delta"):
        with pytest.raises(WrongBase, match="'stranger' belong to different bases"):
            cluster([*experts, stranger], 2, space=space)


def test_moved_finds_what_the_start_hides_from_factors():
    """After a short training A₀ is most of every A: all factors look alike, and what moved does not."""
    experts = planted([3, 7, 5])
    start = Expert(
        "start", {layer: Factors(torch.randn(3, I) * 50, torch.zeros(O, 3), 2.0) for layer, (O, I) in LAYERS.items()}
    )
    short = [
        Expert(
            e.name, {n: Factors(f.A_RI + start.factors[n].A_RI, f.B_OR, f.scale) for n, f in e.factors.items()}, e.card
        )
        for e in experts
    ]
    alike, apart = cluster(short, 3, space="factors"), cluster(short, 3, space="moved", start=start)
    least = min(min(row) for row in alike["similarity"])
    assert least > 0.95 and min(min(row) for row in apart["similarity"]) < 0.5
    want = cluster(experts, 3, space="factors", sparsity=0.0)
    got = cluster(short, 3, space="moved", sparsity=0.0, start=start)
    assert np.allclose(got["similarity"], want["similarity"], atol=1e-3) and got["labels"] == want["labels"]
    assert apart["space"] == "moved" and "start" not in json.dumps(apart)
    with pytest.raises(Invalid, match="needs the factors at which the experts began"):
        cluster(short, 3, space="moved")
    wider = Expert("start", {n: Factors(torch.randn(2, I), torch.zeros(O, 2), 2.0) for n, (O, I) in LAYERS.items()})
    with pytest.raises(Invalid, match="is not known"):
        cluster(short, 3, space="moved", start=wider)
