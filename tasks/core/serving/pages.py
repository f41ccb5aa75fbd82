"""The pages of the server, for people: try the model, and look through the workspace.

All that a page needs is on this server. Reports are served as they lie in the workspace.
"""

import asyncio
import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse

from tasks.core.errors import PlumblineError, RegistryError
from tasks.core.registry import listing, registry
from tasks.core.serving.app import error_response
from tasks.core.serving.service import Service
from tasks.core.stage.stages import REPORT
from tasks.core.workspace import Workspace

TEMPLATES = Path(__file__).parent / "templates"
STATIC = {"style.css": "text/css", "predict.js": "text/javascript"}
REPORT_FILES = ("report.html", "review.html", "sweep.html", "sweep.png")
DIGEST = re.compile("[0-9a-f]{16}")
RUNS = 200  # of a table, the newest ones
# Reports have their styles and scripts within them, and pictures as data: addresses.
REPORT_POLICY = (
    "default-src 'none'; img-src 'self' data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def add_predict_page(app: FastAPI, service: Service, *, with_workspace: bool = True) -> None:
    """Add the page that sends an image to the model, and its files.

    Args:
        app: The application.
        service: What answers.
        with_workspace: Whether the pages of the workspace are there, too.
    """

    @app.get("/")
    async def predict_page() -> Response:
        model = service.followed.current
        return _page("predict.html.j2", model=model, facts=model.facts(), with_workspace=with_workspace)

    @app.get("/static/{name}")
    async def static(name: str) -> Response:
        if name not in STATIC:
            return _missing()
        return Response((TEMPLATES / name).read_bytes(), media_type=STATIC[name])

    if with_workspace:
        _add_workspace_pages(app, service.followed.workspace)


def _add_workspace_pages(app: FastAPI, workspace: Workspace) -> None:
    @app.get("/workspace")
    async def versions(dataset: str | None = None) -> Response:
        return await _in_thread(_versions_page, workspace, dataset)

    @app.get("/workspace/runs")
    async def runs(request: Request) -> Response:
        return await _in_thread(_runs_page, workspace, request.query_params)

    @app.get("/workspace/models/{dataset}/{version}")
    async def version(dataset: str, version: str) -> Response:
        return await _in_thread(_version_page, workspace, dataset, version)

    @app.get("/workspace/reports/{digest}/{name}")
    async def report(digest: str, name: str) -> Response:
        return await _in_thread(_report_file, workspace, digest, name)


async def _in_thread(work: Callable[..., Response], *values: Any) -> Response:
    try:
        return await asyncio.to_thread(partial(work, *values))
    except (PlumblineError, OSError) as error:
        kinds = {RegistryError: HTTPStatus.NOT_FOUND, OSError: HTTPStatus.INTERNAL_SERVER_ERROR}
        status = next((kinds[kind] for kind in kinds if isinstance(error, kind)), HTTPStatus.BAD_REQUEST)
        return _page("error.html.j2", status, error=str(error), with_workspace=True)


def _versions_page(workspace: Workspace, dataset: str | None) -> Response:
    rows = listing.version_rows(workspace, dataset or None)
    return _page("versions.html.j2", rows=rows, with_workspace=True)


def _version_page(workspace: Workspace, dataset: str, name: str) -> Response:
    version = registry.resolve(dataset, name, workspace)
    card = (version.directory / registry.CARD).read_text(encoding="utf-8")
    details = listing.version_details(version, workspace)
    history = listing.log_rows(dataset, version.version, workspace)
    runs = [run for run in _runs(workspace, dataset, []) if run["version"] == version.version]
    values: dict[str, Any] = {
        "version": version,
        "details": details,
        "history": history,
        "card": card,
        "runs": runs,
    }
    return _page("version.html.j2", **values, with_workspace=True)


def _runs_page(workspace: Workspace, query: Mapping[str, str]) -> Response:
    dataset, where, sort = query.get("dataset", ""), query.get("where", ""), query.get("sort", "-started")
    conditions = [condition for condition in where.split(",") if condition.strip()]
    runs = _runs(workspace, dataset or None, conditions, sort or "-started")
    values: dict[str, Any] = {"runs": runs, "dataset": dataset, "where": where, "sort": sort, "most": RUNS}
    return _page("runs.html.j2", **values, with_workspace=True)


def _runs(
    workspace: Workspace, dataset: str | None, conditions: list[str], sort: str = "-started"
) -> list[dict[str, Any]]:
    """Rows of `plumbline compare`, the first `RUNS` of them, with the addresses of their reports."""
    from tasks.core.runs import compare  # imported here: it brings pandas

    table = compare.select(compare.runs(workspace, dataset), conditions, sort).head(RUNS)
    shown = compare.as_text(compare.columns(table, None))
    return [
        {
            "cells": cells,
            "version": run["version"],
            "dataset": run["dataset"],
            "files": _files(run, workspace),
        }
        for cells, run in zip(shown, table.to_dict("records"), strict=True)
    ]


def _files(run: Mapping[Any, Any], workspace: Workspace) -> dict[str, str]:
    """The addresses of the report and of the review page beside it, by what they are; those that exist."""
    digest = json.loads(run["stages"] or "{}").get(REPORT.name, {}).get("digest", "")
    folder = REPORT.directory(digest, workspace) if digest else None
    named = {"report": "report.html", "review": "review.html"}
    if folder is None:
        return {}
    return {
        what: f"/workspace/reports/{digest}/{name}"
        for what, name in named.items()
        if (folder / name).exists()
    }


def _report_file(workspace: Workspace, digest: str, name: str) -> Response:
    """A file of a report. Names are compared with known ones, so that no path leaves the folder."""
    if name not in REPORT_FILES or not DIGEST.fullmatch(digest):
        return _missing()
    if REPORT.of_digest(digest, workspace) is None:  # also downloads it from the store of the workspace
        return _missing()
    path = REPORT.directory(digest, workspace) / name
    if not path.is_file():
        return _missing()
    return FileResponse(path, headers={"Content-Security-Policy": REPORT_POLICY})


def _missing() -> Response:
    return error_response(HTTPStatus.NOT_FOUND, "there is no such page")


def _page(template: str, /, status: HTTPStatus = HTTPStatus.OK, **values: Any) -> Response:
    return HTMLResponse(_environment().get_template(template).render(values), status)


@cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
