"""Endpoint: a language model behind an OpenAI-compatible address labels the questions, many at a time.

The teachers of LoRA-PAR, Huang et al. 2025, arXiv:2507.20999 (QwQ, DeepSeek-R1 …), served by a cloud, vLLM, llama.cpp or
`ollama serve`. The spec is

    http://host:port/v1#model
    https://host/v1#model?key=MY_KEY&price_in=0.15&price_out=0.60     the key is in the environment variable MY_KEY

No request is made twice: answers are stored on disk as they come (`_kept.py`). Temporary errors (no connection, time-outs,
408, 425, 429, 5xx, a truncated or malformed body) are retried after a pause that doubles, with jitter; a Retry-After holds
back all requests. Permanent errors (401, 404, an exhausted quota …) end the labelling with one line. A row whose attempts are
used up counts as failed and is asked again by the next call; five in a row end the labelling. A key is sent to its address
only: not through redirects, not to disk, not into messages.
"""

import asyncio
import json
import os
import random
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from yosegi import __version__
from yosegi.errors import Invalid, NoData, printable
from yosegi.files import is_finite
from yosegi.progress import Bar
from yosegi.teachers._kept import Answer, AskingTeacher, Chat, Kept

PATIENCE = 5
"""Rows that fail one after another before the endpoint counts as down."""
LONGEST = 600.0
"""Seconds that an endpoint may ask to wait in all, without an answer in between, before the labelling ends."""
BYTES = 4 << 20
"""The largest answer that is read, decompressed."""
KEPT = "The answers so far are kept; the same command goes on from there."
FORM = "The form is http://host:port/v1#model, or https://host/v1#model?key=MY_KEY&price_in=0.15&price_out=0.60."


class Passing(Exception):  # noqa: N818 - never leaves this file
    """A temporary error; `after` is the Retry-After in seconds."""

    def __init__(self, what: str, after: float = 0.0):
        super().__init__(what)
        self.after = after


