"""The pieces of the descent: how a step is cut into passes, the schedule, and clipping one learner without its neighbours."""

from yosegi.training.descent import Place, passes, steps_of
from yosegi.training.settings import Settings


def test_passes_keep_the_budget_and_lose_nobody():
    places = [
        Place(length, g, row) for row, (length, g) in enumerate([(9, 0), (3, 1), (8, 1), (3, 0), (2, 2), (20, 2)])
    ]
    found = list(passes(places, 18))
    assert sorted(p for some in found for p in some) == sorted(places)
    for some in found:
        assert len(some) * max(p.length for p in some) <= 18 or len(some) == 1
        assert [p.learner for p in some] == sorted(p.learner for p in some)
    assert [p.length for p in found[0]] == [20], "too long for the budget, and yet read"
    assert list(passes(places, 10**6)) == [sorted(places, key=lambda p: (p.learner, -p.length))]


def test_equal_lengths_stay_with_their_learner():
    places = [Place(4, g, row) for g in range(3) for row in range(2)]
    assert [[p.learner for p in some] for some in passes(places, 16)] == [[0, 0, 1, 1], [2, 2]]


def test_steps():
    assert steps_of(100, Settings(num_train_epochs=2, per_device_train_batch_size=8)) == (25, 8)
    assert steps_of(
        7, Settings(num_train_epochs=0.5, per_device_train_batch_size=2, gradient_accumulation_steps=2)
    ) == (1, 4)
    assert steps_of(100, Settings(max_steps=3)) == (3, 16)
