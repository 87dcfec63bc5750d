"""Poly and MHR: rows of a table, drawn in training, exact afterwards; the layer is the paper's average of A and B."""

import pytest
import torch
from torch import nn

from tests.conftest import each
from yosegi.core.bank import Bank
from yosegi.core.context import Context
from yosegi.core.expert import Expert, Factors
from yosegi.core.mix import factors
from yosegi.core.model import attach
from yosegi.errors import Invalid
from yosegi.routers.task_table import START, TaskTable

I, O, R, E = 12, 8, 2, 3
TASKS = ("x", "y")


def experts():
    return [
        Expert(str(e), {"q": Factors(torch.randn(R, I), torch.randn(O, R), 0.5)}, {"task": TASKS}) for e in range(E)
    ]


def bank(tasks=TASKS):
    given = [e.factors["q"] for e in experts()]
    return Bank("abc", [tasks] * E, given, (O, I))


@each("heads", [1, 2, 4])
def test_it_is_poly_and_mhr(heads):
    """Σ_s w_s A_s and Σ_s w_s B_s, slice by slice of the input and the output, then an ordinary expert."""
    model = nn.ModuleDict({"q": nn.Linear(I, O)})
    given = experts()
    banks = attach(model, given, TaskTable(heads), factors, heads=heads)
    model.eval()
    router = model["q"].router
    with torch.no_grad():
        router.logit_KHE.copy_(torch.randn(len(TASKS), heads, E))
    x = torch.randn(2, 5, I)
    banks.set_batch(tasks=["y", "x"])
    result = model["q"](x)
    for b, k in enumerate([1, 0]):
        want = model["q"].base(x[b])
        z = router.logit_KHE[k].sigmoid()
        w_HE = z / z.sum(-1, keepdim=True)
        slices = []
        h = torch.zeros(5, R)
        for head in range(heads):
            i = slice(head * I // heads, (head + 1) * I // heads)
            A = sum(w_HE[head, e] * given[e].factors["q"].A_RI[:, i] for e in range(E))
            h = h + x[b][:, i] @ A.T
        for head in range(heads):
            o = slice(head * O // heads, (head + 1) * O // heads)
            slices.append(h @ sum(w_HE[head, e] * given[e].factors["q"].B_OR[o] for e in range(E)).T)
        torch.testing.assert_close(result[b], want + 0.5 * torch.cat(slices, -1), rtol=1e-4, atol=1e-5)


def test_it_begins_undecided_and_apart():
    torch.manual_seed(0)
    router = TaskTable(2)
    router.bind(bank())
    assert router.logit_KHE.shape == (2, 2, E) and 0 < router.logit_KHE.abs().max() <= START
    assert len(router.logit_KHE.unique()) == router.logit_KHE.numel()


def test_training_draws_and_evaluation_does_not():
    torch.manual_seed(0)
    router, context = TaskTable(), Context(torch.tensor([0, 0, 1]))
    router.bind(bank())
    x = torch.randn(3, 4, I)
    drawn = torch.stack([router(x, context) for _ in range(4000)])
    assert drawn.std(0).min() > 0.05
    torch.testing.assert_close(drawn.sum(-1), torch.ones(4000, 3, 1, 1))
    torch.testing.assert_close(drawn.mean(0), torch.full((3, 1, 1, E), 1 / E), atol=0.02, rtol=0)
    router.eval()
    assert torch.equal(router(x, context), router(x, context))
    router.train()
    router(x, context)[..., 0].sum().backward()
    assert router.logit_KHE.grad.abs().sum() > 0


def test_a_new_task_gets_the_mean_of_the_rows():
    router = TaskTable().eval()
    router.bind(bank())
    with torch.no_grad():
        router.logit_KHE.copy_(torch.tensor([[[2.0, 0, -1]], [[0.0, 4, -3]]]))
    w = router(torch.randn(2, 4, I), Context(torch.tensor([-1, 1])))
    z = torch.tensor([1.0, 2, -2]).sigmoid()
    torch.testing.assert_close(w[0, 0, 0], z / z.sum())
    z = torch.tensor([0.0, 4, -3]).sigmoid()
    torch.testing.assert_close(w[1, 0, 0], z / z.sum())


def test_other_tasks_begin_a_new_table_and_the_same_keep_theirs():
    router = TaskTable()
    router.bind(bank())
    before = router.logit_KHE
    router.bind(bank())
    assert router.logit_KHE is before
    router.bind(bank(("x", "y", "z")))
    assert router.logit_KHE.shape == (3, 1, E)


def test_errors():
    with pytest.raises(Invalid, match="heads >= 1"):
        TaskTable(heads=0)
    router = TaskTable()
    router.bind(bank())
    with pytest.raises(Invalid, match="needs the task"):
        router(torch.randn(1, 2, I), Context())
