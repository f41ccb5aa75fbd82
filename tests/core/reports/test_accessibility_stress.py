"""axe-core finds nothing serious on the pages that people read: reports, review, server, sweep, drift."""

from pathlib import Path

import numpy as np
import pytest

from tasks.core.config import PromotePolicy
from tasks.core.evaluation.decision import DecisionRequest
from tasks.core.evaluation.published.question import Question
from tasks.core.metrics import drift
from tasks.core.reports import drift_report, evaluation_report, label_next, report
from tasks.core.reports.evaluation_report import EvaluationInputs
from tasks.core.reports.render import render
from tasks.core.stage import publish
from tasks.core.stage.handles import ModelVersion
from tasks.core.stage.ingredients import Ingredients
from tasks.core.workspace import Workspace
from tests.core.evaluation import test_published
from tests.core.reports import test_label_next
from tests.core.reports.test_report import inputs
from tests.support import served_versions
from tests.support.fake_outputs import CLASSES, FakeOutputs
from tests.support.pages import accessibility, chromium
from tests.support.pages.chromium import Chromium

pytestmark = [
    pytest.mark.stress,
    pytest.mark.skipif(bool(accessibility.problem()), reason=accessibility.problem() or "axe-core is there"),
]
SERVED = ("/", "/workspace", "/workspace/runs", "/workspace/models/animals/v0001")


@pytest.fixture
def browser(tmp_path: Path):
    executable = chromium.find()
    assert executable is not None
    with Chromium(executable, tmp_path / "browser") as opened:
        yield opened


def test_report_and_review_have_no_serious_finding(fake: FakeOutputs, browser: Chromium) -> None:
    first = inputs(fake)
    written = report.write_report(
        inputs(fake, "two", 3.0, first.evaluation, PromotePolicy.better), fake.workspace
    )
    for page in (report.PAGE, report.REVIEW):
        assert accessibility.findings(browser, (written.directory / page).as_uri()) == []


def test_evaluation_has_no_serious_finding(fake: FakeOutputs, browser: Chromium) -> None:
    evaluation, _ = test_published.scored(fake, Question(DecisionRequest()))
    shown = EvaluationInputs(published(fake.workspace), test_published.images_of(fake.tensors()), evaluation)
    written = evaluation_report.write_report(shown, fake.workspace)
    page = written.directory / evaluation_report.PAGE
    assert "In words" in page.read_text(encoding="utf-8")
    assert accessibility.findings(browser, page.as_uri()) == []


def published(workspace: Workspace) -> ModelVersion:
    """A version; its file is no model."""
    made_of, directory = Ingredients("publish", {}, {}), workspace.models / "animals" / "v0001"
    publish.publish(directory, made_of, lambda staging: {"classes": CLASSES})
    return ModelVersion(workspace.relative(directory), made_of.digest, "0", "animals", "v0001")


def test_drift_and_label_next_have_no_serious_finding(workspace: Workspace, browser: Chromium) -> None:
    version = published(workspace)
    batch, _ = test_label_next.batch_of(workspace.root, parts=1, count=40)
    label_next.write_label_next(batch, version, 12)
    random = np.random.default_rng(0)
    profile = {name: random.normal(0, 1, 300) for name in ("brightness", "contrast")}
    shifted = {name: values + 2 for name, values in profile.items()}
    result = drift.compare(profile, shifted)
    assert result.shifts
    png = drift_report.picture(result, profile, shifted)
    page = workspace.root / "drift.html"
    page.write_text(drift_report._page("animals v0001", batch, result, png), encoding="utf-8")
    for path in (batch.directory / label_next.PAGE, page):
        assert accessibility.findings(browser, path.as_uri()) == []


def test_sweep_has_no_serious_finding(tmp_path: Path, browser: Chromium) -> None:
    names = (
        "configuration",
        "val accuracy",
        "95 % over seeds",
        "95 % of the images",
        "val loss",
        "seeds",
        "",
    )
    row = dict.fromkeys(names, "learning_rate=0.1")
    trial = row | {"trial": "1", "seed": "0", "error": "out of memory"}
    content = {
        "dataset": "animals",
        "facts": {"sweep": "1", "wall_seconds": 1.0, "command": "plumbline sweep " + "--vary a=1 " * 20},
        "verdict": ["Chosen on 40 validation images.", "1 trial failed."],
        "plot": "",
        "not_plotted": 2,
        "leaderboard": [row] * 3,
        "trials": [trial] * 3,
        "failed": [trial],
        "cost": "2 ran",
    }
    page = tmp_path / "sweep.html"
    page.write_text(render("sweep.html.j2", content), encoding="utf-8")
    assert accessibility.findings(browser, page.as_uri()) == []


def test_served_pages_have_no_serious_finding(workspace, browser: Chromium) -> None:
    tensors = served_versions.tensors(workspace)
    served_versions.publish_version(workspace, tensors, "v0001", seed=1)
    served_versions.promote(workspace, "v0001")
    with served_versions.served(workspace) as (client, _):
        for page in SERVED:
            assert client.get(page).status_code == 200
            assert accessibility.findings(browser, f"{client.base_url}{page}") == [], page
