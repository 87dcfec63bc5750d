"""Against a real HTTP server that misbehaves in every way we could think of; what it was asked is counted there."""

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from tests.conftest import each
from yosegi.errors import Invalid, NoData
from yosegi.tasks import Example
from yosegi.teachers import Question, endpoint, load
from yosegi.teachers.endpoint import Endpoint, _retry_after, read_spec

ROOT = Path(__file__).parents[2]
QUESTION = Question(target_model="a model of 1B")
ONE, TWO = '{"system": 1, "because": "at once"}', '{"system": 2, "because": "two steps"}'


def rows(n):
    return [Example(str(i), f"Question {i}?", f"Answer {i}.") for i in range(n)]


@pytest.fixture
def teacher(served, tmp_path):
    def make(**more):
        fast = {"backoff": 0.01, "timeout": 2.0, "attempts": 3, "answers": tmp_path / "answers.jsonl"}
        return Endpoint(served.url, "judge", **{**fast, **more})

    return make


def by_question(answers):
    """A server that looks at which question it is asked, whatever the order."""

    def behave(number, body):
        asked = body["messages"][1]["content"]
        return answers[int(asked.split("Question ")[1].split("?")[0])]

    return behave


def test_votes_come_back_in_order_with_reasons_and_tokens(served, teacher):
    served.behave = by_question([ONE, TWO, "I cannot say.", '{"system": null, "because": "unclear"}'] * 5)
    votes = teacher().label(rows(20), QUESTION)
    assert [vote.system for vote in votes] == [0, 1, None, None] * 5
    assert [vote.lost for vote in votes] == ["", "", "unparsable", "abstained"] * 5
    assert votes[0].rationale == "at once" and votes[0].raw == ONE
    assert {(vote.tokens_in, vote.tokens_out) for vote in votes} == {(100, 10)}


def test_what_is_sent(served, teacher):
    teacher(temperature=0.5, max_tokens=77).label(rows(1), QUESTION)
    (body,), (headers,) = served.bodies, served.headers
    assert headers["path"] == "/v1/chat/completions" and "Authorization" not in headers
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("judge", 0.5, 77)
    message = [turn["content"] for turn in body["messages"]]
    assert "a model of 1B" in message[0] and "Question 0?" in message[1] and "Answer 0." in message[1]
    teacher(temperature=None).label(rows(1), Question())
    assert "temperature" not in served.bodies[1] and "a model of 1B" not in served.bodies[1]["messages"][0]["content"]


@pytest.mark.parametrize(
    "bad",
    [
        {"status": 500, "body": b'{"error": {"message": "boom"}}'},
        {"status": 503, "body": b"<html>busy</html>"},
        {"status": 408},
        {"status": 429, "body": b'{"error": "slow down"}'},
        {"body": b'{"choices": [{"mess'},
        {"body": b""},
        {"body": b"\xff\xfe\x00"},
        {"body": b'{"object": "something else"}'},
        {"body": b'{"choices": []}'},
        {"body": b'{"choices": [{"message": {"content": 7}}]}'},
        {"body": b"[1, 2]"},
        {"body": b'{"choices": [{"message": {"content": "{\\"system\\": 1}"}}]}', "cut": 30},
        {"body": b'{"choices": []}', "cut": 0},
        {"body": b'{"choices": [{"message": {"content": "{\\"system\\": 1}"}}]}', "delay": 30},
        {"body": b" " * 4000, "trickle": 1},
    ],
    ids=[
        "500",
        "503",
        "408",
        "429",
        "json",
        "empty",
        "binary",
        "schema",
        "choices",
        "content",
        "list",
        "half",
        "nothing",
        "slow",
        "trickle",
    ],
)
def test_what_passes_is_tried_again(served, teacher, bad):
    served.behave = lambda n, body: bad if n < 2 else TWO
    one = teacher(timeout=0.3)
    (vote,) = one.label(rows(1), QUESTION)
    assert vote.system == 1 and len(served.bodies) == 3
    assert (one.spent["requests"], one.spent["retries"], one.spent["failed"]) == (3, 2, 0)


