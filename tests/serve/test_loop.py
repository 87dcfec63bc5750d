"""The thread of the model: many arms at once, turns, cancelling, failures that stay alone."""

import threading
import time

import pytest
import torch

from tests.serve.conftest import expert
from yosegi.engine import paged
from yosegi.engine.arm import Arm
from yosegi.engine.request import Request, Stop
from yosegi.engine.switch import Seat
from yosegi.errors import Invalid
from yosegi.serve.job import Busy, Failed, Job, Late, Stopping, told
from yosegi.serve.loop import Loop
from yosegi.serve.seats import Seats
from yosegi.serve.settings import ServeSettings

LONG = 200


@pytest.fixture
def experts(nano):
    return [expert(nano, name, rank=4) for name in ("a", "b", "c")]


@pytest.fixture
def looping(nano):
    """looping(**settings): a loop that runs, and its layers."""
    loops = []

    def start(**settings):
        loop = Loop(nano, ServeSettings(**settings))
        loops.append(loop)
        loop.start()
        return loop

    yield start
    for loop in loops:
        loop.stop()
    assert not any("bank" in name for name, _ in nano.model.named_modules()), "the base is as it was"


def job(base, loop, arm, prompts=("1+2=",), limit=12, then=None, **more):
    seat = arm if isinstance(arm, Seat) else Seat(arm, loop.layers)
    ids = [base.tokenizer(text).input_ids for text in prompts]
    given = {key: more.pop(key) for key in ("temperature", "seed", "n", "routing", "logprobs") if key in more}
    stop = Stop(base)
    if limit >= 20:  # to the end
        stop.ids = frozenset()
    requests = [Request(row, stop, limit, survives=True, **given) for row in ids]
    over = threading.Event()

    def wake(jobs):
        if made.over:
            over.set()
        if then is not None:
            then(made)

    made = Job(seat, requests, wake, stream=then is not None, **more)
    loop.submit(made)
    made.wait = lambda: over.wait(30) or pytest.fail("it never ended")
    return made


def written(job):
    return [completion.ids for request in job.requests for completion in request.completions]


def test_mixed_jobs_of_many_arms_are_answered_as_alone(nano, looping, experts):
    arms = [
        Arm("base"), Arm("a", experts[:1]), Arm.weighted("w", experts[:2], [0.7, 0.3]), Arm("arrow", experts, "arrow"),
        Arm("t", experts, merge="ties"), Arm("c", experts, merge="cat"), Arm("f", experts, mix="factors"),
    ]  # fmt: skip
    asks = [
        (arm, f"copy {'abcdefgh'[n:]}{n}", {"temperature": n % 3 / 2, "seed": n, "n": 1 + n % 2})
        for n in range(3)
        for arm in arms
    ]
    alone, together = looping(rows=3), looping(rows=24)
    expected = []
    for arm, prompt, how in asks:
        one = job(nano, alone, arm, [prompt], **how)
        one.wait()
        expected.append(written(one))
    alone.stop()
    seats = {arm.name: Seat(arm, together.layers) for arm in arms}
    jobs = [job(nano, together, seats[arm.name], [prompt], **how) for arm, prompt, how in asks]
    for one in jobs:
        one.wait()
        assert one.error is None
    close = sum(c.close_calls for one in jobs for request in one.requests for c in request.completions)
    differing = sum(written(one) != ids for one, ids in zip(jobs, expected, strict=True))
    assert differing <= close and differing < 3
    assert len({str(ids) for ids in expected}) > 10


