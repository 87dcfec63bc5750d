"""Against the authors' way: all parameters in one matrix, np.quantile, scikit-learn's TruncatedSVD, cosine."""

import numpy as np
import pytest
import torch

from tests.conftest import each
from yosegi.core.expert import Expert, Factors
from yosegi.errors import Invalid
from yosegi.library.similarity import similarity

LAYERS = {"a": (30, 50), "b": (40, 20), "c": (16, 60)}


def planted(groups, each, noise=1.0, rank=4, dtype=torch.float32):
    """Experts of one origin that went one of `groups` ways."""
    start = {layer: torch.randn(rank, I) for layer, (_, I) in LAYERS.items()}
    result = []
    for group in range(groups):
        way = {layer: (torch.randn(rank, I), torch.randn(O, rank)) for layer, (O, I) in LAYERS.items()}
        for member in range(each):
            factors = {}
            for layer, (A_RI, B_OR) in way.items():
                A_RI = start[layer] + 0.5 * A_RI + noise * torch.randn_like(A_RI)
                factors[layer] = Factors(A_RI.to(dtype), (B_OR + noise * torch.randn_like(B_OR)).to(dtype))
            result.append(Expert(f"{group}.{member}", factors))
    return result


def matrix(experts):
    return np.stack(
        [torch.cat([t.double().flatten() for f in e.factors.values() for t in f[:2]]).numpy() for e in experts]
    )


def authors(experts, sparsity, components, algorithm="randomized"):
    from sklearn.decomposition import TruncatedSVD

    X_TP = matrix(experts)
    X_TP[np.abs(X_TP) <= np.quantile(np.abs(X_TP), sparsity, axis=1, keepdims=True)] = 0
    U_TC = TruncatedSVD(components, algorithm=algorithm, n_iter=5, random_state=42).fit_transform(X_TP)
    U_TC /= np.linalg.norm(U_TC, axis=1, keepdims=True)
    return torch.from_numpy(U_TC @ U_TC.T)


@each("sparsity", [0.2, 0.5, 0.8])
def test_it_is_the_authors_embedding(sparsity):
    """Four ways are four large singular values: there the randomised SVD has converged."""
    experts = planted(4, 6, noise=0.3)
    torch.testing.assert_close(
        similarity(experts, "factors", sparsity, 4), authors(experts, sparsity, 4), atol=1e-4, rtol=0
    )


@each("components", [1, 7, 23])
def test_it_is_the_exact_svd_where_the_randomised_one_wanders(components):
    """Beyond the planted ways the spectrum is flat. ARPACK is exact there, and so are we."""
    experts = planted(4, 6)
    exact = authors(experts, 0.5, components, "arpack")
    torch.testing.assert_close(similarity(experts, "factors", 0.5, components), exact, atol=1e-4, rtol=0)


def test_as_many_components_as_experts_truncate_nothing():
    experts = planted(2, 3)
    whole = similarity(experts, "factors", 0.5, 64)
    torch.testing.assert_close(similarity(experts, "factors", 0.5, 6), whole, atol=0, rtol=0)
    torch.testing.assert_close(whole, authors(experts, 0.5, 6), atol=1e-5, rtol=0)
    assert (similarity(experts, "factors", 0.5, 5) - whole).abs().max() > 1e-3, "five truncate"


@each("dtype, within", [(torch.float64, 1e-12), (torch.bfloat16, 1e-6)])
def test_nothing_silenced_and_nothing_cut_is_the_plain_cosine(dtype, within):
    experts = planted(2, 4, dtype=dtype)
    X_TP = matrix(experts)
    X_TP /= np.linalg.norm(X_TP, axis=1, keepdims=True)
    torch.testing.assert_close(
        similarity(experts, "factors", 0.0, 64), torch.from_numpy(X_TP @ X_TP.T), atol=within, rtol=0
    )


def test_each_expert_is_silenced_by_its_own_quantile():
    """Ten times as large is the same direction: a threshold shared by all would silence the small one."""
    small, other = planted(2, 1)
    large = Expert("large", {n: Factors(10 * f.A_RI, 10 * f.B_OR) for n, f in small.factors.items()})
    result = similarity([small, large, other], "factors", 0.9, 64)
    assert result[0, 1] == pytest.approx(1, abs=1e-6) and result[0, 2] < 0.5
    assert not torch.allclose(result, similarity([small, large, other], "factors", 0.0, 64), atol=1e-3), (
        "it matters here"
    )


def test_what_the_components_do_not_see_is_like_nothing():
    experts = planted(1, 4)
    zero = Expert("zero", {n: Factors(0 * f.A_RI, 0 * f.B_OR) for n, f in experts[0].factors.items()})
    for components in (2, 64):
        result = similarity([*experts, zero], "factors", 0.5, components)
        assert not result[4].any() and not result[:, 4].any() and result.diagonal()[:4].allclose(torch.ones(4).double())

    def only(name, layer, size):
        return Expert(name, {"l": Factors(size * torch.eye(4)[layer : layer + 1], torch.zeros(4, 1))})

    result = similarity([only("p", 0, 3.0), only("q", 1, 2.0), only("r", 2, 1e-3)], "factors", 0.0, 2)
    torch.testing.assert_close(result, torch.diag(torch.tensor([1.0, 1, 0])).double())


def test_memory_is_that_of_one_layer_of_all_or_of_one_expert():
    experts, largest = planted(4, 4), 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            largest = max(largest, out.numel()) if isinstance(out, torch.Tensor) else largest
            return out

    with Watch():
        similarity(experts, "factors", 0.5, 3)
    layer, P = (max(4 * (O + I) for O, I in LAYERS.values()), sum(4 * (O + I) for O, I in LAYERS.values()))
    assert 0 < largest <= max(len(experts) * layer, P) < len(experts) * P


def test_vectors_of_different_spaces_are_refused():
    p, q = planted(2, 1)
    wider = Expert("wider", {**q.factors, "a": Factors(torch.zeros(5, 50), torch.zeros(30, 5))})
    with pytest.raises(Invalid, match=r'Layer a: .*\(4, 30, 50\).*\(5, 30, 50\).*space="delta"'):
        similarity([p, wider], "factors", 0.5, 64)
    with pytest.raises(Invalid, match=r'Only one .* has layer a.*space="delta"'):
        similarity([p, Expert("fewer", {n: f for n, f in q.factors.items() if n != "a"})], "factors", 0.5, 64)
