"""The report of a run: one HTML file that needs no network, the verdict first."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.core import stage
from tasks.core.handles import Report
from tasks.core.results import showing
from tasks.core.results.subject import Subject
from tasks.core.stage import Ingredients
from tasks.core.workspace import Workspace

log = logging.getLogger("plumbline.results")

HERE = Path(__file__).parent
TEMPLATES = ("report.html.j2", "report.css")
PAGE = "report.html"


def ingredients(subject: Subject, here: Path = HERE) -> Ingredients:
    """What decides the page: not the run's id nor its times, so that a run with nothing new finds it.

    Args:
        here: Folder of the templates.
    """
    handles = {
        "raw": subject.raw,
        "tensors": subject.tensors,
        "audit": subject.audit,
        "trained": subject.trained,
        "evaluation": subject.evaluation,
    }
    others = {"exported": subject.exported, "suspects": subject.suspects}
    handles |= {name: handle for name, handle in others.items() if handle is not None}
    templates = {name: hashlib.sha256((here / name).read_bytes()).hexdigest() for name in TEMPLATES}
    return Ingredients(
        stage="report",
        inputs={name: handle.digest for name, handle in handles.items()} | templates,
        parameters={
            **{name: str(value) for name, value in subject.parameters.items()},
            "version": subject.decision.version,
            "evidence": stage.digest_of(subject.decision.evidence),
            "looks": subject.looks,
        },
        modules=(__name__,),
        libraries=("matplotlib", "jinja2", "numpy", "pandas", "pillow"),
    )


def write(subject: Subject, workspace: Workspace, *, refresh: bool = False) -> Report:
    """Write `report.html`, and what `showing` reads."""
    made_of = ingredients(subject)
    directory = workspace.reports / made_of.digest
    stage.publish(directory, made_of, lambda staging: _write(staging, subject), refresh=refresh)
    return Report(path=workspace.relative(directory), digest=made_of.digest)


def _write(staging: Path, subject: Subject) -> dict[str, Any]:
    from tasks.core.results import page  # matplotlib takes half a second that a reused report doesn't need

    content = page.content(subject)
    (staging / PAGE).write_text(_html(content), encoding="utf-8")
    (staging / showing.SUMMARY).write_text(page.summary(content), encoding="utf-8")
    (staging / showing.CLASSES).write_text(json.dumps(page.class_table(content)), encoding="utf-8")
    return {"dataset": subject.tensors.dataset, "version": subject.decision.version}


def _html(content: Mapping[str, Any]) -> str:
    import jinja2

    from tasks.core.results import page

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters |= {
        "percent": page.percent,
        "points": page.points,
        "figure": page.figure,
        "interval": page.interval,
    }
    return environment.get_template(PAGE + ".j2").render(content)
