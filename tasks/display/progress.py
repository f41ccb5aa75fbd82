"""Shows the progress of a running task: a bar on the console, and an artifact at a bounded rate."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from tasks.core.progress import Progress
from tasks.display import console
from tasks.display.server_link import tell

UPDATE_INTERVAL = 2.0  # seconds between updates of the artifact; each is one request to the server


@contextmanager
def task_progress(stage: str) -> Iterator[Progress]:
    """Yield a `Progress` callback that shows the progress of a Prefect task.

    The artifact is created by the first report after `UPDATE_INTERVAL`, so a short task has none. It has no
    key, since progress has no history beyond its run.

    Args:
        stage: The name of the stage, for the bar and the artifact's description.
    """
    with console.progress_bar() as bar:
        row = bar.add_task(stage, total=None, note="")
        artifact: UUID | None = None
        due = time.monotonic() + UPDATE_INTERVAL

        def report(done: float, total: float, note: str = "") -> None:
            nonlocal artifact, due
            bar.update(row, completed=done, total=total or None, note=note)
            if time.monotonic() < due or not total:
                return
            due = time.monotonic() + UPDATE_INTERVAL
            percent = min(100.0, 100 * done / total)
            if artifact is None:
                artifact = _create(stage, percent, note)
            else:
                tell(update_progress_artifact, artifact, percent, _description(stage, note))

        yield report
        if artifact is not None:
            tell(update_progress_artifact, artifact, 100.0, _description(stage, "done"))


def _create(stage: str, percent: float, note: str) -> UUID | None:
    created = tell(create_progress_artifact, percent, description=_description(stage, note))
    return cast(UUID | None, created)  # it returns a coroutine to async callers only


def _description(stage: str, note: str) -> str:
    return f"{stage}: {note}" if note else stage