def test_a_beginning_is_read_once_for_each_arm(nano, looping, experts, monkeypatch):
    """Answers from kept pages are those of a loop that has none, no arm reads another's, and what runs gets the room it needs."""
    arms = [Arm("base"), Arm("a", experts[:1]), Arm("b", experts[1:2]), Arm("arrow", experts, "arrow")]
    prompt, how = "copy abcdefghijklmnopqrstuvwxyz abcdefghijkl", {"temperature": 2.0, "seed": 4, "limit": 20}
    expected = []
    for arm in arms:
        alone = looping(rows=4)
        (one := job(nano, alone, arm, [prompt], **how)).wait()
        expected += written(one)
        alone.stop()
    assert len({str(ids) for ids in expected}) == len(arms)
    read, look = [], paged.step_of
    monkeypatch.setattr(
        paged, "step_of", lambda batch, *more: (read.append(sum(f.query_length for f in batch)), look(batch, *more))[1]
    )
    loop, pages = looping(rows=4), (len(nano.tokenizer(prompt).input_ids) - 2) // 16
    seats = [Seat(arm, loop.layers) for arm in arms]
    for turn in range(3):
        read.clear()
        for seat, ids in zip(seats, expected, strict=True):
            (one := job(nano, loop, seat, [prompt], n=1 + turn % 2, **how)).wait()
            assert one.error is None and written(one)[0] == ids
        whole = len(arms) * len(one.requests[0].ids)
        wrote = sum(read) - whole  # tokens that were read, but for the prompts'
        saved = 0 if turn == 0 else len(arms) * pages * 16
        assert wrote + saved <= (1 + turn % 2) * len(arms) * 20 and (turn or wrote >= 0)
    cache = loop.decoder._cache
    assert cache.kept >= len(arms) * pages > 0
    loop.decoder.free = cache.kept - 1
    (one := job(nano, loop, seats[0], [prompt], **how)).wait()
    assert written(one)[0] == expected[0] and cache.kept < len(arms) * pages


def test_the_queue_is_bounded_and_empties(nano, looping):
    loop = looping(rows=2, queue=2)
    jobs = [job(nano, loop, Arm("base"), limit=LONG) for _ in range(4)]
    with pytest.raises(Busy, match="4 answers"):
        job(nano, loop, Arm("base"))
    for one in jobs:
        loop.cancel(one)
        one.wait()
    loop_free = job(nano, loop, Arm("base"))
    loop_free.wait()
    assert loop_free.error is None and loop.busy == 0
    with pytest.raises(Invalid, match="n=3 is more than the 2"):
        job(nano, loop, Arm("base"), n=3)


def test_who_goes_away_frees_the_room(nano, looping):
    loop = looping(rows=1)
    begun = threading.Event()
    first = job(nano, loop, Arm("base"), limit=LONG, then=lambda _: begun.set())
    assert begun.wait(10)
    second = job(nano, loop, Arm("base"))
    loop.cancel(first)
    second.wait()
    assert len(written(first)[0]) < LONG and written(second) == [nano.tokenizer("3").input_ids + [1]]
    assert not loop.running and loop.decoder.free == loop.blocks


def test_arms_of_another_kind_get_their_turn(nano, looping, experts):
    """Ten jobs that keep coming do not keep the one that mixes factors waiting."""
    loop = looping(rows=2)
    order = []
    plain, mixed = Seat(Arm("a", experts[:1]), loop.layers), Seat(Arm("f", experts, mix="factors"), loop.layers)
    begun = threading.Event()
    first = [job(nano, loop, plain, limit=LONG, then=lambda _: begun.set()) for _ in range(2)]
    assert begun.wait(10)  # what waits when a turn begins has it, too
    other = job(nano, loop, mixed, then=lambda one: one.over and order.append("other"))
    later = [job(nano, loop, plain, then=lambda one: one.over and order.append("later")) for _ in range(4)]
    for one in [*first, other, *later]:
        one.wait()
        assert one.error is None
    assert order[0] == "other" and order.count("later") == 4


def test_logits_that_are_not_finite_end_their_own_request(nano, looping, experts):
    loop = looping()
    hot = Arm.weighted("hot", experts, [3e38, -3e38, 1.0])  # inf - inf
    jobs = [job(nano, loop, arm) for arm in (Arm("base"), hot, Arm("a", experts[:1]), hot)]
    for one in jobs:
        one.wait()
    assert [type(one.error) for one in jobs] == [type(None), Failed, type(None), Failed]
    assert "not finite" in str(jobs[1].error)


