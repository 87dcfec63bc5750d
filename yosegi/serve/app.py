"""The routes, as OpenAI's API has them, and a few of ours."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response, StreamingResponse
from starlette.exceptions import HTTPException

import yosegi
from yosegi.errors import Invalid, UnknownName, YosegiError
from yosegi.serve.answer import Answer, dumped, event, fault
from yosegi.serve.job import Busy, Failed, Late, Stopping
from yosegi.serve.limits import Limits
from yosegi.serve.page import playground
from yosegi.serve.schemas import Asked, ChatBody, CompletionBody, ExpertBody
from yosegi.serve.service import Service, TooLong

log = logging.getLogger("yosegi.serve")


class Json(Response):
    """A body that is JSON already."""

    media_type = "application/json"


def make_app(service: Service) -> Any:
    """Returns the ASGI application of a service, whose lifespan opens and closes it."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.open()
        try:
            yield
        finally:
            await service.close()

    app = FastAPI(title="yosegi", version=yosegi.__version__, lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.service = service

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether answers are being written."""
        if not service.loop.alive:
            raise HTTPException(503, "The model's thread has ended.")
        return {"status": "stopping" if service.loop.draining else "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """What Prometheus reads."""
        known, loop = service.metrics, service.loop
        known.answers.set(loop.busy)
        known.running.set(len(loop.running))
        known.seats.set(len(loop.seats))
        if service.shelf is not None:
            known.experts.labels("usable").set(len(list(service.shelf)))
            known.experts.labels("damaged").set(len(service.shelf.broken))
        return Response(known.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        """The base, the experts and the kept arms."""
        return {"object": "list", "data": service.models()}

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> dict[str, Any]:
        """One of them."""
        return service.model(name)

    @app.get("/v1/experts")
    async def experts() -> dict[str, Any]:
        """The experts, with what their cards say."""
        return {"object": "list", "data": service.experts()}

    @app.post("/v1/experts")
    async def take(body: ExpertBody) -> dict[str, Any]:
        """Takes an expert that lies in the folder of the library, or one that has changed there."""
        if not service.settings.api_key:
            raise HTTPException(403, "Experts are taken over HTTP only where the server has a key (--api-key).")
        if service.shelf is None:
            raise HTTPException(404, "This server has no library.")
        return await service.take(body.name)

    @app.get("/v1/library")
    async def library() -> Json:
        """What the page shows of the library."""
        return Json(dumped(await service.library()))

    @app.post("/v1/completions")
    async def completions(body: CompletionBody, request: Request) -> Response:
        """Continues prompts."""
        return await _answered(service, request, body, await service.complete(body))

    @app.post("/v1/chat/completions")
    async def chat(body: ChatBody, request: Request) -> Response:
        """Answers a conversation."""
        return await _answered(service, request, body, await service.chat(body))

    app.get("/", include_in_schema=False)(playground)

    @app.exception_handler(YosegiError)
    async def ours(request: Request, error: YosegiError) -> Response:
        return refusal(error, service)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return Json(dumped(_invalid(error)), 400)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        kind = "server_error" if error.status_code >= 500 else "invalid_request_error"
        return Json(dumped(fault(str(error.detail), kind)), error.status_code, headers=error.headers)

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return Json(dumped(fault("The server failed; its log says how.", "server_error")), 500)

    return Limits(app, service.settings, lambda: service.loop.draining, service.metrics.answered)


def refusal(error: Exception, service: Service) -> Response:
    """Returns an error of ours as OpenAI's API has it."""
    status, body = _status(error, service)
    return Json(dumped(body), status, headers={"Retry-After": "2"} if status in (429, 503) else None)


def _status(error: Exception, service: Service) -> tuple[int, dict[str, Any]]:
    text = str(error).replace(service.base.name, service.name)  # no folder of this machine is told
    if service.shelf is not None:
        text = text.replace(str(service.shelf.path), "the library")
    match error:
        case Busy():
            return 429, fault(text, "rate_limit_error", "queue_full")
        case Stopping():
            return 503, fault(text, "server_error", "stopping")
        case Late():
            return 504, fault(text, "server_error", "timeout")
        case Failed():
            return 500, fault(text, "server_error", "engine_error")
        case UnknownName():
            return 404, fault(text, code="model_not_found", param="model")
        case TooLong():
            return 400, fault(text, code="context_length_exceeded", param="messages")
        case Invalid():
            return 400, fault(text)
        case _:
            log.error("unexpected: %s", text, exc_info=error)
            return 500, fault("The server failed; its log says how.", "server_error")


def _invalid(error: RequestValidationError) -> dict[str, Any]:
    """What is wrong with a body, in one line."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"] if part != "body"]
    if first["type"] == "extra_forbidden":
        import difflib

        near = difflib.get_close_matches(place[-1], [*CompletionBody.model_fields, *ChatBody.model_fields], 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        return fault(f"Unrecognized request argument supplied: {place[-1]}.{hint}", param=place[-1])
    if first["type"] == "json_invalid":
        return fault("The body is not valid JSON.")
    message = first["msg"].removeprefix("Value error, ")
    return fault(f"{'.'.join(place)}: {message}" if place else message, param=place[0] if place else None)


async def _answered(service: Service, request: Request, body: Asked, answer: Answer) -> Response:
    """Waits for an answer, or streams it. Whoever goes away ends it."""
    job = answer.job
    if service.settings.log_prompts:
        log.info("%s", body.model_dump(exclude_unset=True))
    if body.stream:
        return StreamingResponse(
            _stream(service, answer), media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )
    gone = asyncio.create_task(_gone(request))
    gone.add_done_callback(lambda _: job.signal.set())
    try:
        while not job.over and not gone.done():
            await job.signal.wait()
            job.signal.clear()
    finally:
        gone.cancel()
        if not job.over:
            service.loop.cancel(job)
    if not job.over:
        return Response(status_code=499)
    if job.error is not None:
        return refusal(job.error, service)
    return Json(answer.whole())


async def _gone(request: Request) -> None:
    with suppress(Exception):
        while (await request.receive())["type"] != "http.disconnect":
            pass


async def _stream(service: Service, answer: Answer) -> AsyncIterator[bytes]:
    job = answer.job
    try:
        over = False
        while not over:
            await job.signal.wait()
            job.signal.clear()
            over = job.over
            for chunk in answer.chunks():
                yield chunk
        if job.error is not None:
            yield event(_status(job.error, service)[1])
    finally:
        if not job.over:
            service.loop.cancel(job)