@pytest.mark.parametrize("bad", [{"status": 500}, {"body": b'{"choices": [{"mess'}, {"body": b" ", "delay": 30}])
def test_a_row_without_an_answer_is_lost_and_asked_again_by_the_next_call(served, teacher, bad):
    served.behave = by_question([ONE, bad, TWO])
    one = teacher(timeout=0.3)
    votes = one.label(rows(3), QUESTION)
    assert [vote.system for vote in votes] == [0, None, 1] and votes[1].lost == "failed"
    assert one.spent["failed"] == 1 and "1 questions got no answer" in one.note
    asked = len(served.bodies)
    served.behave = by_question([TWO, TWO, ONE])
    assert [vote.system for vote in teacher().label(rows(3), QUESTION)] == [0, 1, 1]
    assert len(served.bodies) == asked + 1


def test_an_endpoint_that_is_down_ends_the_labelling(served, teacher):
    served.behave = lambda n, body: {"status": 503}
    with pytest.raises(NoData, match=r"judge does not answer \(3 attempts each; the last: 503 .*goes on from there"):
        teacher(concurrency=2).label(rows(100), QUESTION)
    assert len(served.bodies) <= 3 * 7, "five in a row, and what was on its way"


def test_a_refused_connection(teacher, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = Endpoint(f"http://127.0.0.1:{free.getsockname()[1]}/v1", "m", attempts=2, backoff=0.01)
        with pytest.raises(NoData, match=r"#m does not answer \(2 attempts each; the last: ConnectError"):
            nobody.label(rows(1), QUESTION)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 301])
def test_what_will_not_pass_ends_at_once_in_one_line(served, teacher, status):
    message = {"status": status, "headers": {"Location": "http://127.0.0.1:9/"}}
    served.behave = lambda n, body: {**message, "body": b'{"error": {"message": "no such\\nmodel"}}'}
    with pytest.raises(Invalid, match=f"judge refuses: {status} .*no such model") as refused:
        teacher(concurrency=1).label(rows(5), QUESTION)
    assert len(served.bodies) == 1 and "\n" not in str(refused.value)
    assert ("?key=" in str(refused.value)) == (status in (401, 403))


def test_a_spent_quota_is_not_waited_for(served, teacher):
    body = b'{"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}'
    served.behave = lambda n, _: {"status": 429, "body": body}
    with pytest.raises(Invalid, match="exceeded your quota"):
        teacher(concurrency=1).label(rows(3), QUESTION)
    assert len(served.bodies) == 1


def test_retry_after_holds_back_every_request(served, teacher):
    times = []

    def behave(number, body):
        times.append(time.monotonic())
        return {"status": 429, "headers": {"Retry-After": "0.6"}} if number == 0 else TWO

    served.behave = behave
    one = teacher(concurrency=1)
    assert {vote.system for vote in one.label(rows(4), QUESTION)} == {1}
    assert times[1] - times[0] >= 0.6

    times.clear()
    served.bodies.clear()

    def slowly(number, body):
        times.append(time.monotonic())
        busy = {"status": 429, "headers": {"Retry-After": "0.6"}}
        return busy if number == 0 else {"body": answer(TWO), "delay": 0.2}

    served.behave = slowly
    teacher(concurrency=3, answers=None).label(rows(9), QUESTION)
    late = [t - times[0] for t in times[3:]]  # the first three were on their way together
    assert len(times) == 10 and min(late) >= 0.55, late


def answer(text):
    return json.dumps({"choices": [{"message": {"content": text}}]}).encode()


def test_a_long_retry_after_is_said_and_not_slept(served, teacher):
    served.behave = lambda n, body: {"status": 429, "headers": {"Retry-After": "3600"}}
    start = time.monotonic()
    with pytest.raises(NoData, match="asks to come back in 3600 seconds"):
        teacher().label(rows(2), QUESTION)
    assert time.monotonic() - start < 5


