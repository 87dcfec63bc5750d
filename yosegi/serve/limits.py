"""What is refused before anybody reads it: foreign hosts and pages, missing keys, bodies too large or too slow."""

import asyncio
import hashlib
import hmac
from collections.abc import Callable, Collection
from typing import Any

from yosegi.serve.answer import dumped, fault
from yosegi.serve.settings import ServeSettings

LOCAL = ("localhost", "127.0.0.1", "::1")
OPEN = ("/", "/health")
"""Paths that need no key: the page, which asks for one, and what a supervisor looks at."""


def is_local(host: str) -> bool:
    """Returns whether an address is this machine's own."""
    return host in LOCAL or host.startswith("127.")


class Limits:
    """An ASGI application around another one.

    Args:
        app: the other one.
        settings: the limits.
        draining: returns whether the server is about to end; what asks for answers is then refused (503).
        count: called with the route and the status of every answer.
    """

    def __init__(
        self, app: Any, settings: ServeSettings, draining: Callable[[], bool], count: Callable[[str, int], None]
    ):
        self.app, self.settings, self.draining, self.count = app, settings, draining, count
        self.digests = [_digest(key) for key in settings.api_key]
        self.hosts: Collection[str] = {*LOCAL, settings.host, *settings.allowed_host}
        self.any_host = not is_local(settings.host) and not settings.allowed_host

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers one request, or lets it through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                self.count(getattr(scope.get("route"), "path", "other"), message["status"])
            await send(message)

        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        status, why = self._refused(scope, headers)
        body = b""
        if not status:
            status, why, body = await self._read(headers, receive)
        if status == 499:
            return
        if status:
            await _refuse(counted, status, why)
            return
        given = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Any:
            return given.pop() if given else await receive()

        await self.app(scope, replay, counted)

    def _refused(self, scope: Any, headers: dict[bytes, str]) -> tuple[int, str]:
        host, origin = headers.get(b"host", "").lower(), headers.get(b"origin", "").lower()
        if not self.any_host and _name(host) not in self.hosts:
            return 403, f"This server is not called {_name(host)[:100]!r} (--allowed-host)."
        if origin and origin.partition("://")[2] != host:
            return 403, "Pages of other sites may not ask this server."
        if self.digests and scope["path"] not in OPEN:
            scheme, _, key = headers.get(b"authorization", "").partition(" ")
            given = _digest(key.strip()) if scheme.lower() == "bearer" else b""
            if not any([hmac.compare_digest(given, digest) for digest in self.digests]):  # all are compared
                return 401, "A key is needed: Authorization: Bearer KEY."
        if scope["method"] == "POST" and self.draining():
            return 503, "The server is about to end."
        return 0, ""

    async def _read(self, headers: dict[bytes, str], receive: Any) -> tuple[int, str, bytes]:
        """The whole body, or why not. One that says that it is too large is not read at all."""
        most, length = self.settings.max_body, headers.get(b"content-length", "0")
        too_large = 413, f"The body of a request has at most {most} bytes here.", b""
        if length.isdigit() and int(length) > most:
            return too_large
        parts, size = list[bytes](), 0
        try:
            async with asyncio.timeout(self.settings.send_timeout):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return 499, "", b""
                    parts.append(message.get("body", b""))
                    size, more = size + len(parts[-1]), message.get("more_body", False)
                    if size > most:
                        return too_large
        except TimeoutError:
            return 408, f"The request did not arrive within {self.settings.send_timeout:g} seconds.", b""
        return 0, "", b"".join(parts)


KINDS = {
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", None),
    503: ("server_error", "stopping"),
}
"""Status -> type and code of the error."""


async def _refuse(send: Any, status: int, why: str) -> None:
    kind, code = KINDS.get(status, ("invalid_request_error", None))
    body = dumped(fault(why, kind, code))
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] * (status in (408, 413))  # what is left of the body is not read
    headers += [(b"www-authenticate", b"Bearer")] * (status == 401) + [(b"retry-after", b"5")] * (status == 503)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _digest(key: str) -> bytes:
    """Keys are compared by digests of one length, in constant time."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _name(host: str) -> str:
    """The name of a Host header, without the port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host