def test_a_step_that_raises_ends_the_arm_that_raised(nano, looping, experts):
    """Streams of the other arms go on where they were."""
    loop = looping()
    broken = Seat(Arm("broken", experts, "arrow"), loop.layers)
    began, seen = threading.Event(), []

    def follow(one):
        seen.append(len(one.requests[0].completions[0].ids))
        if seen[-1] > 5:
            began.set()

    healthy = job(nano, loop, Arm("a", experts[:1]), limit=60, temperature=1.0, seed=3, then=follow)
    healthy.requests[0].stop.ids = frozenset()
    assert began.wait(20)

    def fail(*_):
        raise RuntimeError("a kernel gave up")

    for router in broken.routers.values():
        router.forward = fail
    bad = job(nano, loop, broken)
    bad.wait()
    healthy.wait()
    assert isinstance(bad.error, Failed) and "a kernel gave up" in str(bad.error)
    assert healthy.error is None and len(written(healthy)[0]) == 60
    again = job(nano, loop, Arm("a", experts[:1]), limit=60, temperature=1.0, seed=3)
    again.wait()
    assert written(again)[0][:60] == written(healthy)[0][: len(written(again)[0])]


def test_a_seat_that_does_not_fit_is_refused_and_the_others_stay(nano, looping, experts):
    loop = looping()
    misfit = expert(nano, "misfit")
    wrong = {f"{name}.nowhere": factors for name, factors in misfit.factors.items()}
    seats = [Seat(Arm("a", experts[:1]), loop.layers), Seat(Arm("m", [type(misfit)("m", wrong)]), loop.layers)]
    jobs = [job(nano, loop, seat) for seat in (seats[0], seats[1], seats[0])]
    for one in jobs:
        one.wait()
    assert [one.error is None for one in jobs] == [True, False, True]


def test_too_late_is_an_error_and_an_end_returns_what_there_is(nano, looping):
    loop = looping()
    late = job(nano, loop, Arm("base"), limit=LONG, deadline=time.monotonic() - 1)
    late.wait()
    assert isinstance(late.error, Late)
    begun = threading.Event()
    cut = job(nano, loop, Arm("base"), limit=LONG, then=lambda _: begun.set())
    assert begun.wait(10)
    loop.end_all()
    cut.wait()
    assert cut.error is None and 0 < len(written(cut)[0]) < LONG
    with pytest.raises(Stopping):
        job(nano, loop, Arm("base"))


def test_only_so_many_arms_stay_attached(nano, looping, experts):
    loop = looping(arms=2)
    for one in [*experts, experts[0]]:
        job(nano, loop, Arm(one.name, [one])).wait()
    assert [seat.arm.name for seat in loop.seats.switch.seats] == ["c", "a"]
    seats = Seats(nano, 2)
    assert seats.has([]) and len(seats) == 0


def test_routing_of_a_token_is_what_the_router_gave_it(nano, looping, experts):
    loop = looping()
    arms = [Arm("arrow", experts, "arrow", {"top_k": 2}), Arm.weighted("w", experts[:2], [0.7, 0.3]), Arm("base")]
    jobs = [job(nano, loop, arm, ["copy abcd"], limit=6, routing=True) for arm in arms]
    for one in jobs:
        one.wait()
        (ids,) = written(one)
        assert len(one.routing[one.requests[0].completions[0]]) == len(ids) > 1
    loop.stop()
    arrow, weights, base = [[w.mean(0) for w in next(iter(one.routing.values()))] for one in jobs]
    assert all(w.numel() == 0 or w.isnan().all() for w in base)
    assert all(torch.allclose(w, torch.tensor([0.7, 0.3])) for w in weights)
    with arms[0].attached(nano) as banks, torch.no_grad():
        ids = jobs[0].requests[0].ids + written(jobs[0])[0]
        banks.set_batch()
        banks.context.weights = {}
        nano.model(torch.tensor([ids]))
        recorded = torch.stack([w[0].mean(1) for w in banks.context.weights.values()])  # [L, T, E]
        banks.context.weights = None
    start = len(jobs[0].requests[0].ids) - 1  # the place that wrote the first token
    for n, w in enumerate(arrow):
        assert torch.allclose(w, recorded[:, start + n].mean(0), atol=1e-5)


def test_errors_of_the_engine_are_not_the_clients():
    assert isinstance(told(Invalid("no")), Failed) and isinstance(told(Invalid("no"), theirs=True), Invalid)
