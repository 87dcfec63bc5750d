"""The server as a process: uvicorn around the application, and an end that lets answers finish.

The first SIGTERM or Ctrl-C takes no more requests (503) and gives answers their grace; then they end where they are and are sent.
A second one ends at once.
"""

import asyncio
import logging
import signal
import socket
from typing import Any

import uvicorn

from yosegi.serve.app import make_app
from yosegi.serve.service import Service

log = logging.getLogger("yosegi.serve")
LAST = 5.0
"""Seconds in which the last bytes are sent."""


class Server(uvicorn.Server):
    """uvicorn, but for how it ends."""

    def __init__(self, service: Service, config: uvicorn.Config):
        super().__init__(config)
        self.service = service
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Says where it listens, once it does."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
            print(f"{self.service.name} is served at http://{address}", flush=True)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begins the end; a second signal ends at once."""
        if self._ending is not None:
            self.should_exit = self.force_exit = True
            return
        self.service.loop.drain()
        self._ending = asyncio.get_event_loop().create_task(self._end(signal.Signals(sig).name))

    async def _end(self, name: str) -> None:
        loop, grace = self.service.loop, self.service.settings.grace
        log.info("%s: %s answers have %g seconds to finish", name, loop.busy, grace)
        until = asyncio.get_running_loop().time() + grace
        while loop.busy and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(0.05)
        loop.end_all()
        self.should_exit = True


def serve(service: Service) -> None:
    """Runs a service until it is told to end."""
    settings = service.settings
    config = uvicorn.Config(
        make_app(service), host=settings.host, port=settings.port, log_level="warning", access_log=False, server_header=False,
        timeout_graceful_shutdown=int(LAST), timeout_keep_alive=30,
    )  # fmt: skip
    Server(service, config).run()
