"""The addresses of the server, for programs: predictions, health, metadata and metrics."""

import asyncio
import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import ClientDisconnect

from tasks.core import __version__
from tasks.core.serving.bodies import Body
from tasks.core.serving.service import Service
from tasks.core.serving.settings import Refused

log = logging.getLogger("plumbline.serve")
CLIENT_CLOSED = 499  # nginx's status of a request whose client went away; only the metrics show it


def create_app(service: Service, add_pages: Callable[[FastAPI, Service], None] | None = None) -> FastAPI:
    """The application.

    Args:
        service: What answers.
        add_pages: Adds pages for people.
    """
    app = FastAPI(
        title="Plumbline", version=__version__, docs_url=None, redoc_url=None, lifespan=service.running
    )

    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        response = await _answered(service, request)
        service.monitoring.seconds.observe(time.perf_counter() - started)
        service.monitoring.requests.labels(str(response.status_code)).inc()
        return response

    @app.get("/health")
    async def health() -> Response:
        return JSONResponse(_health(service))

    @app.get("/metadata")
    async def metadata() -> Response:
        facts = {"plumbline": __version__, "alias": service.followed.name, "limits": vars(service.limits)}
        return JSONResponse(service.followed.current.facts() | facts)

    @app.get("/metrics")
    async def metrics() -> Response:
        return Response(service.monitoring.text(), media_type=CONTENT_TYPE_LATEST)

    _add_training_images(app, service)
    if add_pages is not None:
        add_pages(app, service)
    return app


def _add_training_images(app: FastAPI, service: Service) -> None:
    @app.get("/training-images/{version}/{row}.png")
    async def training_image(version: str, row: int) -> Response:
        known = service.training_images.get(version)
        content = await asyncio.to_thread(known.picture, row) if known else None
        if content is None:
            return JSONResponse({"error": "no such training image"}, HTTPStatus.NOT_FOUND)
        return Response(content, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


async def _answered(service: Service, request: Request) -> Response:
    """The answer, or the refusal with its reason."""
    body = Body(request.stream(), request.headers.get("content-length"), service.limits)
    try:
        status, content = await service.answer(request, body)
        return JSONResponse(content, status)
    except ClientDisconnect:
        return Response(status_code=CLIENT_CLOSED)
    except Refused as refusal:
        await body.discard()
        headers = {"Connection": "close"}  # a part of the body may be unread
        if refusal.status == HTTPStatus.SERVICE_UNAVAILABLE:
            headers["Retry-After"] = "1"
        return JSONResponse({"error": refusal.reason}, refusal.status, headers)
    except Exception:  # a fault of ours, or of the machine: it is counted as any other answer
        log.exception("a request cannot be answered")
        reason = "the server failed; its log says why"
        return JSONResponse({"error": reason}, HTTPStatus.INTERNAL_SERVER_ERROR, {"Connection": "close"})


def _health(service: Service) -> dict[str, Any]:
    model = service.followed.current.version
    unwritten = service.recorder.problems.values() if service.recorder else ()
    problems = [service.followed.problem, *unwritten]
    return {
        "status": "degraded" if any(problems) else "ok",
        "problems": list(filter(None, problems)),
        "dataset": model.dataset,
        "version": model.version,
        "requests_in_progress": service.admission.requests,
    }