def test_retry_after_is_seconds_or_a_date():
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < _retry_after(soon) <= 90
    past = "Wed, 21 Oct 2015 07:28:00 GMT"
    assert [_retry_after(value) for value in ("7", "0.5", "-3", past, "", "soon", "nan")] == [7, 0.5, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("most", [1, 3])
def test_no_more_requests_at_a_time_than_asked_for(served, teacher, most):
    served.behave = lambda n, body: {"body": answer(TWO), "delay": 0.05}
    teacher(concurrency=most).label(rows(9), QUESTION)
    assert served.most == most and len(served.bodies) == 9


def test_nothing_is_asked_twice(served, teacher):
    first = teacher().label(rows(10), QUESTION)
    assert len(served.bodies) == 10
    again = teacher()
    assert again.label(rows(10), QUESTION) == first and again.spent["requests"] == 0 and len(served.bodies) == 10
    teacher().label(rows(12), QUESTION)
    assert len(served.bodies) == 12
    for other in ({"max_tokens": 9}, {"temperature": 1.0}):
        teacher(**other).label(rows(1), QUESTION)
    teacher().label(rows(1), Question())
    teacher().label(rows(1), Question(target_model="another"))
    assert len(served.bodies) == 16, "whatever decides the answer is part of the key"


def test_equal_questions_are_asked_once(served, teacher):
    same = [Example(str(i), "Q", "A") for i in range(6)]
    votes = teacher(answers=None).label(same, QUESTION)
    assert {vote.system for vote in votes} == {1} and len(served.bodies) == 1
    assert sum(vote.tokens_in for vote in votes) == 100, "and paid for once"


def test_an_empty_list(served, teacher):
    assert teacher().label([], QUESTION) == [] and served.bodies == []


def test_odd_answers_are_survived(served, teacher):
    served.behave = by_question(
        [
            {"body": b'{"choices": [{"message": {"content": null}}]}'},
            {"body": b'{"choices": [{"message": {"content": "System 1 \\ud83d"}}], "usage": {"prompt_tokens": null}}'},
            {"body": answer("<think>System 1? System 2?")},
        ]
    )
    votes = teacher().label(rows(3), QUESTION)
    assert [(vote.system, vote.lost) for vote in votes] == [(None, "unparsable"), (0, ""), (None, "unparsable")]
    assert teacher().label(rows(3), QUESTION) == votes and len(served.bodies) == 3


def test_works_inside_a_running_loop_as_in_a_notebook(served, teacher):
    async def cell():
        return teacher().label(rows(2), QUESTION)

    assert [vote.system for vote in asyncio.run(cell())] == [1, 1]


SECRET = "sk-very-secret-0123456789"


def test_the_key_reaches_the_server_and_no_file(served, teacher, tmp_path, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    served.behave = lambda n, body: f"System 1, and your key is {SECRET}"
    one = teacher(key="JUDGE_KEY")
    (vote,) = one.label(rows(1), QUESTION)
    assert served.headers[0]["Authorization"] == f"Bearer {SECRET}"
    assert vote.system == 0 and SECRET not in vote.raw + json.dumps(one.about())
    assert (tmp_path / "answers.jsonl").stat().st_size
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and SECRET in path.read_text()]
    for status in (401, 500):
        body = json.dumps({"error": {"message": f"bad key {SECRET}"}}).encode()
        served.behave = lambda n, _, message={"status": status, "body": body}: message
        with pytest.raises((Invalid, NoData)) as refused:
            teacher(key="JUDGE_KEY", attempts=1, max_tokens=3).label(rows(1), QUESTION)
        assert SECRET not in str(refused.value) and "bad key …" in str(refused.value)


def test_keys_are_named_and_never_given(monkeypatch):
    monkeypatch.delenv("NOBODYS_KEY", raising=False)
    with pytest.raises(Invalid, match="NOBODYS_KEY is not set"):
        load("http://h/v1#m?key=NOBODYS_KEY")
    with pytest.raises(Invalid, match="never the key itself") as refused:
        load(f"http://h/v1#m?key={SECRET}")
    assert SECRET not in str(refused.value)
    with pytest.raises(Invalid, match="no password") as refused:
        load(f"http://me:{SECRET}@h/v1#m")
    assert SECRET not in str(refused.value)
    monkeypatch.setenv("NOBODYS_KEY", "clé\n")
    with pytest.raises(Invalid, match="no header can carry"):
        load("http://h/v1#m?key=NOBODYS_KEY")


def test_read_spec():
    assert read_spec("http://h:8/v1#org/m:7b@q4") == {"url": "http://h:8/v1", "model": "org/m:7b@q4"}
    result = read_spec("https://h/v1#m?key=K&price_in=0.15&price_out=0.6")
    assert result == {"url": "https://h/v1", "model": "m", "key": "K", "price_in": 0.15, "price_out": 0.6}
    bad = ["http://h/v1", "http:///v1#m", "http://h/v1#m?kee=K", "http://h/v1#m?price_in=few", "http://h/v1?k=v#m"]
    bad += ["http://[h/v1#m", "http://h:port/v1#m", "http://h:99999/v1#m", "http://#m", "http://h/v1#"]
    for spec in bad:
        with pytest.raises(Invalid, match="The form is http://host:port/v1#model"):
            read_spec(spec)


@each(
    "wrong",
    [{"concurrency": 0}, {"attempts": 0}, {"timeout": 0}, {"backoff": -1}, {"price_in": -1.0}, {"max_tokens": 0}],
)
def test_wrong_arguments(wrong):
    with pytest.raises(Invalid):
        Endpoint("http://h/v1", "m", **wrong)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_in_the_middle_it_goes_on(served, tmp_path, how):
    """The first ten answers come at once, the rest never; after the kill only the rest is asked."""
    served.behave = lambda n, body: TWO if n < 10 else {"body": b"", "delay": 60}
    program = f"""
import sys
from pathlib import Path
from yosegi.tasks import Example
from yosegi.teachers import Question
from yosegi.teachers.endpoint import Endpoint
rows = [Example(str(i), f"Question {{i}}?", f"Answer {{i}}.") for i in range(20)]
Endpoint({served.url!r}, "judge", concurrency=4, answers=Path("answers.jsonl")).label(rows, Question())
"""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL)
    path = tmp_path / "answers.jsonl"
    limit = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") == 10 and len(served.bodies) >= 14):
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.02)
    process.send_signal(how)
    assert process.wait(30) != 0
    with path.open("ab") as file:
        file.write(b'{"key": "half an ans')
    before = len(served.bodies)
    served.behave = lambda n, body: ONE
    votes = Endpoint(served.url, "judge", answers=path).label(rows(20), Question())
    assert len(served.bodies) - before == 10
    assert sorted(vote.system for vote in votes) == [0] * 10 + [1] * 10
    assert len([json.loads(line) for line in path.read_text().splitlines()]) == 20


