"""A served model, which the tests of the server share."""

from collections.abc import Iterator

import httpx
import pytest

from tasks.core.serving.recording import Recorder
from tasks.core.serving.service import Service
from tasks.core.serving.settings import Limits
from tasks.core.workspace import Workspace
from tests.support import served_versions

PNG = {"Content-Type": "image/png"}
# A small queue and short times, so that the tests of refusals are quick.
LIMITS = Limits(
    max_bytes=200_000, max_pixels=100_000, max_images=8, queue=8, body_seconds=0.3, header_seconds=0.3
)
Served = tuple[httpx.Client, Service]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with two versions; v0001 is the champion."""
    opened = Workspace.open(tmp_path_factory.mktemp("serving"))
    tensors = served_versions.tensors(opened)
    for number in (1, 2):
        served_versions.publish_version(opened, tensors, f"v000{number}", seed=number)
    served_versions.promote(opened, "v0001")
    return opened


@pytest.fixture(scope="module")
def server(workspace: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The champion, with recording."""
    recorder = Recorder(tmp_path_factory.mktemp("recorded"), keep_images=True)
    with served_versions.served(workspace, LIMITS, recorder=recorder, record_seconds=3600) as both:
        yield both