class Endpoint(AskingTeacher):
    """Args:
    url: the address up to and including /v1; "/chat/completions" is added.
    model: the server's name of the model.
    key: the name of the environment variable that holds the key; "" sends none.
    concurrency: the number of concurrent requests.
    timeout: seconds for one request as a whole.
    attempts: how often a question is tried.
    backoff: seconds before the second attempt; doubled before each further one, up to a minute.
    temperature: 0 is greedy; None leaves it to the server (some refuse the field).
    max_tokens: the most tokens of an answer, thoughts included.
    price_in: the price of a million tokens read, in your currency.
    price_out: the price of a million tokens written.
    answers: the file of answers.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        key: str = "",
        concurrency: int = 8,
        timeout: float = 60.0,
        attempts: int = 6,
        backoff: float = 1.0,
        temperature: float | None = 0.0,
        max_tokens: int = 2048,
        price_in: float | None = None,
        price_out: float | None = None,
        answers: Path | None = None,
    ):
        super().__init__()
        self.url, self.model, self.name = url.rstrip("/"), model, f"{url.rstrip('/')}#{model}"
        self.key, self.secret = key, _secret(key)
        self.concurrency, self.timeout, self.attempts, self.backoff = concurrency, timeout, attempts, backoff
        self.temperature, self.max_tokens = temperature, max_tokens
        self.price = None if price_in is None and price_out is None else (price_in or 0.0, price_out or 0.0)
        self.kept = Kept(answers)
        for what, value in (("concurrency", concurrency), ("attempts", attempts), ("max_tokens", max_tokens)):
            if value < 1:
                raise Invalid(f"{what}={value}: it must be at least 1.")
        if not timeout > 0 or backoff < 0 or min(self.price or (0, 0)) < 0:
            raise Invalid(f"timeout={timeout}, backoff={backoff}, price={self.price}: none may be negative.")

    def about(self) -> dict[str, Any]:
        """Returns address, model and parameters; of the key only the name of the variable."""
        return {"name": self.name, "key": self.key, **self._parameters()}

    def ask(self, missing: Mapping[str, Chat], bar: Bar) -> None:
        """Asks many questions at a time."""
        _run(self._ask_all(missing, bar))

    def _parameters(self) -> dict[str, Any]:
        sampling = {} if self.temperature is None else {"temperature": self.temperature}
        return {**sampling, "max_tokens": self.max_tokens}

    async def _ask_all(self, missing: Mapping[str, Chat], bar: Bar) -> None:
        """Asks `concurrency` questions at a time; the first permanent error stops all."""
        import httpx2  # a fifth of a second to import

        self._resume, self._asked_to_wait, self._in_a_row, self._last = 0.0, 0.0, 0, ""
        headers = {"User-Agent": f"yosegi/{__version__}"}
        if self.secret:
            headers["Authorization"] = f"Bearer {self.secret}"
        limits = httpx2.Limits(max_connections=self.concurrency, max_keepalive_connections=self.concurrency)
        queue = iter(missing.items())

        async def work(client: Any) -> None:
            for k, messages in queue:  # all workers share one iterator
                await self._ask(client, k, messages, bar)

        try:
            client = httpx2.AsyncClient(headers=headers, timeout=self.timeout, limits=limits)
            async with client, asyncio.TaskGroup() as group:
                for _ in range(min(self.concurrency, len(missing))):
                    group.create_task(work(client))
        except BaseExceptionGroup as group_error:
            raise group_error.exceptions[0] from group_error.exceptions[0].__cause__
        if not self.spent["answered"]:  # with fewer questions than PATIENCE
            raise self._down()

    async def _ask(self, client: Any, k: str, messages: Chat, bar: Bar) -> None:
        """Asks one question until it is answered or its attempts are used up."""
        body = {"model": self.model, "messages": messages, **self._parameters()}
        last = ""
        for attempt in range(self.attempts):
            while (wait := self._resume - asyncio.get_running_loop().time()) > 0:
                await asyncio.sleep(wait)
            self.spent["requests"] += 1
            try:
                answer = await self._request(client, body)
            except Passing as error:
                last = str(error)
                pause = min(60.0, self.backoff * 2**attempt) * random.uniform(0.5, 1.0)
                now = asyncio.get_running_loop().time()
                if error.after and (until := now + error.after) > self._resume:
                    self._asked_to_wait += until - max(now, self._resume)  # what several ask for at once counts once
                    self._resume = until
                if self._asked_to_wait > LONGEST:
                    raise NoData(
                        f"{self.name} asks to come back in {error.after:.0f} seconds, and has not answered in "
                        f"{self._asked_to_wait:.0f} seconds of waiting. {KEPT}"
                    ) from error
                if attempt + 1 < self.attempts:
                    self.spent["retries"] += 1
                    await asyncio.sleep(pause)  # the loop above waits for a Retry-After
                continue
            self._in_a_row, self._asked_to_wait = 0, 0.0
            self.spent["answered"] += 1
            self.kept.add(k, answer)
            bar.advance()
            return
        self.spent["failed"] += 1
        self._in_a_row += 1
        bar.advance(note=f"{self.spent['failed']} failed")
        self._last = last
        if self._in_a_row >= PATIENCE:
            raise self._down()

    def _down(self) -> NoData:
        tries = f"{self.attempts} attempts each" if self.attempts > 1 else "one attempt each"
        return NoData(f"{self.name} does not answer ({tries}; the last: {self._last}). {KEPT}")

    async def _request(self, client: Any, body: dict[str, Any]) -> Answer:
        """Makes one request: returns the answer, or raises `Passing` or a permanent error."""
        import httpx2

        try:
            # the client's own limit is per read: a slow stream would never end
            async with asyncio.timeout(self.timeout):
                async with client.stream("POST", f"{self.url}/chat/completions", json=body) as response:
                    content = bytearray()
                    async for part in response.aiter_bytes(1 << 16):
                        content += part
                        if len(content) > BYTES:
                            raise Passing(f"an answer of more than {BYTES >> 20} MB")
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise Passing(f"no answer in {self.timeout:g} s") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise Invalid(f"{self.url} is not an address: {error}. {FORM}") from error
        except httpx2.HTTPError as error:  # refused, reset, cut off in the middle …
            raise Passing(self._clean(f"{type(error).__name__}: {error}")) from error
        if response.status_code != 200:
            self._refuse(response, bytes(content))
        try:
            return self._answer(json.loads(bytes(content)))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            text = bytes(content[:100]).decode(errors="replace")
            raise Passing(self._clean(f"not an answer in the form of OpenAI: {text!r}")) from error

    def _answer(self, row: Any) -> Answer:
        """Returns the text and tokens of a chat completion, or raises an error that `_request` expects."""
        text, usage = row["choices"][0]["message"]["content"], row.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        if text is None:  # all tokens went into hidden thoughts, or the model refused
            text = ""
        if not isinstance(text, str):
            raise TypeError("content is no text")
        whole = text.encode("utf-8", "replace").decode()  # half a surrogate pair cannot be written to a file
        counts = (usage.get(name) for name in ("prompt_tokens", "completion_tokens"))
        tokens = (int(min(max(count, 0), 1 << 40)) if is_finite(count) else 0 for count in counts)
        return Answer(self._masked(whole), *tokens)

    def _refuse(self, response: Any, content: bytes) -> None:
        """Raises the error that a status other than 200 means."""
        message, code = self._message(content)
        status = f"{response.status_code} {response.reason_phrase}".strip()
        what = f"{status}{': ' if message else ''}{message}"
        temporary = response.status_code in (408, 425, 429) or response.status_code >= 500
        if temporary and code != "insufficient_quota":
            raise Passing(what, _retry_after(response.headers.get("Retry-After", "")))
        hint = ""
        if response.status_code in (401, 403):
            hint = " Its key is named in the teacher: …#model?key=NAME_OF_AN_ENVIRONMENT_VARIABLE."
        raise Invalid(f"{self.name} refuses: {what}{'' if what.endswith('.') else '.'}{hint} {KEPT}")

    def _message(self, content: bytes) -> tuple[str, str]:
        """Returns the error message of a body and its code, in one line and without secrets."""
        try:
            error = json.loads(content)["error"]
            message, code = (error.get("message"), error.get("code")) if isinstance(error, dict) else (error, "")
        except (ValueError, KeyError, TypeError, RecursionError):
            message, code = content[:1000].decode(errors="replace"), ""
        return self._clean(str(message or "")), str(code or "")

    def _clean(self, text: str) -> str:
        return printable(" ".join(self._masked(text).split())[:200])

    def _masked(self, text: str) -> str:
        """Returns a text without the key, however JSON or an address would write its characters."""
        if not self.secret:
            return text
        forms = (rf"(?:\\*{re.escape(c)}|\\+u{ord(c):04x}|%{ord(c):02x})" for c in self.secret)
        return re.sub("".join(forms), "…", text, flags=re.IGNORECASE)


def read_spec(spec: str) -> dict[str, Any]:
    """Returns the arguments of `Endpoint` in `http://host/v1#model?key=NAME&price_in=1`."""
    address, _, rest = spec.partition("#")
    model, _, query = rest.partition("?")
    try:
        parts, _ = urlsplit(address), urlsplit(address).port
    except ValueError as error:
        raise Invalid(f"{address!r} is not an address ({error}). {FORM}") from error
    if parts.username or parts.password or parts.query:
        raise Invalid(f"An address has no password and no query; a key goes into the environment. {FORM}")
    if not parts.hostname or not model:
        raise Invalid(
            f"The teacher {spec.partition('?')[0]!r} lacks {'a model' if parts.hostname else 'a host'}. {FORM}"
        )
    given: dict[str, Any] = {"url": address, "model": model}
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in ("key", "price_in", "price_out"):
            raise Invalid(f"A teacher has no {name[:40]!r}. {FORM}")
        try:
            given[name] = value if name == "key" else float(value)
        except ValueError as error:
            raise Invalid(f"{name}={value!r} is not a number. {FORM}") from error
    return given


def _secret(name: str) -> str:
    """Returns the key from the environment. Messages do not repeat the argument: it might be the key itself."""
    if not name:
        return ""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,60}", name):
        raise Invalid("key= takes the name of an environment variable, such as MY_KEY, and never the key itself.")
    secret = os.environ.get(name, "").strip()
    if not secret:
        raise Invalid(f"The environment variable {name} is not set; it should hold the teacher's key: export {name}=…")
    if not secret.isascii() or not secret.isprintable():
        raise Invalid(f"The environment variable {name} does not hold a key: it has characters no header can carry.")
    return secret


def _retry_after(value: str) -> float:
    """Returns the seconds of a header that has seconds or a date."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0


def _run(work: Any) -> None:
    """Runs a coroutine to its end, also where a loop is already running, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(work)
        return
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()
