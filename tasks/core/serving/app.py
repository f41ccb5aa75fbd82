"""The addresses of the server, for programs: predictions, health, metadata and metrics."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from tasks.core import __version__
from tasks.core.serving.bodies import Body
from tasks.core.serving.service import Service
from tasks.core.serving.settings import Refused

log = logging.getLogger("plumbline.serve")
SHOWN = 80  # characters of an address or a method that an error repeats
CLIENT_CLOSED = 499  # nginx's status of a request whose client went away; only the metrics show it


class Error(BaseModel):
    """The JSON of every answer that is an error."""

    error: str = Field(description="Why there is no answer.")


ERRORS: dict[int | str, dict[str, Any]] = {
    range_: {"model": Error, "description": "Not answered; `error` says why."} for range_ in ("4XX", "5XX")
}


def create_app(service: Service, add_pages: Callable[[FastAPI, Service], None] | None = None) -> FastAPI:
    """The application.

    Args:
        service: What answers.
        add_pages: Adds pages for people.
    """
    app = FastAPI(
        title="Plumbline",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
        responses=ERRORS,
    )
    _add_error_handlers(app)
    _add_predictions(app, service)
    _add_state(app, service)
    _add_training_images(app, service)
    if add_pages is not None:
        add_pages(app, service)
    return app


def _add_predictions(app: FastAPI, service: Service) -> None:
    @app.post("/v1/predict")
    async def predict(request: Request) -> Response:
        started = time.perf_counter()
        response = await _answered(service, request)
        service.monitoring.seconds.observe(time.perf_counter() - started)
        service.monitoring.requests.labels(str(response.status_code)).inc()
        return response


def _add_state(app: FastAPI, service: Service) -> None:
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


def _add_training_images(app: FastAPI, service: Service) -> None:
    @app.get("/training-images/{version}/{row:int}.png")
    async def training_image(version: str, row: int) -> Response:
        known = service.training_images.get(version)
        content = await asyncio.to_thread(known.picture, row) if known else None
        if content is None:
            return error_response(HTTPStatus.NOT_FOUND, "there is no such training image")
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
        return error_response(refusal.status, refusal.reason, headers)
    except Exception:  # a fault of ours, or of the machine: it is counted as any other answer
        log.exception("a request cannot be answered")
        return _failed()


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


def error_response(status: int, reason: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that is an error."""
    return JSONResponse(Error(error=reason).model_dump(), status, headers)


def _failed() -> JSONResponse:
    reason = "the server failed; its log says why"
    return error_response(HTTPStatus.INTERNAL_SERVER_ERROR, reason, {"Connection": "close"})


def _add_error_handlers(app: FastAPI) -> None:
    """Give the framework's errors (unknown addresses, methods, values; faults) the form of all others."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return error_response(error.status_code, _reason(request, error), error.headers)

    @app.exception_handler(RequestValidationError)
    async def wrong_value(request: Request, error: RequestValidationError) -> JSONResponse:
        reason = "; ".join(f"{problem['loc'][-1]}: {problem['msg']}" for problem in error.errors())
        return error_response(HTTPStatus.UNPROCESSABLE_ENTITY, reason)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return _failed()


def _reason(request: Request, error: HTTPException) -> str:
    path = request.url.path[:SHOWN]
    allowed = (error.headers or {}).get("Allow", "another method")
    reasons = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {path}; /openapi.json lists the addresses",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{path} takes {allowed}, not {request.method[:SHOWN]}",
    }
    return reasons.get(HTTPStatus(error.status_code), error.detail)
