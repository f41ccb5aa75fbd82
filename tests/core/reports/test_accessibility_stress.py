"""axe-core finds nothing serious on the pages that people read: report, review, evaluation server."""

from pathlib import Path

import pytest

from tasks.core.config import PromotePolicy
from tasks.core.reports import report
from tests.core.reports.test_report import inputs
from tests.support import accessibility, chromium, served_versions
from tests.support.chromium import Chromium
from tests.support.fake_outputs import FakeOutputs

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


def test_served_pages_have_no_serious_finding(workspace, browser: Chromium) -> None:
    tensors = served_versions.tensors(workspace)
    served_versions.publish_version(workspace, tensors, "v0001", seed=1)
    served_versions.promote(workspace, "v0001")
    with served_versions.served(workspace) as (client, _):
        for page in SERVED:
            assert client.get(page).status_code == 200
            assert accessibility.findings(browser, f"{client.base_url}{page}") == [], page
