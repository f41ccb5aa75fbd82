"""The report of many classes and images stays small, so that a browser and a mail can take it."""

import pytest

from tasks.core.reports import report
from tests.core.reports.test_report import inputs
from tests.support.fake_outputs import FakeOutputs

pytestmark = pytest.mark.stress

LARGEST = 5_000_000  # bytes


def test_report_of_300_classes_and_20000_images_is_below_5_mb(fake: FakeOutputs) -> None:
    classes = tuple(f"species {number:03}" for number in range(300))
    large = fake.with_fields(classes=classes, images=20_000, shape=(96, 96, 3))
    first = inputs(large)
    compared = inputs(large, "two", 3.0, first.evaluation)
    written = report.write_report(compared, large.workspace)
    sizes = {path.name: path.stat().st_size for path in sorted(written.directory.iterdir())}
    print(sizes, written.directory)
    assert sizes["report.html"] < LARGEST
    text = (written.directory / "report.html").read_text(encoding="utf-8")
    assert "260 more classes" in text
    assert text.count("<figure>") < 300