BOMB = gzip.compress(b" " * (1 << 20))


@pytest.mark.parametrize(
    "bad",
    [{"body": b" " * 70_000}, {"body": BOMB, "headers": {"Content-Encoding": "gzip"}}, {"body": b"x", "headers": {"Content-Encoding": "gzip"}}],
    ids=["large", "a gzip bomb", "not gzip"],
)  # fmt: skip
def test_a_body_is_read_up_to_its_limit_and_asked_for_again(served, teacher, monkeypatch, bad):
    monkeypatch.setattr(endpoint, "BYTES", 1 << 16)
    served.behave = lambda n, body: bad if n < 2 else TWO
    (vote,) = teacher().label(rows(1), QUESTION)
    assert vote.system == 1 and len(served.bodies) == 3
    served.behave = lambda n, body: bad
    with pytest.raises(NoData, match="does not answer") as error:
        teacher(max_tokens=5).label(rows(1), QUESTION)
    assert len(str(error.value)) < 600


@pytest.mark.parametrize(
    "usage", ["[1, 2]", '"many"', '{"prompt_tokens": [1]}', '{"prompt_tokens": 1e999, "completion_tokens": -5}', "7"]
)
def test_a_usage_that_is_none_counts_as_unknown(served, teacher, usage):
    served.behave = lambda n, body: {
        "body": b'{"choices": [{"message": {"content": "System 2"}}], "usage": %s}' % usage.encode()
    }
    (vote,) = teacher().label(rows(1), QUESTION)
    assert (vote.system, vote.tokens_in, vote.tokens_out) == (1, 0, 0) and len(served.bodies) == 1


def test_waiting_again_and_again_ends(served, teacher, monkeypatch):
    """Each Retry-After is short enough; together they are not, and nobody waits for the sum."""
    monkeypatch.setattr(endpoint, "LONGEST", 0.5)
    served.behave = lambda n, body: {"status": 429, "headers": {"Retry-After": "0.2"}}
    with pytest.raises(NoData, match="asks to come back in 0 seconds, and has not answered in 1 seconds of waiting"):
        teacher(attempts=50).label(rows(1), QUESTION)
    assert len(served.bodies) < 6


@pytest.mark.parametrize(
    "write",
    [str, lambda key: key.replace("s", "\\u0073"), lambda key: key.replace("-", "\\-"), lambda key: key.replace("s", "%73"), str.upper],
    ids=["plain", "JSON", "a backslash", "an address", "capitals"],
)  # fmt: skip
def test_the_key_is_masked_however_it_is_written(served, teacher, tmp_path, monkeypatch, write):
    monkeypatch.setenv("JUDGE_KEY", SECRET)
    served.behave = lambda n, body: "System 1, " + write(SECRET)
    (vote,) = teacher(key="JUDGE_KEY").label(rows(1), QUESTION)
    assert vote.system == 0 and vote.raw == "System 1, …"
    assert "secret-0123456789" not in (tmp_path / "answers.jsonl").read_text().lower()
